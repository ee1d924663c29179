"""Markers, line formats and limits of a stream, as libcrystfel 0.12 writes and reads them (stream.c).

The one place that spells them; ``fgets`` is mirrored here because what libcrystfel reads is decided by it, not by the
layout it writes (see :mod:`waterbg.stream.scanf` for its ``sscanf``).
"""

from __future__ import annotations

from collections.abc import Iterator

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
LONGEST_LINE = LONGEST_PIECE - 1  # whose newline comes in the same piece
LONGEST_AUDIT = 4090  # bytes before the geometry
LONGEST_GEOMETRY = 1024 * 1024 - 1
LONGEST_PANEL_NAME = 63  # %63s
LARGEST_INDEX = 511  # either sign; reflection lists hold no more

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
