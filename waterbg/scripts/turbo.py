"""A large indexing run as many small Slurm jobs: CrystFEL's turbo-index-slurm."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from waterbg.errors import OutputError, ProgramError, UsageError
from waterbg.run.slurm import directive, log_folder, sbatch

_OURS = re.compile(r"^(-i|--input|-o|--output|-g|--geometry|--serial-start)(=|$)")


@dataclass(frozen=True)
class Task:
    """One job: its script, its list of frames, its stream, and how many frames come before."""

    name: str
    script: Path
    frames: Path
    stream: Path
    before: int
    count: int


@dataclass(frozen=True)
class Plan:
    """What all jobs share.

    Attributes
    ----------
    label : str
        How jobs, lists and streams are named.
    geometry : Path
    streams : Path
        Folder of the streams.
    arguments : sequence of str
        For indexamajig.
    directives : dict
        Options of sbatch, without ``--``; empty values are left out.
    setup : str
        Shell line that comes first, for example ``module load crystfel``.
    subtract : bool
        Each job ends with ``waterbg subtract`` of its stream.
    indexamajig : str
        Program, as the nodes find it.
    """

    label: str
    geometry: Path
    streams: Path
    arguments: Sequence[str] = ()
    directives: dict[str, str] | None = None
    setup: str = ""
    subtract: bool = False
    indexamajig: str = "indexamajig"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.+-]+", self.label):
            raise UsageError(f"{self.label!r} cannot name files and jobs: letters, digits and . _ + - only")
        wrong = next((word for word in self.arguments if _OURS.match(word)), None)
        if wrong:
            raise UsageError(f"{wrong}: each job has its own; leave it out")
        if any("\n" in value for value in (self.directives or {}).values()):
            raise UsageError("a line break cannot be part of an option of sbatch")

    def script(self, task: Task) -> str:
        """Text of the batch script of a task; it runs in the current folder, from which the list names the images."""
        log = f"{log_folder(task.script.parent)}{task.name}-%j.log"
        said = {"job-name": task.name, "output": log, **(self.directives or {})}
        lines = ["#!/bin/sh", "", *(directive(key, value) for key, value in said.items() if value)]
        own_jobs = any(word.startswith("-j") for word in self.arguments)
        words = [self.indexamajig, "-i", str(task.frames), "-o", str(task.stream), "-g", str(self.geometry)]
        words += [f"--serial-start={task.before + 1}", *self.arguments]
        jobs = "" if own_jobs else ' -j "$(nproc)"'
        lines += ["#SBATCH --nodes=1", "", f"cd {shlex.quote(os.getcwd())} || exit 1"]
        lines += [self.setup] if self.setup else []
        command = shlex.join(words) + jobs
        if self.subtract:
            subtracted = task.stream.with_name(f"{task.stream.stem}-bg.stream")
            command += " || exit 1\n" + shlex.join(["waterbg", "subtract", str(task.stream), "-o", str(subtracted)])
            command += ' -j "$(nproc)"'
        return "\n".join([*lines, command, ""])


def make_tasks(events: Path, folder: Path, plan: Plan, split: int) -> list[Task]:
    """Write lists of ``split`` frames and their batch scripts.

    Raises
    ------
    OutputError
        When a file cannot be written.
    UsageError
        When the list names no frame.
    """
    tasks: list[Task] = []
    try:
        with open(events, errors="surrogateescape") as file:
            lines = filter(str.strip, file)
            before = 0
            while part := list(islice(lines, split)):
                name = f"{plan.label}-{len(tasks):03d}"
                task = Task(
                    name,
                    folder / f"{name}.sh",
                    folder / f"{name}.lst",
                    plan.streams / f"{name}.stream",
                    before,
                    len(part),
                )
                task.frames.write_text("".join(line.rstrip("\n") + "\n" for line in part), errors="surrogateescape")
                task.script.write_text(plan.script(task), errors="surrogateescape")
                tasks.append(task)
                before += len(part)
    except OSError as err:
        raise OutputError(f"cannot be written ({err.strerror})", path=str(err.filename or folder)) from None
    if not tasks:
        raise UsageError(f"{events} names no frame")
    return tasks


def submit(task: Task) -> str:
    """Hand a task to Slurm; gives back the number of the job.

    Raises
    ------
    ProgramError
    """
    try:
        return sbatch(str(task.script))
    except ProgramError as err:
        err.advise("--dry-run only writes the jobs")
        raise
