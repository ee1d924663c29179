"""Gain, read noise and pedestal of a detector, from how the pixels of its frames scatter about their background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import Noise
from waterbg.background.masks import NOT_CLEAN, Pixels
from waterbg.background.start import first_profile

if TYPE_CHECKING:
    from waterbg.background.rays import Rays
    from waterbg.background.surface import Surface
    from waterbg.frames import Frame

_GROUPS = 24
_PLENTY = 8.0  # photons a pixel: quartiles of fewer are steps
TOLERANCE = 0.03  # relative, of a group's variance, beyond its statistics
PRIOR = 0.3  # of the gain about 1
_BLOCKS, _SAMPLE = 256, 256  # of a frame and pixels of each, that are looked at for levels below zero
_GLANCE, _FEW_NEGATIVE = 1 << 16, 0.01  # pixels that are looked at first; share of them below which none is looked for
_FEWEST = 64  # clean ones of these pixels
_LOW = 0.05  # share of the blocks that may be lower yet: a chip that does not work decides nothing
SURE = 3.0  # standard deviations
_LEAST = 0.1  # share of the lowest level that a pedestal must be
# share of the least scatter (before that is known, of the lift) that stays read noise: where less than no light is
# left, weights must end
_STAYS = 0.1


def starting_noise(frame: Frame, flags: NDArray[np.uint8], rays: Rays, lowest: float = 0.0) -> Noise:
    """Gain and read noise from the quartiles of radial bins: enough to know an outlier by.

    Too much is harmless, too little cuts good counts: the gain (what ADU per photon do not know) is at least 1. Where
    levels are below zero (``lowest``, from :func:`lowest_level`), the pedestal that lifts them above it.
    """
    frame = frame.without(lowest)
    means, excess = first_profile(Pixels.of(frame, flags), rays, (1.0, 0.0))
    known = np.isfinite(excess)
    least = -_STAYS * lowest
    if known.sum() < 8:
        return Noise(1.0, least, lowest)
    faint = known & (means <= np.quantile(means[known], 0.5))
    bright = known & (means >= _PLENTY)
    gain = float(np.median(1 + excess[bright] / means[bright])) if bright.sum() >= 8 else 1.0
    read2 = float(np.median(excess[faint] - (gain - 1) * means[faint]))
    return Noise(max(gain, 1.0), max(read2, least), lowest)


def lowest_level(frame: Frame, flags: NDArray[np.uint8]) -> float:
    """Lowest level on a frame, photons, where it is below zero for certain; else 0.

    Light makes no level below zero, but a dark frame or a common mode that took too much off does. Medians of blocks
    of clean pixels; those without any scatter are no measurement, but a code for gaps or shadows.
    """
    some = slice(None, None, max(1, len(flags) // _GLANCE))
    if np.mean((frame.data[some] < 0) & (flags[some] & NOT_CLEAN == 0)) < _FEW_NEGATIVE:
        return 0.0
    detector, constant = frame.detector, frame.photons_per_adu
    along = max(1, int((_BLOCKS / max(len(detector.panels), 1)) ** 0.5))
    levels = []
    for number in range(len(detector.panels)):
        begin, end = detector.offsets[number : number + 2]
        shape = tuple(detector.shapes[number])
        data, clean = frame.data[begin:end].reshape(shape), (flags[begin:end] & NOT_CLEAN == 0).reshape(shape)
        rows, columns = (-(-n // along) for n in shape)
        step = max(1, int((rows * columns / _SAMPLE) ** 0.5))
        for j in range(0, shape[0], rows):
            for i in range(0, shape[1], columns):
                block = slice(j, j + rows, step), slice(i, i + columns, step)
                values = data[block][clean[block]] * constant[number]
                if len(values) < _FEWEST:
                    continue
                low, level, high = np.sort(values)[[len(values) * percent // 100 for percent in (16, 50, 84)]]
                if high > low:
                    error = 1.25 * 0.5 * (high - low) / len(values) ** 0.5
                    levels.append(level if level < -SURE * error else max(level, 0.0))
    return min(float(np.quantile(levels, _LOW)), 0.0) if levels else 0.0


def noise_groups(surface: Surface, by_profile: bool = False) -> NDArray[np.float64]:
    """Mean counts (photons, as the surface's), variance and number of pixels of tiles of similar level: (n, 3).

    ``by_profile``: of similar level in the radial profile, for chips that have levels of their own beside the light: a
    line through groups that were chosen by these is too flat.
    """
    used = surface.pixels > 0
    if used.sum() < _GROUPS:
        return np.zeros((0, 3))
    level = surface.expected[used] / surface.pixels[used]
    if by_profile:
        level /= np.maximum(surface.ratio[used], 1e-6)
    group = np.searchsorted(np.quantile(level, np.arange(1, _GROUPS) / _GROUPS), level)
    pixels, counts, scatter = (
        np.bincount(group, values[used], _GROUPS) for values in (surface.pixels, surface.expected, surface.scatter)
    )
    there = pixels > 0
    return np.stack([counts[there] / pixels[there], scatter[there] / pixels[there], pixels[there]], axis=1)


def learn_noise(groups: NDArray[np.float64], lowest: float = 0.0) -> Noise:
    """Straight line of variance over mean, and what follows from where it meets zero.

    Pixels scatter by their light and by the read noise, so there is no variance below that of no light. Where the line
    meets zero above zero counts for certain, and not because it is bent, so much is a pedestal. Where there are levels
    below zero, a pedestal that lifts all of them: nearly to where the line meets zero, so that read noise counts as the
    light it looks like, or more where the lowest need it. Otherwise neither end of the line is negative, and there is
    no pedestal.

    Where all levels are alike the line is not determined; the gain is then held near 1, and only their sum matters.

    Parameters
    ----------
    groups : (n, 3) float64
        From :func:`noise_groups`, of any number of frames; with the frames' own pedestals.
    lowest : float
        From :func:`lowest_level`.
    """
    groups = groups[((groups[:, 0] > 0) | (lowest < 0)) & (groups[:, 1] > 0)]
    if not len(groups):
        return Noise(1.0, -_STAYS * lowest, lowest)
    mean, variance, pixels = groups.T
    likely = np.maximum(variance, 1 / pixels)  # where nothing is counted, one photon might have been
    tie = 1 / PRIOR**2
    for _ in range(2):  # what came out low by chance must not weigh more for it
        weight = 1 / (likely**2 * (2 / pixels + TOLERANCE**2) + likely / pixels)  # the last by Poisson's kurtosis
        gain, read2 = _line(mean, variance, weight, 0.0)
        # where levels do not say how pixels scatter (a background was taken off), the line is not known from them
        weight /= max(float((weight * (variance - gain * mean - read2) ** 2).mean()), 1.0)
        gain, read2 = _line(mean, variance, weight, tie)
        likely = np.maximum(likely, gain * mean + read2)
    gain = max(gain, 1e-3)
    if lowest < 0:
        least = _STAYS * float(variance.min())
        light = max(float(np.median(mean)) - lowest, 0.0)  # of which read noise may be taken for as much again
        lift = min(max((read2 - least) / gain, -lowest), light - lowest)
        return Noise(gain, max(read2 - gain * lift, least), -lift)
    if read2 >= 0:
        return Noise(gain, read2)
    chi2 = float((weight * (variance - gain * mean - read2) ** 2).sum())
    certain = _chi2_without_pedestal(mean, variance, weight) > chi2 + SURE**2
    if certain and -read2 > _LEAST * gain * float(mean.min()):
        return Noise(gain, 0.0, -read2 / gain)
    through_zero = ((weight * mean * variance).sum() + tie) / ((weight * mean * mean).sum() + tie)
    return Noise(max(float(through_zero), 1e-3), 0.0)


def _line(
    mean: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64], tie: float
) -> tuple[float, float]:
    """Slope and intercept of variance over mean; ``tie``: weight of a slope of 1."""
    matrix = np.array(
        [[(weight * mean * mean).sum() + tie, (weight * mean).sum()], [(weight * mean).sum(), weight.sum()]]
    )
    vector = np.array([(weight * mean * variance).sum() + tie, (weight * variance).sum()])
    slope, intercept = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    return float(slope), float(intercept)


def _chi2_without_pedestal(
    mean: NDArray[np.float64], variance: NDArray[np.float64], weight: NDArray[np.float64]
) -> float:
    """Of the best of what scatter can be without one: read noise, light, and the square of the level (unequal gains).

    None of the three is negative: the best of all that leave some of them out.
    """
    terms = np.sqrt(weight) * np.stack([np.ones_like(mean), mean, mean**2])
    target = np.sqrt(weight) * variance
    best = float(target @ target)
    for chosen in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
        factors = np.linalg.lstsq(terms[chosen].T, target, rcond=None)[0]
        if (factors >= 0).all():
            best = min(best, float(((target - factors @ terms[chosen]) ** 2).sum()))
    return best
