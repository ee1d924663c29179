"""Markers, line formats and limits of a stream, as libcrystfel 0.12 writes and reads them (stream.c).

The one place that spells them; ``sscanf`` and ``fgets`` are mirrored here because what libcrystfel reads is decided
by them, not by the layout it writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

VERSION = b"CrystFEL stream format 2.3"
BEGIN_GEOMETRY, END_GEOMETRY = b"----- Begin geometry file -----", b"----- End geometry file -----"
BEGIN_CELL, END_CELL = b"----- Begin unit cell -----", b"----- End unit cell -----"
BEGIN_CHUNK, END_CHUNK = b"----- Begin chunk -----", b"----- End chunk -----"
BEGIN_PEAKS, END_PEAKS = b"Peaks from peak search", b"End of peak list"
BEGIN_CRYSTAL, END_CRYSTAL = b"--- Begin crystal", b"--- End crystal"
BEGIN_REFLECTIONS, END_REFLECTIONS = b"Reflections measured after indexing", b"End of reflections"
REFLECTION_COLUMNS = b"   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel"

LONGEST_PIECE = 1022  # bytes fgets(line, 1023) hands over at a time
LONGEST_AUDIT = 4090  # bytes before the geometry
LONGEST_GEOMETRY = 1024 * 1024 - 1
LONGEST_PANEL_NAME = 63  # %63s
LARGEST_INDEX = 511

REFLECTION = np.dtype(
    [
        ("h", "i4"),
        ("k", "i4"),
        ("l", "i4"),
        ("I", "f8"),
        ("sigma", "f8"),
        ("peak", "f8"),
        ("background", "f8"),
        ("fs", "f8"),
        ("ss", "f8"),
        ("panel", "i4"),
    ]
)
PEAK = np.dtype([("fs", "f8"), ("ss", "f8"), ("inv_d", "f8"), ("intensity", "f8"), ("panel", "i4")])

_BLANKS = b" \t\n\v\f\r"
_FLOAT = re.compile(
    rb"[+-]?(?:(?i:inf(?:inity)?)|(?i:nan)(?:\([0-9A-Za-z_]*\))?"
    rb"|0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?"
    rb"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
)
_INTEGER = re.compile(rb"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DECIMAL = re.compile(rb"[+-]?[0-9]+")
_WORD = re.compile(rb"[^ \t\n\v\f\r]+")


def pieces(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
    """Cut bytes as ``fgets(line, 1023)`` and ``chomp`` do.

    Yields
    ------
    begin, end : int
        Where the piece lies, with its newline.
    line : bytes
        What libcrystfel sees of it: up to the first NUL, CR or LF.
    """
    at = start
    while at < stop:
        newline = data.find(b"\n", at, min(at + LONGEST_PIECE, stop))
        end = newline + 1 if newline >= 0 else min(at + LONGEST_PIECE, stop)
        yield at, end, chomp(data[at:end])
        at = end


def chomp(piece: bytes) -> bytes:
    """Cut a line at its first NUL (the end of a C string), CR or LF."""
    if piece[-1:] == b"\n":
        piece = piece[:-1]
    for stopper in (b"\0", b"\r", b"\n"):
        at = piece.find(stopper)
        if at >= 0:
            piece = piece[:at]
    return piece


def to_float(text: bytes) -> float:
    """Value of a matched C floating-point literal."""
    low = text.lower().lstrip(b"+-")
    if low.startswith(b"0x"):
        # float.fromhex wants digits and an exponent, and knows overflow only as an error
        try:
            return float.fromhex(text.decode("ascii"))
        except OverflowError:
            return float("-inf") if text.startswith(b"-") else float("inf")
    if low.startswith(b"nan"):
        return float("nan")
    return float(text)


def to_int(text: bytes) -> int:
    """Value of a matched ``%i`` literal: decimal, octal with a leading 0, hexadecimal with 0x; kept to 32 bits."""
    sign = -1 if text[:1] == b"-" else 1
    digits = text.lstrip(b"+-").lower()
    if digits.startswith(b"0x"):
        value = int(digits, 16)
    elif digits.startswith(b"0") and len(digits) > 1:
        value = int(digits, 8)
    else:
        value = int(digits)
    value = max(min(sign * value, 2**63 - 1), -(2**63))  # strtol's limits, then cut to an int as scanf does
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
    words = {"f": _FLOAT.pattern, "i": _INTEGER.pattern, "c": rb".", "s": _WORD.pattern}
    for literal, kind in re.findall(r"([^%]*)%([fics])", layout):
        parts.append(b"[ \\t\\v\\f]*".join(re.escape(word) for word in literal.encode().split(b" ")))
        kinds += kind
        # sscanf never gives back what a conversion has taken: a group that is looked at, then taken as it is
        atomic = b"(?=(" + words[kind] + b"))\\%d" % len(kinds)
        parts.append(atomic if kind == "c" else b"[ \\t\\v\\f]*" + atomic)
    return re.compile(b"".join(parts), re.DOTALL), kinds


def scan_columns(
    line: bytes, integers: int, floats: int
) -> tuple[list[float | int], bytes, list[tuple[int, int]]] | None:
    """Read ``integers`` times %i, ``floats`` times %f and a word, as sscanf.

    Returns
    -------
    values : list
    word : bytes
    ends : list of (int, int)
        Where each number begins (after the one before it, blanks included) and ends.
    """
    at = 0
    values: list[float | int] = []
    places = []
    for number in range(integers + floats):
        begin = at
        found = (_INTEGER if number < integers else _FLOAT).match(line, _skip_blanks(line, at))
        if found is None:
            return None
        text, at = found.group(), found.end()
        values.append(to_int(text) if number < integers else to_float(text))
        places.append((begin, at))
    word = _WORD.match(line, _skip_blanks(line, at))
    if word is None:
        return None
    return values, word.group(), places


def _skip_blanks(line: bytes, at: int) -> int:
    while at < len(line) and line[at] in _BLANKS:
        at += 1
    return at


def atof(text: bytes) -> float:
    """C's ``atof``: the number at the start, 0 without one."""
    found = _FLOAT.match(text, _skip_blanks(text, 0))
    return to_float(found.group()) if found else 0.0


def scan_whole(text: bytes, kind: str) -> float | int | None:
    """Value of a text that is a number and nothing else (``convert_float``, ``convert_long_int`` in utils.c)."""
    if not text:
        return 0.0 if kind == "float" else 0
    found = (_FLOAT if kind == "float" else _DECIMAL).match(text, _skip_blanks(text, 0))
    if found is None or found.end() != len(text):
        return None
    return to_float(found.group()) if kind == "float" else int(found.group())
