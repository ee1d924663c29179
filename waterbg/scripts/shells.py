"""Figures of merging statistics by resolution: the tables of check_hkl and compare_hkl, the grids of partialator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import StreamError, UsageError
from waterbg.figure_file import resolution_axis
from waterbg.small_file import read_small_file

Values = NDArray[np.float64]


class TableError(StreamError):
    """A table of CrystFEL's that cannot be read."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


def read_table(path: str, least: int, figure: str = "") -> Values:
    """Numbers of a shell file: what stands below its head line.

    Parameters
    ----------
    path : str
    least : int
        Columns that there must be; further ones may hold words.
    figure : str
        Figure of merit that compare_hkl has written, by the name in its head line; a table of another is refused.

    Returns
    -------
    (n_shells, least) float64
        NaN where the program had no value (``-nan``).

    Raises
    ------
    TableError
    """
    lines = _lines(path)
    head = lines[0].split() if lines else []
    if figure and head[:2] == ["1/d", "centre"] and head[2:3] != [figure]:
        raise TableError(f"is a table of {' '.join(head[2:3])}, where one of {figure} is needed", path=path)
    rows = []
    for number, line in enumerate(lines[1:], 2):
        words = line.split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words[:least]])
        except ValueError:
            raise TableError(f"{line.strip()[:60]!r} is no line of numbers", path=path, line=number) from None
        if len(words) < least:
            raise TableError(f"{least} columns are needed, found {len(words)}", path=path, line=number)
    if not rows:
        raise TableError("holds no numbers below its head line", path=path)
    return np.array(rows)


def _lines(path: str) -> list[str]:
    try:
        return read_small_file(path).decode(errors="replace").splitlines()
    except OSError as err:
        raise TableError(f"cannot be read ({err.strerror})", path=path) from None


def draw_two(
    axes: Any,
    inv_d: Sequence[Values],
    left: list[tuple[Values, str]],
    right: list[tuple[Values, str]],
    labels: list[str],
) -> Any:
    """Draw curves by resolution with an axis on either side; gives back the right one.

    Parameters
    ----------
    axes : matplotlib Axes
    inv_d : sequence of arrays
        1/d in nm⁻¹ of the shells, one array for each curve, those of the left axis first.
    left, right : list of (values, name)
    labels : list of str
        Of both axes.
    """
    other = axes.twinx()
    colours = iter(("C0", "C3", "C2", "C4"))
    lines = []
    for at, (values, name), where in zip(
        inv_d, [*left, *right], [axes] * len(left) + [other] * len(right), strict=True
    ):
        lines += where.plot(at, values, "o-", ms=3, lw=2, color=next(colours), label=name)
    axes.set_ylabel(labels[0])
    other.set_ylabel(labels[1])
    everything = np.concatenate(inv_d)
    resolution_axis(axes, float(everything.min()), float(everything.max()))
    axes.grid(True, alpha=0.3)
    # above the axes: those on the right would be drawn over it
    axes.legend(handles=lines, fontsize=9, ncols=len(lines), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return other


def draw_completeness(axes: Any, table: Values) -> None:
    """Completeness, and reflections measured and possible, from check_hkl's shell file."""
    inv_d, measured, possible, completeness = table.T[:4]
    curves = [(measured, "measured"), (possible, "possible")]
    other = draw_two(axes, [inv_d] * 3, [(completeness, "completeness")], curves, ["Completeness / %", "Reflections"])
    axes.set_ylim(0, 103)
    other.set_ylim(bottom=0)  # nothing is nothing on either side


def draw_quality(axes: Any, table: Values) -> None:
    """Redundancy and signal to noise, from check_hkl's shell file."""
    curves = [(table[:, 5], "redundancy")], [(table[:, 6], "I / σ(I)")]
    draw_two(axes, [table[:, 0]] * 2, *curves, ["Redundancy", "I / σ(I) after merging"])


def draw_agreement(axes: Any, rsplit: Values, cc: Values) -> None:
    """Rsplit and CC½, from compare_hkl's shell files."""
    curves = [(rsplit[:, 1], "Rsplit")], [(cc[:, 1], "CC½")]
    draw_two(axes, [rsplit[:, 0], cc[:, 0]], *curves, ["Rsplit / %", "CC½"])


def draw_rsplit_surface(figure: Any, patterns: Sequence[float], tables: Sequence[Values], title: str) -> None:
    """Rsplit over resolution and number of patterns.

    Parameters
    ----------
    figure : matplotlib Figure
    patterns : sequence of float
        Patterns merged for each table.
    tables : sequence of arrays
        Of compare_hkl: 1/d in nm⁻¹, Rsplit in percent.

    Raises
    ------
    UsageError
        When fewer than three points can be drawn.
    """
    points = [(x, n, z) for n, table in zip(patterns, tables, strict=True) for x, z in table[:, :2] if 0 < z <= 100]
    if len(points) < 3 or len(set(patterns)) < 2:
        raise UsageError("a surface needs two numbers of patterns and three shells with Rsplit from 0 to 100 %")
    x, n, z = np.array(points).T
    axes = figure.subplots()
    surface = axes.tricontourf(x, np.log2(n), z, levels=np.linspace(0, 100, 41), cmap="viridis")
    axes.plot(x, np.log2(n), "k.", ms=2)
    axes.set_yticks(np.log2(sorted(set(patterns))), [f"{value:g}" for value in sorted(set(patterns))])
    axes.set(xlabel="Resolution (1/d) / nm⁻¹", ylabel="Number of patterns", title=title)
    figure.colorbar(surface, label="Rsplit / %", ticks=range(0, 101, 10))


# -- partialator's grids -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """One variable of a grid: its range, its value after refinement, and what it is."""

    low: float
    high: float
    current: float
    label: str


@dataclass(frozen=True)
class Grid:
    """Residual of a crystal over two of its parameters (``write_grid`` in CrystFEL's post-refinement.c).

    Attributes
    ----------
    x, y : Axis
    values : (n_y, n_x) float64
    """

    x: Axis
    y: Axis
    values: Values


def find_grids(folder: str) -> dict[tuple[int, str, str], str]:
    """Grid files in a folder of partialator's logs: (crystal, cycle, pair of variables) -> path.

    Raises
    ------
    TableError
        When there is none.
    """
    found = {}
    try:
        names = sorted(path.name for path in Path(folder).iterdir())
    except OSError as err:
        raise TableError(f"cannot be read ({err.strerror})", path=folder) from None
    for name in names:
        match = re.fullmatch(r"grid-crystal(\d+)-cycle(\w+)-(\S+?-\S+)\.dat", name)
        if match:
            found[int(match[1]), match[2], match[3]] = str(Path(folder) / name)
    if not found:
        raise TableError("holds no grid-crystalN-cycleN-….dat of partialator", path=folder)
    return found


def read_grid(path: str) -> Grid:
    """Read a grid.

    Raises
    ------
    TableError
    """
    lines, axes = _lines(path), []
    for number, line in enumerate(lines[:2], 1):
        words = line.split(None, 3)
        try:
            low, high, current = map(float, words[:3])
            axes.append(Axis(low, high, current, words[3].strip()))
        except (ValueError, IndexError):
            raise TableError(
                "lowest, highest and current value and a name are needed", path=path, line=number
            ) from None
    try:
        rows = [[float(word) for word in line.split()] for line in lines[2:] if line.strip()]
        values = np.array(rows, float)
    except ValueError:
        values = np.zeros(0)
    if len(axes) < 2 or values.ndim != 2 or not values.size:
        raise TableError("two lines of axes and a rectangle of numbers are needed", path=path)
    return Grid(axes[0], axes[1], values)


def draw_grid(axes: Any, grid: Grid, title: str) -> Any:
    """Draw a grid in grey with contours, and the current values; gives back the image."""
    extent = (grid.x.low, grid.x.high, grid.y.low, grid.y.high)
    image = axes.imshow(grid.values, origin="lower", extent=extent, aspect="auto", cmap="gray", interpolation="none")
    known = grid.values[np.isfinite(grid.values)]
    if known.size and known.min() < known.max() and min(grid.values.shape) > 1:
        # CrystFEL's own levels, 0 to 1.5, when the residual is in that range
        levels = np.arange(0.0, 1.6, 0.1) if known.min() < 1.5 and known.max() > 0.1 else 12
        axes.contour(grid.values, levels, origin="lower", extent=extent, linewidths=1, cmap="Greens")
    axes.plot(grid.x.current, grid.y.current, "bH", label="current")
    axes.set(title=title, xlabel=grid.x.label, ylabel=grid.y.label)
    return image
