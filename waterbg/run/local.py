"""The main job on one machine: check, learn, work, prove, and only then give the output its name."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from waterbg.errors import OutputError, StreamError, WaterbgError
from waterbg.interrupts import answering
from waterbg.kernel_cache import say_when_compiling
from waterbg.run.doubts import conclusions, doubt_geometry
from waterbg.run.follow import Follow, Span, Spans
from waterbg.run.job import Job, model_to_write
from waterbg.run.pool import Pool, as_many_as_files
from waterbg.run.progress import Progress
from waterbg.run.resume import Restart, find_restart
from waterbg.run.summary import Summary
from waterbg.run.sweep import NamedImages, add_image, agree, find_images
from waterbg.stream import STREAM, OutputFile, StreamFile, add_provenance, find_differences, refuse_another_kind
from waterbg.stream.check import first_loss
from waterbg.stream.differences import Differences
from waterbg.stream.grammar import BEGIN_CHUNK

if TYPE_CHECKING:
    from waterbg.model import RunModel
    from waterbg.run.worker import Piece, Worker

_FILES = 8  # that a process opens at a time, to see whether they are there


def run_subtract(
    job: Job,
    output: str,
    *,
    jobs: int = 1,
    force: bool = False,
    resume: bool = False,
    verify: bool = True,
    follow: Follow | None = None,
    model_path: str | None = None,
    report: Callable[[str], None] = lambda message: print(f"waterbg: {message}", file=sys.stderr),
) -> Summary:
    """Write ``output``: the job's stream with every reflection integrated anew.

    Parameters
    ----------
    job : Job
    output : str
        Appears whole or not at all; until then the work lies beside it, in a file that ``resume`` goes on with.
    jobs : int
        Worker processes. The bytes of the output do not depend on it.
    force : bool
        Replace an output that exists.
    resume : bool
        Go on with what an interrupted run left.
    verify : bool
        Read the output back and compare it with the input before it gets its name.
    follow : Follow, optional
        The stream is still growing; when it counts as finished.
    model_path : str, optional
        Run model to use, or to write when it does not exist.
    report : callable
        Called with one line about things that need attention but do not end the run.

    Raises
    ------
    StreamError, GeometryError, ImageError
        When an input is not usable; before any output exists, except in a followed stream.
    OutputError
        When the output exists, cannot be written, or does not pass its verification.
    """
    from waterbg.run.worker import Worker, chunks_per_span, prepare

    began = time.monotonic()
    size = _size(job.input)
    out = open_output(job, output, force=force, resume=resume, model_path=model_path)
    header = output_header(job)
    summary = Summary(output=output)
    worker = Worker(job)
    is_given = model_to_write(model_path, output) is None
    jobs = as_many_as_files(jobs, report)
    if follow is None:
        refuse_input(worker, jobs, report)
    summary.notes += doubt_geometry(job, worker.detector)
    say_when_compiling()
    with _ending(follow) as follow, Pool(jobs, partial(prepare, worker), report) as pool:
        model = learn_run_model(worker, model_path, follow, pool)
        restart = _restart(job, out, header, resume, report)
        summary.chunks_before = restart.chunks
        with out.begin(restart.partial):
            try:
                if not restart.partial:
                    out.write(header)
                progress = Progress(size if follow is None else 0, restart.input)
                spans = Spans(job.input, restart.input, chunks_per_span=chunks_per_span(worker), follow=follow)
                reached = restart.input
                for piece in run_spans(worker, model, spans, pool):
                    reached = piece.span.stop
                    if not piece.span.chunks and BEGIN_CHUNK in piece.text:
                        summary.notes.append(
                            f"the stream ends within a chunk (byte {piece.span.start}): it was copied as it is"
                        )
                    out.write(piece.text)
                    summary.tally.add(piece.tally)
                    progress.update(piece.span.stop, piece.tally.chunks)
                progress.clear()
                pool.end()  # else those of the proof come on top of them
                if follow is None:
                    refuse_change(job, size)
                out.flush()
                if verify:
                    prove(job, out, jobs, report, None if follow is None else reached)
                if model is not None and (learnt := model_to_write(model_path, output)):
                    model.save(learnt)
                out.finish()
            except BaseException as err:
                if not summary.chunks_before + summary.tally.chunks:  # nothing to go on with
                    out.discard()
                elif isinstance(err, WaterbgError) and not isinstance(err, Unproven):
                    err.advise(f"what is done is kept in {out.partial.name}, and --resume goes on with it")
                raise
    if model is not None:
        summary.notes += conclusions(model, is_given, job.settings, summary.tally, worker.detector)
    summary.seconds = time.monotonic() - began
    return summary


def _restart(job: Job, out: OutputFile, header: bytes, resume: bool, report: Callable[[str], None]) -> Restart:
    """Where the work begins: at the first chunk, or behind what an interrupted run left, if that is wanted."""
    if resume and out.partial.exists():
        may_lack = job.images.on_missing == "drop"
        return find_restart(str(out.partial), header, job.input, job.header_end, chunks_may_lack=may_lack)
    if left := out.left():
        report(f"{out.partial.name}, {left} bytes of an interrupted run, is begun anew: no --resume")
    return Restart(0, job.header_end, 0)


def open_output(job: Job, output: str, *, force: bool, model_path: str | None, resume: bool = False) -> OutputFile:
    """Find before the work is done that output or model cannot be written, or would replace what the run reads.

    A run that was killed at its very end has left its model, which is the same again when it is resumed.
    """
    reads = [job.input, job.geometry_path, model_path]
    out = OutputFile(output, force=force, reads=reads)
    refuse_another_kind(output, STREAM)
    if job.settings.uses_model and (learnt := model_to_write(model_path, output)):
        OutputFile(learnt, force=force or resume, reads=reads)
    return out


def run_spans(worker: Worker, model: RunModel | None, spans: Iterable[Span | None], pool: Pool) -> Iterator[Piece]:
    """Work on spans with a pool that was prepared with the worker; pieces come in the order of the spans."""
    from waterbg.run.worker import process

    worker.close()  # no file may be open when workers are forked
    try:
        yield from pool.map(partial(process, model), spans)
    finally:
        worker.close()


def learn_run_model(
    worker: Worker,
    path: str | None,
    follow: Follow | None,
    pool: Pool | None = None,
) -> RunModel | None:
    """Read or learn what must be known before the first reflection is written; None for CrystFEL's own rings.

    Any number of processes (of a pool that was prepared with the worker) learns the same as one.
    """
    job = worker.job
    if not job.settings.uses_model:
        return None
    from waterbg.model import SAMPLE_FRAMES, RunModel, learn_model
    from waterbg.run.sample import Sample

    if path is not None and Path(path).exists():
        return RunModel.load(path).under(job.settings)
    sample = Sample(worker, SAMPLE_FRAMES, follow)
    return learn_model(sample, job.settings) if pool is None else learn_model(sample, job.settings, sample.walk(pool))


def output_header(job: Job) -> bytes:
    """Header of the stream with the line that says what is done."""
    with StreamFile(job.input) as stream:
        return add_provenance(stream.read(0, job.header_end), job.provenance, job.input)


def refuse_input(worker: Worker, jobs: int, report: Callable[[str], None]) -> None:
    """End the run before anything is written when data would be lost, or when an image must be there and is not."""
    job = worker.job
    images = find_images(job.input, job.header_end, jobs, report)
    if images is None:
        images = refuse_damage(job)
    if job.images.on_missing == "fail":
        refuse_missing_images(worker, images, jobs, report)


def refuse_damage(job: Job) -> NamedImages:
    """The first thing libcrystfel would lose ends the run: numbers must not be put back where nobody reads them.

    Returns
    -------
    NamedImages
        As :func:`waterbg.run.sweep.find_images`.
    """
    images: NamedImages = {}
    with StreamFile(job.input) as stream:
        # a geometry that is given is that of all chunks
        loss = first_loss(stream, harmless=() if job.geometry_path is None else ("other_geometry",))
        if loss is not None:
            raise loss
        for chunk in stream.chunks():
            if chunk.n_reflections:
                add_image(images, chunk.filename, chunk.event)
    return images


def refuse_missing_images(worker: Worker, images: NamedImages, jobs: int, report: Callable[[str], None]) -> None:
    """Open every image file now, so that a missing one, or one cut short, ends the run before anything is written.

    Where each frame has a file of its own, and it is a network that they are opened over, one process takes minutes.
    """
    from waterbg.run.worker import check, prepare

    files = list(images.items())
    pieces = (files[at : at + _FILES] for at in range(0, len(files), _FILES))
    jobs = min(jobs, -(-len(files) // _FILES)) or 1
    try:
        with Pool(jobs, partial(prepare, worker), report) as pool:
            for _ in pool.map(check, pieces, describe=lambda piece: f"the images from {piece[0][0]} on"):
                pass
    finally:
        worker.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as err:
        raise StreamError(f"cannot be read ({err.strerror})", path=path) from None


def refuse_change(job: Job, size: int) -> None:
    """The stream must be as long as it was: what was read of another would be half of it."""
    now = _size(job.input)
    if now != size:
        raise StreamError(
            f"had {size} bytes when the run began and has {now} now; if it is still being written, use --follow",
            path=job.input,
            offset=min(now, size),
        )


class Unproven(OutputError):
    """The output differs from the input where it must not: there is nothing to go on with."""


def prove(job: Job, out: OutputFile, jobs: int, report: Callable[[str], None], reached: int | None = None) -> None:
    """Read the output back: it must differ from the input only where it may.

    ``reached``: byte where the work ended on a stream that may have grown on since.
    """
    partial = str(out.partial)
    if (
        jobs > 1
        and reached is None
        and job.images.on_missing != "drop"
        and Differences(job.input, partial).same_header()
    ):
        with StreamFile(partial) as stream:
            starts = job.header_end, stream.header_end
        if agree(job.input, partial, starts, jobs, report):
            return
    for difference in find_differences(job.input, partial, job.images.on_missing == "drop", reached):
        raise Unproven(
            f"did not pass its verification, and keeps the name {out.partial}: {difference}", path=str(out.path)
        )


@contextmanager
def _ending(follow: Follow | None) -> Iterator[Follow | None]:
    """While a growing stream is followed, SIGTERM and Ctrl-C mean: finish with what is complete."""
    if follow is None:
        yield None
        return
    asked = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        if asked.is_set():  # a second Ctrl-C means it
            raise KeyboardInterrupt
        asked.set()
        if follow.end is not None:
            follow.end()

    with answering((signal.SIGTERM, signal.SIGINT), ask):
        enough = asked.is_set if follow.end is None else lambda: False
        yield Follow(follow.until_idle, follow.until_pid, lambda: enough() or follow.stopped())
