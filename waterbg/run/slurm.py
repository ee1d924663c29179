"""The main job as a Slurm job array: one folder per job, one block of the stream per task.

Layout and option names are those of the Slurm backend of CrystFEL's GUI. What counts as done is told by the files
in the folder alone: a task gives its block its name when it is complete, whatever Slurm says about the task.

    OUT.stream.slurm/
        job.json          what to do: input, options, the byte range of each block
        model.json        what was learnt from the run;  geometry.geom  what -g named
        run_waterbg.sh    the batch script; may be read and edited before it is submitted (again)
        job-ids           Slurm's numbers of what was submitted, one a line
        block-7.stream    a block that is done;  block-7.json  what happened in it
        stdout-7.log  stderr-7.log
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbum import CommandNotFound, ProcessExecutionError, local

from waterbg.errors import OutputError, ProgramError, StreamError, UsageError

DESCRIPTION, SCRIPT, JOB_IDS = "job.json", "run_waterbg.sh", "job-ids"
# squeue's states of a task that will not run any more; it shows them for some minutes
ENDED = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED TIMEOUT".split()
)


@dataclass(frozen=True)
class SlurmOptions:
    """What CrystFEL's GUI asks for before it submits; empty means that Slurm's own default holds."""

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    time: str = "60"
    exclusive: bool = False
    cpus: int = 0
    mail_user: str = ""

    def directives(self, name: str, tasks: str, logs: str = "") -> list[str]:
        """``#SBATCH`` lines, in the order of the GUI's; ``logs`` is put before the names of the logs."""
        name = re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII)  # it is for people alone
        said = [("job-name", name), ("output", f"{logs}stdout-%a.log"), ("error", f"{logs}stderr-%a.log")]
        said += [("time", self.time)]
        said += [(key, getattr(self, key)) for key in ("partition", "constraint", "account", "reservation", "qos")]
        if self.cpus:
            said.append(("cpus-per-task", str(self.cpus)))
        if self.mail_user:
            said += [("mail-user", self.mail_user), ("mail-type", "FAIL")]
        lines = [f"#SBATCH --array={tasks}"]
        for key, value in said:
            if any(char in value for char in "\n\r"):
                raise UsageError(f"--{key}: a line break cannot be part of it")
            if value:
                lines.append(directive(key, value))
        lines += ["#SBATCH --exclusive"] if self.exclusive else []
        return [*lines, "#SBATCH --nodes=1"]


def directive(key: str, value: str) -> str:
    """Line of a batch script; a blank would end the value, a ``#`` begin a comment, a backslash escapes in quotes."""
    return f"#SBATCH --{key}=" + shlex.quote(value).replace("\\", "\\\\")


def log_folder(folder: Path) -> str:
    """What to put before the names of logs, which are patterns: a ``%`` of the folder's is none."""
    return f"{folder.absolute()}/".replace("%", "%%")


@dataclass(frozen=True)
class Block:
    """Bytes [start, stop) of the input, and how many chunks end in them."""

    start: int
    stop: int
    chunks: int


class JobFolder:
    """The folder of one job: made by :meth:`create`, opened by its name afterwards.

    Parameters
    ----------
    path : str
        An existing job folder.

    Raises
    ------
    OutputError
        When it is not one.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        try:
            said = json.loads((self.path / DESCRIPTION).read_text())
            self.input, self.output = str(said["input"]), str(said["output"])
            self.size = int(said["size"])
            self.options: dict[str, Any] = {**said["options"]}
            self.blocks = [Block(*map(int, block)) for block in said["blocks"]]
            if not self.blocks:
                raise ValueError
        except OSError as err:
            raise OutputError(f"is not a job folder of waterbg ({DESCRIPTION}: {err.strerror})", path=path) from None
        except (ValueError, KeyError, TypeError):
            raise OutputError(f"is not a job folder of waterbg ({DESCRIPTION} is damaged)", path=path) from None

    @classmethod
    def create(
        cls,
        path: str,
        *,
        input: str,
        output: str,
        options: dict[str, Any],
        blocks: Sequence[Block],
        files: Mapping[str, bytes],
        task: str,
        slurm: SlurmOptions,
    ) -> JobFolder:
        """Make the folder with its description and batch script.

        Parameters
        ----------
        path : str
            See :func:`folder_of`.
        input, output : str
            Kept as absolute names, but no link is resolved: what lies beside a link is looked for there.
        options : dict
            What else the tasks need to know.
        blocks : sequence of Block
        files : mapping
            What else lies in the folder: name -> bytes.
        task : str
            Lines of the batch script that do one block.
        slurm : SlurmOptions
        """
        refuse_folder(path)
        folder = Path(path)
        source = Path(input).absolute()
        description = {
            "input": str(source),
            "output": str(Path(output).absolute()),
            "size": source.stat().st_size,
            "options": options,
            "blocks": [[block.start, block.stop, block.chunks] for block in blocks],
        }
        logs = log_folder(folder) if "%" in str(folder.absolute()) else ""  # else Slurm puts it there itself
        directives = slurm.directives(f"waterbg-{Path(output).name}", f"0-{len(blocks) - 1}", logs)
        comment = "# Load modules or activate an environment here, if the nodes need it."
        script = "\n".join(["#!/bin/sh", *directives, "", comment, "", task])
        try:
            folder.mkdir()
        except OSError as err:
            raise OutputError(f"cannot be made ({err.strerror})", path=path) from None
        try:
            for name, data in files.items():
                (folder / name).write_bytes(data)
            (folder / SCRIPT).write_bytes(os.fsencode(script))  # names in it may be no UTF-8
            (folder / SCRIPT).chmod(0o755)
            # last: a folder without it is none
            (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
        except BaseException as err:
            shutil.rmtree(folder, ignore_errors=True)  # half of it would be in the way of the next try
            if isinstance(err, OSError):
                raise OutputError(f"cannot be written ({err.strerror})", path=path) from None
            raise
        return cls(path)

    def refuse_number(self, index: int) -> None:
        """UsageError when there is no block of that number."""
        if not 0 <= index < len(self.blocks):
            raise UsageError(f"block {index}: {self.path} has blocks 0 to {len(self.blocks) - 1}")

    def block_path(self, index: int) -> Path:
        """Where a block's bytes lie once they are complete."""
        return self.path / f"block-{index}.stream"

    def account_path(self, index: int) -> Path:
        """Where the task that subtracted a block says what happened in it, and how long it is."""
        return self.path / f"block-{index}.json"

    def missing(self) -> list[int]:
        """Blocks that are not done."""
        return [index for index in range(len(self.blocks)) if not self.is_done(index)]

    def refuse_missing(self) -> None:
        """OutputError unless all blocks are done."""
        missing = len(self.missing())
        if missing:
            raise OutputError(
                f"{missing} of {len(self.blocks)} blocks are not done; 'waterbg slurm status' says whether "
                "they are waiting or running, 'waterbg slurm resume' submits those that are not",
                path=str(self.path),
            )

    def is_done(self, index: int) -> bool:
        """Whether a block's complete part is there, and still complete."""
        path, account = self.block_path(index), self.account_path(index)
        if not path.exists() or not account.exists():
            return path.exists()
        try:
            return bool(json.loads(account.read_bytes())["bytes"] == path.stat().st_size)
        except (ValueError, KeyError, TypeError):
            return False

    def check_input(self) -> None:
        """Refuse to go on when the stream is not the one the blocks were cut from."""
        try:
            size = os.stat(self.input).st_size
        except OSError as err:
            raise StreamError(f"cannot be read ({err.strerror})", path=self.input) from None
        if size != self.size:
            raise StreamError(
                f"has {size} bytes, but had {self.size} when job folder {self.path} was made; make a new one",
                path=self.input,
            )

    def submit(self, tasks: Iterable[int] | None = None) -> str:
        """Give the array, or some of its tasks, to Slurm; returns Slurm's job number.

        Raises
        ------
        ProgramError
            When there is no Slurm here, or it refuses.
        """
        chosen = [] if tasks is None else [f"--array={compress(tasks)}"]
        try:
            with local.cwd(self.path):
                number = sbatch(*chosen, SCRIPT)
        except ProgramError as err:  # what the folder is made of took its time: it need not be made anew
            err.advise(f"all is ready in {self.path}: edit {SCRIPT} if need be, and 'waterbg slurm resume' submits it")
            raise
        with (self.path / JOB_IDS).open("a") as file:
            file.write(number + "\n")
        return number

    def job_ids(self) -> list[str]:
        """Slurm's numbers of everything submitted from this folder."""
        try:
            return (self.path / JOB_IDS).read_text().split()
        except FileNotFoundError:
            return []

    def queued(self) -> dict[int, str]:
        """Tasks Slurm still knows (waiting or running) and their state, without the help of accounting.

        A number that Slurm has forgotten is one whose tasks have all ended.
        """
        states: dict[int, str] = {}
        for number in self.job_ids():
            try:
                answer = _run("squeue", "--noheader", "--array", "--format=%K %T", f"--jobs={number}")
            except ProgramError as err:
                if "Invalid job id" in str(err):
                    continue
                raise
            for line in answer.splitlines():
                task, _, state = line.strip().partition(" ")
                if task.isdecimal() and state not in ENDED:
                    states[int(task)] = state
        return states

    def cancel(self) -> list[str]:
        """Take everything of this folder that waits or runs off Slurm; what is done stays."""
        numbers = self.job_ids()
        if numbers and self.queued():
            _run("scancel", *numbers)
        return numbers


def folder_of(output: str) -> str:
    """Name of the job folder for an output."""
    return f"{output}.slurm"


def refuse_folder(path: str) -> None:
    """End before any work is done when there is a job folder already.

    Raises
    ------
    OutputError
    """
    if os.path.lexists(path):
        raise OutputError(
            f"exists: 'waterbg slurm status {shlex.quote(str(path))}' says how far it is; remove it to start anew",
            path=path,
        )


def compress(tasks: Iterable[int]) -> str:
    """Write task numbers as sbatch reads them: ``0-3,7``."""
    runs: list[list[int]] = []
    for task in sorted(set(tasks)):
        if runs and task == runs[-1][1] + 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def sbatch(*arguments: str) -> str:
    """Submit a job; Slurm's number of it.

    Raises
    ------
    ProgramError
        When there is no Slurm here, or it refuses.
    """
    return _run("sbatch", "--parsable", *arguments).strip().split(";")[0]


def _run(program: str, *arguments: str) -> str:
    try:
        return str(local[program](*arguments))
    except CommandNotFound:
        raise ProgramError(
            "not found on PATH; is this a node from which Slurm jobs are submitted?", program=program
        ) from None
    except ProcessExecutionError as err:
        said = " / ".join((err.stderr or err.stdout or "").strip().splitlines()[-3:])
        raise ProgramError(said or "said nothing", program=program, status=err.retcode) from None
