"""C's ``sscanf``, ``atof`` and ``strtod`` on bytes: what libcrystfel reads is decided by them (glibc), not by columns.

``sscanf`` takes as many characters as could belong to a number and only then converts them, so ``1e`` is read as 1,
``0x`` is the integer 0 and no floating-point number, and ``089`` is the integer 0 followed by 89. So does glibc up to
2.36 at least; 2.43 refuses numbers that only begin (``1e``), which nothing but damage leaves in a stream.
"""

from __future__ import annotations

import re
from functools import lru_cache

_SPACE = rb"[ \t\n\v\f\r]*"
_HEX = rb"[0-9a-fA-F]"
_FLOAT = (
    rb"[+-]?(?:[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY]|(?![iI]))"
    rb"|0[xX](?:" + _HEX + rb"+\.?" + _HEX + rb"*(?:[pP][+-]?[0-9]*)?|\." + _HEX + rb"+(?:[pP][+-]?[0-9]*)?|\.)"
    rb"|(?!0[xX])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]*)?)"
)
_INTEGER = rb"[+-]?(?:0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*)"
_WORD = rb"[^ \t\n\v\f\r]+"
# strtod gives back what turns out not to belong to the number, and knows nan(…)
_STRTOD = re.compile(
    _SPACE + rb"([+-]?(?:[nN][aA][nN](?:\([0-9A-Za-z_]*\))?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?"
    rb"|0[xX](?:" + _HEX + rb"+\.?" + _HEX + rb"*|\." + _HEX + rb"+)(?:[pP][+-]?[0-9]+)?"
    rb"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
)
_STRTOLL = re.compile(_SPACE + rb"([+-]?[0-9]+)")
_BARE_E, _BARE_P = re.compile(rb"[eE][+-]?\Z"), re.compile(rb"[pP][+-]?\Z")


def to_float(text: bytes) -> float:
    """Value of what ``%f`` took."""
    try:
        return float(text)
    except ValueError:
        low = text.lower().lstrip(b"+-")
    if low.startswith(b"nan"):
        return float("nan")
    if low.startswith(b"0x"):
        text = _BARE_P.sub(b"", text)
        # float.fromhex wants a digit, and knows overflow only as an error
        try:
            return float.fromhex(text.decode("ascii")) if low != b"0x." else 0.0
        except OverflowError:
            return float("-inf") if text.startswith(b"-") else float("inf")
    return float(_BARE_E.sub(b"", text))


def to_int(text: bytes) -> int:
    """Value of what ``%i`` took: decimal, octal with a leading 0, hexadecimal with 0x; kept to 32 bits."""
    digits = text.lstrip(b"+-").lower()
    if digits.startswith(b"0x"):
        value = int(digits[2:] or b"0", 16)
    elif digits.startswith(b"0"):
        value = int(digits, 8)
    else:
        # more digits than a long holds are clamped anyway, and Python refuses very long ones
        value = int(digits[:20]) if len(digits) <= 20 else 2**63
    if text.startswith(b"-"):
        value = -value
    value = max(min(value, 2**63 - 1), -(2**63))  # strtol's limits, then cut to an int as scanf does
    return (value + 2**31) % 2**32 - 2**31


def scan(line: bytes, layout: str) -> list[float | int | bytes] | None:
    """Read values as ``sscanf`` does; None unless every conversion succeeds.

    Parameters
    ----------
    line : bytes
    layout : str
        Literals, blanks (any amount of white space), ``%f``, ``%i``, ``%c`` and ``%s``.
    """
    pattern, kinds = _compile(layout)
    found = pattern.match(line)
    if found is None:
        return None
    return [
        to_float(text) if kind == "f" else to_int(text) if kind == "i" else text
        for kind, text in zip(kinds, found.groups())
    ]


@lru_cache(maxsize=64)
def _compile(layout: str) -> tuple[re.Pattern[bytes], str]:
    """Regular expression of a layout up to its last conversion: what follows need not match."""
    parts, kinds = [], ""
    # %c takes any character, but the blank before it in all layouts has taken the blanks
    words = {"f": _FLOAT, "i": _INTEGER, "c": rb"[^ \t\n\v\f\r]", "s": _WORD}
    for literal, kind in re.findall(r"([^%]*)%([fics])", layout):
        parts.append(_SPACE.join(re.escape(word) for word in literal.encode().split(b" ")))
        kinds += kind
        # sscanf never gives back what a conversion has taken: a group that is looked at, then taken as it is
        parts.append(_SPACE + b"(?=(" + words[kind] + b"))\\%d" % len(kinds))
    return re.compile(b"".join(parts), re.DOTALL), kinds


def scan_columns(line: bytes, integers: int, floats: int) -> tuple[list[float | int], bytes, list[int]] | None:
    """Read ``integers`` times %i, ``floats`` times %f and a word, as sscanf.

    Returns
    -------
    values : list
    word : bytes
    ends : list of int
        Where each number, and the word, ends.
    """
    pattern, _ = _compile("%i" * integers + "%f" * floats + "%s")
    found = pattern.match(line)
    if found is None:
        return None
    *numbers, word = found.groups()
    values: list[float | int] = [to_int(text) for text in numbers[:integers]]
    values += [to_float(text) for text in numbers[integers:]]
    return values, word, [found.end(i) for i in range(1, integers + floats + 2)]


def strtod(text: bytes) -> tuple[float, int]:
    """The number at the start and where it ends; 0 and 0 without one."""
    found = _STRTOD.match(text)
    return (to_float(found.group(1)), found.end()) if found else (0.0, 0)


def atof(text: bytes) -> float:
    """The number at the start, 0 without one."""
    return strtod(text)[0]


def convert_float(text: bytes) -> float | None:
    """Value of a text that is a number and nothing else (``convert_float`` in utils.c, which takes nothing for 0)."""
    value, end = strtod(text)
    return value if end == len(text) else None


def convert_long_int(text: bytes) -> int | None:
    """Value of a text that is a decimal integer and nothing else (``convert_long_int`` in utils.c)."""
    if not text:
        return 0
    found = _STRTOLL.match(text)
    if found is None or found.end() != len(text):
        return None
    digits = found.group(1)
    value = int(digits) if len(digits) <= 20 else 2**64 * (-1 if digits.startswith(b"-") else 1)
    return max(min(value, 2**63 - 1), -(2**63))
