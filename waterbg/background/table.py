"""The radial profile: one value a pixel of radius, and the smooth curve through these bin means."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

PER_BIN = 4  # samples of the curve a pixel; linear interpolation between them is exact to 0.5 % of f''


def curve(means: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample the curve whose means over [k, k + 1) are ``means``.

    Through sharp rings, interpolating the means themselves would cut the tops. Middles and edges of the bins follow
    from the means to fourth order (finite-volume reconstruction, Colella & Woodward 1984, J. Comput. Phys. 54, 174),
    the quarters from these.

    Parameters
    ----------
    means : (n,) float64
        Not negative.

    Returns
    -------
    (2, PER_BIN * n + 1) float32
        Intercept and slope of each linear piece: the value at r is ``[0, k] + [1, k] * u``, u = PER_BIN r, k = int(u).
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


_WIDTHS = (1.5, 3.0, 6.0, 12.0)  # px, of the smoothed versions of a profile
_AROUND = 3.0  # widths over which signal and noise are compared
_CAUTION = 1.2  # noise is taken for a little more than it is


def denoise(means: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take out of a profile what is only noise.

    The profile is taken apart into versions of growing smoothness, and each difference between two of them is shrunk by
    the share of its local power that noise explains (Wiener's filter with the power measured on the spot). Sharp rings
    stand far above the noise and stay; between them some ten bins share their counts.

    Parameters
    ----------
    means : (n,) float64
    variance : (n,) float64
        Of each mean from counting; inf where nothing was counted.

    Returns
    -------
    (n,) float64
        Never negative.
    """
    known = np.isfinite(variance) & (variance > 0)
    if len(means) < 8 or not known.any():
        return means
    level = np.maximum(means, 1e-3 * means.max())
    weight = np.where(known, level, 0) / np.where(known, variance, 1)
    spread = np.where(known, variance, 0)
    smooth, kernels = [means], [np.ones(1)]
    for width in _WIDTHS:
        once, total, kernel = _smoothed(means, weight, width)
        # smoothing what is left, too, keeps curvature to fourth order (twicing: Tukey 1977)
        smooth.append(once + _convolve((means - once) * weight, kernel) / total)
        kernels.append(_added(2 * kernel, -np.convolve(kernel, kernel)))
    out = smooth[-1]
    for i in range(len(_WIDTHS) - 1, -1, -1):
        detail = smooth[i] - smooth[i + 1]
        around = _gaussian(_AROUND * _WIDTHS[i])
        noise = _convolve(spread, _added(kernels[i], -kernels[i + 1]) ** 2)
        power, explained = _convolve(detail**2, around), _convolve(noise, around)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(power > 0, np.clip(1 - _CAUTION * explained / power, 0, 1), 0)
        out = out + share * detail
    return np.maximum(out, 0)


def pooled(top: NDArray[np.float64], bottom: NDArray[np.float64], enough: float) -> NDArray[np.float64]:
    """Ratio of sums over as many neighbouring bins as it takes to have ``enough`` in ``top``; NaN if there never is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.where((top >= enough) & (bottom > 0), top / bottom, np.nan)
    sums_top, sums_bottom = np.concatenate([[0], np.cumsum(top)]), np.concatenate([[0], np.cumsum(bottom)])
    at, n = np.arange(len(top)), len(top)
    for reach in (1, 2, 4, 8, 16, 32, 64, 128):
        if not np.isnan(out).any():
            break
        low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, n)
        a, b = sums_top[high] - sums_top[low], sums_bottom[high] - sums_bottom[low]
        fill = np.isnan(out) & (a >= enough) & (b > 0)
        out[fill] = a[fill] / b[fill]
    return out


def _smoothed(
    means: NDArray[np.float64], weight: NDArray[np.float64], width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    kernel = _gaussian(width)
    total = np.maximum(_convolve(weight, kernel), 1e-30)
    return _convolve(means * weight, kernel) / total, total, kernel


@lru_cache(maxsize=16)
def _gaussian(width: float) -> NDArray[np.float64]:
    reach = int(3 * width + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return kernel / kernel.sum()


@njit(cache=True, nogil=True)
def _convolve(values, kernel):
    """Middle part of ``np.convolve(values, kernel)`` for a symmetric kernel of odd length; five times as fast."""
    n, half = values.size, kernel.size // 2
    out = np.zeros(n)
    most = min(half, n - 1)
    for j in range(-most, most + 1):
        # slices, because an index that may be negative keeps the loop from becoming vector instructions
        w, first, last = kernel[half + j], max(0, -j), min(n, n - j)
        target, source = out[first:last], values[first + j : last + j]
        for i in range(target.size):
            target[i] += w * source[i]
    return out


def _added(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of two kernels about their middles."""
    if len(a) < len(b):
        a, b = b, a
    out = a.copy()
    start = (len(a) - len(b)) // 2
    out[start : start + len(b)] += b
    return out
