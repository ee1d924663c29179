"""The text path: against process_hkl, by itself, and whether its memory grows with the stream."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.speed.cost import compare, cost
from benchmarks.speed.inputs import make_text
from benchmarks.speed.table import WATERBG, Table

# parsing alone, without start-up: every number of every chunk, then all checks, then the same text written again
_INSIDE = """
import sys, time
from waterbg.stream import NUMBERS, SPLICED, StreamFile, splice_reflections
from waterbg.stream.check import Checker
import numpy as np
path, what = sys.argv[1:]
def parse(stream):
    for chunk in stream.chunks():
        for crystal in chunk.crystals:
            crystal.reflections
def check(stream):
    for finding in Checker(stream):
        pass
def rewrite(stream):
    with open("/dev/null", "wb") as out:
        for chunk in stream.chunks():
            same = []
            for crystal in chunk.crystals:
                rows = crystal.reflections
                new = np.zeros(len(rows), SPLICED)
                for name in NUMBERS:
                    new[name] = rows[name]
                new["keep"] = True
                same.append(new)
            out.write(splice_reflections(chunk, same))
best = 1e9
for _ in range(3):
    began = time.process_time()
    with StreamFile(path) as stream:
        {"parse": parse, "check": check, "rewrite": rewrite}[what](stream)
    best = min(best, time.process_time() - began)
print(best)
"""


def inside(path: Path, what: str) -> float:
    """Best of three CPU times of a loop over a stream inside one process, seconds."""
    said = subprocess.run([sys.executable, "-c", _INSIDE, path, what], capture_output=True, text=True, check=True)
    return float(said.stdout)


def text(folder: Path, megabytes: int, rounds: int) -> list[Table]:
    """Commands against process_hkl, the loops by themselves, memory by length."""
    path = make_text(folder, megabytes)
    size = path.stat().st_size / 1e6
    commands: dict[str, list[object]] = {
        "`waterbg verify A`": [*WATERBG, "verify", path],
        "`waterbg verify A A`": [*WATERBG, "verify", path, path],
    }
    rival = "`process_hkl -i A -y 4/mmm`"
    if shutil.which("process_hkl"):
        commands[rival] = ["process_hkl", "-i", path, "-o", "merged.hkl", "-y", "4/mmm"]
    whole = Table(
        f"Text: a stream of {size:.0f} MB, start-up included",
        ("command", "CPU s", "MB/s of CPU", "CPU / process_hkl", "MB of memory"),
    )
    found = compare(commands, folder, rounds)
    for name, one in found.items():
        ratio = f"{one.cpu / found[rival].cpu:.2f}" if rival in found else ""
        whole.add(name, f"{one.cpu:.2f}", f"{size / one.cpu:.0f}", ratio, f"{one.memory:.0f}")
    loops = Table("Text inside one process, without start-up", ("loop", "MB/s of CPU", "must", "aim"))
    for what, name, must, aim in (
        ("parse", "parse every number", "", ""),
        ("check", "parse with all checks", "100", "300"),
        ("rewrite", "parse, format and write unchanged", "60", "200"),
    ):
        loops.add(name, f"{size / inside(path, what):.0f}", must, aim)
    return [whole, loops]


def text_growth(folder: Path, sizes: tuple[int, ...]) -> Table:
    """Memory of ``verify`` by the length of the stream."""
    table = Table(
        "Memory and time by length of the stream: `waterbg verify A` (must < 150 MB, aim 80)",
        ("MB of stream", "MB of memory", "CPU s", "MB/s of CPU"),
    )
    for megabytes in sizes:
        path = make_text(folder, megabytes)
        one = cost([*WATERBG, "verify", path], folder)
        size = path.stat().st_size / 1e6
        table.add(f"{size:.0f}", f"{one.memory:.0f}", f"{one.cpu:.1f}", f"{size / one.cpu:.0f}")
        path.unlink()
    return table
