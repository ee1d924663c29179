"""The text of whole streams gone through in pieces by several processes: damage before the work, proof after it.

Here is only decided whether all is well. Where it may not be, the whole stream is read again by one process, which
says what is wrong and where, so that the answer does not depend on the pieces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest

from waterbg.run.follow import Span, Spans
from waterbg.run.pool import ordered_map
from waterbg.stream import StreamFile
from waterbg.stream.check import CHECKS, LOSSES, Checker
from waterbg.stream.differences import Differences

_CHUNKS = 32  # a piece: some megabytes at the most
_WORTH = 8 << 20  # bytes; for less it takes longer to start processes

Report = Callable[[str], None]
NamedImages = dict[str, tuple[str | None, str | None]]
"""Image files in the order of the stream, each with its first event there, and that of the highest numbers."""


def add_image(images: NamedImages, name: str, event: str | None) -> None:
    """Note an image. Where its file was cut short, it is the event with the highest numbers that is missing."""
    first, last = images.setdefault(name, (event, event))
    if _numbers(event) > _numbers(last):
        images[name] = first, event


def _numbers(event: str | None) -> tuple[int, ...]:
    """Those of an event (``//5/1``), without its paths."""
    return tuple(int(word) for word in (event or "").rpartition("//")[2].split("/") if word.isdecimal())


@dataclass
class _Piece:
    """Whether nothing is lost in a piece, and the images that its reflections need."""

    clean: bool
    images: NamedImages = field(default_factory=dict)


def find_images(path: str, header_end: int, jobs: int, report: Report) -> NamedImages | None:
    """Go through a stream in which nothing may be lost.

    Parameters
    ----------
    path : str
    header_end : int
        Byte where the first chunk begins.
    jobs : int
        Processes.
    report : callable
        Called with one line when one of them died and its piece is tried again.

    Returns
    -------
    NamedImages or None
        Those that chunks with reflections name; None when something may be lost.
    """
    with StreamFile(path) as stream:
        if Checker(stream, set(CHECKS) - LOSSES).header_is_odd():
            return None
    images: NamedImages = {}
    jobs = _processes(path, jobs)
    pieces = ordered_map(_look, _spans(path, header_end), jobs=jobs, prepare=partial(_open, path), report=report)
    with closing(pieces), _closed_in_the_end():
        for piece in pieces:
            if not piece.clean:
                return None
            for name, events in piece.images.items():
                for event in events:
                    add_image(images, name, event)
    return images


def agree(before: str, after: str, starts: tuple[int, int], jobs: int, report: Report) -> bool:
    """Whether two streams differ behind their headers only where the main job may change them; False: perhaps not.

    Parameters
    ----------
    before, after : str
    starts : 2 ints
        Bytes where their first chunks begin.
    jobs, report
        As in `find_images`.
    """
    pairs = _pairs(_spans(before, starts[0]), _spans(after, starts[1]))
    jobs = _processes(before, jobs)
    pieces = ordered_map(_compare, pairs, jobs=jobs, prepare=partial(_open, before, after), report=report)
    with closing(pieces), _closed_in_the_end():
        return all(pieces)


def _processes(path: str, jobs: int) -> int:
    return jobs if os.stat(path).st_size > _WORTH else 1


def _spans(path: str, start: int) -> Iterator[Span]:
    return (span for span in Spans(path, start, chunks_per_span=_CHUNKS) if span is not None)


def _pairs(old: Iterator[Span], new: Iterator[Span]) -> Iterator[tuple[Span, Span]]:
    nothing = Span(0, 0, 0)
    return zip_longest(old, new, fillvalue=nothing)


_streams: tuple[StreamFile, ...] = ()


def _open(*paths: str) -> None:
    global _streams
    _streams = tuple(StreamFile(path) for path in paths)


@contextmanager
def _closed_in_the_end() -> Iterator[None]:
    """What `_open` opened in this process, if it worked itself, is closed."""
    global _streams
    try:
        yield
    finally:
        for stream in _streams:
            stream.close()
        _streams = ()


def _look(span: Span) -> _Piece:
    (stream,) = _streams
    checker = Checker(stream, set(CHECKS) - LOSSES)
    piece = _Piece(True)
    at = span.start
    for chunk in stream.all_chunks(span.start, span.stop):
        if checker.is_odd(chunk, at):
            return _Piece(False)
        if chunk.n_reflections:
            add_image(piece.images, chunk.filename, chunk.event)
        at = chunk.stop
    # the next piece is read as it would be by one process only when this one ends where its last chunk does
    piece.clean = at == span.stop and checker.counts.chunks == span.chunks > 0
    return piece


def _compare(pair: tuple[Span, Span]) -> bool:
    old, new = pair
    if not old.chunks == new.chunks > 0:
        return False
    before, after = _streams
    ranges = (old.start, old.stop), (new.start, new.stop)
    return Differences(before.path, after.path).agrees(before, after, *ranges)
