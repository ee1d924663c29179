"""Numbers read the way C reads them: CrystFEL takes whatever ``strtod`` makes of a text, so we do the same.

``1e2`` is an extent of 100, ``46.0`` is 46, ``0x3ad6`` is a mask, ``many`` is 0. The casts follow what a compiler does
on x86-64, where CrystFEL runs: a value that does not fit 32 bits becomes the most negative integer.
"""

from __future__ import annotations

import math
import re
import struct

from waterbg.stream import scanf

INT_MIN = -(2**31)

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)", re.ASCII)
_INTEGER_DIGITS = 40  # more digits than this overflow every integer type; Python would refuse thousands of them


def strtod(text: str) -> tuple[float, str]:
    """Value of the longest numeric prefix and the text after it; (0.0, text) when there is none."""
    value, end = scanf.strtod(text.encode("utf-8", "surrogateescape"))
    return value, text[end:]  # a number is ASCII, so its characters are its bytes


def atof(text: str) -> float:
    """Leading number of a text; 0 when there is none."""
    return strtod(text)[0]


def whole_float(text: str) -> float | None:
    """The number a text consists of, or None; an empty text is 0, as in CrystFEL's ``convert_float``."""
    value, rest = strtod(text)
    return None if rest else value


def whole_int(text: str) -> int | None:
    """The decimal integer a text consists of, or None; an empty text is 0, as in ``convert_int``."""
    if text == "":
        return 0
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    return wrap_int(_clamped(match.group(1), -(2**63), 2**63 - 1))


def whole_unsigned(text: str) -> int | None:
    """As :func:`whole_int` by ``strtoul``: a negative number wraps, then is cut to 32 bits."""
    if text == "":
        return 0
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    return wrap_int(_clamped(match.group(1), -(2**64) + 1, 2**64 - 1))


def atoi(text: str) -> int:
    """Leading decimal integer of a text; 0 when there is none."""
    match = _INTEGER.match(text)
    return 0 if match is None else wrap_int(_clamped(match.group(1), -(2**63), 2**63 - 1))


def int_of(value: float) -> int:
    """Cast of a double to a 32-bit int."""
    if not math.isfinite(value):
        return INT_MIN
    cut = math.trunc(value)
    return cut if INT_MIN <= cut < 2**31 else INT_MIN


def unsigned_of(value: float) -> int:
    """Cast of a double to a 32-bit unsigned int (through 64 bits, as compilers do)."""
    if not math.isfinite(value):
        return 0
    cut = math.trunc(value)
    return cut & 0xFFFFFFFF if -(2**63) <= cut < 2**63 else 0


def single(value: float) -> float:
    """The value after a stay in single precision."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def wrap_int(value: int) -> int:
    """Lowest 32 bits, as a signed int."""
    return (value + 2**31) % 2**32 - 2**31


def _clamped(digits: str, low: int, high: int) -> int:
    if len(digits) > _INTEGER_DIGITS:
        return low if digits.startswith("-") else high
    return min(max(int(digits), low), high)
