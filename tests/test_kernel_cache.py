"""waterbg.kernel_cache: a place for compiled kernels in a read-only installation without a home."""

import os
import subprocess
import sys

import pytest

from waterbg.kernel_cache import COMPILING, choose_kernel_cache, spare_compiler, spare_scipy


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An installation and a home in which nothing can be written."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("waterbg.kernel_cache.os.access", lambda place, mode: str(place).startswith(str(tmp_path)))
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere/cache")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    yield tmp_path
    os.environ.pop("NUMBA_CACHE_DIR", None)


def test_a_read_only_installation_without_a_home_keeps_kernels_in_the_temporary_folder(nowhere, monkeypatch):
    from pathlib import Path

    choose_kernel_cache(Path("/nowhere"))
    place = Path(os.environ["NUMBA_CACHE_DIR"])
    assert place.parent == nowhere
    assert place.stat().st_mode & 0o077 == 0


def test_a_writable_place_is_left_to_numba(nowhere):
    choose_kernel_cache(nowhere)
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_the_users_own_choice_stands(nowhere, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("NUMBA_CACHE_DIR", "/my/place")
    choose_kernel_cache(Path("/nowhere"))
    assert os.environ["NUMBA_CACHE_DIR"] == "/my/place"


COMPILES = """
import os, sys
from numba import njit
from waterbg.kernel_cache import has_compiled, say_when_compiling
assert has_compiled()  # for all that is known
say_when_compiling()
say_when_compiling()
assert not has_compiled()

@njit(cache=True)
def twice(x):
    return 2 * x

children = [os.fork() for _ in range(int(sys.argv[1]))] if sys.argv[1] != "0" else []
twice(1)
twice(1.5)
if all(children):
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    print(has_compiled())
else:
    os._exit(0)
"""


@pytest.mark.parametrize("forks", ["0", "1"])
def test_compiling_is_said_in_one_line_by_one_process_and_loading_is_not(tmp_path, forks):
    script = tmp_path / "compiles.py"
    script.write_text(COMPILES)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "NUMBA_DISABLE_JIT": "0"}

    def said():
        done = subprocess.run([sys.executable, str(script), forks], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip(), done.stderr

    compiled, lines = said()
    assert compiled == "True"
    # two processes that begin in the same instant may both say it
    assert lines.splitlines() in [[f"waterbg: {COMPILING}"] * n for n in range(1, 2 + int(forks))]
    assert said() == ("False", "")


SPARES = """
import sys
import numpy as np
from numba import njit
from waterbg.kernel_cache import spare_scipy
spare_scipy()

@njit
def total(values):
    return values.sum()

assert total(np.ones(3)) == 3
print("scipy.linalg" in sys.modules)
import scipy.linalg
print(scipy.linalg.norm([3.0, 4.0]))
"""


def test_numba_is_kept_from_scipy_and_nobody_else_is(tmp_path):
    pytest.importorskip("scipy")
    env = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
    command = [sys.executable, "-c", SPARES]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "5.0"]


def test_where_scipy_is_imported_already_it_stays():
    linalg = pytest.importorskip("scipy.linalg")
    spare_scipy()
    assert sys.modules["scipy.linalg"] is linalg


def test_a_numba_that_lacks_what_is_reached_into_is_left_alone(monkeypatch):
    from numba.core.caching import FunctionCache
    from numba.core.runtime import nrtdynmod

    monkeypatch.setattr("waterbg.kernel_cache.spare_scipy", lambda: None)
    monkeypatch.setattr(FunctionCache, "load_overload", before := FunctionCache.load_overload)
    monkeypatch.delattr(nrtdynmod, "compile_nrt_functions")
    spare_compiler()
    assert FunctionCache.load_overload is before


LOADS = """
import sys
import numpy as np
from numba import njit
from waterbg.kernel_cache import spare_compiler
for _ in range(2 * sys.getrecursionlimit()):  # as many commands in one process
    spare_compiler()

from llvmlite import binding
parse, sizes = binding.parse_bitcode, []
binding.parse_bitcode = lambda code, *context: sizes.append(len(code)) or parse(code, *context)

@njit(cache=True)
def halves(values):
    out = np.empty(len(values))
    for i in range(len(values)):
        out[i] = values[i] / 2
    return out

from numba.core.runtime import rtsys
print(halves(np.arange(3.0)), "numba.typed.typeddict" in sys.modules, max(sizes, default=0) > 2000, rtsys._init)

@njit
def quarters(values):
    return sorted([x for x in halves(halves(values))])

print(quarters(np.arange(3.0)), max(sizes, default=0) > 2000)
"""


def test_cached_kernels_are_loaded_without_compiler_and_bitcode_and_others_are_still_compiled(tmp_path):
    script = tmp_path / "loads.py"
    script.write_text(LOADS)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels"), "NUMBA_DISABLE_JIT": "0"}

    def said():
        done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert said() == ["[0.  0.5 1. ] True False True", "[0.0, 0.25, 0.5] False"]
    assert said() == ["[0.  0.5 1. ] False False False", "[0.0, 0.25, 0.5] True"]
