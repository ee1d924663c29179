"""The main job as a Slurm job array: one folder per job, one block of the stream per task.

Layout and option names are those of the Slurm backend of CrystFEL's GUI. What counts as done is told by the files
in the folder alone: a task gives its block its name when it is complete, whatever Slurm says about the task.

    OUT.stream.slurm/
        job.json          what to do: input, options, the byte range of each block
        run_waterbg.sh    the batch script; may be read and edited before it is submitted (again)
        job-ids           Slurm's numbers of what was submitted, one a line
        block-7.stream    a block that is done;  block-7.json  what happened in it
        stdout-7.log  stderr-7.log
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from plumbum import CommandNotFound, ProcessExecutionError, local

from waterbg.errors import OutputError, ProgramError, StreamError, UsageError

DESCRIPTION, SCRIPT, JOB_IDS = "job.json", "run_waterbg.sh", "job-ids"


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

    def directives(self, name: str, tasks: str) -> list[str]:
        """``#SBATCH`` lines, in the order of the GUI's."""
        said = [("job-name", name), ("output", "stdout-%a.log"), ("error", "stderr-%a.log"), ("time", self.time)]
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
                lines.append(f"#SBATCH --{key}={value}")
        lines += ["#SBATCH --exclusive"] if self.exclusive else []
        return [*lines, "#SBATCH --nodes=1"]


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
        self.path = Path(os.path.realpath(path))
        try:
            said = json.loads((self.path / DESCRIPTION).read_text())
            self.input, self.output = str(said["input"]), str(said["output"])
            self.size = int(said["size"])
            self.options: dict[str, Any] = said["options"]
            self.blocks = [Block(*block) for block in said["blocks"]]
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
        slurm: SlurmOptions,
    ) -> JobFolder:
        """Make the folder with its description and batch script."""
        folder = Path(path)
        try:
            folder.mkdir()
        except FileExistsError:
            raise OutputError(
                f"exists: 'waterbg slurm status {path}' says how far it is; remove it to start anew", path=path
            ) from None
        except OSError as err:
            raise OutputError(f"cannot be made ({err.strerror})", path=path) from None
        source = Path(os.path.realpath(input))
        description = {
            "input": str(source),
            "output": os.path.realpath(output),
            "size": source.stat().st_size,
            "options": options,
            "blocks": [[block.start, block.stop, block.chunks] for block in blocks],
        }
        script = _script(Path(os.path.realpath(folder)), Path(output).name, len(blocks), slurm)
        (folder / SCRIPT).write_bytes(os.fsencode(script))  # names in it may be no UTF-8
        (folder / SCRIPT).chmod(0o755)
        # last: a folder without it is none
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
        return cls(path)

    def block_path(self, index: int) -> Path:
        """Where a block's bytes lie once they are complete."""
        return self.path / f"block-{index}.stream"

    def missing(self) -> list[int]:
        """Blocks whose complete part is not there."""
        return [index for index in range(len(self.blocks)) if not self.block_path(index).exists()]

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
        with local.cwd(self.path):
            answer = _run("sbatch", "--parsable", *chosen, SCRIPT)
        number = answer.strip().split(";")[0]
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
                if task.isdecimal() and state not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                    states[int(task)] = state
        return states

    def cancel(self) -> list[str]:
        """Take everything of this folder that waits or runs off Slurm; what is done stays."""
        numbers = self.job_ids()
        if numbers and self.queued():
            _run("scancel", *numbers)
        return numbers


def _script(folder: Path, name: str, n_blocks: int, slurm: SlurmOptions) -> str:
    # the very installation that made the folder, whatever PATH says on the node
    task = f"{shlex.quote(sys.executable)} -m waterbg slurm task {shlex.quote(str(folder))}"
    lines = [
        "#!/bin/sh",
        *slurm.directives(f"waterbg-{name}", f"0-{n_blocks - 1}"),
        "",
        "# Load modules or activate an environment here, if the nodes need it.",
        "",
        f'exec {task} "$SLURM_ARRAY_TASK_ID" -j "${{SLURM_CPUS_PER_TASK:-$(nproc)}}"',
    ]
    return "\n".join(lines) + "\n"


def compress(tasks: Iterable[int]) -> str:
    """Write task numbers as sbatch reads them: ``0-3,7``."""
    runs: list[list[int]] = []
    for task in sorted(set(tasks)):
        if runs and task == runs[-1][1] + 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


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


def slurm_options(given: dict[str, Any]) -> SlurmOptions:
    """Pick the fields of :class:`SlurmOptions` out of the command line's switches."""
    known = {field.name for field in fields(SlurmOptions)}
    return SlurmOptions(**{name: value for name, value in given.items() if name in known and value})


__all__ = ["Block", "JobFolder", "SlurmOptions", "compress", "slurm_options"]
