"""Rooms use each other as docs/architecture.md says."""

import ast
import re

from tests.docs.transcripts import ROOT

PROGRAMS = {"waterbg/overwrite.py", "waterbg/h5_background_subtraction.py"}  # they ask the command line when run


def rows():
    """The rooms of each row of the table, from top to bottom."""
    lines = (ROOT / "docs/architecture.md").read_text().splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return [[name.rstrip("/").removesuffix(".py") for name in re.findall(r"`([\w./]+)`", cell)] for cell in cells]


def imports(tree):
    """Rooms that a file imports from, anywhere in it, and be it for the eyes of mypy alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("waterbg."))


def test_every_room_has_a_place_and_uses_only_rooms_above_it():
    rank = {name: number for number, row in enumerate(rows()) for name in row}
    assert len(rank) > 30
    upward, homeless = set(), set()
    for path in sorted((ROOT / "waterbg").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        room = path.relative_to(ROOT / "waterbg").parts[0].removesuffix(".py")
        if room.startswith("__"):
            continue
        if room not in rank:
            homeless.add(place)
            continue
        for used in imports(ast.parse(path.read_text())):
            if rank.get(used, -1) > rank[room] and not (used == "cli" and place in PROGRAMS):
                upward.add(f"{place} uses {used}")
    assert (upward, homeless) == (set(), set())
