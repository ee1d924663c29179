"""Where compiled kernels are kept: numba gives up where it finds no place, and a cluster's nodes often have none."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

COMPILING = "compiling kernels, once after an installation: up to a minute"


def choose_kernel_cache(package: Path | None = None) -> None:
    """Point numba at a place of our own when it would find none; to be called before numba is imported.

    numba tries the package's own folder (not writable in a shared installation), then the user's cache folder (which a
    batch node may not have). After these comes a folder of the user's in the machine's temporary one.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    for place in (package or Path(__file__).parent, home):
        if _writable(place):
            return
    own = Path(tempfile.gettempdir()) / f"waterbg-kernels-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return
    if own.stat().st_uid == os.getuid():  # nobody else's code is loaded from there
        os.environ["NUMBA_CACHE_DIR"] = str(own)


def spare_scipy() -> None:
    """Keep numba from importing SciPy, which takes a tenth of a second: no kernel here needs what it looks for there.

    For commands only: other kernels of the same process would be compiled without ``np.dot``. Nothing happens where
    SciPy's linear algebra is imported already, or numba has looked.
    """
    if "scipy.linalg" in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    hidden = {"scipy", "scipy.linalg"} - sys.modules.keys()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def spare_compiler() -> None:
    """Let numba load cached kernels without SciPy and without its compiler ready, which takes a sixth of a second.

    For commands only, before anything else imports numba. All that a kernel needs is linked into it but the functions
    of numba's runtime; where one must be compiled, numba makes the rest ready then. Nothing changes where a numba of
    another version loads kernels in another way.
    """
    spare_scipy()
    try:
        from numba.core import entrypoints
        from numba.core.caching import FunctionCache
        from numba.core.runtime import nrtdynmod, rtsys

        load, *_ = FunctionCache._load_overload, nrtdynmod.compile_nrt_functions, rtsys._init
    except (ImportError, AttributeError):  # a numba of another version
        return
    entrypoints._already_initialized = True  # extensions of other packages, whose types are none of our kernels'

    def load_overload(cache: Any, sig: object, target_context: object) -> object:
        _ready_runtime(target_context)
        return load(cache, sig, target_context)

    FunctionCache.load_overload = load_overload
    _spare_bitcode()


@cache
def _ready_runtime(target_context: object) -> None:
    """Make known where the functions of numba's runtime are, without what is linked into kernels when compiled."""
    from numba.core.runtime import nrtdynmod, rtsys

    if rtsys._init:  # as where a kernel was compiled before
        return
    compile_functions = nrtdynmod.compile_nrt_functions
    nrtdynmod.compile_nrt_functions = lambda context: None
    try:
        rtsys.initialize(target_context)
    finally:
        nrtdynmod.compile_nrt_functions = compile_functions
        rtsys._init = False  # the rest is to come if a kernel is compiled


@cache
def _spare_bitcode() -> None:
    """Let numba load a kernel's machine code alone: reading its bitcode, too, is most of the time that loading takes.

    Once in a process, for each time would go round the one before. Other kernels may have it inlined when they are
    compiled; then it is read. Of the names in it one is asked for always, that of what Python calls, and it is looked
    for in the machine code.
    """
    from llvmlite import binding
    from numba.core.codegen import CPUCodeLibrary
    from numba.core.compiler import CompileResult

    try:
        rebuild, unserialize = CompileResult._rebuild.__func__, CPUCodeLibrary._unserialize.__func__
        linked = CPUCodeLibrary._get_module_for_linking
    except AttributeError:  # a numba of another version
        return
    nothing = binding.parse_assembly("").as_bitcode()

    def rebuild_known(cls: Any, target: Any, library: tuple[str, str, Any], described: Any, *rest: object) -> Any:
        name = described.llvm_cpython_wrapper_name
        if library[1] == "object" and name.encode() in library[2][0]:
            target.codegen()._engine._defined_symbols.add(name)
        return rebuild(cls, target, library, described, *rest)

    def unserialize_machine_code(cls: Any, codegen: Any, state: tuple[str, str, Any]) -> Any:
        name, kind, data = state
        if kind != "object":
            return unserialize(cls, codegen, state)
        library = unserialize(cls, codegen, (name, kind, (data[0], nothing)))
        library._bitcode = data[1]
        return library

    def module_for_linking(library: Any) -> Any:
        bitcode = vars(library).pop("_bitcode", None)
        if bitcode is not None:
            library._shared_module = binding.parse_bitcode(bitcode)
        return linked(library)

    CompileResult._rebuild = classmethod(rebuild_known)
    CPUCodeLibrary._unserialize = classmethod(unserialize_machine_code)
    CPUCodeLibrary._get_module_for_linking = module_for_linking


_said: mmap.mmap | None = None


def say_when_compiling() -> None:
    """Say one line on standard error when a kernel is compiled instead of loaded, here or in a process forked later.

    A minute without a word, after an installation or an update, looks as if the program hung.
    """
    global _said
    if _said is not None:
        return
    from numba.core import event

    said = _said = mmap.mmap(-1, 1)  # shared with forked workers, of which many may begin to compile at once

    class Compiling(event.Listener):  # type: ignore[misc]
        def on_start(self, event: object) -> None:
            if not said[0]:
                said[0] = 1
                print(f"waterbg: {COMPILING}", file=sys.stderr, flush=True)

        def on_end(self, event: object) -> None:
            pass

    event.register("numba:compile", Compiling())


def has_compiled() -> bool:
    """Whether kernels had to be compiled since `say_when_compiling`, or nobody knows."""
    return _said is None or bool(_said[0])


def _writable(place: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    while not place.exists():
        if place == place.parent:
            return False
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
