"""Figures of merging statistics and of compared streams (matplotlib is imported only here, when one is drawn)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterbg.figure_file import leave_room, literal, new_figure, resolution_axis, save_figure, shortened

if TYPE_CHECKING:
    from waterbg.crystfel.compare import Comparison
    from waterbg.crystfel.merge_report import MergeReport

COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#555555")


def have_matplotlib() -> bool:
    """Whether a figure can be drawn."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def _calm(axes: Any) -> None:
    leave_room(axes, 0.01)
    axes.ticklabel_format(axis="y", useOffset=False)


def draw_merge(report: MergeReport, path: str, force: bool = False) -> None:
    """Draw the statistics of merged streams by resolution shell.

    Raises
    ------
    UsageError
        Without matplotlib.
    OutputError
        When the file exists (and not ``force``) or cannot be written.
    """
    titles = {"completeness": "completeness / %", "multiplicity": "multiplicity", "snr": "I / σ(I)",
              "Rsplit": "Rsplit / %", "CC": "CC½", "CCstar": "CC*"}  # fmt: skip
    panels = [(report.merged, name, title) for name, title in titles.items()]
    if report.between:
        first = report.merged[0].label
        panels += [(report.between, "CC", f"CC with {first}"), (report.between, "R1I", f"R with {first} / %")]
    columns = (len(panels) + 1) // 2
    figure = new_figure(3.4 * columns, 6.2)
    grid = figure.subplots(2, columns)
    centres = [math.sqrt((a * a + b * b) / 2) for a, b in zip(report.edges, report.edges[1:])]
    for axes, (sets, name, title) in zip(grid.T.flat if report.between else grid.flat, panels):
        for i, merged in enumerate(sets):
            values = merged.columns.get(name)
            if values is None:
                continue
            colour = COLOURS[(i + (sets is report.between)) % len(COLOURS)]
            label = literal(f"{merged.label} {shortened(Path(merged.stream).name)}")
            # the first lies broad beneath: where two agree, both are seen
            style = {"ms": 6, "lw": 3, "alpha": 0.5} if i == 0 and len(sets) > 1 else {"ms": 4, "lw": 1.3}
            axes.plot([c * c for c in centres], values, "o-", color=colour, label=label, **style)
        axes.set_ylabel(title)
        _calm(axes)
        if name.startswith("CC"):  # of a few reflections compare_hkl gives a CC* of any size
            low, high = axes.get_ylim()
            axes.set_ylim(min(max(low, -1.05), 1.0), min(high, 1.05))
        axes.grid(alpha=0.25)
        resolution_axis(axes, report.edges[0], report.edges[-1], power=2, apart=0.1)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    save_figure(figure, path, force=force)


def draw_comparison(result: Comparison, path: str, force: bool = False) -> None:
    """Draw how the second stream's reflections differ from the first's, by resolution and by strength.

    Raises
    ------
    UsageError
        Without matplotlib.
    OutputError
        When the file exists (and not ``force``) or cannot be written.
    """
    figure = new_figure(11.5, 6.4)
    grid = figure.subplots(2, 3)
    quantities = (("ratio", "I(B) / I(A)"), ("sigma_ratio", "σ(B) / σ(A)"), ("cc", "CC"))
    for row, bins in enumerate((result.shells, result.strengths)):
        if not bins:  # no pair that is not wild
            continue
        if row == 0:
            positions = [(one.low**2 + one.high**2) / 2 for one in bins]
        else:
            positions = [float(i) for i in range(len(bins))]
            quantities = (*quantities[:2], ("scatter", "scatter of I(B) − k·I(A), in σ"))
        for axes, (name, label) in zip(grid[row], quantities):
            values = [getattr(one, name) for one in bins]
            if name == "ratio":
                errors = [one.ratio_error for one in bins]
                axes.errorbar(positions, values, errors, fmt="o-", ms=4, lw=1.2, capsize=2, color=COLOURS[0])
                whole = result.overall.ratio
                axes.axhline(whole, color=COLOURS[1], lw=1, ls="--", label=f"all: {whole:.5g}")
                axes.legend(fontsize=8)
            else:
                axes.plot(positions, values, "o-", ms=4, lw=1.2, color=COLOURS[0])
            axes.set_ylabel(label)
            axes.grid(alpha=0.25)
            _calm(axes)
            if row == 0:
                resolution_axis(axes, bins[0].low, bins[-1].high, power=2, apart=0.1)
            else:
                axes.set_xticks(positions, [one.label for one in bins], rotation=40, ha="right", fontsize=8)
                axes.set_xlabel("I/σ of both streams together")
    names = (f"{letter} {shortened(name, 150)}" for letter, name in (("A", result.a), ("B", result.b)))
    figure.suptitle("\n".join(names), fontsize=9, parse_math=False)
    save_figure(figure, path, force=force)
