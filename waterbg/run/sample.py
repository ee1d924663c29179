"""The frames a run model is learnt from: always the same ones, however the work is divided or interrupted.

They are the first frames of the stream with reflections, because those are known first when a stream still grows:
a run beside indexamajig then ends with the same bytes as a run afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from waterbg.errors import ImageError
from waterbg.run.follow import Follow, Spans
from waterbg.run.job import Job
from waterbg.run.worker import Worker
from waterbg.stream import Chunk, StreamFile

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene


class Sample:
    """(Frame, Scene) of the first frames with reflections; may be walked more than once.

    Parameters
    ----------
    job : Job
    size : int
        How many frames.
    follow : Follow, optional
        The stream is growing: wait until it has that many frames or has ended.

    Attributes
    ----------
    chunks : list of Chunk
    """

    def __init__(self, job: Job, size: int, follow: Follow | None = None) -> None:
        self.job = job
        self.chunks: list[Chunk] = []
        with StreamFile(job.input) as stream:
            for span in Spans(job.input, job.header_end, chunks_per_span=1, follow=follow):
                if span is None or not span.chunks:
                    continue
                for chunk in stream.chunks(span.start, span.stop):
                    if any(len(crystal.reflections) for crystal in chunk.crystals):
                        self.chunks.append(chunk)
                if len(self.chunks) >= size:
                    break

    def __iter__(self) -> Iterator[tuple[Frame, Scene]]:
        worker = Worker(self.job, None)
        try:
            for chunk in self.chunks:
                try:
                    yield worker.subtractor.load(chunk)
                except ImageError:
                    if self.job.images.on_missing == "fail":
                        raise
        finally:
            worker.close()  # no HDF5 file may be open when workers are forked
