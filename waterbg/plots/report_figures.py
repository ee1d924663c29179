"""The figures of a report, each an element of an HTML page; None where there is nothing to draw."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.figure_file import leave_room, new_figure, resolution_axis, settle
from waterbg.integrate import Status
from waterbg.model import Quality
from waterbg.plots.decoys import OURS, RINGS, TITLES, plot_decoys
from waterbg.plots.inline import FAINT, INK, png, svg
from waterbg.plots.look import WATER, Look, choose_reflection
from waterbg.plots.reflection_view import describe, draw_reflection, whole_ticks
from waterbg.plots.report_bins import MAP_FIRST, MAP_STEP, Resolution, Shell, TimeLine
from waterbg.plots.report_sample import Profile, WaterRing

BEFORE, AFTER = RINGS, OURS
PAIR: tuple[tuple[int, dict[str, Any]], ...] = (
    (0, {"color": BEFORE, "label": "before", "marker": "o", "ms": 7, "mfc": "none", "lw": 1.2}),
    (1, {"color": AFTER, "label": "after", "marker": "o", "ms": 3.5, "lw": 1.6}),
)
"""Both can be seen where one lies on the other."""
HALF = (5.0, 3.3)  # inches, of a figure beside another
MOST_LINES = 60  # single frames that are drawn: more would only be a large file
MEDIUM = (8.0, 20.0)  # I/sigma of the reflection that is shown closely


def profile_figure(profile: Profile, ring: WaterRing | None) -> str:
    """Radial background over resolution, with the place of the ring."""
    figure = new_figure(9.2, 3.6)
    axes = figure.subplots()
    x = profile.middles
    observed = mean_of(profile.observed)
    expected = None if profile.expected is None else mean_of(profile.expected)
    n = len(profile.observed)
    if n > 1:
        for i, one in enumerate(profile.observed[:: -(-n // MOST_LINES)]):
            axes.plot(x, one, color=FAINT, lw=0.5, alpha=0.7, label="single frames" if not i else None)
    frames = f"mean of {n} frames" if n > 1 else "one frame"
    axes.plot(x, observed, color=INK, lw=1.8, label=f"observed, {frames}")
    if expected is not None:
        axes.plot(x, expected, color=AFTER, lw=1.6, ls=(0, (4, 2)), label="waterbg's model")
    # near the beam stop the air scatters more than any water: it may leave the picture
    outside = x > min(1.5, 0.2 * x[-1])
    top = float(np.nanmax(observed[outside], initial=1e-9))
    brightest = float(np.nanmax(profile.observed[:, outside], initial=1e-9))
    axes.set_ylim(0, 1.1 * min(max(top, brightest), 2.5 * top))
    if ring is not None:
        axes.axvline(ring.inv_d, color=BEFORE, lw=1, ls=":")
        axes.annotate(
            f"water ring, {10 / ring.inv_d:.2f} Å", (ring.inv_d, 0), xycoords=("data", "axes fraction"), color=BEFORE,
            xytext=(5, 5), textcoords="offset points", va="bottom",
        )  # fmt: skip
    axes.set_ylabel("background / photons per pixel")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0.2)
    axes.grid(axis="y")
    axes.set_xlim(0, float(profile.edges[-1]))
    resolution_axis(axes, 0.0, float(profile.edges[-1]))
    return svg(figure, "ring", "Radial background over resolution")


def background_figure(shells: Sequence[Shell]) -> str:
    """Mean background of the reflections before and after."""
    return _by_shell(
        shells, "b", "background", "mean background / photons per pixel", "Background before and after by resolution"
    )


def background_change_figure(shells: Sequence[Shell]) -> str:
    """After less before, per cent."""
    figure = new_figure(*HALF)
    axes = figure.subplots()
    known = [shell for shell in shells if np.isfinite(shell.b0) and shell.b0 > 0]
    axes.axhline(0, color=FAINT, lw=1)
    axes.plot([s.middle for s in known], [100 * (s.b1 / s.b0 - 1) for s in known], "o-", ms=4, color=AFTER)
    leave_room(axes, 1.0)
    axes.set_ylabel("background, after − before / %")
    return _finished(figure, axes, shells, "change", "Change of the background by resolution")


def snr_figure(shells: Sequence[Shell]) -> str:
    """Mean I/sigma before and after."""
    return _by_shell(shells, "z", "snr", "mean I/σ", "Mean I over sigma before and after by resolution")


def sigma_figure(shells: Sequence[Shell]) -> str:
    """Median of sigma after over before, with the middle 68 % of all reflections."""
    figure = new_figure(*HALF)
    axes = figure.subplots()
    known = [shell for shell in shells if shell.n]
    x, (low, middle, high) = [s.middle for s in known], zip(*(s.sigma for s in known), strict=True)
    axes.fill_between(x, low, high, color=AFTER, alpha=0.2, lw=0, label="68 % of the reflections")
    axes.plot(x, middle, "o-", ms=4, color=AFTER, label="median")
    axes.axhline(1, color=FAINT, lw=1)
    leave_room(axes, 0.05)
    axes.set_ylabel("σ after / σ before")
    axes.legend()
    return _finished(figure, axes, shells, "sigma", "Ratio of sigma after and before by resolution")


def strong_figure(shells: Sequence[Shell]) -> str | None:
    """Median of I after over before of the stronger reflections; None without enough of them."""
    known = [shell for shell in shells if shell.n_strong >= 10]
    if len(known) < 2:
        return None
    figure = new_figure(*HALF)
    axes = figure.subplots()
    axes.axhline(1, color=FAINT, lw=1)
    axes.plot([s.middle for s in known], [s.strong for s in known], "o-", ms=4, color=AFTER)
    leave_room(axes, 0.05)
    axes.set_ylabel("median of I after / I before")
    return _finished(figure, axes, shells, "strong", "Ratio of intensities after and before by resolution")


def intensity_map(resolution: Resolution) -> str:
    """Number of reflections by I before and I after."""
    from matplotlib.colors import LogNorm

    counts = resolution.map
    filled = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    first, last = max(int(filled[0]) - 1, 0), int(filled[-1]) + 2
    edges = MAP_FIRST + MAP_STEP * np.arange(first, last + 1)
    shown = counts[first:last, first:last]
    figure = new_figure(*HALF)
    axes = figure.subplots()
    edges = edges[: shown.shape[0] + 1]
    picture = axes.pcolormesh(
        edges, edges, np.ma.masked_equal(shown, 0), norm=LogNorm(1, max(int(shown.max()), 2)), cmap="viridis",
        rasterized=True,
    )  # fmt: skip
    axes.plot(edges[[0, -1]], edges[[0, -1]], color=BEFORE, lw=1, ls="--", label="the same")
    ticks = _signed_ticks(resolution.scale, float(edges[0]), float(edges[-1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set_aspect("equal")
    axes.set_xlabel("I before / ADU")
    axes.set_ylabel("I after / ADU")
    axes.legend(loc="upper left", borderpad=0.1)
    bar = figure.colorbar(picture, ax=axes, aspect=25, pad=0.02)
    bar.set_label("reflections in a cell")
    steps = (1, 2, 5) if shown.max() < 500 else (1,)
    ticks_of_bar = [step * 10**power for power in range(9) for step in steps if step * 10**power <= max(shown.max(), 2)]
    bar.set_ticks(ticks_of_bar, labels=[f"{tick}" for tick in ticks_of_bar])
    bar.minorticks_off()
    bar.outline.set_visible(False)
    return svg(figure, "map", "Intensity after over intensity before")


def _signed_ticks(scale: float, low: float, high: float) -> list[tuple[float, str]]:
    """Zero and powers of ten of both signs, well apart, on an axis of asinh(I / scale)."""
    chosen = [(0.0, "0")]
    for exponent in range(-3, 13):
        for sign in (1, -1):
            at = float(np.arcsinh(sign * 10.0**exponent / scale))
            if low <= at <= high and all(abs(at - other) > 0.13 * (high - low) for other, _ in chosen):
                number = f"{10.0**exponent:g}" if -3 <= exponent < 4 else f"$10^{{{exponent}}}$"
                chosen.append((at, f"−{number}" if sign < 0 else number))
    return sorted(chosen)


def decoy_figures(quality: Quality) -> list[str]:
    """Mean, scatter and RMS of decoys by resolution."""
    found = []
    for what in ("z_mean", "z_std", "rms"):
        figure = new_figure(3.9, 3.0)
        axes = figure.subplots()
        plot_decoys(axes, quality, what)
        axes.set_ylabel("RMS of I / photons" if what == "rms" else TITLES[what])
        axes.grid(axis="y")
        found.append(svg(figure, f"decoys-{what.replace('_', '-')}", f"Decoys by resolution: {TITLES[what]}"))
    return found


def dropped_figure(shells: Sequence[Shell]) -> str:
    """Share of reflections that were dropped."""
    figure = new_figure(9.2, 2.9)
    axes = figure.subplots()
    share = [100 * shell.dropped / max(shell.listed, 1) for shell in shells]
    edges = [shells[0].low, *(shell.high for shell in shells)]
    axes.stairs(share, edges, fill=True, color=BEFORE, alpha=0.75)
    axes.set_ylim(0, max(1.15 * max(share), 1.0))
    axes.set_ylabel("dropped / % of the listed")
    return _finished(figure, axes, shells, "dropped", "Share of dropped reflections by resolution")


def time_figure(time: TimeLine) -> str | None:
    """Crystals, background, I/sigma and kept reflections along the stream; None without any reflections."""
    columns, x = time.columns, time.at
    measured = np.where(columns["measured"] > 0, columns["measured"], np.nan)
    if not np.isfinite(measured).any():
        return None
    listed = np.where(columns["listed"] > 0, columns["listed"], np.nan)
    figure = new_figure(9.2, 6.8)
    rows = figure.subplots(4, 1, sharex=True)
    few = len(x) <= 60
    style: dict[str, Any] = {"lw": 1.2, "marker": "o", "ms": 4 if few else 1.6}
    crystals = columns["crystals"] / columns["frames"]
    rows[0].plot(x, crystals, color=INK, **style)
    rows[0].set_ylabel("crystals\nper frame")
    rows[0].set_ylim(0, 1.15 * max(float(crystals.max()), 0.01))
    if time.stride == 1:
        whole_ticks(rows[0].yaxis)
    for number, name in ((1, "b"), (2, "z")):
        for which, look in PAIR:
            rows[number].plot(x, columns[f"{name}{which}"] / measured, **(look if few else {**look, "ms": 0, "lw": 1}))
        low, high = rows[number].get_ylim()
        rows[number].set_ylim(min(0.0, low), 1.08 * high)
    rows[1].set_ylabel("mean background\n/ photons per pixel")
    rows[1].legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderpad=0)
    rows[2].set_ylabel("median I/σ")
    kept = 100 * columns["kept"] / listed
    rows[3].plot(x, kept, color=AFTER, clip_on=False, **style)
    rows[3].set_ylabel("kept / % of\nthe listed")
    low = min(float(np.nanmin(kept)), 99.5)
    rows[3].set_ylim(low - 0.15 * (100 - low), 100)
    whole_ticks(rows[3].xaxis, 8)
    means = "" if time.stride == 1 else f"   (means over {time.stride} frames)"
    rows[3].set_xlabel(f"frame, in the order of the stream{means}")
    for axes in rows:
        axes.grid(axis="y")
    rows[3].set_xlim(0.5 if time.frames < 60 else 0, time.frames + (0.5 if time.frames < 60 else 1))
    figure.align_ylabels(rows)
    return svg(figure, "time", "Frames over time")


def example_figures(look: Look) -> tuple[str, str, str]:
    """A frame with its background and one reflection with its fit, as `waterbg view` draws them; and its name."""
    from matplotlib import style

    from waterbg.plots.close_up import close_up
    from waterbg.plots.frame_view import draw_frames, make_layers
    from waterbg.plots.view import FILE_CELLS

    row = typical_reflection(look)
    close = close_up(look, row)
    with style.context("default"), warnings.catch_warnings():
        frame, reflection = new_figure(12.4, 4.3), new_figure(12.4, 3.5)
        draw_frames(frame, look, make_layers(look, FILE_CELLS), row, peaks=False, linear=False, photons=False)
        draw_reflection(reflection, close)
        settle(frame)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # of a panel's name
        pictures = png(frame, "Frame, background model and difference"), png(reflection, " ".join(describe(close)))
    return *pictures, look.title


def typical_reflection(look: Look) -> int:
    """Row among ``look.scene.spots`` of a reflection to be shown closely.

    Of those with I/sigma within MEDIUM, under the water ring if possible, the one that fits as well as half of them.
    """
    result, inv_d = look.found.result, look.scene.spots["inv_d"]
    rows = np.unique(np.concatenate(look.scene.rows))
    rows = rows[(result["status"][rows] == Status.OK) & (look.scene.spots["panel"][rows] >= 0)]
    strength = result["I"][rows] / result["sigma"][rows]
    medium = rows[(strength >= MEDIUM[0]) & (strength <= MEDIUM[1])]
    under = medium[(inv_d[medium] >= WATER[0]) & (inv_d[medium] <= WATER[1])]
    for choice in (under, medium):
        if len(choice):
            order = np.argsort(look.found.fits["chi2"][choice], kind="stable")
            return int(choice[order[(len(choice) - 1) // 2]])
    return choose_reflection(look, None, None)


def _by_shell(shells: Sequence[Shell], field: str, name: str, label: str, title: str) -> str:
    """A quantity before and after; from 0 on."""
    figure = new_figure(*HALF)
    axes = figure.subplots()
    for which, style in PAIR:
        known = [shell for shell in shells if np.isfinite(getattr(shell, f"{field}{which}"))]
        axes.plot([s.middle for s in known], [getattr(s, f"{field}{which}") for s in known], **style)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_ylabel(label)
    axes.legend()
    return _finished(figure, axes, shells, name, title)


def _finished(figure: Any, axes: Any, shells: Sequence[Shell], name: str, title: str) -> str:
    axes.grid(axis="y")
    axes.set_xlim(shells[0].low, shells[-1].high)
    resolution_axis(axes, shells[0].low, shells[-1].high)
    return svg(figure, name, title)


def mean_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over frames; NaN where one of them knows nothing: a mean of fewer would make a step."""
    return rows.mean(axis=0)
