"""What a reflection's own ring says: its mean, its plane, or how the frame's surface does there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.background.masks import NOT_RING, NOT_SCALE
from waterbg.background.scan import SKEW, TAIL

FEWEST_PIXELS = 8  # of a ring that is judged
MOST_DEVIANCE = 25.0  # of a pixel


@dataclass
class RingFindings:
    """What each spot's own ring says about the frame's surface there.

    Attributes
    ----------
    scale, variance : (n,) float64
        Counts over expected counts, without outliers, and the variance of that from counting; NaN and inf where the
        ring has no usable pixel or the surface expects nothing there.
    weight : (n,) float64
        How much the ring counts against the surface: tau²/(tau² + variance).
    shrunk : (n,) float64
        What the surface is to be multiplied with: 1 + weight (scale - 1).
    misfit : (n,) float64
        Deviance of the ring's pixels about the scaled surface, less that about their own mean: positive where a level
        explains the ring better; 0 where less than eight pixels are usable. Gaussian: sum of min((n - mu)²/v, 25) +
        log v. No pixel counts for more than five standard deviations, so that neither a zinger in the ring nor a spot
        decides. A surface below the ring is scaled up to it: the tails of the reflection itself may be in its ring, and
        do not make the surface wrong.
    """

    scale: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: NDArray[np.float64]
    shrunk: NDArray[np.float64]
    misfit: NDArray[np.float64]


def judge_by_rings(
    counts: NDArray[np.float32],
    photons_per_adu: NDArray[np.float32],
    flags: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    shapes: NDArray[np.int64],
    spots: NDArray[np.void],
    ring: NDArray[np.int64],
    surface: NDArray[np.float32],
    factor: NDArray[np.float64],
    gain: float,
    read2: float,
    tau2: NDArray[np.float64],
) -> RingFindings:
    """Compare the frame's surface with the counts in each spot's own ring.

    Parameters
    ----------
    counts, photons_per_adu, flags, offsets, shapes
        The frame, flat; see :mod:`waterbg.background.masks`.
    spots : (n,) SPOT
    ring : (m, 2) int64
        Rows and columns of the ring's pixels, from the pixel the position falls into.
    surface : (n, size, size) float32
        Expected counts around each spot.
    factor : (n,) float64
        Variance of a pixel is factor·(gain·mu + read2).
    tau2 : (n,) float64
        Relative variance of the true background about the surface.
    """
    n = len(spots)
    found = RingFindings(np.full(n, np.nan), np.full(n, np.inf), np.zeros(n), np.ones(n), np.zeros(n))
    _judge_by_rings(
        counts, photons_per_adu, flags, offsets, shapes, np.ascontiguousarray(spots["panel"]),
        np.ascontiguousarray(spots["fs"]), np.ascontiguousarray(spots["ss"]), ring, surface, factor, gain, read2, tau2,
        found.scale, found.variance, found.weight, found.shrunk, found.misfit,
    )  # fmt: skip
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _judge_by_rings(
    counts, photons_per_adu, flags, offsets, shapes, panel, fs, ss, ring, surface, factor, gain, read2, tau2,
    scale, variance, weight, shrunk, misfit,
):  # fmt: skip
    n, s, a, b, c = (
        np.empty(len(ring)),
        np.empty(len(ring)),
        np.empty(len(ring)),
        np.empty(len(ring)),
        np.empty(len(ring)),
    )
    for k in range(panel.size):
        used = _ring_pixels(
            counts, photons_per_adu, flags, offsets, shapes, panel[k], fs[k], ss[k], ring, surface[k], n, s
        )
        if used == 0:
            continue
        scale[k], variance[k] = _ring_scale(n[:used], s[:used], factor[k], gain, read2, a)
        if np.isfinite(scale[k]) and tau2[k] > 0:
            weight[k] = tau2[k] / (tau2[k] + variance[k])
            shrunk[k] = 1 + weight[k] * (scale[k] - 1)
        if used >= FEWEST_PIXELS:
            misfit[k] = _ring_misfit(n[:used], s[:used], shrunk[k], factor[k], gain, read2, a, b, c)


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_pixels(counts, photons_per_adu, flags, offsets, shapes, p, fs, ss, ring, surface, n, s):
    """Fill ``n`` and ``s`` with counts and expected counts of a ring's usable pixels: how many."""
    used = 0
    if p < 0:
        return used
    half = surface.shape[0] // 2
    n_ss, n_fs = shapes[p]
    cf, cs = int(fs), int(ss)
    to_photons = photons_per_adu[p]
    centre = offsets[p] + cs * n_fs + cf
    for q in range(ring.shape[0]):
        j, i = ring[q, 0], ring[q, 1]
        if cs + j < 0 or cs + j >= n_ss or cf + i < 0 or cf + i >= n_fs:
            continue
        at = centre + j * n_fs + i
        if flags[at] & NOT_SCALE:
            continue
        n[used], s[used] = counts[at] * to_photons, surface[half + j, half + i]
        used += 1
    return used


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_scale(n, s, factor, gain, read2, width):
    """Counts over expected counts, and the variance of that; roots apart, because they become vector instructions."""
    a = 1.0
    total_n = total_s = 0.0
    inside = 0
    # the second time around the scale is known and outliers are cut where they belong
    for attempt in range(2):
        reach = (1.5 if attempt == 0 else 1.0) * TAIL
        for q in range(n.size):
            width[q] = reach * np.sqrt(factor * (gain * s[q] * a + read2))
        total_n = total_s = 0.0
        inside = 0
        for q in range(n.size):
            off = n[q] - a * s[q]
            if -width[q] <= off <= width[q] + SKEW * gain:
                total_n += n[q]
                total_s += s[q]
                inside += 1
        if total_s <= 0:
            return np.nan, np.inf
        a = max(total_n / total_s, 0.0)
    return total_n / total_s, factor * (gain * total_s + read2 * inside) / (total_s * total_s)


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_misfit(n, s, shrunk, factor, gain, read2, about_surface, about_mean, growth):
    """See `RingFindings`; the last three are buffers."""
    total = expected = 0.0
    for q in range(n.size):
        total += n[q]
        expected += s[q]
    mean = total / n.size
    level = factor * (gain * max(mean, 0.0) + read2)
    if not level > 0:
        return 0.0
    expected *= shrunk
    up = shrunk * max(total / expected, 1.0) if expected > 0 else shrunk
    precision, least = 1 / level, 1e-3 * level
    for q in range(n.size):
        mu = up * s[q]
        v = max(factor * (gain * max(mu, 0.0) + read2), least)
        about_surface[q] = min((n[q] - mu) ** 2 / v, MOST_DEVIANCE)
        about_mean[q] = min((n[q] - mean) ** 2 * precision, MOST_DEVIANCE)
        growth[q] = v * precision
    misfit, product = 0.0, 1.0
    for q in range(n.size):
        misfit += about_surface[q] - about_mean[q]
        product *= growth[q]
        if product < 1e-100 or product > 1e100:  # one logarithm for many pixels: it takes longer than all else
            misfit += np.log(product)
            product = 1.0
    return misfit + np.log(product)


@njit(cache=True, nogil=True, error_model="numpy")
def ring_planes(counts, photons_per_adu, flags, offsets, shapes, panel, fs, ss, ring, gradient, expected, spread):
    """Fill ``expected`` (n, size, size) with the mean of each ring, or the least-squares plane through it.

    ``spread`` (n, 2) becomes the variance of the ring's pixels about that and their number. Nothing is clipped:
    clipping around a wrong shape is biased. CrystFEL's ``fit_gradient_bg`` is the plane.
    """
    half = expected.shape[1] // 2
    for k in range(panel.size):
        p = panel[k]
        expected[k] = np.nan
        spread[k] = np.nan
        if p < 0:
            continue
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        n = 0
        si = sj = sv = sii = sij = sjj = siv = sjv = svv = 0.0
        for q in range(ring.shape[0]):
            j, i = ring[q, 0], ring[q, 1]
            if cs + j < 0 or cs + j >= n_ss or cf + i < 0 or cf + i >= n_fs:
                continue
            at = offsets[p] + (cs + j) * n_fs + cf + i
            if flags[at] & NOT_RING:
                continue
            v = counts[at] * photons_per_adu[p]
            n += 1
            si, sj, sv = si + i, sj + j, sv + v
            sii, sij, sjj = sii + i * i, sij + i * j, sjj + j * j
            siv, sjv, svv = siv + i * v, sjv + j * v, svv + v * v
        if n < 4:
            continue
        mi, mj, mean = si / n, sj / n, sv / n
        ii, ij, jj = sii - n * mi * mi, sij - n * mi * mj, sjj - n * mj * mj
        iv, jv, vv = siv - n * mi * mean, sjv - n * mj * mean, svv - n * mean * mean
        a = b = 0.0
        determinant = ii * jj - ij * ij
        if gradient and determinant > 1e-9 * max(ii, jj, 1.0) ** 2:
            a, b = (jj * iv - ij * jv) / determinant, (ii * jv - ij * iv) / determinant
        spread[k, 0] = max(vv - a * iv - b * jv, 0.0) / (n - (3 if gradient else 1))
        spread[k, 1] = n
        for j in range(2 * half + 1):
            for i in range(2 * half + 1):
                expected[k, j, i] = mean + a * (i - half - mi) + b * (j - half - mj)
