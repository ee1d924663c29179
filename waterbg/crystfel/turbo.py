"""A large indexing run as a Slurm job array: each task indexes its share of the events and subtracts its own stream.

What CrystFEL's ``turbo-index-slurm`` does, with the job folder of :mod:`waterbg.run.slurm`: ``list_events`` makes the
list, it is cut into ``files-N.lst``, and task N runs the stand-in for indexamajig on its list with ``--serial-start``,
so that image numbers go on from block to block.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from waterbg.crystfel.options import INDEXAMAJIG, parse_unknown, replace_value, value_of
from waterbg.crystfel.programs import find_program, run_program
from waterbg.errors import OutputError, UsageError
from waterbg.run.slurm import SCRIPT, Block, JobFolder, SlurmOptions
from waterbg.stream import OutputFile, StreamFile

EVENTS = "events.lst"


def make_turbo(
    arguments: Sequence[str],
    own: Sequence[str],
    *,
    block_size: int,
    slurm: SlurmOptions,
    crystfel_bin: str | None = None,
    force: bool = False,
) -> JobFolder:
    """List the events, cut the list, and make the job folder ``OUT.stream.slurm``.

    Parameters
    ----------
    arguments : sequence of str
        indexamajig's, with ``-i``, ``-g`` and ``-o``.
    own : sequence of str
        ``--waterbg-…`` options for the subtraction in each task.
    block_size : int
        Events a task.
    force : bool
        The collected stream may replace one that exists.

    Raises
    ------
    UsageError
        When an option is missing, or there are no events.
    ProgramError
        When ``list_events`` fails, or ``indexamajig`` is not there.
    """
    options = parse_unknown(arguments, INDEXAMAJIG)
    said = {name: value_of(options, name) for name in ("input", "geometry", "output")}
    for name, value in said.items():
        if not value:
            raise UsageError(f"--slurm needs indexamajig's --{name} on the command line")
    if value_of(options, "serial-start") or value_of(options, "serial-offset"):
        raise UsageError("--slurm sets --serial-start for each block itself; leave it out")
    output = str(said["output"])
    OutputFile(output, force=force)
    find_program("indexamajig", crystfel_bin)  # better missed now than in every task
    folder = Path(f"{output}.slurm")
    listing = Path(f"{output}.events.lst")
    run_program(
        find_program("list_events", crystfel_bin),
        ["-i", str(said["input"]), "-g", str(said["geometry"]), "-o", str(listing)],
        log=Path(f"{output}.log"),
    )
    events = listing.read_text(errors="surrogateescape").splitlines(keepends=True)
    if not events:
        raise UsageError(f"{said['input']}: list_events found no events")
    blocks = [Block(at, min(at + block_size, len(events)), 0) for at in range(0, len(events), block_size)]
    made = JobFolder.create(
        str(folder),
        input=str(listing),
        output=output,
        options={"kind": "indexing", "force": force},
        blocks=blocks,
        slurm=slurm,
    )
    for index, block in enumerate(blocks):
        lines = "".join(events[block.start : block.stop])
        (made.path / f"files-{index}.lst").write_text(lines, errors="surrogateescape")
    script = made.path / SCRIPT
    head = script.read_text(encoding="utf-8", errors="surrogateescape").rpartition("exec ")[0]
    script.write_bytes(os.fsencode(head + _task(arguments, own, made.path, block_size, crystfel_bin)))
    return made


def _task(arguments: Sequence[str], own: Sequence[str], folder: Path, block_size: int, crystfel_bin: str | None) -> str:
    """The line of the batch script that indexes one block, run where the command was given."""
    mark = {"input": "\1", "output": "\2"}  # stand for what only the shell of the task knows
    words = list(arguments)
    for name, value in mark.items():
        words = replace_value(words, INDEXAMAJIG, name, value)
    number = '"${SLURM_ARRAY_TASK_ID}"'
    line = " ".join(shlex.quote(word) for word in words)
    for value, what in ((mark["input"], "files-%s.lst"), (mark["output"], "block-%s.stream")):
        path = shlex.quote(f"{folder}/") + what % number
        line = line.replace(f"'{value}'", path).replace(shlex.quote(value), path).replace(value, path)
    mine = [*own, *([f"--waterbg-crystfel-bin={os.path.abspath(crystfel_bin)}"] if crystfel_bin else [])]
    return (
        f"cd {shlex.quote(os.getcwd())} || exit 1\n"
        f"exec {shlex.quote(sys.executable)} -m waterbg indexamajig {line} "
        f"--serial-start=$((SLURM_ARRAY_TASK_ID * {block_size} + 1)) --waterbg-force "
        f"{' '.join(shlex.quote(word) for word in mine)}\n"
    )


def collect_turbo(folder: JobFolder, *, force: bool = False) -> tuple[int, float]:
    """Put the subtracted streams of all blocks into one, with the header of the first.

    Returns
    -------
    chunks : int
    seconds : float

    Raises
    ------
    OutputError
        When blocks are missing, their geometries differ, or the output exists.
    """
    began = time.monotonic()
    missing = folder.missing()
    if missing:
        raise OutputError(
            f"{len(missing)} of {len(folder.blocks)} blocks are not done; 'waterbg slurm resume' submits them again",
            path=str(folder.path),
        )
    out = OutputFile(folder.output, force=force or folder.options["force"])
    chunks = 0
    with out.begin():
        geometry = None
        for index in range(len(folder.blocks)):
            path = folder.block_path(index)
            with StreamFile(path) as stream:
                if geometry is None:
                    geometry = stream.geometry_text
                    out.write(stream.header)
                elif stream.geometry_text != geometry:
                    raise OutputError("its geometry is another than that of the first block", path=str(path))
                at = stream.header_end
                for chunk in stream.all_chunks():
                    if not chunk.parsed.complete:
                        raise OutputError(f"is not whole (byte {chunk.start}); remove it and resume", path=str(path))
                    out.write(stream.read(at, chunk.stop))
                    at, chunks = chunk.stop, chunks + 1
        out.finish()
    return chunks, time.monotonic() - began
