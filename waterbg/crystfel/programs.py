"""CrystFEL's programs: find one, know its version, run it, keep what it said."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from plumbum import CommandNotFound, ProcessTimedOut, local

from waterbg.endings import exit_status
from waterbg.errors import ProgramError
from waterbg.interrupts import answering, interrupt

# Set for indexamajig by the drop-in: the programs it has tried, separated as PATH is. A wrapper of the user's that
# calls "indexamajig" by name would otherwise come back to the drop-in, for ever.
TRIED = "WATERBG_INDEXAMAJIG_TRIED"

_PATIENCE = 10.0  # s, for a program that was asked to end
_TAIL = 8  # lines of standard error in a message
_STDERR = 2  # file descriptor


@dataclass(frozen=True)
class Program:
    """One of CrystFEL's programs: its name, absolute path, and version as it says (``unknown`` when it does not)."""

    name: str
    path: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.path})"


@dataclass(frozen=True)
class Finished:
    """How a program ended: exit status (negative: the signal that killed it), standard output, its last words."""

    status: int
    output: str
    last_lines: tuple[str, ...]


def find_program(name: str, folder: str | None = None, *, exclude: Sequence[str] = ()) -> Program:
    """Find a CrystFEL program below ``folder``, or on PATH.

    Parameters
    ----------
    name : str
        For example ``process_hkl``.
    folder : str, optional
        ``--crystfel-bin``: the folder that holds CrystFEL's programs.
    exclude : sequence of str
        Real paths that are not wanted.

    Raises
    ------
    ProgramError
        When it is not there. The drop-in for indexamajig never counts.
    """
    own = []
    for path in _candidates(name, folder):
        if os.path.realpath(path) in exclude or is_drop_in(path):
            own.append(path)
            continue
        return Program(name, path, _version(path))
    if folder is not None:
        raise ProgramError(f"no such program in {folder}", program=name)
    if own:
        raise ProgramError(
            f"PATH leads only to waterbg's stand-in, or back to it ({own[0]}); add the real one's folder behind it, "
            "or name that folder with --crystfel-bin (in the stand-in: --waterbg-crystfel-bin)",
            program=name,
        )
    raise ProgramError(
        "not found on PATH; install CrystFEL (https://www.desy.de/~twhite/crystfel), or name the folder of its "
        "programs with --crystfel-bin (in the stand-in: --waterbg-crystfel-bin)",
        program=name,
    )


def _candidates(name: str, folder: str | None) -> Iterator[str]:
    folders = [folder] if folder is not None else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for place in folders:
        path = os.path.abspath(os.path.join(place or os.curdir, name))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            yield path


def is_drop_in(path: str) -> bool:
    """Whether a file is a script that leads to ``waterbg indexamajig`` (the drop-in, a copy, somebody's wrapper)."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return start.startswith(b"#!") and re.search(rb"waterbg[\"']?\s+indexamajig", start) is not None


def _version(path: str) -> str:
    """What ``--version`` says behind ``CrystFEL:``."""
    try:
        # plumbum's own environment is that of its import; and the program may be a wrapper that leads back here
        _, output, _ = local[path]["--version"].run(retcode=None, timeout=30, env={**os.environ, **with_tried(path)})
    except (OSError, UnicodeDecodeError, ProcessTimedOut):
        return "unknown"
    said = re.search(r"CrystFEL:\s*(\S+)", output)
    return said.group(1) if said else "unknown"


def tried() -> list[str]:
    """Programs that stand-ins before us have tried."""
    return [path for path in os.environ.get(TRIED, "").split(os.pathsep) if path]


def with_tried(path: str) -> dict[str, str]:
    """Variable by which a wrapper that calls ``indexamajig`` again does not come round for ever."""
    return {TRIED: os.pathsep.join([*tried(), os.path.realpath(path)])}


def show_command(program: Program, arguments: Sequence[str]) -> str:
    """The command as one would type it, quoted for the shell; for people and logs, never executed."""
    return shlex.join([program.path, *arguments])


def run_program(
    program: Program, arguments: Sequence[str], *, log: Path, cwd: str | None = None, check: bool = True
) -> Finished:
    """Run a program to its end.

    Parameters
    ----------
    program : Program
    arguments : sequence of str
    log : Path
        The command and the program's standard error are added to this file.
    cwd : str, optional
        Folder to run in; default the current one.
    check : bool
        Raise when the exit status is not 0.

    Raises
    ------
    ProgramError
        When it cannot be started, or failed: with its exit status and the last lines it said.
    """
    with _begun(log, program, arguments) as file:
        start = file.tell()
        with answering((signal.SIGTERM,), interrupt):
            process = _start(program, arguments, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file)
            try:
                output = process.communicate()[0]
            except BaseException:  # Ctrl-C and SIGTERM above all: the program must not outlive us
                stop_process(process)
                raise
        status = process.returncode
    last = last_lines(log, start)
    if check and status != 0:
        raise failure(program, status, last, log)
    return Finished(status, output.decode(errors="replace"), last)


def failure(program: Program, status: int, last: Sequence[str], log: Path | None, reason: str = "") -> ProgramError:
    """The error for a program that failed, with what it said last."""
    said = " | ".join(last)
    if status < 0:
        reason = reason or f"killed by {_signal_name(-status)}"
    text = "; ".join(part for part in (reason, f"it said: {said}" if said else "it said nothing") if part)
    return ProgramError(text, program=program.name, status=status, log=None if log is None else str(log))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_lines(log: Path, start: int) -> tuple[str, ...]:
    """Last lines that are not blank of what a log holds behind byte ``start``."""
    with open(log, "rb") as file:
        file.seek(max(start, os.fstat(file.fileno()).st_size - 16384))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    return tuple([line for line in lines if line][-_TAIL:])


def _begun(log: Path, program: Program, arguments: Sequence[str]) -> IO[bytes]:
    """Open a log and add the command to it."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = open(log, "ab", buffering=0)  # noqa: SIM115
        try:
            file.write(f"$ {show_command(program, arguments)}\n".encode(errors="surrogateescape"))
        except BaseException:
            file.close()
            raise
    except OSError as err:
        raise ProgramError(f"its log {log} cannot be written ({err.strerror})", program=program.name) from None
    return file


def _start(program: Program, arguments: Sequence[str], *, env: dict[str, str] | None = None, **how: Any) -> Any:
    # plumbum's own environment is that of its import, hence ours is given
    try:
        return local[program.path][tuple(arguments)].popen(env={**os.environ, **(env or {})}, **how)
    except (OSError, CommandNotFound) as err:
        raise ProgramError(f"cannot be started ({getattr(err, 'strerror', err)})", program=program.name) from None


def stop_process(process: Any) -> None:
    """End a process: ask first, as Ctrl-C does, so that it can clean up."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_PATIENCE)
            return


class Running:
    """A program that runs beside us, with our standard input and output; what it says also goes into a log.

    Parameters
    ----------
    program : Program
    arguments : sequence of str
    log : Path or None
        None: its standard error is ours and nothing is kept.
    environment : dict, optional
        Variables set besides ours.

    Notes
    -----
    ``tee`` copies its standard error, not a thread of ours: the main job forks its workers, and a thread that holds a
    lock in that moment would leave it locked in them for ever.
    """

    def __init__(
        self,
        program: Program,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.program, self.log = program, log
        self._tee: Any = None
        self._start = 0
        how: dict[str, Any] = {"env": environment, "stdin": None, "stdout": None, "stderr": None}
        if log is None:
            self.process = _start(program, arguments, **how)
            return
        with _begun(log, program, arguments) as file:
            self._start = file.tell()
        # -i: Ctrl-C reaches tee as well, and the program's last words come after it
        self._tee = local["tee"]["-a", "-i", "--", str(log)].popen(stdin=subprocess.PIPE, stdout=_STDERR, stderr=None)
        try:
            self.process = _start(program, arguments, **how | {"stderr": self._tee.stdin})
        finally:
            self._tee.stdin.close()

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Wait for its end; exit status as the shell counts it."""
        status = exit_status(self.process.wait())
        if self._tee is not None:
            with suppress(subprocess.TimeoutExpired):  # a grandchild may still hold the pipe
                self._tee.wait(timeout=5)
        return status

    def send(self, number: int) -> None:
        """Pass a signal on."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """What it said last on standard error, as far as that is kept."""
        return () if self.log is None else last_lines(self.log, self._start)
