"""What merging found: the statistics of some streams, as a table with a verdict, and as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import waterbg
from waterbg.crystfel.printing import in_columns, number, shell_label, to_json
from waterbg.crystfel.programs import Program
from waterbg.crystfel.tables import Shells

# name in the report -> heading, format; in the order of the table
QUANTITIES = {
    "completeness": ("Compl/%", ".1f"),
    "multiplicity": ("Mult", ".1f"),
    "snr": ("I/sigma", ".2f"),
    "Rsplit": ("Rsplit/%", ".2f"),
    "CC": ("CC1/2", ".4f"),
    "CCstar": ("CC*", ".4f"),
}
BETWEEN = {"CC": ("CC", ".4f"), "R1I": ("R/%", ".2f")}
_BETTER = {"snr": True, "Rsplit": False, "CC": True}  # is more better?


@dataclass
class Merged:
    """One stream's merged data.

    Attributes
    ----------
    label : str
        ``A``, ``B`` … in the table.
    stream, hkl : str
        Paths of the stream and of the merged list (``hkl1`` and ``hkl2`` behind it are the half-data sets).
    overall, columns : dict
        As in :class:`~waterbg.crystfel.tables.Shells`, the names of `QUANTITIES` and the counts.
    left_out : dict
        Number of crystals that partialator left out, for each of its reasons.
    """

    label: str
    stream: str
    hkl: str
    overall: dict[str, float] = field(default_factory=dict)
    columns: dict[str, tuple[float, ...]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, shells: Shells) -> None:
        """Take over the columns of one table."""
        self.overall.update(shells.overall)
        self.columns.update(shells.columns)


@dataclass
class MergeReport:
    """What `merge_streams` found.

    Attributes
    ----------
    folder : Path
        Where everything is.
    program : Program
    options : list of str
        What was passed through to it.
    edges : tuple of float
        Borders of the shells, 1/d in nm⁻¹.
    merged : list of Merged
    between : list of Merged
        The later streams compared with the first: label ``A-B``, quantities of `BETWEEN`.
    notes : list of str
        What a program could not answer.
    """

    folder: Path
    program: Program
    options: list[str]
    symmetry: str
    cell: str
    edges: tuple[float, ...]
    merged: list[Merged]
    between: list[Merged]
    notes: list[str]

    def text(self) -> str:
        """The table for people, with a sentence for each later stream."""
        lines = [f"Merged with {self.program.name} {self.program.version} {' '.join(self.options)}".rstrip()]
        lines += [f"{merged.label} = {merged.stream}" for merged in self.merged]
        lines += ["", *self._table(), ""]
        lines += [self.verdict(merged) for merged in self.merged[1:]]
        for merged in self.merged:
            reasons = ", ".join(f"{number} ({reason})" for reason, number in merged.left_out.items())
            lines += [f"note: {self.program.name} left out crystals of {merged.label}: {reasons}"] if reasons else []
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def _table(self) -> list[str]:
        blocks = [(self.merged, QUANTITIES)] + ([(self.between, BETWEEN)] if self.between else [])
        titles, heads = ["d/Å"], [""]
        rows = [[shell_label(low, high)] for low, high in zip(self.edges, self.edges[1:])] + [["overall"]]
        for sets, quantities in blocks:
            for name, (title, form) in quantities.items():
                for k, merged in enumerate(sets):
                    titles.append(title if k == 0 else "")
                    heads.append(merged.label)
                    values = merged.columns.get(name, (math.nan,) * (len(rows) - 1))
                    for row, value in zip(rows, [*values, merged.overall.get(name, math.nan)]):
                        row.append(number(value, form))
        return in_columns([titles, heads, *rows])

    def verdict(self, merged: Merged) -> str:
        """One sentence: what got better from the first stream to this one, and in how many shells."""
        first = self.merged[0]
        parts = []
        for name, more in _BETTER.items():
            before, after = first.overall.get(name, math.nan), merged.overall.get(name, math.nan)
            title, form = QUANTITIES[name]
            pairs = list(zip(first.columns.get(name, ()), merged.columns.get(name, ())))
            known = [(a, b) for a, b in pairs if not (math.isnan(a) or math.isnan(b))]
            better = sum((b > a) if more else (b < a) for a, b in known)
            parts.append(
                f"{title.removesuffix('/%')} {number(before, form)} -> {number(after, form)}"
                f"{' %' if title.endswith('/%') else ''} (better in {better} of {len(known)} shells)"
            )
        return f"{first.label} -> {merged.label}: " + ", ".join(parts)

    def as_json(self) -> str:
        """All numbers; null where a program has no answer."""
        return to_json(
            {
                "waterbg": waterbg.__version__,
                "crystfel": self.program.version,
                "program": self.program.name,
                "options": self.options,
                "symmetry": self.symmetry,
                "cell": self.cell,
                "shell_edges_per_nm": self.edges,
                "streams": [vars(merged) for merged in self.merged],
                "between": [{"label": m.label, "overall": m.overall, "columns": m.columns} for m in self.between],
                "notes": self.notes,
            }
        )
