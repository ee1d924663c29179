"""How kernels are compiled, and when the machine code that is kept of them is out of date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called: without the GIL, with NumPy's division, kept for later processes.

    numba takes kept machine code for that of a kernel as long as the file that the kernel stands in is the same. But
    constants and kernels of other files are compiled into it: with these changed, as by an update, code of two versions
    would run together. So what a kernel takes from anywhere is made a part of the mark that numba compares.
    """
    compiled = njit(cache=True, nogil=True, error_model="numpy")(function)
    kept = _kept(compiled)
    if kept is not None:
        kept._source_stamp = (kept._source_stamp, *_taken(function))
    return compiled


def _kept(compiled: Any) -> Any:
    """Where numba keeps a kernel's machine code; None without compiler, or where another numba keeps it otherwise."""
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    return file if hasattr(file, "_source_stamp") else None


def _taken(function: Callable[..., Any]) -> Iterator[tuple[str, object]]:
    """Constants, and marks of kernels, among the global names of a function, wherever they are from."""
    for name in sorted(_names(function.__code__)):
        value = function.__globals__.get(name)
        kept = _kept(value)
        if kept is not None:
            yield name, kept._source_stamp
        elif isinstance(value, (bool, int, float, complex, str, tuple)):
            yield name, repr(value)


def _names(code: CodeType) -> set[str]:
    """Global names in a function's code, and in functions within it."""
    return set(code.co_names).union(*(_names(const) for const in code.co_consts if isinstance(const, CodeType)))
