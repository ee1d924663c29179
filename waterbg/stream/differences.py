"""What differs between two streams beyond what the main job may change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from waterbg.stream import grammar as g
from waterbg.stream.chunk import Chunk
from waterbg.stream.crystal import Crystal, text_of
from waterbg.stream.reader import StreamFile
from waterbg.stream.reflections import NUMBERS
from waterbg.stream.rows import NUMBERS_BEGIN, NUMBERS_END


@dataclass
class Differences:
    """Compares two streams: iterating yields what differs beyond what the main job may change, a line each.

    It may change I, sigma, peak and background of reflections, drop reflections with their counts, and add one line
    ``waterbg …`` directly before the geometry.

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
    reflections : int
        Of the first stream, as far as they have been compared; counted while iterating, as are the others.
    changed, dropped : int
        Reflections with other numbers, and those that the second stream has no more.
    provenance : str
        The line that the second stream has before its geometry; empty when it has none.
    """

    before: str
    after: str
    chunks_may_lack: bool = False
    stop: int | None = None
    reflections: int = 0
    changed: int = 0
    dropped: int = 0
    provenance: str = ""

    def __iter__(self) -> Iterator[str]:
        with StreamFile(self.before, self.stop) as a, StreamFile(self.after) as b:
            old_chunks, new_chunks = a.all_chunks(), b.all_chunks()
            new = next(new_chunks, None)
            behind = self._behind_header(a.header, b.header)
            if behind is None:
                yield self._where_headers_differ(a.header, b.header)
                behind = b.header_end
            old_at, new_at, kept = a.header_end, behind, b""  # kept: what stood before chunks that lack
            while new is not None:
                old = next(old_chunks, None)
                while old is not None and self.chunks_may_lack and _identity(old) != _identity(new):
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
                kept += a.read(old_at, old.start)
                old_at = old.stop
            if b.read(new_at, new_at + len(kept)) != kept:
                yield f"text behind byte {new_at} of {self.after} differs"
            else:
                yield from self._tails(a, b, old_at, new_at + len(kept))

    def agrees(self, a: StreamFile, b: StreamFile, old: tuple[int, int], new: tuple[int, int]) -> bool:
        """Whether nothing differs between two ranges of bytes that hold as many chunks, and end with the last one's."""
        if a.read(*old) == b.read(*new):  # as where nothing was indexed: not worth to be parsed
            return True
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
            return self._behind_header(a.header, b.header) is not None

    def _behind_header(self, old: bytes, new: bytes) -> int | None:
        """Byte of the second stream where the first one's header ends in it; None if that is not there.

        What stood before chunks that lack is kept, and looks like a part of the second header.
        """
        for begin, end in ((0, 0), self._provenance_line(new)):
            without = new[:begin] + new[end:]
            if without == old or (self.chunks_may_lack and without.startswith(old)):
                self.provenance = text_of(new[begin:end].rstrip(b"\n"))
                return len(old) + end - begin
        return None

    @staticmethod
    def _where_headers_differ(old: bytes, new: bytes) -> str:
        first = next((i for i, (x, y) in enumerate(zip(old, new)) if x != y), min(len(old), len(new)))
        return f"the header differs, first at byte {first} (line {old.count(10, 0, first) + 1})"

    @staticmethod
    def _provenance_line(header: bytes) -> tuple[int, int]:
        """Where the line is that the main job puts before the geometry; no bytes if it is not there."""
        end = header.find(b"\n" + g.BEGIN_GEOMETRY + b"\n") + 1
        begin = header.rfind(b"\n", 0, end - 1) + 1
        return (begin, end) if header.startswith(b"waterbg ", begin) else (end, end)

    def _tails(self, a: StreamFile, b: StreamFile, old_at: int, new_at: int) -> Iterator[str]:
        for (start, old), (_, new) in zip_longest(a.rest(old_at), b.rest(new_at), fillvalue=(0, b"")):
            if old != new:
                yield f"text behind the last chunk differs (byte {start})"
                return

    def _chunk(self, old: Chunk, new: Chunk) -> Iterator[str]:
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


def find_differences(before: str, after: str, chunks_may_lack: bool = False, stop: int | None = None) -> Iterator[str]:
    """Yield what differs between two streams beyond what the main job may change; nothing for its honest output.

    Parameters as of `Differences`.
    """
    return iter(Differences(before, after, chunks_may_lack, stop))


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
