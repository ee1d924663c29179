"""A whole frame, its background, and what is left: three pictures side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.background.tiles import TILE, TileGrid
from waterbg.plots.lab_image import Canvas, make_canvas
from waterbg.plots.look import Look
from waterbg.predict import wavenumber

COUNTS, RESIDUAL, NOTHING = "viridis", "RdBu_r", "0.82"  # readable for the colour-blind; COUNTS in grey, too
SPOTS = ("#ffffff", "#56e0ff", "#ffb3de", "#b6ff6e")  # one a crystal; all stand out on COUNTS
PEAKS, CHOSEN = "#ff7f0e", "#e8000b"
D_SPACINGS = (50, 30, 20, 15, 10, 7, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7)
FROM_SIGMA = 5.0  # standard deviations at the ends of the residual's colours
_LOWEST = 1e-3  # of the brightest: the logarithmic scale begins no lower
_CIRCLES = 0.13  # of the largest radius: the least distance of two resolution circles


@dataclass
class Layers:
    """Quantities of a frame on a canvas, (rows, columns); NaN where there is no usable pixel.

    Attributes
    ----------
    canvas : Canvas
    observed : float64
        Photons a pixel, mean of the cell.
    expected : float64 or None
        The same of the background; None when there is too little to learn it from.
    residual : float64 or None
        Sum over the cell of observed less expected: standard deviations, or photons a pixel.
    """

    canvas: Canvas
    observed: NDArray[np.float64]
    expected: NDArray[np.float64] | None
    residual: NDArray[np.float64] | None


def make_layers(look: Look, most: int, photons: bool = False) -> Layers:
    """Put a frame and its background on a canvas.

    Parameters
    ----------
    look : Look
    most : int
        Cells along either axis at most.
    photons : bool
        Residual in photons a pixel instead of standard deviations.
    """
    frame, detector = look.frame, look.frame.detector
    canvas = make_canvas(look.rays, detector.shapes, detector.offsets, most)
    sizes = np.diff(detector.offsets)
    counts = frame.data * np.repeat((1 / np.asarray(frame.adu_per_photon)).astype(np.float32), sizes)
    total, number = canvas.add_up(counts, frame.bad)
    used = np.where(number > 0, number, np.nan)
    if look.surface is None:
        return Layers(canvas, total / used, None, None)
    expected = look.surface.everywhere(detector.shapes)
    model = canvas.add_up(expected, frame.bad)[0]
    if photons:
        return Layers(canvas, total / used, model / used, (total - model) / used)
    gain, read2 = look.surface.noise
    variance = (gain * expected + read2) * _of_tiles(look.surface.factor, look.surface.grid, detector.shapes)
    spread = np.sqrt(canvas.add_up(variance, frame.bad)[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        residual = np.where(spread > 0, (total - model) / spread, np.nan)
    return Layers(canvas, total / used, model / used, residual)


def _of_tiles(tiles: NDArray[np.float32], grid: TileGrid, shapes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n_pixels,) value of the tile each pixel is in."""
    parts = []
    for number, (n_ss, n_fs) in enumerate(shapes):
        here = tiles[grid.offsets[number] : grid.offsets[number + 1]].reshape(grid.shapes[number])
        parts.append(here.repeat(TILE, axis=0).repeat(TILE, axis=1)[:n_ss, :n_fs].ravel())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def draw_frames(
    figure: Any, look: Look, layers: Layers, row: int, *, peaks: bool, linear: bool, photons: bool
) -> tuple[Any, Any, Any]:
    """Draw frame, background and residual.

    Parameters
    ----------
    figure : Figure or SubFigure
    look : Look
    layers : Layers
    row : int
        The reflection to be marked, among ``look.scene.spots``.
    peaks : bool
        Mark the peaks that the stream lists, too.
    linear : bool
        Linear colours instead of logarithmic ones.
    photons : bool
        What the residual is in.

    Returns
    -------
    frame, background, residual : Axes
    """
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    frame, background, residual = axes
    side = layers.canvas.side
    cell = "" if side == 1 else f", mean of {side} × {side} px"
    picture = _image(frame, layers, layers.observed, **_colours(layers, linear))
    _draw_spots(frame, look, layers.canvas, row, peaks)
    _draw_legend(figure, frame)
    _draw_circles(frame, look, layers)
    frame.set_title("a   Frame and predicted reflections", loc="left", fontweight="bold", fontsize=11)
    background.set_title(f"b   Background model ({model_name(look)})", loc="left", fontweight="bold", fontsize=11)
    residual.set_title("c   Frame − background", loc="left", fontweight="bold", fontsize=11)
    if layers.expected is None or layers.residual is None:
        for one in (background, residual):
            why = "no model: too few photons,\nor too few pixels clear of spots"
            one.text(0.5, 0.5, why, ha="center", va="center", transform=one.transAxes)
            one.set_facecolor("0.95")
    else:
        _image(background, layers, layers.expected, norm=picture.norm, cmap=picture.cmap)
        _draw_circles(background, look, layers)
        reach = FROM_SIGMA if not photons else _percentile(np.abs(layers.residual), 99)
        left = _image(residual, layers, layers.residual, cmap=colour_map(RESIDUAL), vmin=-reach, vmax=reach)
        of_cell = f"σ of {side} × {side} px" if side > 1 else "σ of a pixel"
        _colour_bar(figure, left, residual, f"photons / px{cell}" if photons else of_cell, "both")
    _colour_bar(figure, picture, [frame, background], f"photons / px{cell}", "both")
    for one in axes:
        one.set_xlabel("x / mm")
        one.set_aspect("equal")
        one.tick_params(labelsize=8)
    frame.set_ylabel("y / mm")
    return frame, background, residual


def model_name(look: Look) -> str:
    """What the frame's model is called: ring and plane have none of their own, so that water's is shown."""
    return "radial" if look.settings.background == "radial" else "water"


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    """Percentile of what is known; 1 where that is not positive, as on a blank frame, and colours still need an end."""
    known = values[np.isfinite(values)]
    found = float(np.percentile(known, percent)) if len(known) else 0.0
    return found if found > 0 else 1.0


def limits_of(*parts: NDArray[np.float64]) -> tuple[float, float]:
    """Least and largest of the values that are known; further apart than nothing, as colours need it."""
    known = np.concatenate([part[np.isfinite(part)] for part in parts])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    return low, high if high > low else low + 1


def colour_map(name: str) -> Any:
    """Colours by their name, grey where there is no number."""
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=NOTHING)


def _colours(layers: Layers, linear: bool) -> dict[str, Any]:
    """Colours from the dimmest parts of frame or model to the brightest of the frame; a few spots may be brighter."""
    from matplotlib.colors import LogNorm, Normalize

    known = layers.observed[np.isfinite(layers.observed)]
    top = _percentile(known, 99.7)
    if linear:
        return {"norm": Normalize(0.0, top), "cmap": colour_map(COUNTS)}
    # where hardly a photon falls, a pixel that has one is brighter than the background's mean
    dim = [part[part > 0] for part in (layers.observed, layers.expected) if part is not None]
    least = max(min(_percentile(part, 1) for part in dim), _LOWEST * top)
    return {"norm": LogNorm(min(least, top / 3), top), "cmap": colour_map(COUNTS)}


def _image(axes: Any, layers: Layers, values: NDArray[np.float64], **how: Any) -> Any:
    """Draw a layer; grey is where nothing was measured: no panel, or bad pixels."""
    from matplotlib.colors import LogNorm

    norm = how.get("norm")
    if isinstance(norm, LogNorm) and norm.vmin is not None:  # what is not positive is dim, not bad
        values = np.where(values > norm.vmin, values, np.where(np.isnan(values), np.nan, norm.vmin))
    extent = layers.canvas.extent
    return axes.imshow(np.ma.masked_invalid(values), origin="lower", extent=extent, interpolation="nearest", **how)


def _colour_bar(figure: Any, picture: Any, axes: Any, label: str, extend: str) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, LogLocator

    bar = figure.colorbar(picture, ax=axes, shrink=0.85, aspect=28, pad=0.015, extend=extend)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if isinstance(picture.norm, LogNorm):
        low, high = picture.get_clim()
        decades = math.log10(high / low)
        bar.locator = LogLocator(subs=(1, 2, 3, 5) if decades < 1.5 else (1, 2, 5) if decades < 3 else (1,))
        bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
        bar.update_ticks()
        bar.minorticks_off()


def _draw_spots(axes: Any, look: Look, canvas: Canvas, row: int, peaks: bool) -> None:
    scene, detector = look.scene, look.frame.detector
    on = scene.spots["panel"] >= 0
    # smaller where there are many, or nothing of the frame would be left
    listed = int(np.count_nonzero(on & (scene.printed >= 0)))
    size = float(np.clip(21000 / max(listed, 1), 1.5, 14))
    for number in range(len(scene.crystals)):
        mine = on & (scene.printed >= 0) & (scene.crystal == number)
        where = canvas.place(*(scene.spots[name][mine] for name in ("panel", "fs", "ss")))
        which = f"crystal {number + 1}: " if len(scene.crystals) > 1 else ""
        axes.scatter(
            *where, s=size, facecolors="none", edgecolors=SPOTS[number % len(SPOTS)],
            linewidths=0.5 if size > 5 else 0.3,
            label=f"{which}{np.count_nonzero(mine)} predicted",
        )  # fmt: skip
    found = look.chunk.peaks
    if peaks:
        panel = detector.panel_numbers(look.chunk.peak_panel_names)[found["panel"]] if len(found) else np.zeros(0, int)
        known = panel >= 0
        place = detector.to_panel(panel[known], found["fs"][known], found["ss"][known])
        x, y = canvas.place(panel[known], *place)
        axes.scatter(x, y, s=2 * size, marker="s", facecolors="none", edgecolors=PEAKS, linewidths=0.7,
                     label=f"{len(x)} peaks found")  # fmt: skip
    spot = scene.spots[row : row + 1]
    if spot["panel"][0] >= 0:
        x, y = canvas.place(spot["panel"], spot["fs"], spot["ss"])
        axes.scatter(x, y, s=90, marker="o", facecolors="none", edgecolors=CHOSEN, linewidths=1.5, label="shown in d")


def _draw_legend(figure: Any, axes: Any) -> None:
    """What the marks on the frame are, below the pictures: on them it would hide some of the frame."""
    legend = figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", fontsize=8.5, ncols=6, facecolor="0.25",
        edgecolor="none", framealpha=1, labelcolor="w", borderpad=0.4, handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip
    for mark in legend.legend_handles:
        mark.set(sizes=[30], linewidths=[1.3])  # to be seen however small they are on the frame


def circles(wavelength: float, length: float, largest: float) -> list[tuple[float, float]]:
    """Resolutions in Å, and radii in the unit of ``length``, of circles that stand well apart.

    Parameters
    ----------
    wavelength : float
        Å.
    length : float
        Distance of the plane across the beam.
    largest : float
        Radius beyond which there is nothing to be seen.
    """
    chosen: list[tuple[float, float]] = []
    for d in D_SPACINGS:
        sine = wavelength / (2 * d)
        if sine >= math.sin(math.pi / 4):
            break  # at 90° and beyond, a circle is no circle on this plane
        radius = length * math.tan(2 * math.asin(sine))
        if radius > largest:
            break
        if radius - (chosen[-1][1] if chosen else 0.0) >= _CIRCLES * largest:
            chosen.append((d, radius))
    return chosen


def _draw_circles(axes: Any, look: Look, layers: Layers) -> None:
    from matplotlib.patches import Circle

    canvas = layers.canvas
    left, right, bottom, top = canvas.extent
    largest = max(math.hypot(x, y) for x in (left, right) for y in (bottom, top))
    wavelength = 10 / wavenumber(look.frame.photon_energy_eV)
    for d, radius in circles(wavelength, canvas.rays.length * canvas.mm, 0.97 * largest):
        axes.add_patch(Circle((0, 0), radius, fill=False, color="white", lw=0.7, ls=(0, (4, 4)), alpha=0.8))
        where = _label_place(radius, canvas.extent)
        if where is not None:
            axes.text(
                *where, f"{d:g} Å", color="white", fontsize=8, ha="center", va="center", clip_on=True,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "0.15", "alpha": 0.65, "edgecolor": "none"},
            )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _label_place(radius: float, extent: tuple[float, float, float, float]) -> tuple[float, float] | None:
    """A point of the circle that is well inside the picture; up and right if possible."""
    left, right, bottom, top = extent
    edge = 0.04 * max(right - left, top - bottom)
    for degrees in (60, 45, 75, 30, 90, 120, 135, 150, 180, 0, 225, 250, 270, 290, 315):
        x, y = radius * math.cos(math.radians(degrees)), radius * math.sin(math.radians(degrees))
        if left + edge < x < right - edge and bottom + edge < y < top - edge:
            return x, y
    return None
