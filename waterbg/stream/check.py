"""What libcrystfel would refuse, lose or mislabel in a stream, and what differs between two streams.

Each check is a row of the table of ways in which streams go wrong; its name is what ``--skip`` takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest

import numpy as np

from waterbg.errors import StreamError
from waterbg.stream import grammar as g
from waterbg.stream.chunk import Chunk, Crystal, text_of
from waterbg.stream.reader import StreamFile
from waterbg.stream.reflections import NUMBERS
from waterbg.stream.rows import NUMBERS_BEGIN, NUMBERS_END, beyond_limit
from waterbg.stream.scanf import scan

CHECKS = {
    "geometry": "geometry that CrystFEL 0.12 refuses: the stream cannot be opened",
    "incomplete_chunk": "chunk without Image filename or photon_energy_eV: reading ends there",
    "peak_list": "row of a peak list that cannot be read: reading ends there",
    "cut": "file that ends inside a chunk: the chunk is lost",
    "reflection_list": "row of a reflection list that cannot be read: the crystal's whole list is lost",
    "end_chunk": "chunk without end: two images become one",
    "end_crystal": "crystal without end: it swallows what follows",
    "not_finite": "NaN or inf (as a float) in I or sigma, which goes into the merged file",
    "unknown_panel": "reflection or peak on a panel the geometry does not have: kept without a position, or dropped",
    "cell": "crystal without astar, bstar or cstar: used without a cell",
    "photon_energy": "reflections whose photon energy is zero, negative or not a number",
    "index": "Miller index beyond 511, at which libcrystfel aborts",
    "num_reflections": "num_reflections that does not count the list",
    "panel_name": "panel name over 63 characters, which is cut",
    "long_line": "line over 1022 bytes, which arrives in pieces",
    "header_line": "copied header that cannot be read",
    "nul": "NUL byte, which ends its line for libcrystfel",
    "several_streams": "another stream's header inside, with the same geometry",
    "other_geometry": "another stream's header inside, with another geometry, which is not used",
    "stray_end": "end marker without its beginning, or a list where none is read",
    "repeated_end": "end marker that ends nothing once more, which does no harm",
}


_LARGEST_FLOAT = float(np.finfo(np.float32).max)

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

    Attributes
    ----------
    counts : Counts
        Complete after the last finding.
    """

    stream: StreamFile
    skip: Collection[str] = ()
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
            for block_start, block in _blocks(self.stream, at):
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
        yield from _odd_bytes(self.stream.header, skip_first_geometry=self.stream)
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
            yield from self._crystal(crystal, number)

    def _crystal(self, crystal: Crystal, number: int) -> Iterator[tuple[str, str, int]]:
        rows, begin = crystal.reflections, crystal.rows.begin
        if crystal.axes is None:
            yield "cell", f"crystal {number} has no complete astar, bstar, cstar", crystal.start
        elif not np.isfinite(crystal.axes).all():
            yield "cell", f"crystal {number} has an axis that is not a number", crystal.start
        for name in ("I", "sigma"):
            # libcrystfel reads them as float, to which 1e39 is inf; a NaN fails every comparison
            good = (rows[name] <= _LARGEST_FLOAT) & (rows[name] >= -_LARGEST_FLOAT)
            for row in np.flatnonzero(~good):
                yield "not_finite", f"{name} is {rows[name][row]}", int(begin[row])
        for row in beyond_limit(crystal.rows):
            indices = " ".join(str(rows[name][row]) for name in "hkl")
            yield "index", f"reflection {indices} is beyond ±{g.LARGEST_INDEX}", int(begin[row])
        yield from self._panels(crystal.panel_names, rows["panel"], begin, "reflection")
        line = crystal.count_line(b"num_reflections")
        if line is not None and crystal.has_list and not crystal.lost:
            said = scan(line[1], "num_reflections = %i")
            if said is None or said[0] != len(rows):
                yield "num_reflections", f"{text_of(line[1])!r}, but the list has {len(rows)}", line[0]

    def _panels(
        self, names: tuple[bytes, ...], panel: np.ndarray, begin: np.ndarray, what: str
    ) -> Iterator[tuple[str, str, int]]:
        for number, name in enumerate(names):
            if name not in self.stream.panel_names:
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


def _odd_bytes(data: bytes, skip_first_geometry: StreamFile | None = None) -> Iterator[tuple[str, str, int]]:
    """NUL bytes and lines that ``fgets`` cuts."""
    nul = data.find(b"\0")
    if nul >= 0:
        yield "nul", f"{data.count(0)} NUL bytes; each ends its line for libcrystfel", data.rfind(b"\n", 0, nul) + 1
    raw = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(raw == 10)
    ends = np.append(newlines, len(raw))
    lengths = np.diff(ends, prepend=-1)
    for long in np.flatnonzero(lengths > g.LONGEST_PIECE + 1):
        begin = int(ends[long] - lengths[long] + 1)
        if skip_first_geometry is not None and data.startswith(b";", begin):
            continue  # a comment of the geometry does no harm in pieces
        yield "long_line", f"line of {int(lengths[long]) - 1} bytes; libcrystfel reads it in pieces of 1022", begin


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


def _blocks(stream: StreamFile, at: int) -> Iterator[tuple[int, bytes]]:
    """What lies behind the last chunk, in pieces of whole lines."""
    while True:
        block = stream.read(at, at + (4 << 20))
        if not block:
            return
        whole = block.rfind(b"\n") + 1 or len(block)
        yield at, block[:whole]
        at += whole


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


# -- two streams --------------------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """What differs between two streams beyond what the main job may change.

    Parameters
    ----------
    before, after : str
        Paths.
    chunks_may_lack : bool
        The second stream may lack chunks of the first (``--on-missing=drop``).
    stop : int, optional
        Byte at which the first stream ended when the second was made of it.

    Attributes
    ----------
    chunks, reflections, changed, dropped, provenance
        Counted while iterating.
    """

    before: str
    after: str
    chunks_may_lack: bool = False
    stop: int | None = None
    chunks: int = 0
    reflections: int = 0
    changed: int = 0
    dropped: int = 0
    lacking: int = 0
    provenance: str = ""

    def __iter__(self) -> Iterator[str]:
        with StreamFile(self.before, self.stop) as a, StreamFile(self.after) as b:
            old_chunks, new_chunks = a.all_chunks(), b.all_chunks()
            new = next(new_chunks, None)
            yield from self._headers(a, b, self.chunks_may_lack and new is None)
            old_at, new_at, kept = a.header_end, b.header_end, b""  # kept: what stood before chunks that lack
            if new is None:  # what is kept looks like a part of the header
                begin, end = self._provenance_line(b.header)
                new_at = a.header_end + end - begin
            while new is not None:
                old = next(old_chunks, None)
                while old is not None and self.chunks_may_lack and _identity(old) != _identity(new):
                    self.lacking += 1
                    kept += a.read(old_at, old.start)
                    old_at = old.stop
                    old = next(old_chunks, None)
                if old is None:
                    yield f"{self.after} has more chunks, from byte {new.start} on"
                    return
                if kept + a.read(old_at, old.start) != b.read(new_at, new.start):
                    yield f"text before the chunk at byte {old.start} differs"
                yield from self._chunk(old, new)
                old_at, new_at, kept = old.stop, new.stop, b""
                new = next(new_chunks, None)
            for old in old_chunks:
                if not self.chunks_may_lack:
                    yield f"{self.after} lacks the chunk at byte {old.start} and what follows"
                    return
                self.lacking += 1
                kept += a.read(old_at, old.start)
                old_at = old.stop
            if b.read(new_at, new_at + len(kept)) != kept:
                yield f"text behind byte {new_at} of {self.after} differs"
            else:
                yield from self._tails(a, b, old_at, new_at + len(kept))

    def agrees(self, a: StreamFile, b: StreamFile, old: tuple[int, int], new: tuple[int, int]) -> bool:
        """Whether nothing differs between two ranges of bytes that hold as many chunks, and end with the last one's."""
        old_at, new_at = old[0], new[0]
        for before, after in zip_longest(a.all_chunks(*old), b.all_chunks(*new)):
            if before is None or after is None or any(self._chunk(before, after)):
                return False
            if a.read(old_at, before.start) != b.read(new_at, after.start):
                return False
            old_at, new_at = before.stop, after.stop
        return (old_at, new_at) == (old[1], new[1])

    def same_header(self) -> bool:
        """Whether the headers agree."""
        with StreamFile(self.before) as a, StreamFile(self.after) as b:
            return not any(self._headers(a, b, False))

    def _headers(self, a: StreamFile, b: StreamFile, more: bool) -> Iterator[str]:
        """``more``: the second header may have text behind it, because there is no chunk left that would end it."""
        old, new = a.header, b.header
        if old == new:
            return
        begin, end = self._provenance_line(new)
        without = new[:begin] + new[end:]
        if without == old or (more and without.startswith(old)):
            self.provenance = text_of(new[begin:end].rstrip(b"\n"))
            return
        first = next((i for i, (x, y) in enumerate(zip(old, new)) if x != y), min(len(old), len(new)))
        yield f"the header differs, first at byte {first} (line {old.count(10, 0, first) + 1})"

    @staticmethod
    def _provenance_line(header: bytes) -> tuple[int, int]:
        """Where the line is that the main job puts before the geometry; no bytes if it is not there."""
        end = header.find(b"\n" + g.BEGIN_GEOMETRY + b"\n") + 1
        begin = header.rfind(b"\n", 0, end - 1) + 1
        return (begin, end) if header.startswith(b"waterbg ", begin) else (end, end)

    def _tails(self, a: StreamFile, b: StreamFile, old_at: int, new_at: int) -> Iterator[str]:
        for (start, old), (_, new) in zip_longest(_blocks(a, old_at), _blocks(b, new_at), fillvalue=(0, b"")):
            if old != new:
                yield f"text behind the last chunk differs (byte {start})"
                return

    def _chunk(self, old: Chunk, new: Chunk) -> Iterator[str]:
        self.chunks += 1
        if old.bytes == new.bytes:
            self.reflections += old.n_reflections
            return
        where = f"chunk at byte {old.start} ({old.filename} {old.event or ''})"
        if len(old.crystals) != len(new.crystals):
            yield f"{where}: {len(old.crystals)} crystals became {len(new.crystals)}"
            return
        old_at = new_at = 0
        for number, (before, after) in enumerate(zip(old.crystals, new.crystals), 1):
            here = f"{where}, crystal {number}"
            first_old, first_new = before.block[0], after.block[0]
            dropped = len(before.reflections) - len(after.reflections)
            if len(before.reflections) and not len(after.reflections):
                first_new = _empty_block(new, after)
            if _without_counts(old.bytes[old_at:first_old], dropped) != _without_counts(
                new.bytes[new_at:first_new], dropped
            ):
                yield f"{here}: lines outside the reflections differ"
            yield from self._rows(old, before, new, after, here)
            old_at, new_at = before.block[1], after.block[1] if len(after.reflections) else first_new
        if old.bytes[old_at:] != new.bytes[new_at:]:
            yield f"{where}: lines behind the last reflection differ"

    def _rows(self, old: Chunk, before: Crystal, new: Chunk, after: Crystal, here: str) -> Iterator[str]:
        self.reflections += len(before.reflections)
        dropped = len(before.reflections) - len(after.reflections)
        if dropped < 0:
            yield f"{here}: {-dropped} reflections more than before"
            return
        self.dropped += dropped
        kept = _kept(old, before, new, after)
        if kept is None:
            yield f"{here}: indices, positions or panels of reflections differ, or their order"
            return
        a, b = before.reflections[kept], after.reflections
        same = np.ones(len(b), bool)
        for name in NUMBERS:
            same &= (a[name] == b[name]) | (np.isnan(a[name]) & np.isnan(b[name]))
            if not np.isfinite(b[name][np.isfinite(a[name])]).all():
                yield f"{here}: {name} became NaN or inf"
        self.changed += int(np.count_nonzero(~same))


def compare_streams(before: str, after: str, chunks_may_lack: bool = False, stop: int | None = None) -> Iterator[str]:
    """Yield what differs between two streams beyond what the main job may change; nothing for its honest output.

    It may change I, sigma, peak and background of reflections, drop reflections with their counts, and add one line
    ``waterbg …`` directly before the geometry. Parameters as of `Comparison`.
    """
    return iter(Comparison(before, after, chunks_may_lack, stop))


def _identity(chunk: Chunk) -> bytes:
    crystal = chunk.crystals[0].start if chunk.crystals else len(chunk.bytes)
    return chunk.bytes[:crystal]


def _empty_block(chunk: Chunk, crystal: Crystal) -> int:
    """Where the rows of an emptied list would stand."""
    return max(crystal.start, chunk.bytes.rfind(b"\n" + g.END_REFLECTIONS + b"\n", crystal.start, crystal.stop) + 1)


_COUNTED = (b"num_reflections = ", b"num_saturated_reflections = ", b"num_implausible_reflections = ")


def _without_counts(text: bytes, dropped: int) -> bytes:
    if not dropped:
        return text
    return b"".join(line for line in text.splitlines(True) if not line.startswith(_COUNTED))


def _fixed_parts(chunk: Chunk, crystal: Crystal) -> list[bytes] | np.ndarray:
    """Of every row the bytes before I and behind background; as one array of strings where the layout is regular."""
    rows, data = crystal.rows, chunk.bytes
    lengths = rows.end - rows.begin
    if len(lengths) and rows.numbers is None and (lengths == lengths[0]).all():
        # a number that overflows its columns shifts what follows, and the row then is not of this layout
        table = np.frombuffer(data, np.uint8, int(lengths.sum()), int(rows.begin[0])).reshape(len(lengths), -1)
        fixed = np.ascontiguousarray(np.delete(table, np.s_[NUMBERS_BEGIN:NUMBERS_END], axis=1))
        return fixed.view(f"S{fixed.shape[1]}").ravel()
    parts = []
    for i, (begin, end) in enumerate(zip(rows.begin.tolist(), rows.end.tolist())):
        first, last = (NUMBERS_BEGIN, NUMBERS_END) if rows.numbers is None else rows.numbers[i].tolist()
        parts.append(data[begin : begin + first] + data[begin + last : end])
    return parts


def _kept(old: Chunk, before: Crystal, new: Chunk, after: Crystal) -> np.ndarray | None:
    """Numbers of the old rows that are still there; None unless the new rows are some of the old ones, in order."""
    a, b = _fixed_parts(old, before), _fixed_parts(new, after)
    if len(a) == len(b):
        same = (a == b).all() if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else list(a) == list(b)
        if same or list(map(bytes, a)) == list(map(bytes, b)):
            return np.arange(len(a))
        return None
    return places_in_order(map(bytes, a), map(bytes, b))


def places_in_order(old: Iterable[object], new: Iterable[object]) -> np.ndarray | None:
    """Numbers of the old ones that are still there; None unless the new ones are some of the old ones, in order."""
    kept = []
    wanted = iter(enumerate(old))
    for one in new:
        for number, candidate in wanted:
            if candidate == one:
                kept.append(number)
                break
        else:
            return None
    return np.array(kept, np.int64)
