"""What one process holds while it works on spans: the open images, the detector's maps, the run model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry
from waterbg.run.follow import Span
from waterbg.run.job import Job
from waterbg.stream import StreamFile
from waterbg.subtract import Subtractor, Tally

if TYPE_CHECKING:
    from waterbg.model import RunModel


@dataclass
class Piece:
    """What comes back for a span: the bytes that take its place, and what happened."""

    span: Span
    text: bytes
    tally: Tally = field(default_factory=Tally)


class Worker:
    """Works on spans of one job's stream."""

    def __init__(self, job: Job, model: RunModel | None) -> None:
        self.job = job
        self.detector = parse_geometry(
            job.geometry, path=job.geometry_path or job.input, lenient=job.lenient, first_line=job.geometry_line
        )
        self.reader = FrameReader(
            self.detector,
            geometry_path=job.geometry_path,
            stream_path=job.input,
            prefix=job.images.prefix,
            basename=job.images.basename,
            follow_external_links=job.images.follow_external_links,
        )
        self.subtractor = Subtractor(self.reader, job.settings, job.images, model)
        self.stream = StreamFile(job.input)

    def close(self) -> None:
        """Close stream and images; what was computed from the geometry stays."""
        self.stream.close()
        self.reader.close()

    def process(self, span: Span) -> Piece:
        """Integrate the reflections of a span's chunks anew; what lies between the chunks is copied."""
        piece = Piece(span, b"")
        parts = []
        at = span.start
        for chunk in self.stream.chunks(span.start, span.stop):
            parts.append(self.stream.read(at, chunk.start))
            parts.append(self.subtractor.chunk(chunk, piece.tally))
            at = chunk.stop
        parts.append(self.stream.read(at, span.stop))
        piece.text = b"".join(parts)
        return piece


_worker: Worker | None = None


def prepare(job: Job, model: RunModel | None) -> None:
    """Make this process ready; a forked worker inherits the maps its parent made for the same job."""
    global _worker
    _worker = Worker(job, model)


def release() -> None:
    """Close what this process holds, if it was prepared."""
    global _worker
    if _worker is not None:
        _worker.close()
        _worker = None


def process(span: Span) -> Piece:
    """Work on one span in a prepared process."""
    assert _worker is not None
    return _worker.process(span)
