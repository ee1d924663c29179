"""Parts of a stream: chunks and crystals that are wanted, every byte of them as it was."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from waterbg.errors import UsageError
from waterbg.stream import Chunk, StreamFile

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ge": operator.ge, "gt": operator.gt, "ne": operator.ne,
}  # fmt: skip
CELL_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_PREFIX = re.compile(rb"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_CELL = re.compile(rb"^Cell parameters ([0-9.]+) ([0-9.]+) ([0-9.]+) nm, ([0-9.]+) ([0-9.]+) ([0-9.]+) deg")


@dataclass
class Selected:
    """How many there were, and how many were wanted."""

    chunks: int = 0
    wanted: int = 0


def select_chunks(
    stream: StreamFile,
    wanted: Callable[[Chunk], bytes | None],
    count: Selected,
    until: Callable[[], bool] = lambda: False,
) -> Iterator[bytes]:
    """Bytes of a stream with some of its chunks.

    Parameters
    ----------
    stream : StreamFile
    wanted : callable
        Gives the bytes to take for a chunk (its own, as a rule), or None for none. What stands between a chunk and the
        next goes with it.
    count : Selected
    until : callable
        Asked after each chunk whether that was the last.

    Yields
    ------
    bytes
    """
    yield stream.header
    at, took = stream.header_end, False
    for chunk in stream.chunks():
        if took and chunk.start > at:
            yield stream.read(at, chunk.start)
        count.chunks += 1
        part = wanted(chunk)
        at, took = chunk.stop, part is not None
        if part is not None:
            count.wanted += 1
            yield part
        if until():
            return


@dataclass(frozen=True)
class Line:
    """A line that a chunk must have: matched by a pattern, its number compared.

    Attributes
    ----------
    pattern : compiled regular expression
        Of bytes.
    comparison : str or None
        One of `COMPARISONS`; None when the line alone counts.
    reference : str
        What the value is compared with: the number behind the first ``=`` of the line (or a cell parameter). A word
        instead of a number is compared, by ``eq`` and ``ne``, with the whole text behind the ``=``.
    cell : int or None
        Which cell parameter to compare, instead of a line of that pattern.
    """

    pattern: re.Pattern[bytes]
    comparison: str | None = None
    reference: str = ""
    cell: int | None = None

    def matches(self, chunk: Chunk) -> bool:
        """Whether any line of a chunk does."""
        return any(self._matches(line) for line in chunk.bytes.split(b"\n") if self.pattern.search(line))

    def _matches(self, line: bytes) -> bool:
        if self.comparison is None:
            return True
        if self.cell is not None:
            found = _CELL.match(line)
            text = found.group(self.cell + 1) if found else b""
        else:
            parts = line.split(b"=")
            text = parts[1] if len(parts) > 1 else b""
        compare = COMPARISONS[self.comparison]
        try:
            reference = float(self.reference)
        except ValueError:
            return compare(text.strip().decode("utf-8", "replace") == self.reference, True)
        number = _PREFIX.match(text)
        # a value that is no number is less than, equal to and greater than none; it differs from all
        return compare(float(number.group(1)), reference) if number else self.comparison == "ne"


def make_line(name: str | None, cells: Sequence[str], comparisons: dict[str, str | None]) -> Line:
    """Put together what ``stream_grep`` was asked for.

    Raises
    ------
    UsageError
        When it was asked for nothing, too much, or a pattern that is none.
    """
    if len(cells) + (name is not None) != 1:
        raise UsageError("one tag name (-n) or cell parameter (--cell-a …) is needed")
    given = [(key, value) for key, value in comparisons.items() if value is not None]
    if len(given) > 1:
        raise UsageError("more than one comparison")
    key, reference = given[0] if given else (None, "")
    if key not in (None, "eq", "ne"):
        try:
            float(reference)
        except ValueError:
            raise UsageError(f"--{key}={reference}: a number is needed") from None
    try:
        pattern = _CELL if name is None else re.compile(name.encode("utf-8", "surrogateescape"))
    except re.error as err:
        raise UsageError(f"{name!r} is no regular expression ({err})") from None
    return Line(pattern, key, reference, CELL_PARAMETERS.index(cells[0]) if cells else None)


def is_indexed(chunk: Chunk) -> bool:
    """Whether ``indexed_by`` names a method; without that line, whether there are crystals."""
    said = chunk.value("indexed_by")
    return bool(chunk.crystals) if said is None else said.strip() != "none"


@dataclass
class _Window:
    """Takes number ``start`` (from 0 on) to ``stop`` (exclusive; None is the end) of what is counted."""

    start: int
    stop: int | None
    seen: int = 0
    taken: int = 0

    def _next(self, count: int) -> list[bool]:
        """Whether each of the next ones is inside."""
        numbers = range(self.seen, self.seen + count)
        inside = [self.start <= number and (self.stop is None or number < self.stop) for number in numbers]
        self.seen += count
        self.taken += sum(inside)
        return inside

    @property
    def done(self) -> bool:
        """Whether no more can come."""
        return self.stop is not None and self.seen >= self.stop


class CrystalWindow(_Window):
    """Counts crystals; their chunks go with them."""

    def __call__(self, chunk: Chunk) -> bytes | None:
        """Bytes of a chunk without the crystals outside the window; None when none is inside."""
        keep = self._next(len(chunk.crystals))
        if not any(keep):
            return None
        parts, at = [], 0
        for crystal, kept in zip(chunk.crystals, keep):
            if not kept:
                parts.append(chunk.bytes[at : crystal.start])
                at = crystal.stop
        return b"".join([*parts, chunk.bytes[at:]])


class ChunkWindow(_Window):
    """Counts chunks."""

    def __call__(self, chunk: Chunk) -> bytes | None:
        """Bytes of a chunk, None outside the window."""
        return chunk.bytes if self._next(1)[0] else None
