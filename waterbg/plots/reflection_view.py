"""One reflection: what was counted, the background, the fit, what is left, and cuts through all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from waterbg.figure_file import literal
from waterbg.integrate import Status
from waterbg.plots.close_up import CloseUp
from waterbg.plots.frame_view import CHOSEN, COUNTS, FROM_SIGMA, RESIDUAL, colour_map, limits_of
from waterbg.plots.look import readable

DATA, GROUND, FIT = "#222222", "#0072b2", "#d55e00"  # Okabe and Ito's
DISC_AREA, RING_AREA = "#f0e442", "#56b4e9"


def draw_reflection(figure: Any, close: CloseUp) -> None:
    """Draw boxes and cuts of a reflection.

    Parameters
    ----------
    figure : Figure or SubFigure
    close : CloseUp
    """
    grid = figure.add_gridspec(2, 5, width_ratios=(1, 1, 1, 1, 1.55))
    boxes = [figure.add_subplot(grid[:, i]) for i in range(4)]
    cuts = [figure.add_subplot(grid[i, 4]) for i in range(2)]
    which, numbers = map(literal, describe(close))
    figure.suptitle(rf"$\bf{{d}}$   {which}" + "\n" + numbers, fontsize=10.5, x=0.01, ha="left", linespacing=1.5)
    _draw_boxes(figure, boxes, close)
    for axes, axis in zip(cuts, ("fs", "ss")):
        _draw_cut(axes, close, axis)
    lines, words = cuts[0].get_legend_handles_labels()
    cuts[0].legend(lines, words, fontsize=7, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False,
                   columnspacing=1.0, handlelength=1.4, handletextpad=0.4)  # fmt: skip


def describe(close: CloseUp) -> list[str]:
    """Two lines: which reflection, and its numbers in the stream and by waterbg."""
    h, k, l = close.hkl
    which = (
        f"Reflection {h}, {k}, {l} of crystal {close.crystal}:  d = {close.d:.2f} Å,  panel {readable(close.panel)},  "
        f"fs {close.predicted[0]:.1f},  ss {close.predicted[1]:.1f};  rings of {_words(close.radii)} px"
    )
    before = f"stream: I = {close.stream_intensity:.2f} ± {close.stream_sigma:.2f}"
    if close.status == Status.OK:
        after = (
            f"waterbg: I = {close.intensity:.2f} ± {close.sigma:.2f},  background {close.mean_background:.2f} a pixel,"
            f"  highest pixel {close.peak:.2f}  (ADU; 1 photon = {close.photon:g} ADU)"
        )
    else:
        after = f"waterbg: dropped, {close.status.reason}"
    return [which, f"{before}     {after}"]


def _words(radii: tuple[int, int, int]) -> str:
    return ", ".join(str(radius) for radius in radii)


def _draw_boxes(figure: Any, boxes: list[Any], close: CloseUp) -> None:
    from matplotlib.colors import Normalize

    counts, left = colour_map(COUNTS), colour_map(RESIDUAL)
    observed = np.where(close.bad, np.nan, close.observed)
    norm = Normalize(*limits_of(observed, close.background))
    size = close.observed.shape[0]
    extent = (close.left, close.left + size, close.top, close.top + size)
    pictures = []
    for axes, title, values, colours in (
        (boxes[0], "observed", observed, counts),
        (boxes[1], "background", close.background, counts),
        (boxes[2], "background + fit", close.fit, counts),
        (boxes[3], "(observed − fit) / σ", close.residual, left),
    ):
        how = {"norm": norm} if colours is counts else {"vmin": -FROM_SIGMA, "vmax": FROM_SIGMA}
        pictures.append(
            axes.imshow(
                np.ma.masked_invalid(values),
                origin="lower",
                extent=extent,
                interpolation="nearest",
                cmap=colours,
                **how,
            )
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("fs / px", fontsize=9)
        axes.tick_params(labelsize=7.5)
        whole_ticks(axes.xaxis)
        whole_ticks(axes.yaxis)
        _draw_rings(axes, close, "white" if colours is counts else "black")
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
    if not np.isfinite(close.flux):
        boxes[2].text(0.5, 0.5, "no fit", transform=boxes[2].transAxes, ha="center", va="center", fontsize=9)
    boxes[0].set_ylabel("ss / px", fontsize=9)
    for axes in boxes[1:]:
        axes.tick_params(labelleft=False)
    for picture, axes, label in ((pictures[2], boxes[:3], "photons / px"), (pictures[3], boxes[3:], "")):
        bar = figure.colorbar(picture, ax=axes, shrink=0.8, aspect=22, pad=0.01)
        bar.set_label(label, fontsize=9)
        bar.ax.tick_params(labelsize=7.5)


def whole_ticks(axis: Any, most: int = 4) -> None:
    """Few ticks, at whole numbers, without the offset that matplotlib takes off large ones."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(most, integer=True))
    axis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _draw_rings(axes: Any, close: CloseUp, colour: str) -> None:
    """The three radii about the predicted pixel's middle, both places, and pixels that belong to others."""
    from matplotlib.patches import Circle

    middle = int(np.floor(close.predicted[0])) + 0.5, int(np.floor(close.predicted[1])) + 0.5
    for radius, line in zip(close.radii, ("-", "--", "--")):
        axes.add_patch(Circle(middle, radius, fill=False, color=colour, lw=1, ls=line))
    axes.plot(*close.predicted, "+", color=colour, ms=9, mew=1.2)
    if np.isfinite(close.flux):
        axes.plot(*close.fitted, "x", color=CHOSEN, ms=6, mew=1.4)
    ss, fs = np.nonzero(close.others & ~close.bad)
    axes.scatter(close.left + fs + 0.5, close.top + ss + 0.5, s=5, marker=".", color=colour, linewidths=0, alpha=0.8)


def _draw_cut(axes: Any, close: CloseUp, axis: str) -> None:
    """Photons along the row, or the column, of pixels that the fitted place is in."""
    along, across = (0, 1) if axis == "fs" else (1, 0)
    first, other = (close.left, close.top) if axis == "fs" else (close.top, close.left)
    size = close.observed.shape[0]
    line = int(np.clip(np.floor(close.fitted[across]) - other, 0, size - 1))

    def cut(box: Any) -> Any:
        return box[line] if axis == "fs" else box[:, line]

    at = first + np.arange(size) + 0.5
    used = ~(cut(close.bad) | cut(close.others))
    observed, error = cut(close.observed), cut(close.deviation)
    middle = np.floor(close.predicted[along]) + 0.5
    inner, mid, outer = close.radii
    axes.axvspan(middle - inner - 0.5, middle + inner + 0.5, color=DISC_AREA, alpha=0.25, lw=0, label="peak")
    for sign, label in ((-1, "ring"), (1, None)):
        axes.axvspan(
            middle + sign * (mid - 0.5), middle + sign * (outer + 0.5), color=RING_AREA, alpha=0.2, lw=0, label=label
        )
    axes.stairs(
        cut(close.background),
        np.append(at - 0.5, at[-1] + 0.5),
        baseline=None,
        color=GROUND,
        lw=1.5,
        label="background",
    )
    if np.isfinite(close.flux):
        axes.stairs(cut(close.fit), np.append(at - 0.5, at[-1] + 0.5), baseline=None, color=FIT, lw=1.5, label="fit")
    axes.errorbar(at[used], observed[used], error[used], fmt="o", ms=3, lw=0.9, color=DATA, label="observed")
    left_out = ~used & ~cut(close.bad)
    axes.plot(at[left_out], observed[left_out], "o", ms=3, mfc="none", mew=0.7, color=DATA)
    row = "row ss" if axis == "fs" else "column fs"
    axes.set_xlabel(f"{axis} / px   ({row} = {other + line})", fontsize=8.5)
    axes.set_ylabel("photons / px", fontsize=8.5)
    axes.tick_params(labelsize=7.5)
    whole_ticks(axes.xaxis)
    axes.set_xlim(first, first + size)
