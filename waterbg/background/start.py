"""A first radial profile from a sample of the pixels: nothing is known yet, and spots and hot pixels are in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import NOT_CLEAN, SKEW, TAIL, Pixels
from waterbg.background.rays import Rays, column_middles, trace_row
from waterbg.background.table import fill_gaps, pooled
from waterbg.kernel import kernel

SAMPLE = 32  # values a bin: 5 % at 15 photons, enough to start from
_COUNTS = 30.0  # photons a pool
_PIXELS = 80_000  # looked at in all


def first_profile(
    pixels: Pixels, rays: Rays, noise: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Robust radial profile from some tens of pixels in each bin.

    The interquartile mean of a bin starts, and what lies within the noise of the current value is averaged three times
    more: the interquartile mean alone is 0 at 0.3 photons a pixel.

    Parameters
    ----------
    pixels, rays, noise
        As in :func:`waterbg.background.scan.walk`.

    Returns
    -------
    means : (n_bins,) float64
        Photons a pixel at g = 1; bins without a clean pixel are interpolated.
    excess : (n_bins,) float64
        Robust variance beyond Poisson's, photons²; NaN where it is not known.
    """
    stride = max(1, round((pixels.counts.size / _PIXELS) ** 0.5))
    means, excess, weight = _sample(pixels, rays, stride, noise[0], noise[1])
    # few counts: bins share theirs, and nothing is exactly zero, or the model could not grow from there
    shared = pooled(means * weight, weight, _COUNTS)
    floor = 1 / max(weight.sum(), 1.0)
    means = np.where(np.isnan(shared), max((means * weight).sum() / max(weight.sum(), 1.0), floor), shared)
    return fill_gaps(means, weight), excess


@kernel
def _sample(pixels, rays, stride, gain, read2):
    counts, photons_per_adu, flags, _, shapes = pixels
    n_bins = rays.n_bins
    values, factors = np.empty((n_bins, SAMPLE), np.float32), np.empty((n_bins, SAMPLE), np.float32)
    used = np.zeros(n_bins, np.int64)
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    r, g = np.empty(widest, np.float32), np.empty(widest, np.float32)
    first = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        for ss in range(stride // 2, n_ss, stride):
            row, start = first + ss * n_fs, (ss // stride) % stride
            n = (n_fs - start + stride - 1) // stride
            trace_row(rays.panel[p], ss, column_middles(n, start, stride), rays.length, rays.polarisation, r, g)
            for j in range(n):
                i = start + j * stride
                if flags[row + i] & NOT_CLEAN:
                    continue
                k = int(r[j])
                # a share of a large bin's pixels, from everywhere in it; the multiplier scrambles (Knuth, TAOCP 3, 6.4)
                hashed = ((row + i) * 2654435761) & 0xFFFFFFFF
                if hashed * (6.28 * r[j]) > 4294967296.0 * 0.8 * SAMPLE * stride * stride:
                    continue
                if used[k] < SAMPLE:
                    values[k, used[k]] = counts[row + i] * photons_per_adu[p]
                    factors[k, used[k]] = g[j]
                    used[k] += 1
        first += n_ss * n_fs
    means, excess, weight = np.zeros(n_bins), np.full(n_bins, np.nan), np.zeros(n_bins)
    scratch = np.empty(SAMPLE, np.float32)
    for k in range(n_bins):
        n = used[k]
        if n == 0:
            continue
        order = scratch[:n]
        for i in range(n):
            v, j = values[k, i] / factors[k, i], i
            while j > 0 and order[j - 1] > v:  # sorting by insertion: for so few the fastest
                order[j] = order[j - 1]
                j -= 1
            order[j] = v
        quarter = n // 4
        mean = max(float(np.mean(order[quarter : n - quarter])), 0.0)
        factor = np.mean(factors[k, :n])
        for _ in range(3):
            top = bottom = 0.0
            for i in range(n):
                expected = mean * factors[k, i]
                reach = TAIL * np.sqrt(gain * expected + read2)
                if expected - reach <= values[k, i] <= expected + reach + SKEW * gain:
                    top += values[k, i]
                    bottom += factors[k, i]
            if bottom > 0:
                mean = max(top / bottom, 0.0)
        means[k], weight[k] = mean, n
        if n >= 16:
            width = factor * float(order[n - 1 - quarter] - order[quarter]) / 1.349
            excess[k] = width * width - mean * factor
    return means, excess, weight
