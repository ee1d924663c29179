"""The frames a run model is learnt from: always the same ones, however the work is divided or interrupted.

They are the first frames of the stream with reflections, because those are known first when a stream still grows:
a run beside indexamajig then ends with the same bytes as a run afterwards. Frames whose images are not there, and may
be missing, do not count: a run whose first images have gone would otherwise learn nothing, and be integrated with that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from waterbg.kernel_cache import has_compiled
from waterbg.run.follow import Follow, Spans
from waterbg.run.pool import Pool
from waterbg.run.shelf import Laid, Shelf
from waterbg.run.worker import Worker, lay, load
from waterbg.stream import Chunk, StreamFile
from waterbg.stream.grammar import BEGIN_CRYSTAL

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
                if BEGIN_CRYSTAL not in stream.read(span.start, span.stop):
                    continue  # most of a run with few hits: not worth to be parsed
                for chunk in stream.chunks(span.start, span.stop):
                    if chunk.n_reflections and (job.images.on_missing == "fail" or worker.has_image(chunk)):
                        self.chunks.append(chunk)
                if len(self.chunks) >= size:
                    break
        worker.close()  # no HDF5 file may be open when workers are forked

    def __iter__(self) -> Iterator[tuple[Frame, Scene]]:
        yield from self._load(self.chunks)

    def _load(self, chunks: list[Chunk]) -> Iterator[tuple[Frame, Scene]]:
        try:
            for chunk in chunks:
                loaded = self.worker.load(chunk)
                if loaded is not None:
                    yield loaded
        finally:
            self.worker.close()  # as above

    def walk(self, pool: Pool) -> Callable[..., Iterator[Any]]:
        """Make what :func:`waterbg.model.learn_model` walks over this sample with, by a pool's processes.

        The first frame of the first walk is worked on in this process: it loads the kernels, which those that are
        forked then share. Where it has to compile them so is that of the next walk, which has kernels of its own: else
        every process would compile them.
        """
        from waterbg.model.learn import one_by_one

        def walk(sample: Sample, work: Callable[..., Any], *args: Any) -> Iterator[Any]:
            if pool.jobs == 1:
                yield from one_by_one(sample, work, *args)
                return
            is_first = sample.worker.shelf is None
            here = 1 if is_first or has_compiled() else 0
            first = None
            for first in one_by_one(sample._load(sample.chunks[:here]), work, *args):
                yield first
            shelf = sample.worker.shelf = sample.worker.shelf or Shelf(pool.jobs, first)
            del first  # its arrays are large
            # for the first walk alone: what it ended without may still be laid down while the next one goes on
            places = range(pool.jobs) if is_first else [None]
            results = pool.map(
                partial(_work, work, args),
                zip(itertools.cycle(places), sample.chunks[here:]),
                describe=lambda item: f"the chunk at byte {item[1].start}",
                ahead=pool.jobs,  # what lies at a place is taken before another gets it
            )
            try:
                for found in results:
                    if found is not None:
                        yield shelf.take(found) if isinstance(found, Laid) else found
            finally:
                shelf.clear()

        return walk


def _work(work: Callable[..., Any], args: tuple[Any, ...], item: tuple[int | None, Chunk]) -> Any:
    place, chunk = item
    loaded = load(chunk)
    if loaded is None:
        return None
    found = work(*loaded, *args)
    return found if place is None else lay(found, place)
