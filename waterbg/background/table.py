"""The radial profile: one value a pixel of radius, and the smooth curve through these bin means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PER_BIN = 4  # samples of the curve a pixel; linear interpolation between them is exact to 0.5 % of f''


def curve(means: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample the curve whose means over [k, k + 1) are ``means``.

    Through sharp rings, interpolating the means themselves would cut the tops. Middles and edges of the bins follow from
    the means to fourth order (finite-volume reconstruction, Colella & Woodward 1984, J. Comput. Phys. 54, 174), the
    quarters from these.

    Parameters
    ----------
    means : (n,) float64
        Not negative.

    Returns
    -------
    (2, PER_BIN * n + 1) float32
        Intercept and slope of each linear piece: the value at r is ``[0, k] + [1, k] * u``, with u = PER_BIN r, k = int(u).
        Never negative.
    """
    m = np.pad(np.asarray(means, float), 2, mode="edge")
    middle = m[2:-2] - (m[1:-3] - 2 * m[2:-2] + m[3:-1]) / 24
    edge = (7 * (m[1:-2] + m[2:-1]) - (m[:-3] + m[3:])) / 12  # n + 1 of them
    half = np.empty(2 * len(means) + 1)
    half[::2], half[1::2] = edge, middle
    h = np.pad(half, 1, mode="edge")
    fine = np.empty(PER_BIN * len(means) + 2)
    fine[0:-1:2] = half
    fine[1:-1:2] = (9 * (h[1:-2] + h[2:-1]) - h[:-3] - h[3:]) / 16
    fine[-1] = half[-1]
    fine = np.maximum(fine, 0)
    slope = np.diff(fine)
    return np.stack([fine[:-1] - slope * np.arange(len(slope)), slope]).astype(np.float32)


def fill_gaps(means: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means with bins of no weight interpolated from their neighbours; all zeros when no bin has any."""
    good = weight > 0
    if good.all() or not good.any():
        return np.where(good, means, 0.0)
    at = np.arange(len(means))
    return np.interp(at, at[good], means[good])
