"""What libcrystfel would refuse, lose or mislabel in a stream.

Each check is a row of the table of ways in which streams go wrong; its name is what ``--skip`` takes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from waterbg.errors import StreamError
from waterbg.stream import grammar as g
from waterbg.stream.chunk import Chunk, Parsed
from waterbg.stream.crystal import Crystal, by_word, changed_line, text_of
from waterbg.stream.reader import StreamFile
from waterbg.stream.rows import beyond_limit
from waterbg.stream.scanf import scan

CHECKS = {
    "geometry": "geometry that CrystFEL 0.12 refuses: the stream cannot be opened",
    "incomplete_chunk": "chunk without Image filename or photon_energy_eV: reading ends there",
    "peak_list": "row of a peak list that cannot be read: reading ends there",
    "lost_peaks": "peak in the place of the column header, or in a list before a second one: passed over",
    "cut": "file that ends inside a chunk: the chunk is lost",
    "reflection_list": "row of a reflection list that cannot be read: the crystal's whole list is lost",
    "end_chunk": "chunk without end: two images become one",
    "end_crystal": "crystal without end: it swallows what follows",
    "lost_crystal": "line of a crystal twice, with two values: the first is of a crystal that lost its list",
    "not_finite": "NaN or inf (as a float) in I or sigma, which goes into the merged file",
    "unknown_panel": "reflection or peak on a panel the geometry does not have: kept without a position, or dropped",
    "off_panel": "reflection whose position is not on its panel: kept",
    "cell": "crystal without astar, bstar or cstar: used without a cell",
    "photon_energy": "reflections whose photon energy is zero, negative or not a number",
    "index": "Miller index beyond 511, at which libcrystfel aborts",
    "index_base": "Miller index that begins with 0 or 0x: read as octal or hexadecimal",
    "num_reflections": "num_reflections that does not count the list",
    "panel_name": "panel name over 63 characters, which is cut",
    "long_line": "line over 1021 bytes, which arrives in pieces",
    "header_line": "copied header that cannot be read",
    "nul": "NUL byte, which ends its line for libcrystfel",
    "several_streams": "another stream's header inside, with the same geometry",
    "other_geometry": "another stream's header inside, with another geometry, which is not used",
    "stray_end": "end marker without its beginning, or a list where none is read",
    "repeated_end": "end marker that ends nothing once more, which does no harm",
}


_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_BEYOND = np.array([-0.05, 1.05, -0.05, 1.05])  # positions are printed with one decimal; pixel i reaches to i + 1

LOSSES = {
    *("incomplete_chunk", "peak_list", "cut", "reflection_list", "end_chunk", "end_crystal"),
    *("stray_end", "other_geometry", "photon_energy", "index"),
}
"""Checks whose findings mean that data are lost or mistaken; the others do no harm by themselves."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where: line 1-based, offset of the line's first byte."""

    check: str
    message: str
    line: int
    offset: int


@dataclass
class Counts:
    """What a stream holds, as libcrystfel reads it."""

    chunks: int = 0
    crystals: int = 0
    reflections: int = 0
    peaks: int = 0


@dataclass
class Checker:
    """Goes through a stream and yields what is wrong with it.

    Parameters
    ----------
    stream : StreamFile
    skip : collection of str
        Names of checks to leave out.
    extents : dict, optional
        Panel name -> first and last column (fs), first and last row (ss), all inclusive; None leaves out ``off_panel``.

    Attributes
    ----------
    counts : Counts
        Complete after the last finding.
    """

    stream: StreamFile
    skip: Collection[str] = ()
    extents: Mapping[bytes, tuple[int, int, int, int]] | None = None
    counts: Counts = field(default_factory=Counts)

    def __iter__(self) -> Iterator[Finding]:
        counter = _LineCounter(self.stream)
        at = self.stream.header_end
        yield from self._said(counter, 0, self._header())
        for chunk in self.stream.all_chunks():
            between = self.stream.read(at, chunk.start)
            yield from self._said(counter, at, _between(between, self.stream.geometry_text))
            yield from self._said(counter, chunk.start, self._chunk(chunk))
            at = chunk.stop
        if self.stream.ended is None:
            for block_start, block in self.stream.rest(at):
                yield from self._said(counter, block_start, _between(block, self.stream.geometry_text))

    def header_is_odd(self) -> bool:
        """Whether there would be a finding in the header."""
        return any(check not in self.skip for check, _, _ in self._header())

    def is_odd(self, chunk: Chunk, behind: int) -> bool:
        """Whether there would be a finding in a chunk, or between the byte ``behind`` the one before and this one."""
        found = chain(_between(self.stream.read(behind, chunk.start), self.stream.geometry_text), self._chunk(chunk))
        return any(check not in self.skip for check, _, _ in found)

    def _said(self, counter: _LineCounter, base: int, found: Iterator[tuple[str, str, int]]) -> Iterator[Finding]:
        for check, message, offset in sorted(found, key=lambda one: one[2]):
            if check not in self.skip:
                yield Finding(check, message, counter.line(base + offset), base + offset)

    def _header(self) -> Iterator[tuple[str, str, int]]:
        yield from _odd_bytes(self.stream.header, is_header=True)
        behind = self.stream.geometry_end
        for check, message, offset in _between(self.stream.header[behind:], self.stream.geometry_text):
            yield check, message, behind + offset

    def _chunk(self, chunk: Chunk) -> Iterator[tuple[str, str, int]]:
        parsed = chunk.parsed
        for fault in parsed.faults:
            yield fault.check, fault.reason, fault.offset
        if parsed.complete:
            self.counts.chunks += 1
            self.counts.crystals += len(chunk.crystals)
            self.counts.peaks += len(chunk.peaks)
            again = changed_line(by_word(parsed.lines), (b"num_peaks", b"peak_resolution"))
            if again is not None and "end_chunk" not in parsed.checks:
                at, name = again
                yield "end_chunk", _two_in_one(name, "chunk", "images"), at
        elif parsed.ran_out and not any(fault.check == "peak_list" for fault in parsed.faults):
            yield "cut", "the file ends inside this chunk, which is lost", 0
        if not parsed.plain or b"\0" in chunk.bytes:
            yield from _odd_bytes(chunk.bytes)
        energy = parsed.photon_energy_eV
        # blank shots have none in many a file, and harm nobody
        if energy is not None and not (np.isfinite(energy) and energy > 0) and chunk.n_reflections:
            yield "photon_energy", f"photon energy {energy} eV", max(0, chunk.bytes.find(b"\nphoton_energy_eV") + 1)
        if parsed.peaks is not None:
            yield from self._panels(parsed.peaks.panel_names, parsed.peaks.values["panel"], parsed.peaks.begin, "peak")
        for number, crystal in enumerate(chunk.crystals, 1):
            if parsed.complete:
                self.counts.reflections += len(crystal.reflections)
            yield from self._crystal(crystal, number, parsed)
            if not parsed.plain:
                yield from _odd_indices(chunk.bytes, crystal)

    def _crystal(self, crystal: Crystal, number: int, parsed: Parsed) -> Iterator[tuple[str, str, int]]:
        rows, begin = crystal.reflections, crystal.rows.begin
        if crystal.axes is None:
            yield "cell", f"crystal {number} has no complete astar, bstar, cstar", crystal.start
        elif not np.isfinite(crystal.axes).all():
            yield "cell", f"crystal {number} has an axis that is not a number", crystal.start
        if "end_crystal" not in parsed.checks and (changed := crystal.changed_line()) is not None:
            at, word = changed
            yield "lost_crystal", _two_in_one(word, "crystal", "crystals"), at
        if not parsed.plain:
            yield from _not_finite(crystal)
        for row in beyond_limit(crystal.rows):
            indices = " ".join(str(rows[name][row]) for name in "hkl")
            yield "index", f"reflection {indices} is beyond ±{g.LARGEST_INDEX}", int(begin[row])
        yield from self._panels(crystal.panel_names, rows["panel"], begin, "reflection")
        if self.extents is not None and len(rows):
            yield from self._off_panel(crystal, self.extents)
        line = crystal.count_line(b"num_reflections")
        if line is not None and crystal.has_list and not crystal.lost:
            said = scan(line[1], "num_reflections = %i")
            if said is None or said[0] != len(rows):
                yield "num_reflections", f"{text_of(line[1])!r}, but the list has {len(rows)}", line[0]

    def _off_panel(
        self, crystal: Crystal, extents: Mapping[bytes, tuple[int, int, int, int]]
    ) -> Iterator[tuple[str, str, int]]:
        rows = crystal.reflections
        everywhere = (-np.inf, np.inf, -np.inf, np.inf)  # of a panel that is not there, which is said already
        boxes = _BEYOND + [extents.get(name, everywhere) for name in crystal.panel_names]
        fs, ss, panel = rows["fs"], rows["ss"], rows["panel"]
        left, right, low, high = boxes[0] if len(boxes) == 1 else boxes.T.take(panel, axis=1)
        inside = (fs >= left) & (fs <= right) & (ss >= low) & (ss <= high)
        if np.count_nonzero(inside) == len(inside):
            return
        off = np.flatnonzero(~inside)
        first = off[0]
        where = f"fs {fs[first]:g}, ss {ss[first]:g} is not on panel {text_of(crystal.panel_names[panel[first]])}"
        more = f", and {len(off) - 1} more of this crystal" if len(off) > 1 else ""
        yield "off_panel", f"{where}{more}", int(crystal.rows.begin[first])

    def _panels(
        self, names: tuple[bytes, ...], panel: np.ndarray, begin: np.ndarray, what: str
    ) -> Iterator[tuple[str, str, int]]:
        known = self.stream.panel_names
        for number, name in enumerate(names):
            if name not in known:
                mine = np.flatnonzero(panel == number)
                first = int(begin[mine[0]])
                longer = what == "reflection" and len(name) == g.LONGEST_PANEL_NAME
                check = "panel_name" if longer else "unknown_panel"
                cut = " (names are cut after 63 characters)" if longer else ""
                yield check, f"no panel {text_of(name)!r} in the geometry, {len(mine)} {what}s here{cut}", first


def check_stream(stream: StreamFile, skip: Collection[str] = ()) -> Iterator[Finding]:
    """Everything wrong with an open stream, in the order of the file; see `CHECKS`."""
    return iter(Checker(stream, skip))


def first_loss(stream: StreamFile, *, harmless: Collection[str] = ()) -> StreamError | None:
    """Go through an open stream: the first thing that libcrystfel would lose of it, with line and byte.

    ``harmless``: checks that find no loss here.
    """
    for finding in check_stream(stream, skip=(set(CHECKS) - LOSSES).union(harmless)):
        return StreamError(
            f"{finding.message}; 'waterbg verify' lists all that is damaged",
            path=stream.path,
            line=finding.line,
            offset=finding.offset,
        )
    return None


def _two_in_one(name: bytes, one: str, two: str) -> str:
    return f"a second {name.decode()!r} line in one {one}, not as the first: two {two} become one"


def _odd_bytes(data: bytes, is_header: bool = False) -> Iterator[tuple[str, str, int]]:
    """NUL bytes and lines that ``fgets`` cuts."""
    nul = data.find(b"\0")
    if nul >= 0:
        yield "nul", f"{data.count(0)} NUL bytes; each ends its line for libcrystfel", data.rfind(b"\n", 0, nul) + 1
    raw = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(raw == 10)
    ends = np.append(newlines, len(raw))
    lengths = np.diff(ends, prepend=-1)
    for long in np.flatnonzero(lengths > g.LONGEST_PIECE):  # the newline included
        begin = int(ends[long] - lengths[long] + 1)
        if is_header and data.startswith(b";", begin):
            continue  # a comment of the geometry does no harm in pieces
        yield "long_line", f"line of {int(lengths[long]) - 1} bytes; libcrystfel reads it in pieces of 1022", begin


def _not_finite(crystal: Crystal) -> Iterator[tuple[str, str, int]]:
    """Numbers that are none, or too large, for libcrystfel, which reads floats; a list of plain numbers has none."""
    rows, begin = crystal.reflections, crystal.rows.begin
    for name in ("I", "sigma"):
        # 1e39 is inf as a float; a NaN fails every comparison
        good = (rows[name] <= _LARGEST_FLOAT) & (rows[name] >= -_LARGEST_FLOAT)
        for row in np.flatnonzero(~good):
            yield "not_finite", f"{name} is {rows[name][row]}", int(begin[row])


_ODD_INDEX = re.compile(rb"[ \t]*(?:[+-]?[0-9]+[ \t]+){0,2}([+-]?0[0-9xX][0-9a-fA-F]*)")


def _odd_indices(chunk: bytes, crystal: Crystal) -> Iterator[tuple[str, str, int]]:
    """Indices that are no decimal numbers to ``%i``; a list of printf's own numbers has none."""
    for begin, end in zip(crystal.rows.begin.tolist(), crystal.rows.end.tolist()):
        found = _ODD_INDEX.match(chunk, begin, end)
        if found:
            base = "hexadecimal" if found[1][1:].lower().startswith((b"x", b"0x")) else "octal"
            yield "index_base", f"index {text_of(found[1])} is read as {base}", begin


_STRAYS = (g.END_CHUNK, g.END_CRYSTAL, g.END_REFLECTIONS, g.END_PEAKS, g.BEGIN_CRYSTAL, g.BEGIN_REFLECTIONS)


def _between(data: bytes, geometry: bytes) -> Iterator[tuple[str, str, int]]:
    """What stands between chunks: anything may, but markers there mean that a chunk has lost its beginning."""
    if not data:
        return
    at = data.find(g.BEGIN_GEOMETRY + b"\n")
    if at >= 0:
        if data.startswith(geometry + g.END_GEOMETRY, at + len(g.BEGIN_GEOMETRY) + 1):
            yield "several_streams", "another stream with the same geometry begins here", at
        else:
            advice = "take these streams one by one, or give one for all (-g)"
            yield "other_geometry", f"another stream begins here, and its other geometry is not used: {advice}", at
    if b"---" not in data and b"End of" not in data and g.BEGIN_REFLECTIONS not in data:
        return
    for begin, _, line in g.pieces(data, 0, len(data)):
        if line in _STRAYS:
            yield "stray_end", f"{line.decode()!r} outside a chunk: what it belongs to is not read", begin
            return


class _LineCounter:
    """Line numbers, counting each byte once where they are asked for in ascending order, and none where nobody asks."""

    def __init__(self, stream: StreamFile) -> None:
        self.stream, self.at, self.lines = stream, 0, 1

    def line(self, offset: int) -> int:
        """Line of a byte; the stream is read again from where counting stands. 0 where that cannot be."""
        if not self.stream.seekable:
            return 0
        if offset < self.at:
            self.at, self.lines = 0, 1
        with open(self.stream.path, "rb") as file:
            file.seek(self.at)
            left = offset - self.at
            while left > 0 and (block := file.read(min(left, 1 << 22))):
                self.lines += block.count(b"\n")
                left -= len(block)
        self.at = offset
        return self.lines
