"""The main job in blocks: cut a stream, work on one block (a task of a job array), put the blocks together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import waterbg
from waterbg.errors import OutputError, StreamError, UsageError
from waterbg.kernel_cache import say_when_compiling
from waterbg.own_command import OWN_COMMAND
from waterbg.run.doubts import conclusions, doubt_geometry
from waterbg.run.follow import Spans
from waterbg.run.job import Images, Job, model_to_write, resolve_job
from waterbg.run.local import learn_run_model, open_output, output_header, prove, refuse_input, run_spans
from waterbg.run.pool import Pool, as_many_as_files
from waterbg.run.slurm import Block, JobFolder, SlurmOptions, folder_of, refuse_folder
from waterbg.run.summary import Summary
from waterbg.stream import OutputFile, write_file
from waterbg.subtract import Tally

GEOMETRY, MODEL = "geometry.geom", "model.json"
_OPTIONS = {"settings", "images", "geometry", "model", "model_is_given", "provenance", "version", "header", "notes"}
_SECONDS_A_CHUNK = 0.1  # a frame of 4 megapixels with its reading, generously
_TASK_SECONDS = 300  # what starting a task costs must not matter, what losing one costs neither
_MOST_BLOCKS = 1000  # a usual limit of Slurm's MaxArraySize


def _quiet(message: str) -> None:
    """What is said about workers, where there are none."""


def chunks_per_block(jobs: int = 1) -> int:
    """Chunks that keep a task busy for some minutes."""
    return max(1, round(_TASK_SECONDS * jobs / _SECONDS_A_CHUNK))


def plan_blocks(path: str, header_end: int, chunks: int) -> list[Block]:
    """Cut a stream into byte ranges of whole chunks.

    Parameters
    ----------
    path : str
    header_end : int
    chunks : int
        Chunks a block; more where the stream would give over a thousand blocks.
    """
    ends = [span.stop for span in Spans(path, header_end, chunks_per_span=1) if span is not None]
    if not ends:
        raise UsageError(f"{path}: the stream has no chunks to share out")
    chunks = max(chunks, -(-len(ends) // _MOST_BLOCKS))
    blocks, start = [], header_end
    for first in range(0, len(ends), chunks):
        stop = ends[min(first + chunks, len(ends)) - 1]
        blocks.append(Block(start, stop, min(chunks, len(ends) - first)))
        start = stop
    return blocks


def make_folder(
    job: Job,
    output: str,
    *,
    model: str | None,
    force: bool,
    chunks: int,
    slurm: SlurmOptions,
) -> JobFolder:
    """Check and learn what a run on one machine would, and make the folder of the job array.

    Geometry and model are copied into it: what becomes of the user's own files meanwhile changes no block.

    Raises
    ------
    StreamError, GeometryError, ImageError, OutputError
        As :func:`waterbg.run.run_subtract`.
    """
    from waterbg.run.worker import Worker

    path = folder_of(output)
    open_output(job, output, force=force, model_path=model)
    refuse_folder(path)
    header = output_header(job)
    say_when_compiling()
    worker = Worker(job)
    notes = doubt_geometry(job, worker.detector)
    refuse_input(worker, 1, _quiet)
    is_given = model_to_write(model, output) is None
    learnt = learn_run_model(worker, model, None)
    files = {} if job.geometry_path is None else {GEOMETRY: job.geometry}
    if learnt is not None:
        files[MODEL] = learnt.text()
    options: dict[str, Any] = {
        "settings": dataclasses.asdict(job.settings),
        "images": dataclasses.asdict(job.images),
        "geometry": _absolute(job.geometry_path),
        "model": _absolute(model),
        "model_is_given": is_given,
        "provenance": job.provenance.decode("utf-8", "surrogateescape"),
        "version": waterbg.__version__,
        "header": hashlib.sha256(header).hexdigest(),
        "notes": notes,
        "force": force,
        "workdir": os.getcwd(),
    }
    return JobFolder.create(
        path,
        input=job.input,
        output=output,
        options=options,
        blocks=plan_blocks(job.input, job.header_end, chunks),
        files=files,
        task=_task(Path(path).absolute()),
        slurm=slurm,
    )


def _task(folder: Path) -> str:
    task = f"{OWN_COMMAND} slurm task {shlex.quote(str(folder))}"
    return f'exec {task} "$SLURM_ARRAY_TASK_ID" -j "${{SLURM_CPUS_PER_TASK:-$(nproc)}}"\n'


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _job(folder: JobFolder) -> Job:
    """The job as it was when the folder was made.

    Raises
    ------
    StreamError
        When the stream is another by now.
    """
    folder.check_input()
    options = folder.options
    geometry = options["geometry"]
    job = resolve_job(
        folder.input,
        geometry=None if geometry is None else str(folder.path / GEOMETRY),
        settings={**options["settings"], "int_radius": tuple(options["settings"]["int_radius"])},
        images=Images(**options["images"]),
    )
    provenance = options["provenance"].encode("utf-8", "surrogateescape")
    # masks are looked for beside the user's own geometry
    job = dataclasses.replace(job, geometry_path=geometry, provenance=provenance)
    if hashlib.sha256(output_header(job)).hexdigest() != options["header"]:
        raise StreamError(
            f"has another header than when job folder {folder.path} was made; make a new one", path=job.input
        )
    return job


def run_task(folder: JobFolder, index: int, jobs: int, report: Callable[[str], None]) -> None:
    """Work on one block; its file gets its name when it is complete.

    Raises
    ------
    UsageError
        When there is no such block.
    """
    say_when_compiling()
    folder.refuse_number(index)
    if folder.is_done(index):
        report(f"block {index} is done already")
        return
    _refuse_older(folder)
    if folder.options["version"] != waterbg.__version__:  # the output says that one version made all of it
        raise OutputError(
            f"was made by waterbg {folder.options['version']}, and this is {waterbg.__version__}; make a new one",
            path=str(folder.path),
        )
    with _working_folder(folder):
        _do_block(folder, index, jobs, report)


def _refuse_older(folder: JobFolder) -> None:
    """End with a word when the folder lacks what this version puts into it."""
    if _OPTIONS - folder.options.keys():
        raise OutputError("was made by an older waterbg; make a new one", path=str(folder.path))


@contextmanager
def _working_folder(folder: JobFolder) -> Iterator[None]:
    """Be where the command was given: images, ``--prefix`` and masks may be named from there."""
    before = os.getcwd()
    try:
        os.chdir(folder.options["workdir"])
    except OSError as err:
        raise OutputError(
            f"cannot be worked on from {folder.options['workdir']}, where it was made ({err.strerror})",
            path=str(folder.path),
        ) from None
    try:
        yield
    finally:
        os.chdir(before)


def _do_block(folder: JobFolder, index: int, jobs: int, report: Callable[[str], None]) -> None:
    from waterbg.model import RunModel
    from waterbg.run.worker import Worker, chunks_per_span, prepare

    job = _job(folder)
    model = RunModel.load(folder.path / MODEL) if job.settings.uses_model else None
    block = folder.blocks[index]
    last = index == len(folder.blocks) - 1
    tally = Tally()
    worker = Worker(job)
    out = OutputFile(folder.block_path(index), force=True)  # one that is there is no longer complete
    size = 0
    with out.begin():
        together = chunks_per_span(worker)
        spans = Spans(job.input, block.start, stop=None if last else block.stop, chunks_per_span=together)
        with Pool(as_many_as_files(jobs, report), partial(prepare, worker), report) as pool:
            for piece in run_spans(worker, model, spans, pool):
                out.write(piece.text)
                size += len(piece.text)
                tally.add(piece.tally)
        if tally.chunks != block.chunks and not last:
            raise OutputError(f"block {index} has {tally.chunks} chunks, not {block.chunks}", path=str(out.path))
        account = {"bytes": size, "tally": tally.as_dict()}
        write_file(folder.account_path(index), json.dumps(account).encode() + b"\n")
        out.finish()


def collect(
    folder: JobFolder,
    *,
    force: bool = False,
    verify: bool = True,
    jobs: int = 1,
    report: Callable[[str], None] = _quiet,
) -> Summary:
    """Put the blocks together, prove the whole (by ``jobs`` processes), and give it the output's name.

    Raises
    ------
    OutputError
        When blocks are missing, or the output exists.
    """
    began = time.monotonic()
    folder.refuse_missing()
    _refuse_older(folder)
    job = _job(folder)
    reads = [job.input, folder.options["geometry"], folder.options["model"]]
    force = force or folder.options["force"]
    out = OutputFile(folder.output, force=force, reads=reads)
    has_model = (folder.path / MODEL).exists()
    learnt = model_to_write(folder.options["model"], folder.output) if has_model else None
    if learnt:
        OutputFile(learnt, force=force, reads=reads)
    summary = Summary(output=folder.output, notes=list(folder.options["notes"]))
    with out.begin():
        out.write(output_header(job))
        for index in range(len(folder.blocks)):
            with folder.block_path(index).open("rb") as file:
                while data := file.read(8 << 20):
                    out.write(data)
            account = json.loads(folder.account_path(index).read_bytes())
            summary.tally.add(Tally.from_dict(account["tally"]))
        out.flush()
        if verify:
            prove(job, out, as_many_as_files(jobs, report), report)
        out.finish()
    if has_model:
        from waterbg.model import RunModel
        from waterbg.run.worker import Worker

        if learnt:
            write_file(learnt, (folder.path / MODEL).read_bytes())
        model = RunModel.load(folder.path / MODEL)
        is_given = folder.options["model_is_given"]
        summary.notes += conclusions(model, is_given, job.settings, summary.tally, Worker(job).detector)
    summary.seconds = time.monotonic() - began
    return summary
