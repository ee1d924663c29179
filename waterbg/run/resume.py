"""Where an interrupted run goes on: told by its partial output alone, so nothing can disagree with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from waterbg.errors import OutputError
from waterbg.run.follow import Span, Spans
from waterbg.stream.grammar import BEGIN_CHUNK, BEGIN_CRYSTAL

_CRYSTAL = b"\n" + BEGIN_CRYSTAL


@dataclass(frozen=True)
class Restart:
    """``partial`` bytes of the output are good and stand for the first ``input`` bytes of the stream."""

    partial: int
    input: int
    chunks: int


def find_restart(partial: str, header: bytes, input: str, header_end: int, *, chunks_may_lack: bool) -> Restart:
    """Compare what an interrupted run wrote with the stream it came from.

    A chunk of the output belongs to the chunk of the input with the same bytes before its first crystal (file name,
    event, peaks …), which the main job never changes.

    Parameters
    ----------
    partial : str
        Path of the partial output.
    header : bytes
        Header this run would write; its provenance line holds everything that decides the numbers.
    input : str
        Path of the stream.
    header_end : int
        Byte where the stream's header ends.
    chunks_may_lack : bool
        Chunks without image were left out (``--on-missing=drop``), so the output may lack some of the input's.

    Raises
    ------
    OutputError
        When the partial output was made from another stream or with other options.
    """
    with open(partial, "rb") as file:
        begun = file.read(len(header))
    if begun != header:
        if header.startswith(begun):
            return Restart(0, header_end, 0)  # killed before the header was whole
        raise OutputError(
            "was begun with other options or from another stream: give the same command or leave --resume out",
            path=partial,
        )
    good, at, chunks = len(header), header_end, 0
    originals = _chunks(input, header_end)
    for stop, part in _chunks(partial, len(header)):
        identity, kept = _identity(part), b""  # kept: what stood before chunks that were left out
        for original_stop, original in originals:
            if part.count(b"\0") > original.count(b"\0"):
                # a power cut can leave zeros where bytes were not yet on disk: from here on nothing is trusted
                return Restart(good, at, chunks)
            if kept + _identity(original) == identity:
                good, at, chunks = stop, original_stop, chunks + 1
                break
            if not chunks_may_lack:
                raise OutputError(
                    f"its chunk {chunks + 1} is not the stream's; start anew without --resume", path=partial
                )
            kept += original[: original.index(BEGIN_CHUNK)]
        else:
            raise OutputError(f"its chunk {chunks + 1} is not in the stream; start anew without --resume", path=partial)
    return Restart(good, at, chunks)


def _chunks(path: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Each complete chunk with what lies before it, and the byte behind it."""
    with open(path, "rb") as file:
        for span in Spans(path, start, chunks_per_span=1):
            if isinstance(span, Span) and span.chunks:
                file.seek(span.start)
                text = file.read(span.stop - span.start)
                if text.endswith(b"\n"):  # else it may be a part's, whose writer was killed before the newline
                    yield span.stop, text


def _identity(chunk: bytes) -> bytes:
    crystal = chunk.find(_CRYSTAL)
    return chunk if crystal < 0 else chunk[:crystal]
