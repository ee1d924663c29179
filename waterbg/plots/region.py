"""A small region of a panel in three dimensions: counts, background, and one less the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, FAULTY
from waterbg.errors import UsageError
from waterbg.h5_background_subtraction import ArrayRegion
from waterbg.plots.frame_view import COUNTS, limits_of, model_name
from waterbg.plots.look import Look, readable


@dataclass
class Region:
    """A piece of a panel, cut at its edges; (n_ss, n_fs) arrays in photons a pixel.

    Attributes
    ----------
    panel : str
    fs, ss : (n_fs,), (n_ss,) float64
        Middles of the pixels in file coordinates.
    observed : float64
        NaN on bad and faulty pixels: one hot pixel would flatten all others.
    background : float64 or None
        None when there is too little to learn it from.
    """

    panel: str
    fs: NDArray[np.float64]
    ss: NDArray[np.float64]
    observed: NDArray[np.float64]
    background: NDArray[np.float64] | None


def find_panel(look: Look, fs: float, ss: float, name: str | None = None) -> int:
    """Number of the panel that has a point of file coordinates.

    Raises
    ------
    UsageError
        When no panel has it, or several have and none is named.
    """
    detector = look.frame.detector
    if name is not None and name not in detector.panel_index:
        raise UsageError(f"--at: the geometry has no panel {name}")
    numbers = range(len(detector.panels)) if name is None else [detector.panel_index[name]]
    having = []
    for number in numbers:
        panel = detector.panels[number]
        if panel.min_fs <= fs < panel.max_fs + 1 and panel.min_ss <= ss < panel.max_ss + 1:
            having.append(number)
    if not having:
        raise UsageError(f"--at: fs {fs:g}, ss {ss:g} is not on {f'panel {name}' if name else 'any panel'}")
    if len(having) > 1:
        names = ", ".join(detector.panels[number].name for number in having[:3])
        raise UsageError(f"--at: several panels have fs {fs:g}, ss {ss:g} ({names} …); name one: FS,SS,PANEL")
    return having[0]


def region_about(look: Look, row: int, at: tuple[float, float, str | None] | None, size: int) -> Region:
    """Cut the region about fs, ss (and panel) of file coordinates, or else about a reflection of the scene.

    Raises
    ------
    UsageError
        When the point is on no panel, or on several.
    """
    if at is not None:
        return cut_region(look, find_panel(look, *at), at[0], at[1], size)
    spot = look.scene.spots[row]
    panel = look.frame.detector.panels[spot["panel"]]
    return cut_region(
        look, int(spot["panel"]), panel.min_fs + float(spot["fs"]), panel.min_ss + float(spot["ss"]), size
    )


def cut_region(look: Look, panel: int, fs: float, ss: float, size: int) -> Region:
    """Cut a square out of a panel and its background.

    Parameters
    ----------
    look : Look
    panel : int
    fs, ss : float
        Its middle, file coordinates.
    size : int
        How many pixels it reaches from its middle.
    """
    detector = look.frame.detector
    first_fs, first_ss = detector.panels[panel].min_fs, detector.panels[panel].min_ss
    pixels, _ = look.frame.panel(panel)
    begin, end = detector.offsets[panel : panel + 2]
    bad = (look.found.background.flags[begin:end] & (BAD | FAULTY)).reshape(pixels.shape) > 0
    counts = np.where(bad, np.nan, pixels / look.frame.adu_per_photon[panel])
    row, column = int(ss) - first_ss, int(fs) - first_fs

    def cut(array: NDArray[Any]) -> tuple[NDArray[Any], int, int]:
        region = ArrayRegion(array)
        region.set_peak_coordinate(row, column)
        region.set_region_size(size)
        above, before = region.centre_in_region()
        return region.get_region(), row - above, column - before

    observed, top, left = cut(counts)
    background = None
    if look.surface is not None:
        whole = look.surface.everywhere(detector.shapes)[begin:end].reshape(counts.shape)
        background = cut(whole)[0].astype(float)
    n_ss, n_fs = observed.shape
    return Region(
        detector.panels[panel].name,
        first_fs + left + 0.5 + np.arange(n_fs, dtype=np.float64),
        first_ss + top + 0.5 + np.arange(n_ss, dtype=np.float64),
        observed,
        background,
    )


def draw_region(figure: Any, look: Look, region: Region) -> list[str]:
    """Draw counts, the background model on the same scale, and counts less background.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Empty, of about 16 by 6 inches.
    look : Look
    region : Region

    Returns
    -------
    list of str
        What the picture shows, in words.
    """
    # pixels, by their first edges: rounded, their middles would be now one pixel and now the next
    ends = [int(end) for end in (region.fs[0], region.fs[-1], region.ss[0], region.ss[-1])]
    where = f"panel {readable(region.panel)}, fs {ends[0]} to {ends[1]}, ss {ends[2]} to {ends[3]}"
    figure.suptitle(f"{look.title}    {where}", fontsize=11, parse_math=False)
    if region.background is None:
        _draw_surface(figure, 1, 1, region, region.observed, "Frame (no background model)")
        return [look.title, where]
    limits = limits_of(region.observed, region.background)
    _draw_surface(figure, 1, 3, region, region.observed, "Frame", limits)
    _draw_surface(figure, 2, 3, region, region.background, f"Background model ({model_name(look)})", limits)
    _draw_surface(figure, 3, 3, region, region.observed - region.background, "Frame − background")
    return [look.title, where]


def _draw_surface(
    figure: Any,
    number: int,
    of: int,
    region: Region,
    values: NDArray[np.float64],
    title: str,
    limits: tuple[float, float] | None = None,
) -> None:
    from matplotlib.colors import Normalize

    axes = figure.add_subplot(1, of, number, projection="3d")
    if limits is None:
        limits = limits_of(values)
    fs, ss = np.meshgrid(region.fs, region.ss)
    # a step of 1: matplotlib would leave most pixels of larger regions out
    surface = axes.plot_surface(
        fs, ss, values, cmap=COUNTS, norm=Normalize(*limits), rstride=1, cstride=1, lw=0, antialiased=False
    )
    axes.set(xlabel="fs / px", ylabel="ss / px", zlim=limits)
    axes.set_title(title, fontsize=11, y=0.98)
    axes.tick_params(labelsize=8)
    axes.view_init(elev=24, azim=-60)
    bar = figure.colorbar(surface, ax=axes, location="bottom", shrink=0.7, aspect=30, pad=0.02)
    bar.set_label("photons / px", fontsize=9)
    bar.ax.tick_params(labelsize=8)
