"""Tables as the results are printed, and the words that all commands begin with."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

WATERBG: list[object] = [sys.executable, "-m", "waterbg"]


@dataclass
class Table:
    """A Markdown table under a heading."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def __str__(self) -> str:
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join([f"## {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])
