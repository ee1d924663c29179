"""Untouched bytes + new numbers -> the bytes of the output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import StreamError
from waterbg.stream import grammar as g
from waterbg.stream.chunk import Chunk
from waterbg.stream.crystal import Crystal
from waterbg.stream.reflections import NUMBERS, replace_numbers

SPLICED = np.dtype([*((name, "f8") for name in NUMBERS), ("keep", "?")])
"""New numbers of a reflection, ADU; one that is not kept loses its line."""


def splice_reflections(
    chunk: Chunk,
    new: Sequence[NDArray[np.void]],
    saturated: Sequence[int] | None = None,
    implausible: Sequence[int] | None = None,
) -> bytes:
    """Put new numbers into a chunk; every byte that need not change stays.

    Parameters
    ----------
    chunk : Chunk
    new : sequence of (n,) SPLICED
        One for each crystal, aligned with its reflections; ``num_reflections`` follows what is kept.
    saturated, implausible : sequence of int, optional
        How many of each crystal's dropped reflections were saturated or implausible (I < -5 sigma); added to
        ``num_saturated_reflections`` and ``num_implausible_reflections``.

    Returns
    -------
    bytes
        The chunk's.
    """
    data = chunk.bytes
    parts, at = [], 0
    for number, (crystal, values) in enumerate(zip(chunk.crystals, new)):
        n = len(crystal.reflections)
        if len(values) != n:
            raise ValueError(f"crystal {number}: {len(values)} new rows for {n} reflections")
        if not n:
            continue
        begin, end = crystal.block
        kept = int(np.count_nonzero(values["keep"]))
        changes = [
            (b"num_reflections", kept - n),
            (b"num_saturated_reflections", saturated[number] if saturated else 0),
            (b"num_implausible_reflections", implausible[number] if implausible else 0),
        ]
        for line_begin, line_end, text in sorted(_counts(data, crystal, changes)):
            if line_end <= begin:
                parts += [data[at:line_begin], text]
                at = line_end
        parts += [data[at:begin], replace_numbers(data, crystal.rows, values, values["keep"])]
        at = end
    parts.append(data[at:])
    return b"".join(parts)


def _counts(data: bytes, crystal: Crystal, changes: list[tuple[bytes, int]]) -> list[tuple[int, int, bytes]]:
    """Where a count's digits lie, and what they become."""
    found = []
    for name, change in changes:
        line = crystal.count_line(name)
        if line is None or not change:
            continue
        begin = line[0] + len(name) + 3
        end = begin
        while data[end : end + 1].isdigit():
            end += 1
        if end > begin:
            found.append((begin, end, b"%d" % max(0, int(data[begin:end]) + change)))
    return found


def add_provenance(header: bytes, line: bytes, path: str = "stream") -> bytes:
    """Header with one more line directly before its geometry.

    Raises
    ------
    StreamError
        When libcrystfel would then refuse the stream: it takes 4090 bytes before the geometry and no more.
    """
    at = header.find(b"\n" + g.BEGIN_GEOMETRY + b"\n") + 1
    if at <= 0:
        raise StreamError("there is no geometry", path=path)
    if b"\n" in line or len(line) + 1 > g.LONGEST_PIECE:
        raise ValueError("the provenance must be one line of at most 1021 bytes")
    version = header.find(b"\n") + 1
    if at - version + len(line) + 1 > g.LONGEST_AUDIT:
        raise StreamError(
            f"the text before the geometry has {at - version} bytes; with the provenance line it would pass the "
            f"{g.LONGEST_AUDIT} that CrystFEL reads, and no CrystFEL program would open the output; "
            "shorten it in a copy of the stream",
            path=path,
        )
    return header[:at] + line + b"\n" + header[at:]
