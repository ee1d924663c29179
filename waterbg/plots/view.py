"""The figure of `waterbg view`: a frame, its background, what is left, and one reflection close by."""

from __future__ import annotations

from typing import Any

from waterbg.figure_file import settle
from waterbg.plots.close_up import close_up
from waterbg.plots.frame_view import draw_frames, make_layers
from waterbg.plots.look import Look
from waterbg.plots.reflection_view import describe, draw_reflection

FILE_CELLS, WINDOW_CELLS = 800, 2400  # along an axis: about what a file resolves, and enough to zoom into a window


def draw_view(
    figure: Any,
    look: Look,
    row: int,
    *,
    peaks: bool = False,
    linear: bool = False,
    photons: bool = False,
    cells: int = FILE_CELLS,
) -> list[str]:
    """Draw frame, background and residual above, a reflection below.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Empty, of about 16 by 9 inches.
    look : Look
    row : int
        The reflection, among ``look.scene.spots``.
    peaks : bool
        Mark the peaks that the stream lists, too.
    linear : bool
        Linear colours instead of logarithmic ones.
    photons : bool
        Residual of the frame in photons instead of standard deviations.
    cells : int
        Of the frame's pictures, along either axis at most.

    Returns
    -------
    list of str
        What the picture shows, in words and numbers.
    """
    frame = look.frame
    where = f"{frame.photon_energy_eV / 1e3:.3f} keV, camera length {frame.clen * 1e3:.1f} mm"
    figure.suptitle(f"{look.title}    {where}", fontsize=11, parse_math=False)
    above, below = figure.subfigures(2, 1, height_ratios=(1.45, 1))
    layers = make_layers(look, cells, photons)
    draw_frames(above, look, layers, row, peaks=peaks, linear=linear, photons=photons)
    close = close_up(look, row)
    draw_reflection(below, close)
    settle(figure)
    return [look.title, *describe(close)]
