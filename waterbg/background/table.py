"""The radial profile: one value a pixel of radius, and the smooth curve through these bin means."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel

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
    return _curve(np.asarray(means, float))


@kernel
def _curve(means):
    n = means.size
    m = np.empty(n + 4)
    m[:2], m[2 : n + 2], m[n + 2 :] = means[0], means, means[n - 1]
    half = np.empty(2 * n + 3)  # edges and middles, and one more on either side
    for k in range(n):
        half[2 * k + 1] = (7 * (m[k + 1] + m[k + 2]) - (m[k] + m[k + 3])) / 12
        half[2 * k + 2] = m[k + 2] - (m[k + 1] - 2 * m[k + 2] + m[k + 3]) / 24
    half[2 * n + 1] = (7 * (m[n + 1] + m[n + 2]) - (m[n] + m[n + 3])) / 12
    half[0], half[2 * n + 2] = half[1], half[2 * n + 1]
    fine = np.empty(PER_BIN * n + 2)
    for k in range(2 * n):
        fine[2 * k] = max(half[k + 1], 0.0)
        fine[2 * k + 1] = max((9 * (half[k + 1] + half[k + 2]) - half[k] - half[k + 3]) / 16, 0.0)
    fine[4 * n] = fine[4 * n + 1] = max(half[2 * n + 1], 0.0)
    table = np.empty((2, PER_BIN * n + 1), np.float32)
    for k in range(PER_BIN * n + 1):
        slope = fine[k + 1] - fine[k]
        table[0, k], table[1, k] = fine[k] - slope * k, slope
    return table


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
    return _denoise(np.asarray(means, float), np.asarray(variance, float), *_banks())


@lru_cache(maxsize=1)
def _banks() -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Kernels of `denoise` for each width: Gaussian; wide Gaussian; squares of what a step of smoothing takes away."""
    smoothing = [_gaussian(width) for width in _WIDTHS]
    # smoothing what is left, too, keeps curvature to fourth order (twicing: Tukey 1977)
    twice = [np.ones(1), *(_added(2 * kernel, -np.convolve(kernel, kernel)) for kernel in smoothing)]
    taken = [_added(fine, -rough) ** 2 for fine, rough in pairwise(twice)]
    around = [_gaussian(_AROUND * width) for width in _WIDTHS]
    return tuple(smoothing), tuple(around), tuple(taken)


@kernel
def _denoise(means, variance, smoothing, around, taken):
    n, n_widths = means.size, len(smoothing)
    highest, any_known = means.max(), False
    weight, spread = np.zeros(n), np.zeros(n)
    for i in range(n):
        if np.isfinite(variance[i]) and variance[i] > 0:
            weight[i], spread[i] = max(means[i], 1e-3 * highest) / variance[i], variance[i]
            any_known = True
    if n < 8 or not any_known:
        return means.copy()
    smooth = np.empty((n_widths + 1, n))
    smooth[0] = means
    for w in range(n_widths):
        total = np.maximum(_convolve(weight, smoothing[w]), 1e-30)
        once = _convolve(means * weight, smoothing[w]) / total
        smooth[w + 1] = once + _convolve((means - once) * weight, smoothing[w]) / total
    out = smooth[n_widths].copy()
    for w in range(n_widths - 1, -1, -1):
        detail = smooth[w] - smooth[w + 1]
        power = _convolve(detail * detail, around[w])
        explained = _convolve(_convolve(spread, taken[w]), around[w])
        for i in range(n):
            share = min(max(1 - _CAUTION * explained[i] / power[i], 0.0), 1.0) if power[i] > 0 else 0.0
            out[i] += share * detail[i]
    return np.maximum(out, 0.0)


def pooled(top: NDArray[np.float64], bottom: NDArray[np.float64], enough: float) -> NDArray[np.float64]:
    """Ratio of sums over as many neighbouring bins as it takes to have ``enough`` in ``top``; NaN if there never is."""
    return _pooled(np.asarray(top, float), np.asarray(bottom, float), float(enough))


@kernel
def _pooled(top, bottom, enough):
    n = top.size
    sums_top, sums_bottom = np.zeros(n + 1), np.zeros(n + 1)
    for k in range(n):
        sums_top[k + 1], sums_bottom[k + 1] = sums_top[k] + top[k], sums_bottom[k] + bottom[k]
    out = np.full(n, np.nan)
    for k in range(n):
        a, b, reach = top[k], bottom[k], 1
        while not (a >= enough and b > 0) and reach <= 128:
            low, high = max(k - reach, 0), min(k + reach + 1, n)
            a, b = sums_top[high] - sums_top[low], sums_bottom[high] - sums_bottom[low]
            reach *= 2
        if a >= enough and b > 0:
            out[k] = a / b
    return out


def _gaussian(width: float) -> NDArray[np.float64]:
    reach = int(3 * width + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return kernel / kernel.sum()


@kernel
def _convolve(values, kernel):
    """Middle part of ``np.convolve(values, kernel)`` for a symmetric kernel of odd length; ten times as fast."""
    n, half = values.size, kernel.size // 2
    padded, out = np.zeros(n + 2 * half), np.empty(n)
    padded[half : half + n] = values
    for i in range(n):
        out[i] = kernel[half] * values[i]
    for j in range(1, half + 1):
        # slices, because an index that may be negative keeps the loop from becoming vector instructions
        w, before, after = kernel[half + j], padded[half - j : half - j + n], padded[half + j : half + j + n]
        for i in range(n):
            out[i] += w * (before[i] + after[i])
    return out


def _added(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of two kernels about their middles."""
    if len(a) < len(b):
        a, b = b, a
    out = a.copy()
    start = (len(a) - len(b)) // 2
    out[start : start + len(b)] += b
    return out
