"""What a reflection's own ring says: its mean, its plane, or how the frame's surface does there."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.background.masks import NOT_RING, NOT_SCALE
from waterbg.background.scan import SKEW, TAIL

FEWEST_PIXELS = 8  # of a ring that is judged
MOST_DEVIANCE = 25.0  # of a pixel


def ring_scale(
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
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts over expected counts in each ring, without outliers, and the variance of that ratio from counting.

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

    Returns
    -------
    scale, variance : (n,) float64
        NaN and inf where the ring has no usable pixel or the surface expects nothing there.
    """
    scale, variance = np.full(len(spots), np.nan), np.full(len(spots), np.inf)
    _ring_scale(
        counts, photons_per_adu, flags, offsets, shapes, np.ascontiguousarray(spots["panel"]),
        np.ascontiguousarray(spots["fs"]), np.ascontiguousarray(spots["ss"]), ring, surface, factor,
        gain, read2, scale, variance,
    )  # fmt: skip
    return scale, variance


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_scale(
    counts, photons_per_adu, flags, offsets, shapes, panel, fs, ss, ring, surface, factor, gain, read2,
    scale, variance,
):  # fmt: skip
    n, s = np.empty(len(ring)), np.empty(len(ring))
    for k in range(panel.size):
        used, _, _ = _ring_pixels(
            counts, photons_per_adu, flags, offsets, shapes, panel[k], fs[k], ss[k], ring, surface[k], n, s
        )
        a = 1.0
        # the second time around the scale is known and outliers are cut where they belong
        for attempt in range(2):
            total_n = total_s = 0.0
            inside = 0
            reach = (1.5 if attempt == 0 else 1.0) * TAIL
            for q in range(used):
                off = reach * np.sqrt(factor[k] * (gain * s[q] * a + read2))
                if a * s[q] - off <= n[q] <= a * s[q] + off + SKEW * gain:
                    total_n += n[q]
                    total_s += s[q]
                    inside += 1
            if total_s <= 0:
                break
            a = max(total_n / total_s, 0.0)
        if used > 0 and total_s > 0:
            scale[k] = total_n / total_s
            variance[k] = factor[k] * (gain * total_s + read2 * inside) / (total_s * total_s)


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_pixels(counts, photons_per_adu, flags, offsets, shapes, p, fs, ss, ring, surface, n, s):
    """Fill ``n`` and ``s`` with counts and expected counts of a ring's usable pixels: how many, and both sums."""
    used = 0
    total = expected = 0.0
    if p < 0:
        return used, total, expected
    half = surface.shape[0] // 2
    n_ss, n_fs = shapes[p]
    cf, cs = int(fs), int(ss)
    for q in range(ring.shape[0]):
        j, i = ring[q, 0], ring[q, 1]
        if cs + j < 0 or cs + j >= n_ss or cf + i < 0 or cf + i >= n_fs:
            continue
        at = offsets[p] + (cs + j) * n_fs + cf + i
        if flags[at] & NOT_SCALE:
            continue
        n[used], s[used] = counts[at] * photons_per_adu[p], surface[half + j, half + i]
        total += n[used]
        expected += s[used]
        used += 1
    return used, total, expected


def ring_misfit(
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
) -> NDArray[np.float64]:
    """Deviance of each ring's pixels about the surface, less that about their own mean; parameters as `ring_scale`.

    Gaussian: sum of min((n - mu)²/v, 25) + log v. No pixel counts for more than five standard deviations, so that
    neither a zinger in the ring nor a spot decides. A surface below the ring is scaled up to it: the tails of the
    reflection itself may be in its ring, and do not make the surface wrong.

    Returns
    -------
    (n,) float64
        Positive where the level explains the ring better; 0 where less than eight pixels are usable.
    """
    misfit = np.zeros(len(spots))
    _ring_misfit(
        counts, photons_per_adu, flags, offsets, shapes, np.ascontiguousarray(spots["panel"]),
        np.ascontiguousarray(spots["fs"]), np.ascontiguousarray(spots["ss"]), ring, surface, factor, gain, read2,
        misfit,
    )  # fmt: skip
    return misfit


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_misfit(
    counts, photons_per_adu, flags, offsets, shapes, panel, fs, ss, ring, surface, factor, gain, read2, misfit
):
    n, s = np.empty(len(ring)), np.empty(len(ring))
    for k in range(panel.size):
        used, total, expected = _ring_pixels(
            counts, photons_per_adu, flags, offsets, shapes, panel[k], fs[k], ss[k], ring, surface[k], n, s
        )
        if used < FEWEST_PIXELS:
            continue
        mean = total / used
        level = factor[k] * (gain * max(mean, 0.0) + read2)
        if not level > 0:
            continue
        about_mean = used * np.log(level)
        about_surface, product = 0.0, 1.0
        up = max(total / expected, 1.0) if expected > 0 else 1.0
        for q in range(used):
            mu = up * s[q]
            v = max(factor[k] * (gain * max(mu, 0.0) + read2), 1e-3 * level)
            about_surface += min((n[q] - mu) ** 2 / v, MOST_DEVIANCE)
            about_mean += min((n[q] - mean) ** 2 / level, MOST_DEVIANCE)
            product *= v / level
            if product < 1e-100 or product > 1e100:  # one logarithm for many pixels: it takes longer than all else
                about_surface += np.log(product)
                product = 1.0
        about_surface += np.log(product) + used * np.log(level)
        misfit[k] = about_surface - about_mean


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
