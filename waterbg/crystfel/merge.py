"""Merge streams with CrystFEL's own programs and lay their statistics side by side."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from waterbg.crystfel.merge_report import BETWEEN, Merged, MergeReport
from waterbg.crystfel.options import Option, has
from waterbg.crystfel.programs import Program, failure, find_program, run_program
from waterbg.crystfel.rejections import read_rejections
from waterbg.crystfel.tables import Shells, read_check, read_compare, read_range
from waterbg.errors import OutputError, ProgramError, UsageError, WaterbgError
from waterbg.stream import refuse_another_kind, refuse_to_replace, write_file
from waterbg.stream.lacking import has_reflections, no_reflections

_HALVES = ("Rsplit", "CC", "CCstar")
_FEW = """CrystFEL reflection list version 2.0
Symmetry: 1
   h    k    l          I    phase   sigma(I)   nmeas
   1    2    3       1.00        -       1.00       1
   2    3    4       1.00        -       1.00       1
End of reflections
"""
_RESULTS = ("merge.json", "merge.txt", "merge.log", "merge.png")
# options of the merging programs that name something to write beside the merged list, and something to read
_WRITTEN = ("unmerged-output", "output-cell", "harvest-file", "log-folder", "stat")
_READ = ("custom-split", "start-params", "reference")


def merge_streams(
    streams: Sequence[str],
    output: str | None = None,
    *,
    symmetry: str,
    cell: str,
    program: str = "process_hkl",
    options: Sequence[Option] = (),
    nshells: int = 10,
    lowres: float | None = None,
    highres: float | None = None,
    crystfel_bin: str | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda message: None,
) -> MergeReport:
    """Merge each stream, with half-data sets, and compare the results in the same resolution shells.

    Parameters
    ----------
    streams : sequence of str
    output : str, optional
        Folder for the merged lists, ``merge.log``, ``merge.txt`` and ``merge.json``; default ``NAME.merge`` after the
        first stream, in the current folder.
    symmetry : str
        Point group to merge in, as CrystFEL spells it (``4/mmm``, ``2_uab`` …).
    cell : str
        Cell file, CrystFEL's or PDB.
    program : str
        ``process_hkl`` or ``partialator``.
    options : sequence of Option
        Passed through to it.
    nshells : int
    lowres, highres : float, optional
        Limits of the shells, d in Å; default: what all merged lists span together.
    crystfel_bin : str, optional
        Folder of CrystFEL's programs; default PATH.
    force : bool
        Replace what an earlier run left in the folder.
    report : callable
        Called with one line before each step.

    Raises
    ------
    StreamError
        When a stream cannot be read, or has nothing to merge.
    ProgramError
        When a program is missing or fails. A figure of merit that compare_hkl cannot give is a note instead.
    OutputError, UsageError
    """
    _refuse_inputs(streams, cell)
    _refuse_limits(lowres, highres)
    for option in options:
        if option.name in ("even-only", "odd-only"):  # refused by process_hkl, but after the first of three mergings
            raise UsageError(f"--{option.name}: each half-data set is merged anyway, as well as all; leave it out")
    merger = find_program(program, crystfel_bin)
    tools = {name: find_program(name, crystfel_bin) for name in ("check_hkl", "compare_hkl")}
    _refuse_cell(cell, tools["check_hkl"])
    folder = Path(output if output is not None else Path(streams[0]).stem + ".merge")
    names = _names(streams)
    given = [option for option in options if option.value is not None]
    reads = [*streams, cell, *(str(option.value) for option in given if option.name not in _WRITTEN)]
    _refuse_to_replace(folder, names, reads, [str(option.value) for option in given if option.name in _WRITTEN])
    _prepare(folder, force)
    work = _Work(merger, options, tools, symmetry, cell, nshells, folder, report)
    merged = [
        Merged(_label(i), stream, str(folder / f"{name}.hkl")) for i, (stream, name) in enumerate(zip(streams, names))
    ]
    for one in merged:
        work.merge(one)
    limits = work.limits(merged, lowres, highres)
    edges: tuple[float, ...] = ()
    notes: list[str] = []
    for one in merged:
        shells = work.check(one, limits)
        one.add(shells)
        edges = shells.edges  # the same for all
        for figure in _HALVES:
            work.compare(one, f"{one.hkl}1", f"{one.hkl}2", figure, limits, notes)
    between = [Merged(_pair(i), one.stream, "") for i, one in enumerate(merged[1:], 1)]
    for pair, one in zip(between, merged[1:]):
        for figure in BETWEEN:
            work.compare(pair, merged[0].hkl, one.hkl, figure, limits, notes)
    result = MergeReport(folder, merger, work.words, symmetry, cell, edges, merged, between, notes)
    write_file(folder / "merge.txt", result.text().encode("utf-8", "surrogateescape"))
    write_file(folder / "merge.json", f"{result.as_json()}\n".encode("utf-8", "surrogateescape"))
    return result


def _refuse_limits(lowres: float | None, highres: float | None) -> None:
    """Limits that leave no shell, whatever is merged: merging may take hours."""
    for name, d in (("lowres", lowres), ("highres", highres)):
        if d is not None and not d > 0:
            raise UsageError(f"--{name}={d:g}: a resolution in Å is needed, more than 0")
    if lowres is not None and highres is not None and not lowres > highres:
        raise UsageError(f"--lowres={lowres:g} must be more than --highres={highres:g} (d in Å)")


def _refuse_inputs(streams: Sequence[str], cell: str) -> None:
    """Say what is wrong with an input before anything is written."""
    for path in streams:
        if not has_reflections(path):
            raise no_reflections(path)
    try:
        with open(cell, "rb") as file:
            file.read(1)
    except OSError as err:
        raise WaterbgError(f"{cell}: cannot be read ({err.strerror})") from None


def _refuse_cell(cell: str, check_hkl: Program) -> None:
    """Ask about the cell first, with a list of two reflections: it is read only when everything has been merged."""
    with tempfile.TemporaryDirectory() as name:
        few = Path(name) / "few.hkl"
        few.write_text(_FEW)
        words = [str(few), "-y", "1", "-p", cell, f"--shell-file={name}/shells.dat"]
        done = run_program(check_hkl, words, log=Path(name) / "log", check=False)
    if done.status != 0:
        raise WaterbgError(f"{cell}: check_hkl cannot use it as a cell file; it said: {' | '.join(done.last_lines)}")


def _label(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else str(i + 1)


def _pair(i: int) -> str:
    return f"{_label(0)}-{_label(i)}"


def _names(streams: Sequence[str]) -> list[str]:
    """A name for each stream's files: its own, numbered where two would be the same, or that of a pair (A-B)."""
    pairs = [_pair(i) for i in range(1, len(streams))]
    names: list[str] = []
    for stream in streams:
        stem = name = Path(stream).stem
        number = 1
        while name in [*names, *pairs]:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names


def _beside(folder: Path, name: str, value: str) -> Path:
    """Where an option's file of one stream goes: each stream has its own, or only the last one's would be left."""
    given = Path(value)
    return (given.parent if len(given.parts) > 1 else folder) / f"{name}-{given.name}"


def _refuse_to_replace(folder: Path, names: Sequence[str], reads: Sequence[str], written: Sequence[str]) -> None:
    """Refuse to put a result in the place of an input, or of any stream or images, ``--force`` or not."""
    endings = [".hkl", ".hkl1", ".hkl2", "-check.dat", *(f"-{figure}.dat" for figure in _HALVES)]
    ours = [f"{name}{ending}" for name in names for ending in endings]
    ours += [f"{_pair(i)}-{figure}.dat" for i in range(1, len(names)) for figure in BETWEEN]
    paths = [folder / name for name in (*ours, *_RESULTS)]
    for path in [_beside(folder, name, value) for name in names for value in written]:
        if path in paths:
            raise OutputError("is a result of merge by that name; choose another", path=str(path))
        if path.parent != folder and not path.parent.is_dir():  # the programs find out when they have merged
            raise OutputError("there is no such folder", path=str(path.parent))
        paths.append(path)
    for path in paths:
        refuse_to_replace(path, reads)
        refuse_another_kind(path, "a result of merge")


def _prepare(folder: Path, force: bool) -> None:
    try:
        if folder.exists() and any(folder.iterdir()):
            if not force:
                raise OutputError(
                    "the folder exists and is not empty; choose another with -o, or --force", path=str(folder)
                )
            for leftover in _RESULTS:
                (folder / leftover).unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"the folder cannot be used ({err.strerror})", path=str(folder)) from None


@dataclass
class _Work:
    """The steps, with what they share."""

    program: Program
    options: Sequence[Option]
    tools: dict[str, Program]
    symmetry: str
    cell: str
    nshells: int
    folder: Path
    report: Callable[[str], None]

    @property
    def log(self) -> Path:
        return self.folder / "merge.log"

    @property
    def words(self) -> list[str]:
        """What is passed through to the merging program."""
        return _words(self.options)

    def merge(self, one: Merged) -> None:
        """Merge one stream into ``.hkl``, ``.hkl1`` and ``.hkl2``."""
        # partialator puts "iter01_" before the whole name of its list, which must be in its current folder then
        inside = has(self.options, "output-every-cycle")
        path = os.path.abspath if inside else str
        options = self._options_for(one, path)
        if self.program.name == "partialator" and not (has(options, "log-folder") or has(options, "no-logs")):
            # its pr-logs would go into the current folder
            options.append(Option("log-folder", path(f"{one.hkl.removesuffix('.hkl')}.pr-logs")))
        common = ["-i", path(one.stream), "-y", self.symmetry]
        output = Path(one.hkl).name if inside else one.hkl
        runs = [[*common, *_words(options), "-o", output]]
        if self.program.name != "partialator":  # which writes both half-data sets itself
            common += _words(option for option in options if option.name not in _WRITTEN)
            runs += [
                [*common, "--even-only", "-o", f"{one.hkl}1"],
                [*common, "--odd-only", "-o", f"{one.hkl}2"],
            ]
        for half in ("", "1", "2"):  # with --force: an earlier run's are not this one's
            Path(f"{one.hkl}{half}").unlink(missing_ok=True)
        before = self._logged()
        for i, arguments in enumerate(runs, 1):
            self.report(f"{self.program.name} {one.stream}" + (f" ({i} of {len(runs)})" if len(runs) > 1 else ""))
            done = run_program(self.program, arguments, log=self.log, cwd=str(self.folder) if inside else None)
            written = self.folder / Path(arguments[-1]).name
            if not written.is_file():
                reason = f"it ended well but wrote no {written}"
                raise failure(self.program, done.status, done.last_lines, self.log, reason)
            if b"\nEnd of reflections\n" not in written.read_bytes():
                raise _half(written, self.program)
        if self.program.name == "partialator":
            one.left_out = read_rejections(self._said(before))

    def _options_for(self, one: Merged, path: Callable[[str], str]) -> list[Option]:
        """What is passed through, with the files of this stream."""
        options = []
        for option in self.options:
            if option.value is not None and option.name in _WRITTEN:
                option = Option(option.name, path(str(_beside(self.folder, Path(one.hkl).stem, option.value))))
            elif option.value is not None and option.name in _READ:
                option = Option(option.name, path(option.value))
            options.append(option)
        return options

    def limits(self, merged: Sequence[Merged], lowres: float | None, highres: float | None) -> tuple[float, float]:
        """1/d range in nm⁻¹ of the shells: as asked, else what the lists span together."""
        spans = [read_range(self._check(one, None)[1]) for one in merged]
        if all(math.isinf(span[0]) for span in spans):
            raise WaterbgError(
                f"nothing was merged: the options of the merging program leave no reflection; its messages are in "
                f"{self.log}"
            )
        # six decimals are printed: a bit more, so that the outermost reflection stays inside
        low = 10 / lowres if lowres is not None else min(span[0] for span in spans) - 1e-6
        high = 10 / highres if highres is not None else max(span[1] for span in spans) + 1e-6
        if not 0 <= low < high < math.inf:
            raise UsageError(
                f"the resolution shells would reach from 1/d = {low:g} to {high:g} nm^-1: --lowres and --highres "
                "exclude everything"
            )
        return low, high

    def check(self, one: Merged, limits: tuple[float, float]) -> Shells:
        """Statistics of one list."""
        return read_check(*self._check(one, limits))

    def _check(self, one: Merged, limits: tuple[float, float] | None) -> tuple[str, str]:
        return self._shells("check_hkl", [one.hkl], self.folder / f"{Path(one.hkl).stem}-check.dat", limits)

    def compare(
        self, one: Merged, first: str, second: str, figure: str, limits: tuple[float, float], notes: list[str]
    ) -> None:
        """Add one figure of merit of two lists to ``one``; a note when there is no answer."""
        path = self.folder / f"{Path(one.hkl).stem or one.label}-{figure}.dat"
        self.report(f"compare_hkl {figure} {one.label}")
        try:
            one.add(
                read_compare(*self._shells("compare_hkl", [first, second], path, limits, f"--fom={figure}"), figure)
            )
        except ProgramError as err:
            # too few common reflections to scale by: common in a first look, and no reason to lose the rest
            notes.append(f"no {figure} for {one.label}: {err}")

    def _logged(self) -> int:
        """Bytes in the log so far."""
        return self.log.stat().st_size if self.log.exists() else 0

    def _said(self, before: int) -> str:
        """What the log holds behind that byte."""
        with open(self.log, "rb") as file:
            file.seek(before)
            return file.read().decode(errors="replace")

    def _shells(
        self, name: str, lists: Sequence[str], path: Path, limits: tuple[float, float] | None, *more: str
    ) -> tuple[str, str]:
        """Run check_hkl or compare_hkl: the table that it wrote, and what it said."""
        path.unlink(missing_ok=True)
        chosen = [] if limits is None else [f"--rmin={limits[0] * 1e9:.9e}", f"--rmax={limits[1] * 1e9:.9e}"]
        arguments = ["-y", self.symmetry, "-p", self.cell, f"--nshells={self.nshells}", f"--shell-file={path}"]
        before = self._logged()
        # behind "--" a list in a folder like "-merged" is no option
        done = run_program(self.tools[name], [*arguments, *chosen, *more, "--", *lists], log=self.log)
        said = self._said(before)
        if not path.is_file():
            raise failure(self.tools[name], done.status, done.last_lines, self.log, "it wrote no table")
        table = path.read_text()
        if table.count("\n") <= self.nshells:
            raise _half(path, self.tools[name])
        return table, said


def _words(options: Iterable[Option]) -> list[str]:
    return [word for option in options for word in option.words()]


def _half(path: Path, program: Program) -> OutputError:
    """What CrystFEL's programs, which ask no disk whether it had room, do not say."""
    return OutputError(f"{program.name} did not write it to its end: is the disk full?", path=str(path))
