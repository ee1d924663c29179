"""Gain and read noise of a detector, from how the pixels of its frames scatter about their background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import Noise
from waterbg.background.start import first_profile

if TYPE_CHECKING:
    from waterbg.background.rays import Rays
    from waterbg.background.surface import Surface
    from waterbg.frames import Frame

_GROUPS = 24
_PLENTY = 8.0  # photons a pixel: quartiles of fewer are steps
_TOLERANCE = 0.03  # relative, of a group's variance, beyond its statistics
_PRIOR = 0.3  # of the gain about 1


def starting_noise(frame: Frame, flags: NDArray[np.uint8], rays: Rays) -> Noise:
    """Gain and read noise from the quartiles of radial bins: enough to know an outlier by.

    Too much is harmless, too little cuts good counts: the gain (what ADU per photon do not know) is at least 1.
    """
    means, excess = first_profile(
        frame.data, np.asarray(frame.adu_per_photon, float), flags, frame.detector.shapes, rays, (1.0, 0.0)
    )
    known = np.isfinite(excess)
    if known.sum() < 8:
        return Noise()
    faint = known & (means <= np.quantile(means[known], 0.5))
    bright = known & (means >= _PLENTY)
    gain = float(np.median(1 + excess[bright] / means[bright])) if bright.sum() >= 8 else 1.0
    return Noise(max(gain, 1.0), max(float(np.median(excess[faint] - (gain - 1) * means[faint])), 0.0))


def noise_groups(surface: Surface) -> NDArray[np.float64]:
    """Mean counts, variance and number of pixels of tiles of similar level: (n, 3)."""
    used = surface.pixels > 0
    if used.sum() < _GROUPS:
        return np.zeros((0, 3))
    mean = surface.expected[used] / surface.pixels[used]
    group = np.searchsorted(np.quantile(mean, np.arange(1, _GROUPS) / _GROUPS), mean)
    pixels, level, scatter = (
        np.bincount(group, values[used], _GROUPS) for values in (surface.pixels, surface.expected, surface.scatter)
    )
    there = pixels > 0
    return np.stack([level[there] / pixels[there], scatter[there] / pixels[there], pixels[there]], axis=1)


def learn_noise(groups: NDArray[np.float64]) -> Noise:
    """Straight line of variance over mean, neither end negative.

    Where all levels are alike the line is not determined; the gain is then held near 1, and only their sum matters.

    Parameters
    ----------
    groups : (n, 3) float64
        From :func:`noise_groups`, of any number of frames.
    """
    groups = groups[(groups[:, 0] > 0) & (groups[:, 1] > 0)]
    if not len(groups):
        return Noise()
    mean, variance, pixels = groups.T
    weight = 1 / (variance**2 * (2 / pixels + _TOLERANCE**2))
    tie = 1 / _PRIOR**2
    matrix = np.array(
        [[(weight * mean * mean).sum() + tie, (weight * mean).sum()], [(weight * mean).sum(), weight.sum()]]
    )
    vector = np.array([(weight * mean * variance).sum() + tie, (weight * variance).sum()])
    gain, read2 = np.linalg.solve(matrix, vector)
    if read2 < 0:
        gain, read2 = vector[0] / matrix[0, 0], 0.0
    return Noise(float(max(gain, 1e-3)), float(read2))
