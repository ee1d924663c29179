"""What a reflection's own ring says: its mean, its plane, or how the frame's surface does there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, FAULTY, NOT_RING, NOT_SCALE, SKEW, TAIL, TWO, Pixels
from waterbg.background.tiles import middle_of
from waterbg.kernel import kernel
from waterbg.predict import columns_of

FEWEST_PIXELS = 8  # of a ring that is judged
FEWEST_COUNTS = 20.0  # of a ring whose own mean says how its pixels scatter; of fewer, as if there were so many
SURPRISE2 = 49.0  # square of how many standard deviations a ring may be off before the surface is doubted there
EVERYWHERE = 0.3  # of the lift of a ring, each of its quarters must be lifted, or the lift is that of something in it
ACROSS = 0.5  # of the mean lift of a ring, two quarters that face each other must be lifted by what goes through
TAILS = 0.25  # of what a disc is above the background: its spot's own tails do not lift a ring as far
ROUGH = 2.0  # mean deviance of a ring's pixels from which on their quartile is looked at
COMMON = 6.0  # deviance that is no outlier's any more if a quarter of the pixels have it
QUARTILE_CHI2 = 1.32  # upper quartile of chi² of one degree of freedom
MEDIAN_VARIANCE = 1.57  # of a median, over that of the mean
MOST_DEVIANCE = 25.0  # of a pixel


class RingFindings(NamedTuple):
    """What each spot's own ring says about the frame's surface there.

    Attributes
    ----------
    scale, variance : (n,) float64
        Counts over expected counts, without outliers, and the variance of that from counting; NaN and inf where the
        ring has no usable pixel or the surface expects nothing there.
    weight : (n,) float64
        How much the ring counts against the surface: tau²/(tau² + variance); tau is the run's, or what the ring itself
        says where the surface is doubted.
    shrunk : (n,) float64
        What the surface is to be multiplied with: 1 + weight (scale - 1).
    misfit : (n,) float64
        Deviance of the ring's pixels about the scaled surface, less that about their own mean: positive where a level
        explains the ring better; 0 where less than eight pixels are usable. Gaussian: sum of min((n - mu)²/v, 25) +
        log v. No pixel counts for more than five standard deviations, so that neither a zinger in the ring nor a spot
        decides. A surface below the ring is scaled up to it: the tails of the reflection itself may be in its ring, and
        do not make the surface wrong.
    doubted : (n,) bool
        Where the level of the ring is off by more than seven standard deviations, mean and median, in all of its
        quarters, and not by the tails of the spot; or where so many pixels are far above the surface that these are
        no outliers, in which case ``scale`` is of all of them.
    rough : (n,) float64
        What the variance of pixels is to be multiplied with: 1, or more where the upper quartile of the ring's
        deviances about the scaled surface says so (arcs of ice, say), which a spot in the ring does not reach.
    """

    scale: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: NDArray[np.float64]
    shrunk: NDArray[np.float64]
    misfit: NDArray[np.float64]
    doubted: NDArray[np.bool_]
    rough: NDArray[np.float64]


def judge_by_rings(
    pixels: Pixels,
    spots: NDArray[np.void],
    peak: NDArray[np.int64],
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
    pixels : Pixels
    spots : (n,) SPOT
    peak, ring : (m, 2) int64
        Rows and columns of the pixels of disc and ring, from the pixel the position falls into.
    surface : (n, size, size) float32
        Expected counts around each spot.
    factor : (n,) float64
        Variance of a pixel is factor·(gain·mu + read2).
    tau2 : (n,) float64
        Relative variance of the true background about the surface.
    """
    n = len(spots)
    found = RingFindings(
        np.full(n, np.nan), np.full(n, np.inf), np.zeros(n), np.ones(n), np.zeros(n), np.zeros(n, bool), np.ones(n)
    )
    _judge_by_rings(
        pixels, *columns_of(spots), peak, ring, surface, factor, gain, read2, tau2, found
    )  # fmt: skip
    return found


@kernel
def _judge_by_rings(pixels, panel, fs, ss, peak, ring, surface, factor, gain, read2, tau2, found):
    scale, variance, weight, shrunk, misfit, doubted, rough = found
    most = max(len(ring), len(peak))
    n, s, a, b, c = np.empty(most), np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    quarter, scratch = np.empty(most, np.uint8), np.empty(most, np.uint8)
    for k in range(panel.size):
        used = _pixels(
            pixels, panel[k], fs[k], ss[k], ring, surface[k], NOT_SCALE,
            n, s, quarter,
        )  # fmt: skip
        if used == 0:
            continue
        scale[k], variance[k] = _ring_scale(n[:used], s[:used], factor[k], gain, read2, a)
        off2 = tau2[k] if np.isfinite(scale[k]) else 0.0
        if (scale[k] - 1) ** 2 > SURPRISE2 * (off2 + variance[k]):  # farther off than surfaces are
            lift = _lift_of_all(n[:used], s[:used], quarter[:used], variance[k], a)
            if lift > 0:
                tails = _tails(
                    pixels, panel[k], fs[k], ss[k], peak, surface[k],
                    a, b, scratch,
                )  # fmt: skip
                lift = lift if lift > tails else 0.0
            if lift != 0:
                doubted[k], off2 = True, (scale[k] - 1) ** 2
        if off2 > 0:
            weight[k] = off2 / (off2 + variance[k])
            shrunk[k] = 1 + weight[k] * (scale[k] - 1)
        if used < FEWEST_PIXELS:
            continue
        misfit[k] = _ring_misfit(n[:used], s[:used], shrunk[k], factor[k], gain, read2, a, b, c)
        if a[:used].sum() > ROUGH * used:
            for q in range(used):
                mu = shrunk[k] * s[q]
                a[q] = (n[q] - mu) ** 2 / max(factor[k] * (gain * mu + read2), 1e-6)
            middle_of(a, used)  # sorts
            quartile = min(a[3 * used // 4], MOST_DEVIANCE)
            tails = _tails(
                pixels, panel[k], fs[k], ss[k], peak, surface[k],
                a, b, scratch,
            )  # fmt: skip
            level, observed = s[:used].mean(), n[:used].mean()
            is_lifted = observed - shrunk[k] * level > tails
            if doubted[k] or is_lifted:
                rough[k] = max(quartile / QUARTILE_CHI2, 1.0)
            # no outliers, but a part of what is under the spot, too: on either side of it
            if is_lifted and quartile > COMMON and _is_across(n[:used], s[:used], quarter[:used], shrunk[k]):
                doubted[k], weight[k], shrunk[k] = True, 1.0, observed / level
                scale[k] = shrunk[k]
                variance[k] = rough[k] * factor[k] * (gain * observed + read2) / (used * level * level)


@kernel
def _quarter_lifts(n, s, quarter, scale):
    """How far the pixels of each quarter are above ``scale`` times the surface, on average, and their number."""
    lifts, numbers = np.zeros(4), np.zeros(4, np.int64)
    for q in range(n.size):
        lifts[quarter[q]] += n[q] - scale * s[q]
        numbers[quarter[q]] += 1
    for part in range(4):
        lifts[part] /= max(numbers[part], 1)
    return lifts, numbers


@kernel
def _is_across(n, s, quarter, shrunk):
    """Whether a ring is lifted above the scaled surface in two quarters that face each other."""
    lifts, _ = _quarter_lifts(n, s, quarter, shrunk)
    across = max(min(lifts[0], lifts[3]), min(lifts[1], lifts[2]))
    return across > ACROSS * (n.mean() - shrunk * s.mean()) and s.mean() > 0


@kernel
def _tails(pixels, p, fs, ss, peak, surface, n, s, quarter):
    """How far, photons a pixel, a spot may lift its own ring: by a small part of what it is in its disc."""
    inside = _pixels(pixels, p, fs, ss, peak, surface, BAD | FAULTY | TWO, n, s, quarter)
    return max(TAILS * (n[:inside].mean() - s[:inside].mean()), 0.0) if inside else 0.0


@kernel
def _pixels(pixels, p, fs, ss, stencil, surface, unusable, n, s, quarter):
    """Fill ``n``, ``s`` and ``quarter`` with counts, expected counts and direction of usable pixels: how many."""
    used = 0
    if p < 0:
        return used
    counts, photons_per_adu, flags, offsets, shapes = pixels
    half = surface.shape[0] // 2
    n_ss, n_fs = shapes[p]
    cf, cs = int(fs), int(ss)
    to_photons = photons_per_adu[p]
    centre = offsets[p] + cs * n_fs + cf
    for q in range(stencil.shape[0]):
        j, i = stencil[q, 0], stencil[q, 1]
        if cs + j < 0 or cs + j >= n_ss or cf + i < 0 or cf + i >= n_fs:
            continue
        at = centre + j * n_fs + i
        if flags[at] & unusable:
            continue
        n[used], s[used] = counts[at] * to_photons, surface[half + j, half + i]
        quarter[used] = 2 * (j > 0 or (j == 0 and i > 0)) + (i > 0 or (i == 0 and j < 0))
        used += 1
    return used


@kernel
def _lift_of_all(n, s, quarter, variance, ordered):
    """How far the level of a ring is above (or below) the surface, photons a pixel, if that is certain; else 0.

    Its median must say so, and nearly a third of it each of its quarters: spots that are in no list, or not where they
    are expected, and edges of shadows lift a part of a ring. ``ordered``: a buffer.
    """
    ordered[: n.size] = n
    level = s.mean()
    lift = middle_of(ordered, n.size) - level
    if not lift * lift > SURPRISE2 * MEDIAN_VARIANCE * variance * level * level:
        return 0.0
    lifts, numbers = _quarter_lifts(n, s, quarter, 1.0)
    for part in range(4):
        if numbers[part] and lifts[part] / lift < EVERYWHERE:
            return 0.0
    return lift


@kernel
def _ring_scale(n, s, factor, gain, read2, width):
    """Counts over expected counts, and the variance of that; roots apart, because they become vector instructions."""
    a, reach = 1.0, 1.5 * TAIL
    total_n, total_s, inside = _within(n, s, a, reach, factor, gain, read2, width)
    if 2 * inside < n.size:  # the level is not what was expected: most cannot be outliers
        width[: n.size] = n
        a = max(middle_of(width, n.size), 0.0) / max(s.mean(), 1e-9)
        total_n, total_s, inside = _within(n, s, a, reach, factor, gain, read2, width)
    if total_s > 0:  # the second time around the scale is known and outliers are cut where they belong
        a = max(total_n / total_s, 0.0)
        total_n, total_s, inside = _within(n, s, a, TAIL, factor, gain, read2, width)
    if total_s <= 0:
        return np.nan, np.inf
    return total_n / total_s, factor * (gain * total_s + read2 * inside) / (total_s * total_s)


@kernel
def _within(n, s, a, reach, factor, gain, read2, width):
    """Counts and expected counts of the pixels that agree with ``a`` times these, and their number."""
    total_n = total_s = 0.0
    inside = 0
    for q in range(n.size):
        width[q] = reach * np.sqrt(factor * (gain * s[q] * a + read2))
    for q in range(n.size):
        off = n[q] - a * s[q]
        if -width[q] <= off <= width[q] + SKEW * gain:
            total_n += n[q]
            total_s += s[q]
            inside += 1
    return total_n, total_s, inside


@kernel
def _ring_misfit(n, s, shrunk, factor, gain, read2, about_surface, about_mean, growth):
    """See `RingFindings`; the last three are buffers."""
    total = expected = 0.0
    for q in range(n.size):
        total += n[q]
        expected += s[q]
    mean = total / n.size
    # hardly a count is no certainty of there being none, which would beat any surface
    level = factor * (gain * max(mean, FEWEST_COUNTS * gain / n.size) + read2)
    if not level > 0:
        about_surface[: n.size] = 0.0
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


@kernel
def ring_planes(pixels, panel, fs, ss, ring, gradient, expected, spread):
    """Fill ``expected`` (n, size, size) with the mean of each ring, or the least-squares plane through it.

    ``spread`` (n, 2) becomes the variance of the ring's pixels about that and their number. Nothing is clipped:
    clipping around a wrong shape is biased. CrystFEL's ``fit_gradient_bg`` is the plane.
    """
    counts, photons_per_adu, flags, offsets, shapes = pixels
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
            if flags[at] & (NOT_RING | FAULTY):
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
