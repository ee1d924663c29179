"""One number for each chunk, crystal or reflection of streams, and what is said about many of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import WaterbgError
from waterbg.scripts.figure import FigureOutput
from waterbg.stream import StreamFile

Values = NDArray[np.float64]


def resolution_limits(streams: Iterable[StreamFile]) -> Values:
    """``diffraction_resolution_limit`` of every crystal that has one, 1/d in nm⁻¹."""
    limits = (
        crystal.resolution_limit
        for stream in streams
        for chunk in stream.chunks()
        for crystal in chunk.crystals
        if crystal.resolution_limit is not None
    )
    found = np.fromiter(limits, float)
    return found[np.isfinite(found)]  # CrystFEL prints inf for a crystal whose limit nobody estimated


def peak_resolutions(streams: Iterable[StreamFile]) -> Values:
    """``peak_resolution`` of every frame that has peaks, 1/d in nm⁻¹."""
    found = []
    for stream in streams:
        for chunk in stream.chunks():
            said = (chunk.value("peak_resolution") or "").split(" ")[0]
            try:
                resolution = float(said)
            except ValueError:
                continue
            if chunk.value("num_peaks") != "0" and np.isfinite(resolution):
                found.append(resolution)
    return np.array(found, float)


def radii_and_limits(streams: Iterable[StreamFile]) -> tuple[Values, Values]:
    """Profile radius and resolution limit, both nm⁻¹, of every crystal that has both."""
    pairs = [
        (crystal.profile_radius, crystal.resolution_limit)
        for stream in streams
        for chunk in stream.chunks()
        for crystal in chunk.crystals
        if crystal.profile_radius and crystal.resolution_limit
    ]
    radius, limit = np.array(pairs, float).reshape(-1, 2).T
    known = np.isfinite(radius) & np.isfinite(limit)
    return radius[known], limit[known]


def detector_shifts(streams: Iterable[StreamFile]) -> Values:
    """(n, 2) ``predict_refine/det_shift`` in mm of every crystal that has one."""
    shifts = [
        crystal.det_shift
        for stream in streams
        for chunk in stream.chunks()
        for crystal in chunk.crystals
        if b"predict_refine/det_shift" in chunk.bytes[crystal.start : crystal.stop]
    ]
    return np.array(shifts, float).reshape(-1, 2)


@dataclass(frozen=True)
class Intensities:
    """How many frames and peaks, and the sum of the peaks' intensities in ADU."""

    frames: int
    peaks: int
    total: float

    def text(self) -> str:
        """Four lines, as CrystFEL's ``peak-intensity`` has them."""
        per_frame = self.peaks / self.frames if self.frames else np.nan
        per_peak = self.total / self.peaks if self.peaks else np.nan
        sum_per_frame = self.total / self.frames if self.frames else np.nan
        return (
            f"{self.frames} patterns, {self.peaks} peaks\n"
            f"Mean {per_frame:.2f} peaks per pattern\n"
            f"Mean {per_peak:.2f} ADU per peak\n"
            f"Mean {sum_per_frame:.2f} ADU total per pattern"
        )


def peak_intensities(streams: Iterable[StreamFile], *, reflections: bool = False) -> Intensities:
    """Add up the intensities of the peak search, or of the integrated reflections."""
    frames = peaks = 0
    total = 0.0
    for stream in streams:
        for chunk in stream.chunks():
            frames += 1
            lists = (
                [crystal.reflections["I"] for crystal in chunk.crystals] if reflections else [chunk.peaks["intensity"]]
            )
            for values in lists:
                known = values[np.isfinite(values)]
                peaks += len(known)
                total += float(known.sum())
    return Intensities(frames, peaks, total)


def reflection_peaks(
    streams: Iterable[StreamFile], *, most: float = np.inf, subtract: bool = False
) -> tuple[Values, Values]:
    """Resolution and highest pixel of predicted reflections.

    Parameters
    ----------
    streams : iterable of StreamFile
    most : float
        Stop after so many.
    subtract : bool
        Take the reflection's own background off its highest pixel.

    Returns
    -------
    inv_d : (n,) float64
        1/d in nm⁻¹, from the axes of the crystal.
    peak : (n,) float64
        ADU.
    """
    inv_d, peak = [np.zeros(0)], [np.zeros(0)]
    left = most
    for stream in streams:
        for chunk in stream.chunks():
            for crystal in chunk.crystals:
                rows = crystal.reflections
                if crystal.axes is None or left <= 0:
                    continue
                rows = rows[: int(min(left, len(rows)))]
                left -= len(rows)
                indices = np.stack([rows[name] for name in "hkl"], axis=1).astype(float)
                inv_d.append(np.linalg.norm(indices @ crystal.axes, axis=1))
                peak.append(rows["peak"] - rows["background"] if subtract else rows["peak"])
    return np.concatenate(inv_d), np.concatenate(peak)


def resolution_text(values: Values, what: str, streams: Sequence[str]) -> str:
    """Mean, best, worst and spread of resolutions in nm⁻¹, of ``what`` in ``streams``.

    Raises
    ------
    WaterbgError
        When there is none.
    """
    if not len(values):
        raise WaterbgError(f"{', '.join(streams)}: no {what}")
    lines = [
        f"{name}: {value:.2f} nm^-1 = {10 / value if value else np.inf:.2f} A"
        for name, value in ((" Mean", values.mean()), (" Best", values.max()), ("Worst", values.min()))
    ]
    return "\n".join([*lines, f"Std deviation: {values.std():.2f} nm^-1  ({len(values)} values)"])


def draw_histogram(values: Values, title: str, output: FigureOutput) -> None:
    """Draw how often each resolution (nm⁻¹) occurs."""
    figure = output.new(figsize=(6.4, 4.4))
    axes: Any = figure.subplots()
    axes.hist(values, bins=30)
    axes.locator_params(axis="y", integer=True)
    axes.set(title=title, xlabel="Resolution / nm⁻¹", ylabel="Frequency")
    axes.grid(True, alpha=0.4)
    above = axes.secondary_xaxis("top", functions=(_inverse, _inverse))
    above.set_xlabel("d / Å")
    output.done(figure)


def _inverse(values: Any) -> Any:
    return 10 / np.maximum(values, 1e-3)
