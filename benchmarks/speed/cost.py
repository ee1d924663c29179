"""What a command costs: clock, CPU of all its processes, memory of the largest."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# Run in a process of its own, because the kernel's counts begin with what the process that forks has used. A process
# that loses its parent becomes this one's child (prctl 36, Linux), so that the CPU time of workers is counted even when
# the program does not wait for them itself.
_WRAPPER = """
import ctypes, json, os, resource, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
began = time.monotonic()
with open(sys.argv[2], "wb") as log:
    status = subprocess.run(sys.argv[3:], cwd=sys.argv[1], stdin=-3, stdout=log, stderr=log).returncode
wall = time.monotonic() - began
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of clock and CPU, megabytes at the most in one process."""

    wall: float
    cpu: float
    memory: float

    def __sub__(self, other: Cost) -> Cost:
        """What a longer run costs more than a shorter one; memory is the longer one's."""
        return Cost(self.wall - other.wall, self.cpu - other.cpu, self.memory)


def cost(command: Iterable[object], folder: Path) -> Cost:
    """Run a command in a folder; ends the benchmark, with what it said, when it fails."""
    words, log = [str(word) for word in command], folder / "log.txt"
    wrapped = [sys.executable, "-c", _WRAPPER, str(folder), str(log), *words]
    status, *numbers = json.loads(subprocess.run(wrapped, capture_output=True, text=True, check=True).stdout)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit status {status}\n{log.read_text(errors='replace')[-2000:]}")
    return Cost(*numbers)


def compare(commands: dict[str, list[object]], folder: Path, rounds: int) -> dict[str, Cost]:
    """Median cost of each command; they take turns, and the first round, which warms caches, does not count."""
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            one = cost(command, folder)
            if turn:
                found[name].append(one)
    fields = [field.name for field in dataclasses.fields(Cost)]
    return {
        name: Cost(*(statistics.median(getattr(one, field) for one in costs) for field in fields))
        for name, costs in found.items()
    }
