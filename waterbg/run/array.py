"""The main job in blocks: cut a stream, work on one block (a task of a job array), put the blocks together."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waterbg.errors import OutputError, UsageError
from waterbg.kernel_cache import say_when_compiling
from waterbg.run.follow import Spans
from waterbg.run.job import Images, Job, resolve_job
from waterbg.run.local import learn_run_model, prove, refuse_input, run_spans
from waterbg.run.pool import Pool
from waterbg.run.slurm import Block, JobFolder, SlurmOptions
from waterbg.run.summary import Summary
from waterbg.settings import Settings
from waterbg.stream import OutputFile, StreamFile, add_provenance, write_file
from waterbg.subtract import Tally

MODEL = "model.json"
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
    geometry: str | None,
    model: str | None,
    force: bool,
    chunks: int,
    slurm: SlurmOptions,
) -> JobFolder:
    """Check and learn what a run on one machine would, and make the folder of the job array.

    Raises
    ------
    StreamError, GeometryError, ImageError, OutputError
        As :func:`waterbg.run.run_subtract`.
    """
    from waterbg.run.worker import Worker

    say_when_compiling()
    OutputFile(output, force=force)
    if job.settings.uses_model and model is None:
        OutputFile(f"{output}.model.json", force=True)
    worker = Worker(job)
    refuse_input(worker, 1, _quiet)
    learnt = learn_run_model(worker, model, None)
    options: dict[str, Any] = {
        "settings": dataclasses.asdict(job.settings),
        "images": dataclasses.asdict(job.images),
        "geometry": os.path.realpath(geometry) if geometry else None,
        "model": os.path.realpath(model) if model else None,
        "provenance": job.provenance.decode("utf-8", "surrogateescape"),
        "force": force,
        "workdir": str(Path.cwd()),
    }
    blocks = plan_blocks(job.input, job.header_end, chunks)
    folder = JobFolder.create(
        f"{output}.slurm", input=job.input, output=output, options=options, blocks=blocks, slurm=slurm
    )
    if learnt is not None:
        learnt.save(folder.path / MODEL)
    return folder


def _job(folder: JobFolder) -> Job:
    folder.check_input()
    options = folder.options
    settings = {**options["settings"], "int_radius": tuple(options["settings"]["int_radius"])}
    job = resolve_job(
        folder.input,
        geometry=options["geometry"],
        settings={field.name: settings[field.name] for field in dataclasses.fields(Settings)},
        images=Images(**options["images"]),
    )
    return dataclasses.replace(job, provenance=options["provenance"].encode("utf-8", "surrogateescape"))


def run_task(folder: JobFolder, index: int, jobs: int, report: Callable[[str], None]) -> None:
    """Work on one block; its file gets its name when it is complete.

    Raises
    ------
    UsageError
        When there is no such block.
    """
    from waterbg.model import RunModel
    from waterbg.run.worker import Worker, chunks_per_span, prepare

    say_when_compiling()
    if not 0 <= index < len(folder.blocks):
        raise UsageError(f"block {index}: {folder.path} has blocks 0 to {len(folder.blocks) - 1}")
    if folder.block_path(index).exists():
        report(f"block {index} is done already")
        return
    job = _job(folder)
    model = RunModel.load(folder.path / MODEL) if job.settings.uses_model else None
    block = folder.blocks[index]
    last = index == len(folder.blocks) - 1
    tally = Tally()
    worker = Worker(job)
    out = OutputFile(folder.block_path(index))
    with out.begin():
        together = chunks_per_span(worker)
        spans = Spans(job.input, block.start, stop=None if last else block.stop, chunks_per_span=together)
        with Pool(jobs, prepare, (worker,), report) as pool:
            for piece in run_spans(worker, model, spans, pool):
                out.write(piece.text)
                tally.add(piece.tally)
        if tally.chunks != block.chunks and not last:
            raise OutputError(f"block {index} has {tally.chunks} chunks, not {block.chunks}", path=str(out.path))
        write_file(folder.path / f"block-{index}.json", json.dumps(tally.as_dict()).encode() + b"\n")
        out.finish()


def collect(folder: JobFolder, *, force: bool = False, verify: bool = True) -> Summary:
    """Put the blocks together, prove the whole, and give it the output's name.

    Raises
    ------
    OutputError
        When blocks are missing, or the output exists.
    """
    began = time.monotonic()
    missing = folder.missing()
    if missing:
        raise OutputError(
            f"{len(missing)} of {len(folder.blocks)} blocks are not done; 'waterbg slurm resume' submits them again",
            path=str(folder.path),
        )
    job = _job(folder)
    out = OutputFile(folder.output, force=force or folder.options["force"])
    summary = Summary(output=folder.output)
    with StreamFile(job.input) as stream:
        header = add_provenance(stream.header, job.provenance, job.input)
    with out.begin():
        out.write(header)
        for index in range(len(folder.blocks)):
            with folder.block_path(index).open("rb") as file:
                while data := file.read(8 << 20):
                    out.write(data)
            said = json.loads((folder.path / f"block-{index}.json").read_text())
            for name in ("dropped", "images", "fallbacks"):
                said[name] = Counter(said[name])
            summary.tally.add(Tally(**said))
        out.flush()
        if verify:
            prove(job, out, 1, _quiet)
        out.finish()
    if (folder.path / MODEL).exists():
        from waterbg.model import RunModel

        if folder.options["model"] is None:
            write_file(f"{folder.output}.model.json", (folder.path / MODEL).read_bytes())
        if job.settings.decoys:
            summary.notes += RunModel.load(folder.path / MODEL).quality.lines()
    summary.seconds = time.monotonic() - began
    return summary
