"""What one process holds while it works on spans: the open images, the detector's maps, the run model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waterbg.errors import ImageError, UsageError
from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry
from waterbg.run.follow import Span
from waterbg.run.job import Job
from waterbg.run.shelf import Laid, Shelf
from waterbg.settings import Settings
from waterbg.stream import Chunk, StreamFile, command_line_of
from waterbg.stream.grammar import BEGIN_GEOMETRY
from waterbg.subtract import Subtractor, Tally

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.model import RunModel
    from waterbg.predict import Scene


@dataclass
class Piece:
    """What comes back for a span: the bytes that take its place, and what happened."""

    span: Span
    text: bytes
    tally: Tally = field(default_factory=Tally)


class Worker:
    """Works on spans of one job's stream.

    One does for all of a process's work on a job, the learning of its model, too: the maps of the detector and the
    buffers for pixels, which the system takes long to hand out, are made once.

    Parameters
    ----------
    job : Job
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.detector = parse_geometry(
            job.geometry, path=job.geometry_path or job.input, lenient=job.lenient, first_line=job.geometry_line
        )
        if not job.own_run.masks:
            self.detector = self.detector.without_masks()
        self.reader = FrameReader(
            self.detector,
            geometry_path=job.geometry_path,
            stream_path=job.input,
            prefix=job.images.prefix,
            basename=job.images.basename,
            follow_external_links=job.images.follow_external_links,
        )
        self.subtractor = Subtractor(self.reader, job.settings, job.images.on_missing, None, job.own_run)
        self.shelf: Shelf | None = None  # made before processes are forked that use it
        self._stream: StreamFile | None = None

    @property
    def stream(self) -> StreamFile:
        """The job's stream, open."""
        if self._stream is None:
            self._stream = StreamFile(self.job.input)
        return self._stream

    def close(self) -> None:
        """Close stream and images, as must be before a fork; both are opened again when they are wanted."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self.reader.close()

    def load(self, chunk: Chunk) -> tuple[Frame, Scene] | None:
        """Frame and scene of a chunk; None for an image that cannot be read and may be missing."""
        try:
            return self.subtractor.load(chunk)
        except ImageError:
            if self.job.images.on_missing == "fail":
                raise
            return None

    def has_image(self, chunk: Chunk) -> bool:
        """Whether the chunk's image is there, its pixels not looked at."""
        try:
            self.reader.check(chunk.filename, chunk.event)
        except ImageError:
            return False
        return True

    def process(self, span: Span) -> Piece:
        """Integrate the reflections of a span's chunks anew; what lies between the chunks is copied.

        Frames are read file by file and HDF5 chunk by HDF5 chunk; the text keeps the order of the stream.
        """
        piece = Piece(span, b"")
        chunks, between = [], []
        at = span.start
        for chunk in self.stream.chunks(span.start, span.stop):
            between.append(self.stream.read(at, chunk.start))
            piece.tally.other_radii += self._has_other_radii(between[-1])
            chunks.append(chunk)
            at = chunk.stop
        texts, tallies = [b""] * len(chunks), [Tally() for _ in chunks]
        for number in self._reading_order(chunks):
            texts[number] = self.subtractor.chunk(chunks[number], tallies[number])
        parts: list[bytes] = []
        for before, text, tally in zip(between, texts, tallies, strict=True):
            parts += before, text
            piece.tally.add(tally)
        parts.append(self.stream.read(at, span.stop))
        piece.tally.remarks = list(self.reader.warnings)
        piece.text = b"".join(parts)
        return piece

    def _has_other_radii(self, between: bytes) -> bool:
        """Whether what stands between two chunks is the header of a stream that was made with other radii."""
        if BEGIN_GEOMETRY not in between:
            return False
        try:
            return Settings.from_command_line(command_line_of(between)).int_radius != self.job.settings.int_radius
        except UsageError:  # radii that cannot be used
            return True

    def _reading_order(self, chunks: list[Chunk]) -> list[int]:
        """Numbers of the chunks in the order in which their frames are read."""
        named = Counter(chunk.filename for chunk in chunks)
        files = {name: number for number, name in enumerate(named)}
        keys: list[tuple[Any, ...]] = []
        for chunk in chunks:
            place: tuple[Any, ...] = ()
            if named[chunk.filename] > 1 and chunk.n_reflections:
                try:
                    place = self.reader.order(chunk.filename, chunk.event)
                except ImageError:
                    place = ()  # what is wrong is said, or counted, when the frame is read
            keys.append((files[chunk.filename], place))
        return sorted(range(len(chunks)), key=keys.__getitem__)


FEW, MANY = 4, 64


def chunks_per_span(worker: Worker) -> int:
    """How many chunks a worker like this one gets at a time.

    Few, so that little is lost when it is killed; more where an HDF5 chunk holds several frames, so that those of them
    which the stream has near each other are read together.
    """
    try:
        chunk = next(worker.stream.chunks(), None)
        together = 1 if chunk is None else worker.reader.together(chunk.filename, chunk.event)
    except ImageError:
        together = 1
    finally:
        worker.close()
    return FEW if together == 1 else min(FEW * together, MANY)


_worker: Worker | None = None


def prepare(worker: Worker) -> None:
    """Make this process ready; one that was forked goes on with the maps its parent made."""
    global _worker
    _worker = worker


def process(model: RunModel | None, span: Span) -> Piece:
    """Work on one span in a prepared process."""
    assert _worker is not None
    _worker.subtractor.model = model
    return _worker.process(span)


def load(chunk: Chunk) -> tuple[Frame, Scene] | None:
    """Frame and scene of a chunk in a prepared process; None for an image that cannot be read and may be missing."""
    assert _worker is not None
    return _worker.load(chunk)


def check(files: list[tuple[str, tuple[str | None, str | None]]]) -> None:
    """Open image files in a prepared process, each with two of its events; ImageError for the first that is unfit."""
    assert _worker is not None
    for name, events in files:
        for event in dict.fromkeys(events):
            _worker.reader.check(name, event)


def lay(result: object, place: int) -> Laid:
    """Lay a result down in a prepared process, on the shelf that its parent made."""
    assert _worker is not None
    assert _worker.shelf is not None
    return _worker.shelf.lay(result, place)
