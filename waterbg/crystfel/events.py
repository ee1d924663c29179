"""The list of events that indexamajig makes of its list of files, for those who cut it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from waterbg.crystfel.options import Option, has, value_of
from waterbg.crystfel.programs import find_program, run_program
from waterbg.crystfel.solution import LONGEST_LINE, NO_EVENT, frame_of, list_line
from waterbg.errors import UsageError
from waterbg.stream import write_file


def naming_of(options: Sequence[Option | str]) -> Callable[[str], str]:
    """What becomes of a file name by --prefix and --basename (CrystFEL: read_prefixed_filename, check_prefix)."""
    prefix = value_of(options, "prefix") or ""
    if prefix and not has(options, "no-check-prefix") and os.path.isdir(prefix) and not prefix.endswith("/"):
        prefix += "/"
    strip = has(options, "basename")

    def name(filename: str) -> str:
        return prefix + (os.path.basename(filename) if strip else filename)

    return name


def write_events(
    listing: str,
    geometry: str,
    output: Path,
    options: Sequence[Option | str] = (),
    *,
    log: Path,
    crystfel_bin: str | None = None,
) -> None:
    """Write the list of all events of a list for indexamajig, with its file names as they are.

    CrystFEL's ``list_events`` finds the events of files. It knows no ``--prefix``, and would take a line that names its
    event already for the name of a file.

    Parameters
    ----------
    listing : str
        ``file`` or ``file event`` on each line; ``-`` is standard input.
    geometry : str
    output : Path
        List to write, ``file event`` on each line.
    options : sequence of Option or str
        indexamajig's: ``--prefix`` and ``--basename`` say where the files are.
    log : Path
        What ``list_events`` says is added to this file.
    crystfel_bin : str, optional
        Folder of the program; default: found on PATH.

    Raises
    ------
    UsageError
        For a list that is none, or names no frame.
    ProgramError
    OutputError
        When there is no room for it.
    """
    frames = list(_frames(listing))
    name = naming_of(options)
    found: dict[str, list[str]] = {name(file): [] for file, event in frames if event is None}
    if found:
        program = find_program("list_events", crystfel_bin)
        with TemporaryDirectory(dir=output.parent, prefix=".") as folder:
            asked, answer = Path(folder, "files.lst"), Path(folder, "events.lst")
            write_file(asked, _text(found))
            run_program(program, ["-i", str(asked), "-g", geometry, "-o", str(answer)], log=log)
            for file, event in _frames(str(answer)):
                found.setdefault(file, []).append(event or NO_EVENT)
    lines = [
        list_line(file, one) for file, event in frames for one in (found[name(file)] if event is None else [event])
    ]
    if not lines:
        raise UsageError(f"{listing}: names no frame")
    write_file(output, _text(lines))


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _frames(path: str) -> Iterator[tuple[str, str | None]]:
    """File and event of each line of a list."""
    with ExitStack() as stack:
        file = sys.stdin if path == "-" else stack.enter_context(open(path, newline="\n", errors="surrogateescape"))
        while line := file.readline(LONGEST_LINE + 2):
            if len(line) > LONGEST_LINE + 1:
                raise UsageError(f"{path}: a line of more than {LONGEST_LINE} letters names no frame")
            if line.strip():
                yield frame_of(line)
