"""Which bytes of the input are ready to be worked on: spans of complete chunks, of a finished or a growing stream."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from waterbg.errors import StreamError
from waterbg.stream.grammar import BEGIN_CHUNK, END_CHUNK

_MARKER = b"\n" + END_CHUNK
_BEGIN = b"\n" + BEGIN_CHUNK
_HEADER = 8 << 20  # more than libcrystfel accepts before the first chunk
_BLOCK = 8 << 20
_LONGEST = 1 << 30  # bytes without the end of a chunk: not a stream any more, and more than memory should hold
_POLL = 0.2  # seconds between two looks at a file that grows: cheap, and soon enough for a person


@dataclass(frozen=True)
class Span:
    """Bytes [start, stop) of the input: whole chunks with whatever lies before each."""

    start: int
    stop: int
    chunks: int
    """0 for the tail: what the file holds behind its last complete chunk."""

    def __str__(self) -> str:
        what = "the tail" if not self.chunks else "1 chunk" if self.chunks == 1 else f"{self.chunks} chunks"
        return f"{what} at bytes {self.start} to {self.stop}"


@dataclass
class Follow:
    """When a growing stream counts as finished.

    Attributes
    ----------
    until_idle : float or None
        Seconds without growth.
    until_pid : int or None
        The stream is finished when this process has ended.
    stopped : callable
        True when the user asked (by a signal) to end with what is there.
    end : callable or None
        Ends the program that writes the stream, and is called when a signal asks for the end: what is proven against a
        stream that grows on would differ from it. The stream is then finished when ``stopped`` says so.
    """

    until_idle: float | None = None
    until_pid: int | None = None
    stopped: Callable[[], bool] = field(default=lambda: False)
    end: Callable[[], None] | None = None

    def finished(self, idle: float) -> bool:
        """Whether nothing more is expected, ``idle`` seconds after the last growth."""
        if self.stopped():
            return True
        if self.until_pid is not None and not _alive(self.until_pid):
            return True
        return self.until_idle is not None and idle >= self.until_idle


def wait_for_first_chunk(path: str, follow: Follow) -> bool:
    """Wait until a stream is there and its header is whole; False when nothing more is expected before."""
    size, grown = -1, time.monotonic()
    while True:
        # asked first: what was written before the end is still seen
        finished = follow.finished(time.monotonic() - grown)
        try:
            with open(path, "rb") as file:
                if _BEGIN in file.read(_HEADER):
                    return True
                now = file.tell()
        except FileNotFoundError:
            now = -1
        if finished:
            return False  # what is wrong with it will be said by who opens it
        if now != size:
            size, grown = now, time.monotonic()
        time.sleep(_POLL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process, but there
    try:
        # a child of ours (or of the shell) that ended and was not waited for still has its number
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"


class Spans:
    """Iterator over the spans of a stream, ``chunks_per_span`` chunks each.

    Parameters
    ----------
    path : str
    start : int
        Byte where the first chunk (or what lies before it) begins: the end of the header, or of the part done before.
    stop : int or None
        Work on spans that begin before this byte (a block of a cluster job); None for the whole stream.
    follow : Follow or None
        None: the file is complete. Else None is yielded whenever there is nothing new yet.

    Attributes
    ----------
    end : int
        Byte behind the last complete chunk seen. What the file holds after it is the tail.
    """

    def __init__(
        self, path: str, start: int, *, stop: int | None = None, chunks_per_span: int = 4, follow: Follow | None = None
    ) -> None:
        self.path, self.start, self.stop = path, start, stop
        self.follow, self.chunks_per_span = follow, chunks_per_span
        self.end = start

    def __iter__(self) -> Iterator[Span | None]:
        try:
            yield from self._spans()
        except OSError as err:
            raise StreamError(f"cannot be read ({err.strerror})", path=self.path, offset=self.end) from None

    def _spans(self) -> Iterator[Span | None]:
        with open(self.path, "rb", buffering=0) as file:
            identity = _identity(os.fstat(file.fileno()))
            grown = time.monotonic()
            first, chunks = self.start, 0
            # one byte back, so that the marker's newline is seen when the part before ended exactly there
            position = max(self.start - 1, 0)
            carry = b""
            while True:
                # asked before the read: what was written before the end was declared is still read
                finished = self.follow is None or self.follow.finished(time.monotonic() - grown)
                file.seek(position + len(carry))
                block = file.read(_BLOCK)
                data = carry + block
                at = 0
                while (end := _end_of_chunk(data, at)) > 0:
                    at = end - 1  # its newline may begin the next marker
                    self.end = position + end
                    chunks += 1
                    last = self.stop is not None and self.end >= self.stop
                    if chunks == self.chunks_per_span or last:
                        yield Span(first, self.end, chunks)
                        first, chunks = self.end, 0
                    if last:
                        return
                keep = max(at, len(data) - len(_MARKER) - 2)
                position, carry = position + keep, data[keep:]
                if position - self.end > _LONGEST:
                    raise StreamError("no end of a chunk within 1 GiB", path=self.path, offset=self.end)
                if block:
                    grown = time.monotonic()
                    continue
                if chunks:  # nothing more for the moment: what is complete need not wait for a full span
                    yield Span(first, self.end, chunks)
                    first, chunks = self.end, 0
                if finished:
                    size = position + len(carry)
                    if size > self.end:
                        # libcrystfel (fgets) takes a last line without its newline for whole
                        yield Span(self.end, size, int(_end_of_chunk(carry + b"\n", 0) > 0))
                    return
                self._check_same_file(identity, position + len(carry))
                yield None
                time.sleep(_POLL)

    def _check_same_file(self, identity: tuple[int, int], size_seen: int) -> None:
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            raise StreamError("the stream was removed while it was followed", path=self.path, offset=self.end) from None
        if _identity(now) != identity:
            raise StreamError("the stream was replaced by another file while it was followed", path=self.path, offset=0)
        if now.st_size < size_seen:
            raise StreamError(
                f"the stream was truncated while it was followed (from {size_seen} to {now.st_size} bytes)",
                path=self.path,
                offset=now.st_size,
            )


def _end_of_chunk(data: bytes, start: int) -> int:
    """Index behind the first whole end-of-chunk line at or after ``start``; 0 when there is none."""
    while (found := data.find(_MARKER, start)) >= 0:
        newline = data.find(b"\n", found + len(_MARKER))
        if newline < 0:
            return 0
        if data[found + len(_MARKER) : newline] in (b"", b"\r"):
            return newline + 1
        start = newline
    return 0


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
