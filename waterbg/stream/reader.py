"""StreamFile: header, geometry text and chunks of a stream of any length, in constant memory."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import BinaryIO

from waterbg.errors import StreamError, UsageError
from waterbg.interrupts import checkpoint
from waterbg.stream import grammar as g
from waterbg.stream.chunk import Chunk, Fault, parse_chunk
from waterbg.stream.crystal import text_of

_BLOCK = 1 << 20  # what a core keeps at hand
_LONGEST_CHUNK = 256 << 20
_BEGIN_LINE, _END_LINE = g.BEGIN_CHUNK + b"\n", b"\n" + g.END_CHUNK + b"\n"


def command_line_of(header: bytes) -> str:
    """The indexamajig command in the header of a stream: one line, unquoted; empty when there is none."""
    for line in header.partition(g.BEGIN_GEOMETRY)[0].splitlines():
        program = line.split(b" ", 1)[0].rsplit(b"/", 1)[-1]
        if program.startswith(b"indexamajig"):
            return text_of(line)
    return ""


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to what can be read only once: a pipe, a terminal."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def refuse_pipes(command: str, *paths: str | os.PathLike[str], instead: str = "") -> None:
    """Refuse streams that can be read only once, from the start, where a command opens them again."""
    for path in paths:
        if os.fspath(path) == "-" or is_pipe(path):
            its = f"its stream{'s' * (len(paths) > 1)}"
            raise UsageError(f"{command} reads {its} more than once, so a pipe or standard input will not do{instead}")


class StreamFile:
    """A stream, opened as libcrystfel opens it.

    Parameters
    ----------
    path : str or path
        ``-`` is standard input, which can be read once, from the start.
    stop : int, optional
        Byte at which the file ends, whatever is behind it: a growing one as it was.

    Attributes
    ----------
    path : str
    seekable : bool
        Whether it can be read more than once: not standard input, nor a pipe.
    header_end : int
        Byte where the first chunk's begin marker may stand: behind geometry, target cell and "Indexing methods".
    audit : bytes
        Everything before the geometry.
    geometry_text : bytes
    geometry_line : int
        Line of the stream on which the geometry's first line stands.
    ended : Fault or None
        After a full reading: why libcrystfel stops before the end of the file, and at which byte of it; None when it
        does not.

    Raises
    ------
    StreamError
        When libcrystfel would refuse it: version line, audit text over 4090 bytes, no geometry, geometry over 1 MiB.
    """

    def __init__(self, path: str | os.PathLike[str], stop: int | None = None) -> None:
        self.path = os.fspath(path)
        self._stop = stop
        try:
            self._file: BinaryIO = sys.stdin.buffer if self.path == "-" else open(self.path, "rb", buffering=0)  # noqa: SIM115
        except OSError as err:
            raise StreamError(f"cannot be opened ({err.strerror})", path=self.path) from None
        self.seekable = self.path != "-" and self._file.seekable()
        self._buffer, self._base, self._behind = bytearray(), 0, 0
        self.ended: Fault | None = None
        try:
            self._read_header()
        except OSError as err:
            self.close()
            raise StreamError(f"cannot be read ({err.strerror})", path=self.path) from None
        except StreamError:
            self.close()
            raise

    def __enter__(self) -> StreamFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        if self.path != "-":
            self._file.close()

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _load(self, start: int, size: int) -> bytearray:
        """Bytes from ``start`` on, at least ``size`` of them unless the file ends; keeps what it has read ahead.

        Of a pipe, which cannot be read again, also what stands behind the last chunk (or in the header).

        All is read into one buffer: the system clears the pages of a new one, which takes longer than to read them.
        """
        if start < self._base or start > self._base + len(self._buffer):
            if not self.seekable:
                raise StreamError("standard input can be read only once, from the start", path=self.path, offset=start)
            self._buffer, self._base = bytearray(), start
        first = start if self.seekable else max(min(start, self._behind), self._base, start - _LONGEST_CHUNK)
        have, size = self._base + len(self._buffer) - first, size + start - first
        if have < size:
            kept, room = self._buffer[first - self._base :], max(_BLOCK, 2 * size)
            if len(self._buffer) != room:
                self._buffer = bytearray(room)
            self._buffer[:have], self._base = kept, first
            try:
                if self.seekable:
                    self._file.seek(first + have)
                with memoryview(self._buffer) as view:
                    end = room if self._stop is None else max(min(room, self._stop - first), have)
                    while have < size and (count := self._file.readinto(view[have:end])):  # type: ignore[attr-defined]
                        have += count
            except OSError as err:  # a network file system that lost the file or its server, a disk that fails
                raise StreamError(f"cannot be read ({err.strerror})", path=self.path, offset=first + have) from None
            finally:
                del self._buffer[have:]
        return self._buffer

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of the file."""
        if stop <= start:
            return b""
        data = self._load(start, stop - start)
        return bytes(memoryview(data)[start - self._base : stop - self._base])

    def rest(self, at: int) -> Iterator[tuple[int, bytes]]:
        """What lies from a byte to the end of the file, in pieces of whole lines: where each begins, and the piece."""
        while block := self.read(at, at + _BLOCK):
            whole = block.rfind(b"\n") + 1 or len(block)
            yield at, block[:whole]
            self._behind = at = at + whole

    # -- header --------------------------------------------------------------------------------------------------

    def _read_header(self) -> None:
        data = self._load(0, 1 << 16)
        if not data:
            raise self._refused("is empty", 1, 0)
        if not data.startswith(g.VERSION):
            if data.startswith(b"\x1f\x8b"):
                raise self._refused("is compressed (gzip); unpack it first", 1, 0)
            raise self._refused(
                f"the first line does not begin {g.VERSION.decode()!r}: not a stream that is understood", 1, 0
            )
        # the version line is not audit text
        at = self._piece(0)[1]
        at, start, line = self._find_marker(
            g.BEGIN_GEOMETRY, at, 1, g.LONGEST_AUDIT,
            "there is no geometry: the file ends before '----- Begin geometry file -----'",
            f"more than {g.LONGEST_AUDIT} bytes before the geometry (or no geometry, or CRLF line ends)",
        )  # fmt: skip
        self.audit = self.read(0, at)
        self.geometry_line = line + 1
        at, end, line = self._find_marker(
            g.END_GEOMETRY, start, line, g.LONGEST_GEOMETRY,
            "the geometry has no end: '----- End geometry file -----' is missing",
            "the geometry is longer than 1 MiB",
        )  # fmt: skip
        self.geometry_text = self.read(start, at)
        if b"\0" in self.geometry_text:  # strcat puts lines together, each up to its first NUL
            cut = [self.geometry_text[a:b].split(b"\0")[0] for a, b, _ in g.pieces(self.geometry_text, 0, at - start)]
            self.geometry_text = b"".join(cut)
        self.geometry_end = end
        found = self._find_begin(end)
        self.header_end = found if found is not None else self._size_seen()
        if self.header_end - end > _LONGEST_CHUNK:
            raise self._refused(f"no chunk begins within {_LONGEST_CHUNK >> 20} MiB behind the geometry", line, end)

    def _find_marker(
        self, marker: bytes, at: int, line: int, longest: int, lacking: str, too_long: str
    ) -> tuple[int, int, int]:
        """Where the line of a marker begins and ends, and its number; ``line`` is the one before ``at``."""
        length = 0  # as strlen counts it
        while True:
            piece, end = self._piece(at)
            line += 1
            if not piece:
                raise self._refused(lacking, line, at)
            if piece == marker + b"\n":
                return at, end, line
            length += len(piece.split(b"\0")[0])
            if length > longest:
                raise self._refused(too_long, line, at)
            at = end

    def _piece(self, at: int) -> tuple[bytes, int]:
        data = self._load(at, g.LONGEST_PIECE)
        local = at - self._base
        newline = data.find(b"\n", local, local + g.LONGEST_PIECE)
        end = newline + 1 if newline >= 0 else min(local + g.LONGEST_PIECE, len(data))
        return bytes(data[local:end]), self._base + end

    def _refused(self, reason: str, line: int, offset: int) -> StreamError:
        return StreamError(reason, path=self.path, line=line, offset=offset)

    def _size_seen(self) -> int:
        return self._base + len(self._buffer)

    @property
    def header(self) -> bytes:
        """Everything before the first chunk."""
        return self.read(0, self.header_end)

    @property
    def command_line(self) -> str:
        """The indexamajig command as the stream holds it: one line, unquoted; empty when there is none."""
        return command_line_of(self.audit)

    @property
    def version(self) -> tuple[int, int] | None:
        """The first two numbers of the CrystFEL that wrote the stream; None when it does not say so."""
        found = re.search(rb"^Generated by CrystFEL (\d{1,4})\.(\d{1,4})", self.audit, re.MULTILINE)
        return None if found is None else (int(found[1]), int(found[2]))

    @cached_property
    def cell_text(self) -> bytes | None:
        """The target cell, verbatim, without markers; None when the run had none."""
        between = self.read(self.geometry_end, self.header_end)
        start = between.find(g.BEGIN_CELL + b"\n")
        if start < 0:
            return None
        start += len(g.BEGIN_CELL) + 1
        stop = between.find(g.END_CELL, start)
        return between[start:stop] if stop >= 0 else None

    @cached_property
    def panel_names(self) -> frozenset[bytes]:
        """Names the geometry may give to panels: what stands before a slash on the left of its statements."""
        names = set()
        for line in self.geometry_text.replace(b"\r", b"\n").split(b"\n"):
            left, equals, _ = line.split(b";")[0].partition(b"=")
            name, slash, _ = left.strip().partition(b"/")
            if equals and slash and not name.startswith((b"bad", b"group", b"rigid_group")):
                names.add(name)
        return frozenset(names)

    # -- chunks --------------------------------------------------------------------------------------------------

    def _find_begin(self, at: int) -> int | None:
        """Byte of the first begin marker's line at or after ``at`` (``find_start_of_chunk``); None at the end."""
        while True:
            data = self._load(at, len(_BEGIN_LINE))
            local = at - self._base
            if data.startswith(_BEGIN_LINE, local):
                return at
            piece, end = self._piece(at)
            if not piece:
                return None
            if g.chomp(piece) == g.BEGIN_CHUNK:
                return at
            at = end

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """Chunks as libcrystfel reads them, one after the other.

        Parameters
        ----------
        start : int
            Any byte; reading begins with the first begin marker that starts a line at or after it.
        stop : int, optional
            Chunks that begin before this byte are given. Ranges that touch share no chunk and lose none.

        Yields
        ------
        Chunk
            Complete ones only. Where libcrystfel stops reading (and loses the rest), so does this; ``ended`` says why.
        """
        for chunk in self.all_chunks(start, stop):
            if chunk.parsed.complete:
                yield chunk

    def all_chunks(self, start: int = 0, stop: int | None = None) -> Iterator[Chunk]:
        """As `chunks`; the last one may be incomplete, which ends the reading."""
        self.ended = None
        at = self._line_start(max(start, self.header_end))
        while stop is None or at < stop:
            checkpoint()
            self._behind = at
            begin = self._find_begin(at)
            if begin is None or (stop is not None and begin >= stop):
                return
            if begin - at > _LONGEST_CHUNK:
                # whoever reads a chunk also keeps what stands before it
                reason = f"more than {_LONGEST_CHUNK >> 20} MiB of what belongs to no chunk"
                raise StreamError(reason, path=self.path, offset=at)
            chunk = self._chunk(begin)
            yield chunk
            at = chunk.stop
            if not chunk.parsed.complete:
                cut = Fault("cut", "the file ends inside a chunk, which is lost", len(chunk.bytes))
                why = cut if chunk.parsed.ran_out else chunk.faults[-1]
                self.ended = Fault(why.check, why.reason, chunk.start + why.offset)
                return

    def _line_start(self, at: int) -> int:
        """First byte at or after ``at`` that begins a line."""
        if at <= self.header_end:
            return self.header_end
        if self.read(at - 1, at) == b"\n":
            return at
        while True:
            data = self._load(at, 1)
            newline = data.find(b"\n", at - self._base)
            if newline >= 0:
                return self._base + newline + 1
            if len(data) == at - self._base:
                return at
            at = self._base + len(data)

    def _chunk(self, begin: int) -> Chunk:
        size = _BLOCK // 8
        while size <= _LONGEST_CHUNK:
            data = self._load(begin, size)
            local = begin - self._base
            have = len(data) - local
            # parse only up to the first end marker: what follows belongs to others, unless the chunk is damaged
            end = data.find(_END_LINE, local)
            if end >= 0:
                whole = self.read(begin, self._base + end + len(_END_LINE))
                parsed = parse_chunk(whole)
                if not parsed.ran_out:
                    return Chunk(whole[: parsed.stop], begin, parsed)
            if end >= 0 or have < size:
                whole = self.read(begin, begin + have)
                parsed = parse_chunk(whole)
                if not parsed.ran_out or have < size:
                    return Chunk(whole[: parsed.stop], begin, parsed)
            size *= 2
        raise StreamError(f"no end of a chunk within {_LONGEST_CHUNK >> 20} MiB", path=self.path, offset=begin)
