"""A large indexing run as a Slurm job array: each task indexes its share of the events and subtracts its own stream.

What CrystFEL's ``turbo-index-slurm`` does, with the job folder of :mod:`waterbg.run.slurm`: ``list_events`` makes the
list, it is cut into ``files-N.lst``, and task N runs the stand-in for indexamajig on its list with ``--serial-start``,
so that image numbers go on from block to block.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from waterbg.crystfel.dropin import original_name
from waterbg.crystfel.events import write_events
from waterbg.crystfel.options import INDEXAMAJIG, Option, parse_words, replace_value, value_of
from waterbg.crystfel.programs import find_program
from waterbg.errors import OutputError, UsageError
from waterbg.own_command import OWN_COMMAND
from waterbg.run.slurm import Block, JobFolder, SlurmOptions, folder_of, refuse_folder
from waterbg.stream import OutputFile, StreamFile


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
    options = parse_words(arguments, INDEXAMAJIG)
    source, geometry, output = (_needed(options, name) for name in ("input", "geometry", "output"))
    if value_of(options, "serial-start") or value_of(options, "serial-offset"):
        raise UsageError("--slurm sets --serial-start for each block itself; leave it out")
    folder, listing = folder_of(output), f"{output}.events.lst"
    reads = [path for path in (source, geometry, value_of(options, "pdb")) if path]
    OutputFile(output, force=force, reads=reads)
    OutputFile(listing, force=True, reads=reads)
    refuse_folder(folder)
    find_program("indexamajig", crystfel_bin)  # better missed now than in every task
    log = Path(f"{output}.log")
    write_events(source, geometry, Path(listing), options, log=log, crystfel_bin=crystfel_bin)
    events = [line + b"\n" for line in Path(listing).read_bytes().split(b"\n") if line]
    blocks = [Block(at, min(at + block_size, len(events)), 0) for at in range(0, len(events), block_size)]
    return JobFolder.create(
        folder,
        input=listing,
        output=output,
        options={"kind": "indexing", "force": force, "reads": [str(Path(path).absolute()) for path in reads]},
        blocks=blocks,
        files={_list_of(n): b"".join(events[block.start : block.stop]) for n, block in enumerate(blocks)},
        task=_task(arguments, own, Path(folder).absolute(), block_size, crystfel_bin),
        slurm=slurm,
    )


def _needed(options: Sequence[Option | str], name: str) -> str:
    value = value_of(options, name)
    if not value:
        raise UsageError(f"--slurm needs indexamajig's --{name} on the command line")
    return value


def _list_of(block: int | str) -> str:
    return f"files-{block}.lst"


def _unfinished(block: int | str) -> str:
    """Name of a block's stream while it may still be cut short."""
    return f"block-{block}.task.stream"


def _task(arguments: Sequence[str], own: Sequence[str], folder: Path, block_size: int, crystfel_bin: str | None) -> str:
    """Lines of the batch script that index one block, run where the command was given."""
    number = '"${SLURM_ARRAY_TASK_ID}"'

    def named(name: str) -> str:
        before, _, after = f"{folder}/{name}".rpartition("*")
        return f"{shlex.quote(before)}{number}{shlex.quote(after)}"

    # no argument holds a NUL: it stands for what only the shell of the task knows
    marks = {"input": ("\0i", named(_list_of("*"))), "output": ("\0o", named(_unfinished("*")))}
    words = list(arguments)
    for name, (mark, _) in marks.items():
        words = replace_value(words, INDEXAMAJIG, name, mark)
    words = [_quoted(word, dict(marks.values())) for word in words]
    mine = [*own, *([f"--waterbg-crystfel-bin={os.path.abspath(crystfel_bin)}"] if crystfel_bin else [])]
    return (
        f"cd {shlex.quote(os.getcwd())} || exit 1\n"
        f"rm -f {marks['output'][1]}  # of an earlier try\n"
        f"{OWN_COMMAND} indexamajig {' '.join(words)} "
        f"--serial-start=$((SLURM_ARRAY_TASK_ID * {block_size} + 1)) --waterbg-force"
        f"{''.join(f' {shlex.quote(word)}' for word in mine)}\n"
        f"{OWN_COMMAND} slurm task {shlex.quote(str(folder))} {number} $?\n"
    )


def _quoted(word: str, known: Mapping[str, str]) -> str:
    """A word for the shell, with what it knows in the place of a mark."""
    for mark, path in known.items():
        before, found, after = word.partition(mark)
        if found:
            return "".join([shlex.quote(before) if before else "", path, shlex.quote(after) if after else ""])
    return shlex.quote(word)


def finish_block(folder: JobFolder, index: int, status: int) -> str:
    """Give a block its name, unless its indexing was cut short.

    Parameters
    ----------
    folder : JobFolder
    index : int
    status : int
        Exit status of the stand-in for indexamajig. When it is not 0 (which is no proof: ``--indexing=file`` of
        CrystFEL 0.12 aborts after its last chunk), every event of the block must be in its stream.

    Returns
    -------
    str
        What came of it.

    Raises
    ------
    OutputError
        When the block is not done.
    """
    folder.refuse_number(index)
    path = folder.path / _unfinished(index)
    if not path.exists():
        raise OutputError("the task left no stream; its log says why", path=str(path))
    # list_events wrote it: each line is one event, and none is a file whose events indexamajig would look up
    wanted = sum(bool(line) for line in (folder.path / _list_of(index)).read_bytes().split(b"\n"))
    with StreamFile(path) as stream:
        chunks = sum(chunk.parsed.complete for chunk in stream.all_chunks())
    if status and chunks != wanted:
        raise OutputError(
            f"indexamajig or the subtraction ended with status {status}, and {chunks} of {wanted} events are in it; "
            f"'waterbg slurm resume' submits the block again, and with the name {folder.block_path(index).name} it "
            "is taken as it is",
            path=str(path),
        )
    original = original_name(path)
    if original.exists():
        original.replace(original_name(folder.block_path(index)))
    path.replace(folder.block_path(index))
    return f"block {index} is done" + (f", {chunks} of {wanted} events" if chunks != wanted else "")


def collect_turbo(folder: JobFolder, *, force: bool = False) -> tuple[int, float]:
    """Put the subtracted streams of all blocks into one, with the header of the first.

    Returns
    -------
    chunks : int
    seconds : float

    Raises
    ------
    OutputError
        When blocks are missing, their geometries or subtractions differ, or the output exists.
    """
    began = time.monotonic()
    folder.refuse_missing()
    out = OutputFile(folder.output, force=force or folder.options["force"], reads=folder.options["reads"])
    chunks = 0
    with out.begin():
        geometry, how = None, b""
        for index in range(len(folder.blocks)):
            path = folder.block_path(index)
            with StreamFile(path) as stream:
                if geometry is None:
                    geometry = stream.geometry_text
                    out.write(stream.header)
                elif stream.geometry_text != geometry:
                    raise OutputError("its geometry is another than that of the first block", path=str(path))
                said = b"\n".join(line for line in stream.audit.splitlines() if line.startswith(b"waterbg "))
                how = how or said  # a block without chunks says nothing
                if said not in (b"", how):
                    raise OutputError(
                        f"its subtraction ({said.decode(errors='replace')}) is not that of the blocks before "
                        f"({how.decode(errors='replace')}); remove it and resume",
                        path=str(path),
                    )
                at = stream.header_end
                for chunk in stream.all_chunks():
                    if not chunk.parsed.complete:
                        raise OutputError(f"is not whole (byte {chunk.start}); remove it and resume", path=str(path))
                    out.write(stream.read(at, chunk.stop))
                    at, chunks = chunk.stop, chunks + 1
        out.finish()
    return chunks, time.monotonic() - began
