"""The frames a run model is learnt from: always the same ones, however the work is divided or interrupted.

They are the first frames of the stream with reflections, because those are known first when a stream still grows:
a run beside indexamajig then ends with the same bytes as a run afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from waterbg.errors import ImageError
from waterbg.run.follow import Follow, Spans
from waterbg.run.pool import ordered_map
from waterbg.run.worker import Worker
from waterbg.stream import Chunk, StreamFile

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene


class Sample:
    """(Frame, Scene) of the first frames with reflections; may be walked more than once.

    Parameters
    ----------
    worker : Worker
        Of the job; it reads the frames.
    size : int
        How many frames.
    follow : Follow, optional
        The stream is growing: wait until it has that many frames or has ended.

    Attributes
    ----------
    chunks : list of Chunk
    """

    def __init__(self, worker: Worker, size: int, follow: Follow | None = None) -> None:
        self.worker = worker
        self.chunks: list[Chunk] = []
        job = worker.job
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
        yield from self._load(self.chunks)

    def _load(self, chunks: list[Chunk]) -> Iterator[tuple[Frame, Scene]]:
        try:
            for chunk in chunks:
                loaded = _load(self.worker, chunk)
                if loaded is not None:
                    yield loaded
        finally:
            self.worker.close()  # no HDF5 file may be open when workers are forked

    def walk(self, jobs: int, report: Callable[[str], None]) -> Callable[..., Iterator[Any]]:
        """Make what :func:`waterbg.model.learn_model` walks over this sample with, in ``jobs`` processes.

        The first frame is always worked on in this process: it loads (or compiles) the kernels, which the forked ones
        then share.
        """
        from waterbg.model.learn import one_by_one

        def walk(sample: Sample, work: Callable[..., Any], *args: Any) -> Iterator[Any]:
            if jobs == 1:
                yield from one_by_one(sample, work, *args)
                return
            yield from one_by_one(sample._load(sample.chunks[:1]), work, *args)
            results = ordered_map(
                _work,
                sample.chunks[1:],
                jobs=jobs,
                prepare=_prepare,
                prepare_args=(sample.worker, work, args),
                describe=lambda chunk: f"the chunk at byte {chunk.start}",
                report=report,
                ahead=jobs,
            )
            for found in results:
                if found is not None:
                    yield found

        return walk


def _load(worker: Worker, chunk: Chunk) -> tuple[Frame, Scene] | None:
    """Frame and scene of a chunk; None for an image that cannot be read and may be missing."""
    try:
        return worker.subtractor.load(chunk)
    except ImageError:
        if worker.job.images.on_missing == "fail":
            raise
        return None


_here: tuple[Worker, Callable[..., Any], tuple[Any, ...]] | None = None


def _prepare(worker: Worker, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    global _here
    _here = worker, work, args


def _work(chunk: Chunk) -> Any:
    assert _here is not None
    worker, work, args = _here
    loaded = _load(worker, chunk)
    return None if loaded is None else work(*loaded, *args)
