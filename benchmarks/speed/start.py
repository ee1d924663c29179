"""How long commands take to begin."""

from __future__ import annotations

from pathlib import Path

from benchmarks.speed.cost import compare
from benchmarks.speed.inputs import GOLDEN, beginning
from benchmarks.speed.table import WATERBG, Table


def start(folder: Path, rounds: int) -> Table:
    """Text-only commands, and the main job on one small frame with kernels that are compiled already."""
    there = folder / "start"
    there.mkdir(exist_ok=True)
    for name in (GOLDEN.name, "images.h5", "mask.h5"):
        (there / name).write_bytes((GOLDEN.parent / name).read_bytes())
    one = beginning(there / GOLDEN.name, 1).name
    commands: dict[str, list[object]] = {
        "`waterbg --version`": [*WATERBG, "--version"],
        "`waterbg verify --help`": [*WATERBG, "verify", "--help"],
        "`waterbg verify` of one chunk": [*WATERBG, "verify", one],
        "`waterbg subtract --integration=rings` of one chunk": [
            *WATERBG, "subtract", one, "-o", "out.stream", "--force", "--integration=rings",
        ],
        "`waterbg subtract` of one chunk": [*WATERBG, "subtract", one, "-o", "out.stream", "--force"],
    }  # fmt: skip
    table = Table("Start", ("command", "wall s", "CPU s", "must", "aim"))
    for name, found in compare(commands, there, rounds).items():
        must, aim = ("1.2", "0.8") if "subtract" in name else ("0.25", "0.15")
        table.add(name, f"{found.wall:.2f}", f"{found.cpu:.2f}", must, aim)
    return table
