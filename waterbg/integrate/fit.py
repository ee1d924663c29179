"""The weighted profile fit, one reflection after the other, over a given background.

Diamond 1969, Acta Cryst. A25, 43; Kabsch, International Tables F, chapter 11.3; Leslie 1999, Acta Cryst. D55, 1696.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, DEAD, FAULTY, HOT, NOT_RING, ONE, SKEW, TWO, is_usable, stands_alone
from waterbg.integrate.psf import TAIL_WIDTH, add_row_shares, gaussian
from waterbg.integrate.result import Status
from waterbg.kernel import kernel

FIT = np.dtype(
    [
        ("I", "f8"),
        ("sigma", "f8"),  # counting and background scale, without the share that grows with I
        ("sigma_zero", "f8"),  # the same if the true intensity is 0
        ("disc", "f8"),  # summation over the predicted peak disc
        ("disc_sigma", "f8"),
        ("sum", "f8"),  # summation over a disc of the same radius about the spot's own place, completed as I is
        ("sum_sigma", "f8"),
        ("sum_zero", "f8"),  # the same if the true intensity is 0
        ("background", "f8"),  # mean expected counts under the peak disc
        ("peak", "f8"),  # highest pixel of peak and ring, ADU
        ("chi2", "f8"),  # of the profile fit, per degree of freedom
        ("visible", "f8"),  # share of the squares of the profile that neighbours and bad pixels leave
        ("sound", "f8"),  # and bad pixels alone
        ("flat", "f8"),  # share of the background in the variance of the pixels, as they count
        ("area", "f8"),  # what a photon more in every pixel adds to I
        ("held", "f8"),  # share of the core of the frame's mean spot that the peak disc holds there
        ("status", "u1"),
        ("saturated", "u1"),
        ("marred", "u1"),  # whether bad pixels lie in the peak disc
    ]
)
"""What the fit finds about a spot; photons, but for ``peak``."""


class Profiles(NamedTuple):
    """What is expected of spots.

    Attributes
    ----------
    reach : (n,) float64
        Radius of the fit about the spot's own place, pixels.
    shift, widths, blur : (n, 2) float64
        Place relative to the prediction along fs and ss; widths, and variance of the place, along and across the
        radius.
    tail : float
        Share of a component of twice the width.
    """

    reach: NDArray[np.float64]
    shift: NDArray[np.float64]
    widths: NDArray[np.float64]
    blur: NDArray[np.float64]
    tail: float


ITERATIONS, SETTLED = 8, 1e-3  # at most so many, until I moves by less than so many standard deviations
FAR_OUT = 8.0  # standard deviations that a pixel which stands alone is above the background
_NEGATIVE = -20.0  # standard deviations: below, what is left of the normal distribution is an exponential
ISOLATED = 10.0  # a hot pixel's height over its brightest neighbour's
_EDGE, _BAD_PIXEL, _OFF_PANEL = int(Status.EDGE), int(Status.BAD_PIXEL), int(Status.OFF_PANEL)
_FEW_PIXELS, _BACKGROUND = int(Status.FEW_PIXELS), int(Status.BACKGROUND)


@kernel
def likely_intensity(measured, sigma, usual):
    """Mean intensity of the reflections that are measured like this one, where ``usual`` is the mean of all.

    Intensities are taken to be exponentially distributed, as those of acentric reflections are (Wilson 1949, Acta
    Cryst. 2, 318), and measured with a Gaussian error: the mean of a normal distribution of which only the positive
    part is left (French & Wilson 1978, Acta Cryst. A34, 517).
    """
    if not usual > 0:
        return 0.0
    middle = measured - sigma * sigma / usual
    t = middle / sigma
    if t < _NEGATIVE:
        return sigma * (2 / (t * t) - 1) / t
    return middle + sigma * np.sqrt(2 / np.pi) * np.exp(-0.5 * t * t) / math.erfc(-t / np.sqrt(2.0))


@kernel
def completed_sum(signal, complete, empty, beyond, per_photon, guess, usual):
    """Sum over a disc, its sigma, and sigma if the true intensity is 0.

    ``complete``: factor for what the disc has lost. ``empty``: variance of the counts without the spot; ``beyond``: of
    what was taken off them. ``per_photon``: what a photon of the spot adds, of which ``guess`` are likely by the fit.
    """
    guess = likely_intensity(signal, np.sqrt(empty + per_photon * guess), usual)
    sigma, zero = np.sqrt(empty + per_photon * guess + beyond), np.sqrt(empty + beyond)
    return complete * signal, complete * sigma, complete * zero


@kernel
def hot_pixel(counts, photons_per_adu, flags, offset, n_ss, n_fs, cf, cs, peak, expected, factor, gain, read2):
    """Index of a pixel in the peak disc that is not Bragg scattering, or -1.

    It stands 50 standard deviations above the background and ten times as high above it as any of its neighbours: a
    spot of 0.4 px about a pixel's middle still gives its neighbours an eighth.
    """
    half = expected.shape[0] // 2
    highest, at = 0.0, -1
    hj = hi = 0
    for m in range(peak.shape[0]):
        j, i = peak[m, 0], peak[m, 1]
        q = offset + (cs + j) * n_fs + cf + i
        if not flags[q] & (BAD | FAULTY):
            excess = counts[q] * photons_per_adu - expected[half + j, half + i]
            if excess > highest:
                highest, at, hj, hi = excess, q, j, i
    if at < 0 or not highest > HOT * np.sqrt(factor * (gain * max(expected[half + hj, half + hi], 0.0) + read2)):
        return -1
    for j in range(max(hj - 1, -cs), min(hj + 1, n_ss - 1 - cs) + 1):
        for i in range(max(hi - 1, -cf), min(hi + 1, n_fs - 1 - cf) + 1):
            q = offset + (cs + j) * n_fs + cf + i
            excess = counts[q] * photons_per_adu - expected[half + j, half + i]
            if q != at and (flags[q] & (BAD | FAULTY) or excess * ISOLATED > highest):
                return -1
    return at


@kernel
def sum_spots(pixels, saturation, has_map, max_adu, panel, fs, ss, outer, peak, ring, background, wide, listed, out):
    """CrystFEL's acceptance, and the sum over the peak disc.

    Accepted is (``check_box`` in integration.c) what has its whole box on the panel, no bad pixel under the peak and
    at least four pixels in peak and ring. Of spots that are ``listed`` (n,) bool bad pixels are only left out, unless
    they are DEAD: the CrystFEL that listed them did so (before 0.12), or did not know that they are bad. ``wide`` (n,)
    bool: spots that cannot be of one pixel. ``out`` (n,) FIT: all but what the profile fit finds.

    Pixels that no Bragg reflection makes become FAULTY: in the discs of wide spots, and between disc and ring, where
    CrystFEL never looks. CrystFEL's acceptance does not know of them, but the sum is without.
    """
    counts, photons_per_adu, flags, offsets, shapes = pixels
    expected, scale_variance, factor, per_photon, least, gain, read2 = background
    half, far_out2 = expected.shape[1] // 2, FAR_OUT * FAR_OUT
    for k in range(panel.size):
        p = panel[k]
        result = out[k]
        if p < 0:
            result.status = _OFF_PANEL
            continue
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        if cf < outer or cs < outer or cf + outer >= n_fs or cs + outer >= n_ss:
            result.status = _EDGE
            continue
        centre = offsets[p] + cs * n_fs + cf
        if wide[k]:
            hot = hot_pixel(
                counts, photons_per_adu[p], flags, offsets[p], n_ss, n_fs, cf, cs, peak, expected[k], factor[k], gain,
                read2,
            )  # fmt: skip
            if hot >= 0:
                flags[hot] |= FAULTY
        highest = np.float32(-np.inf)
        n_peak = n_ring = n_summed = 0
        saturated = is_bad = is_dead = False
        total = under = np.float64(0)
        for q in range(peak.shape[0]):
            j, i = peak[q, 0], peak[q, 1]
            at = centre + j * n_fs + i
            flag = flags[at]
            if flag & BAD:
                is_bad, is_dead = True, is_dead or flag & DEAD != 0
            elif flag & TWO == 0:
                value = counts[at]
                saturated = saturated or value > max_adu[p] or (has_map and value > saturation[at])
                highest = max(highest, value)
                n_peak += 1
                if not flag & FAULTY:
                    n_summed += 1
                    total += value
                    under += expected[k, half + j, half + i]
        for q in range(ring.shape[0]):
            at = centre + ring[q, 0] * n_fs + ring[q, 1]
            if flags[at] & NOT_RING == 0:
                value = counts[at]
                saturated = saturated or value > max_adu[p] or (has_map and value > saturation[at])
                highest = max(highest, value)
                n_ring += 1
        result.peak, result.saturated, result.marred = highest, saturated, is_bad
        if is_dead or (is_bad and not listed[k]):
            result.status = _BAD_PIXEL
        elif n_peak < 4 or n_ring < 4:
            result.status = _BAD_PIXEL if is_bad else _FEW_PIXELS
        else:
            signal = total * photons_per_adu[p] - under
            empty = max(factor[k] * (gain * under + read2 * n_summed), least[k] * n_summed)
            variance = empty + per_photon[k] * max(signal - 0.5 * np.sqrt(empty), 0.0)
            result.disc, result.background = signal, under / n_summed
            result.disc_sigma = np.sqrt(variance + under * under * scale_variance[k])
            if not result.disc_sigma > 0:  # also where the background has no answer
                result.status = _BACKGROUND
                continue
            first, last = max(cf - half, 0), min(cf + half, n_fs - 1)
            level = 0.5 * max(expected[k, half, half], 0.0)  # hardly any pixel has less under it
            bright = np.float32((level + FAR_OUT * np.sqrt(factor[k] * (gain * level + read2))) / photons_per_adu[p])
            for j in range(max(cs - half, 0), min(cs + half, n_ss - 1) + 1):
                row = offsets[p] + j * n_fs
                n_bright = 0
                for value in counts[row + first : row + last + 1]:  # a glance, by vector instructions
                    n_bright += value > bright
                if not n_bright:
                    continue
                for i in range(first, last + 1):
                    at, under = row + i, max(expected[k, half + j - cs, half + i - cf], 0.0)
                    excess = counts[at] * photons_per_adu[p] - under - SKEW * gain
                    if excess * excess <= far_out2 * (gain * under + read2) * factor[k] or excess < 0:
                        continue
                    if not flags[at] & (BAD | ONE | TWO | FAULTY) and stands_alone(
                        counts, offsets[p], n_ss, n_fs, j, i, under / photons_per_adu[p]
                    ):
                        flags[at] |= FAULTY


@kernel
def fit_spots(pixels, rays, panel, fs, ss, inner, profiles, background, usual, out):
    """Fit every accepted spot by itself, over its own pixels.

    Parameters
    ----------
    pixels : Pixels
    rays : Rays
    panel, fs, ss : (n,) arrays
        Predicted positions, panel-local pixels.
    inner : int
        Radius of the peak disc about the predicted pixel.
    profiles : Profiles
    background : BackgroundArrays
    usual : (n,) float64
        Mean intensity of the reflections of this resolution, photons.
    out : (n,) FIT
        Rows whose status is 0 are filled.
    """
    counts, photons_per_adu, flags, offsets, shapes = pixels
    expected, scale_variance, factor, per_photon, least, gain, read2 = background
    reach, shift, widths, blur, tail = profiles
    half = expected.shape[1] // 2
    n_box = expected.shape[1] * expected.shape[2]
    n, B, P = np.empty(n_box), np.empty(n_box), np.empty(n_box)
    weight, shares = np.empty(n_box), np.empty(expected.shape[2])
    for k in range(panel.size):
        result = out[k]
        if result.status != 0:
            continue
        p = panel[k]
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        x, y = fs[k] + shift[k, 0], ss[k] + shift[k, 1]
        core = gaussian(rays.panel[p], fs[k], ss[k], widths[k], blur[k], 1.0, 1 - tail)
        wide = gaussian(rays.panel[p], fs[k], ss[k], widths[k], blur[k], TAIL_WIDTH, tail)
        far = reach[k]
        used = 0
        in_disc = np.float64(0)
        disc_n = disc_b = disc_pixels = lost = seen2 = hidden2 = bad2 = np.float64(0)
        first, last = max(cf - half, 0, int(x - far)), min(cf + half, n_fs - 1, int(x + far))
        for j in range(max(cs - half, 0, int(y - far)), min(cs + half, n_ss - 1, int(y + far)) + 1):
            row = shares[: max(last + 1 - first, 0)]
            row[:] = 0.0
            add_row_shares(core, first + 0.5 - x, j + 0.5 - y, row)
            if tail > 0:
                add_row_shares(wide, first + 0.5 - x, j + 0.5 - y, row)
            for i in range(first, last + 1):
                dx, dy = i + 0.5 - x, j + 0.5 - y
                r2 = dx * dx + dy * dy
                if r2 > far * far:
                    continue
                at = offsets[p] + j * n_fs + i
                own = (i - cf) ** 2 + (j - cs) ** 2 <= inner * inner
                usable = is_usable(flags[at], own, False)
                if not usable and r2 > inner * inner:
                    continue
                share = row[i - first]
                if not usable:
                    lost += share
                    hidden2 += share * share
                    bad2 += share * share if flags[at] & BAD else 0.0
                    continue
                seen2 += share * share
                n[used], B[used] = counts[at] * photons_per_adu[p], expected[k, half + j - cs, half + i - cf]
                P[used] = share
                if r2 <= inner * inner:
                    disc_n, disc_b, disc_pixels = disc_n + n[used], disc_b + B[used], disc_pixels + 1
                    in_disc += share
                used += 1
        result.visible, result.sound = seen2 / (seen2 + hidden2), 1 - bad2 / (seen2 + hidden2)
        # Weights from the model alone, else low counts would weigh more than high ones. They follow I to where
        # Poisson's likelihood is highest: stopping short of it, a low fluctuation would keep the weights that suit it.
        guess = intensity = information = pull = 0.0
        for iteration in range(ITERATIONS):
            top = information = pull = 0.0
            for q in range(used):  # apart, for divisions become vector instructions
                weight[q] = P[q] / max(factor[k] * (gain * B[q] + read2) + per_photon[k] * guess * P[q], least[k])
            for q in range(used):
                top += weight[q] * (n[q] - B[q])
                information += weight[q] * P[q]
                pull += weight[q] * B[q]
            if not information > 0:
                break
            intensity = top / information
            if iteration == 0:
                result.sigma_zero = np.sqrt(1 / information + (pull / information) ** 2 * scale_variance[k])
            if intensity <= 0:  # nothing would change
                break
            settled = (intensity - guess) ** 2 * information < SETTLED * SETTLED
            guess = intensity
            if settled:
                break
        if not information > 0:
            result.status = _BACKGROUND
            continue
        # sigma is that of the likely intensity: a low fluctuation must not look precise, nor a high one too poor
        for _ in range(2):  # the error that the likely intensity follows from depends on it in turn
            guess = likely_intensity(intensity, np.sqrt(1 / information), usual[k])
            information = chi2 = pull = flat = whole = 0.0
            for q in range(used):
                weight[q] = 1 / max(factor[k] * (gain * B[q] + read2) + per_photon[k] * guess * P[q], least[k])
            for q in range(used):
                inverse, w = weight[q], P[q] * weight[q]
                information += w * P[q]
                whole += w
                flat += w * P[q] * (1 - per_photon[k] * guess * w)
                pull += w * B[q]
                left = n[q] - B[q] - intensity * P[q]
                chi2 += left * left * inverse
        # what the disc has lost to bad pixels and neighbours is what the profile says it is
        complete = 1 + lost / in_disc if in_disc > 0 else np.nan
        empty = max(factor[k] * (gain * disc_b + read2 * disc_pixels), least[k] * disc_pixels)
        result.sum, result.sum_sigma, result.sum_zero = completed_sum(
            disc_n - disc_b, complete, empty, disc_b * disc_b * scale_variance[k], per_photon[k], guess, usual[k]
        )
        result.I = intensity
        result.sigma = np.sqrt(1 / information + (pull / information) ** 2 * scale_variance[k])
        result.chi2 = chi2 / max(used - 1, 1)
        result.flat = flat / information
        result.area = whole / information
