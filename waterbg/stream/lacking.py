"""What to say of a stream that holds nothing to integrate."""

from __future__ import annotations

from waterbg.errors import StreamError
from waterbg.stream import grammar as g
from waterbg.stream.reader import StreamFile


def has_reflections(path: str) -> bool:
    """Whether any chunk of a stream lists a reflection; nothing is read behind the first that does."""
    with StreamFile(path) as stream:
        return any(chunk.n_reflections for chunk in stream.chunks())


def no_reflections(path: str) -> StreamError:
    """Make the error for a stream without reflections: how many chunks it has, and whether its end is missing."""
    with StreamFile(path) as stream:
        number, at = 0, stream.header_end
        for chunk in stream.chunks():
            number, at = number + 1, chunk.stop
        said = f"has {number} chunk{'s' * (number != 1)}, none of them with reflections" if number else "has no chunks"
        if stream.ended is not None:
            said += f"; {stream.ended.reason}"
        elif not number and _ends_in_header(stream):
            said += "; the file ends inside its header"
    return StreamError(said, path=path, offset=at)


def _ends_in_header(stream: StreamFile) -> bool:
    behind = stream.header[stream.geometry_end :]
    return (g.BEGIN_CELL in behind and stream.cell_text is None) or not stream.header.endswith(b"\n")
