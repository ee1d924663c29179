"""Repeat the indexamajig run of a stream with some options changed, without indexing again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from waterbg.crystfel import options as opt
from waterbg.crystfel.events import naming_of
from waterbg.crystfel.options import Option
from waterbg.crystfel.programs import Program, failure, find_program, run_program, show_command
from waterbg.crystfel.selection import EVERYTHING, Selection
from waterbg.crystfel.solution import (
    LONGEST_LINE,
    MOST_CRYSTALS,
    Shifts,
    check_name,
    event_of,
    list_line,
    solution_line,
)
from waterbg.errors import OutputError, StreamError, UsageError
from waterbg.small_file import read_geometry_file

if TYPE_CHECKING:
    from waterbg.stream import StreamFile

# Of the run in the header, what this run replaces, or what made sense for that run alone.
_REPLACED = {"input", "output", "geometry", "pdb", "indexing", "fromfile-input-file", "prefix", "basename",
             "no-check-prefix", "temp-dir", "j", "cpu-pin", "profile", "wait-for-file", "harvest-file", "help", "usage",
             "version", "h", "v"}  # fmt: skip
# what concerns indexing only, and the refinement that must not happen again
_INDEXING = {"tolerance", "no-check-cell", "check-cell", "multi", "no-multi", "no-retry", "retry", "no-refine",
             "refine", "no-check-peaks", "check-peaks", "no-cell-combinations", "max-indexer-threads", "mille",
             "mille-dir", "mille-file", "max-mille-level"}  # fmt: skip
_INDEXER = re.compile(r"(help-)?(felix|xgandalf|ffbidx|pinkindexer|taketwo|asdf|smallcell|fromfile)\b", re.IGNORECASE)
_LIVE = ("zmq-input", "asapo-endpoint")
# options of the user's whose relative file names are meant from the current folder
_FILES = {"geometry", "pdb", "harvest-file", "mille-dir", "temp-dir"}

# Cell, orientation and detector shift are taken as they are: refining or checking them again would move what the
# stream says. Without --no-retry, index_pattern_4 takes peaks away from frames without a solution; with --multi it
# would find the same crystals again.
AS_THEY_ARE = [Option(name) for name in ("no-refine", "no-check-cell", "no-check-peaks", "no-retry", "no-multi")]


@dataclass
class Frames:
    """What the rerun was asked to do, counted while its lists are written.

    Attributes
    ----------
    expected : dict
        (file, event) -> number of crystals in its solution.
    crystals : int
    without_axes, surplus, repeated : int
        Crystals left out because the stream has no axes for them, or beyond the 16 that CrystFEL reads for one image;
        chunks left out because their frame came before.
    """

    expected: dict[tuple[str, str], int] = field(default_factory=dict)
    crystals: int = 0
    without_axes: int = 0
    surplus: int = 0
    repeated: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything of a rerun that is known before it starts.

    Attributes
    ----------
    program : Program
    arguments : list of str
    options : list of Option
        Of these, what the header and the user said. A geometry or cell among them is the user's own; otherwise those
        in the stream are used.
    folder : Path
        Solution file, list of frames, geometry, cell, log, and the stream while it grows.
    cwd : str
        Where it runs: the current folder, or that of the stream when the images are found from there only.
    output : Path
        Where the new stream will be.
    """

    source: str
    program: Program
    arguments: list[str]
    options: list[Option]
    folder: Path
    cwd: str
    output: Path
    selection: Selection
    naming: Callable[[str], str]

    @property
    def stream(self) -> Path:
        """The new stream while it grows."""
        return self.folder / self.output.name

    @property
    def command(self) -> str:
        """The command, as one would type it."""
        return show_command(self.program, self.arguments)


@dataclass(frozen=True)
class Result:
    """What came of a rerun: chunks and crystals, in the new stream and asked for; remarks worth reading."""

    chunks: int
    frames: int
    crystals: int
    solutions: int
    remarks: tuple[str, ...]

    def text(self) -> str:
        """One line, and one for each remark."""
        line = f"{self.chunks} of {self.frames} frames, {self.crystals} of {self.solutions} crystals"
        return "\n".join([line, *(f"note: {remark}" for remark in self.remarks)])


def plan_rerun(
    source: str,
    output: str,
    changes: Sequence[Option] = (),
    *,
    without: Sequence[str] = (),
    only: Selection = EVERYTHING,
    crystfel_bin: str | None = None,
    force: bool = False,
) -> Plan:
    """Work out the command that repeats the run in the header of ``source``; nothing is written.

    Parameters
    ----------
    source, output : str
        The stream, and the one to be made.
    changes : sequence of Option
        indexamajig options that replace or join those of the header.
    without : sequence of str
        Names of options of the header to leave out.
    only : Selection
    crystfel_bin : str, optional
        Folder of CrystFEL's programs; default PATH.
    force : bool
        The output may exist.

    Raises
    ------
    StreamError, GeometryError, UsageError, OutputError, ProgramError
    """
    from waterbg.stream import STREAM, OutputFile, refuse_another_kind, refuse_to_replace

    geometry = opt.value_of(changes, "geometry")
    if geometry is not None:
        read_geometry_file(geometry)  # of one without a word indexamajig would say nothing that leads to it
    recorded = _recorded_run(source, only, needs_geometry=geometry is None)
    _check_changes(changes)
    final = Path(output)
    OutputFile(output, force=force, reads=[source, geometry, opt.value_of(changes, "pdb")])
    refuse_another_kind(output, STREAM)
    program = find_program("indexamajig", crystfel_bin)
    folder = Path(os.path.abspath(final)).parent / f"{final.name.removesuffix('.stream')}.rerun"
    refuse_to_replace(folder / final.name, [source])
    naming = naming_of(changes)
    cwd = _working_folder(source, naming(recorded.image))
    chosen = _chosen_options(recorded.options, changes, without, cwd)
    cell = opt.value_of(chosen, "pdb") or (str(folder / "target.cell") if recorded.has_cell else None)
    fixed = [
        Option("i", str(folder / "frames.lst")),
        Option("o", str(folder / final.name)),
        Option("g", opt.value_of(chosen, "geometry") or str(folder / "geometry.geom")),
        *([Option("p", cell)] if cell else []),
        Option("indexing", "file"),
        Option("fromfile-input-file", str(folder / "solutions.sol")),  # absolute: workers sit in folders of their own
        *AS_THEY_ARE,
        *([] if opt.has(chosen, "temp-dir") else [Option("temp-dir", str(folder))]),
    ]
    rest = [option for option in chosen if option.long_name not in ("geometry", "pdb")]
    arguments = [word for option in [*fixed, *rest] for word in option.words()]
    return Plan(source, program, arguments, chosen, folder, cwd, final, only, naming)


@dataclass(frozen=True)
class _Recorded:
    """What a stream says of the run that made it: its options, and the image of its first chunk."""

    options: list[Option]
    has_cell: bool
    image: str


def _recorded_run(source: str, only: Selection, *, needs_geometry: bool) -> _Recorded:
    """Refuse a stream whose run cannot be repeated."""
    from waterbg.stream import StreamFile

    with StreamFile(source) as stream:
        line, has_cell = stream.command_line, bool(stream.cell_text)
        if needs_geometry and not stream.geometry_text:
            raise StreamError("the stream holds no geometry; give one with -g", path=source)
        chunks = stream.chunks()
        first = next(chunks, None)
        if first is not None and first not in only and not any(chunk in only for chunk in chunks):
            raise UsageError(f"--only leaves none of the frames of {source}")
    if not line:
        raise StreamError("the header has no command line to repeat", path=source)
    if first is None:
        raise StreamError("no chunk in it, so nothing to run again", path=source)
    options = opt.parse_line(line)
    for live in _LIVE:
        if opt.has(options, live):
            raise StreamError(f"its images came in over --{live} and cannot be read again", path=source)
    return _Recorded(options, has_cell, first.filename)


def _check_changes(changes: Sequence[Option]) -> None:
    for option in changes:
        if option.long_name in ("input", "output", "indexing", "fromfile-input-file", "multi", "refine", "retry"):
            raise UsageError(
                f"--{option.long_name} cannot be changed in a rerun: frames and solutions come from the stream"
            )


def _working_folder(source: str, filename: str) -> str:
    """Where the images are found from: here, or, if not, beside the stream (where such runs are started most often)."""
    beside = os.path.dirname(os.path.abspath(source))
    if not os.path.exists(filename) and os.path.exists(os.path.join(beside, filename)):
        return beside
    return os.getcwd()


def _chosen_options(
    original: Sequence[Option], changes: Sequence[Option], without: Sequence[str], cwd: str
) -> list[Option]:
    """Options of the header, with the user's changes, without what this run replaces."""
    dropped = {opt.SAME.get(name.lstrip("-"), name.lstrip("-")) for name in without}
    missing = dropped - {option.long_name for option in original}
    if missing:
        raise UsageError(f"--without={', '.join(sorted(missing))}: the run in the header does not have it")
    kept = [
        option
        for option in original
        if option.long_name not in _REPLACED | _INDEXING | dropped and not _INDEXER.match(option.name)
    ]
    mine = [option for option in changes if option.long_name not in ("prefix", "basename", "no-check-prefix")]
    if cwd != os.getcwd():
        mine = [
            Option(o.name, os.path.abspath(o.value)) if o.long_name in _FILES and o.value is not None else o
            for o in mine
        ]
    return opt.override(kept, mine)


def run_plan(plan: Plan) -> Result:
    """Write the lists, run indexamajig, judge its stream, and put that in its place.

    Raises
    ------
    StreamError
        When a frame of the stream cannot be told to indexamajig.
    ProgramError
        When chunks are missing from the new stream; it stays in the folder of the rerun, with the log.
    """
    frames = _write_inputs(plan)
    plan.stream.unlink(missing_ok=True)
    log = plan.folder / "indexamajig.log"
    log.unlink(missing_ok=True)
    done = run_program(plan.program, plan.arguments, log=log, cwd=plan.cwd, check=False)
    chunks, crystals, missing = _judge(plan, frames)
    if missing:
        name, event = missing[0]
        raise failure(
            plan.program,
            done.status,
            done.last_lines,
            log,
            f"{len(missing)} of {len(frames.expected)} frames are missing from its stream, first {name} {event}",
        )
    remarks = list(_remarks(frames, crystals))
    text = log.read_text(errors="replace")
    if done.status != 0 or "killed by signal" in text:
        remarks.append(
            "indexamajig ended with an abort after its last chunk, which --indexing=file of CrystFEL 0.12 always does; "
            "all chunks are complete"
        )
    try:
        with open(plan.stream, "rb") as file:
            os.fsync(file.fileno())
        os.replace(plan.stream, plan.output)
    except OSError as err:
        raise OutputError(
            f"cannot be written ({err.strerror}); the stream is {plan.stream}", path=str(plan.output)
        ) from None
    return Result(chunks, len(frames.expected), crystals, frames.crystals, tuple(remarks))


def _write_inputs(plan: Plan) -> Frames:
    from waterbg.stream import StreamFile

    frames = Frames()
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        with (
            StreamFile(plan.source) as stream,
            open(plan.folder / "frames.lst", "w", errors="surrogateescape") as listed,
            open(plan.folder / "solutions.sol", "w", errors="surrogateescape") as solved,
        ):
            # the user's own are not written over: they may be these very files of an earlier rerun, edited since
            if not opt.has(plan.options, "geometry"):
                (plan.folder / "geometry.geom").write_bytes(stream.geometry_text)
            if stream.cell_text and not opt.has(plan.options, "pdb"):
                (plan.folder / "target.cell").write_bytes(stream.cell_text)
            for frame, lines in _solutions(stream, plan, frames):
                listed.write(list_line(*frame) + "\n")
                solved.writelines(line + "\n" for line in lines)
    except OSError as err:
        raise OutputError(f"cannot be written ({err.strerror})", path=str(plan.folder)) from None
    return frames


def _solutions(stream: StreamFile, plan: Plan, frames: Frames) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Each selected frame with the lines of its crystals; counts go into ``frames``."""
    shifts = Shifts(stream.geometry_text, plan.source)
    for chunk in stream.chunks():
        if chunk not in plan.selection:
            continue
        frame = (plan.naming(chunk.filename), event_of(chunk))
        if frame in frames.expected:
            frames.repeated += 1
            continue
        check_name(*frame, path=plan.source, offset=chunk.start)
        energy = chunk.photon_energy_eV
        lines = [solution_line(*frame, crystal, shifts.of(crystal, energy)) for crystal in chunk.crystals]
        known = [line for line in lines if line is not None]
        frames.without_axes += len(lines) - len(known)
        frames.surplus += max(0, len(known) - MOST_CRYSTALS)
        known = known[:MOST_CRYSTALS]
        if any(len(line.encode(errors="surrogateescape")) > LONGEST_LINE for line in known):
            raise StreamError(
                "the name of the image is too long for a solution file", path=plan.source, offset=chunk.start
            )
        frames.expected[frame] = len(known)
        frames.crystals += len(known)
        yield frame, known


def _judge(plan: Plan, frames: Frames) -> tuple[int, int, list[tuple[str, str]]]:
    """Chunks and crystals of the new stream, and the frames that should be there and are not."""
    from waterbg.stream import StreamFile

    seen: set[tuple[str, str]] = set()
    crystals = 0
    try:
        with StreamFile(str(plan.stream)) as stream:
            for chunk in stream.chunks():
                seen.add((chunk.filename, event_of(chunk)))
                crystals += len(chunk.crystals)
    except (StreamError, OSError):
        seen, crystals = set(), 0
    wanted = frames.expected
    if opt.has(plan.options, "no-non-hits-in-stream"):
        # frames without crystals may have been left out on purpose
        wanted = {frame: n for frame, n in wanted.items() if n}
    return len(seen), crystals, [frame for frame in wanted if frame not in seen]


def _remarks(frames: Frames, crystals: int) -> Iterator[str]:
    if frames.repeated:
        yield f"{frames.repeated} chunks left out: their frame is in the stream before"
    if frames.without_axes:
        yield f"{frames.without_axes} crystals left out: the stream does not have their astar, bstar, cstar"
    if frames.surplus:
        yield f"{frames.surplus} crystals left out: --indexing=file takes at most {MOST_CRYSTALS} for an image"
    if crystals < frames.crystals:
        yield (
            f"{frames.crystals - crystals} crystals are not in the new stream: indexamajig gives none to a frame with "
            "fewer peaks than --min-peaks or none at all, and leaves out one that is nearly the same as another"
        )
