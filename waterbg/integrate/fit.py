"""The weighted profile fit, one reflection after the other, over a given background.

Diamond 1969, Acta Cryst. A25, 43; Kabsch, International Tables F, chapter 11.3; Leslie 1999, Acta Cryst. D55, 1696.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from waterbg.background.masks import BAD, NOT_RING, ONE, TWO
from waterbg.integrate.psf import TAIL_WIDTH, gaussian, pixel_share
from waterbg.integrate.result import Status

FIT = np.dtype(
    [
        ("I", "f8"),
        ("sigma", "f8"),  # counting and background scale, without the share that grows with I
        ("sigma_zero", "f8"),  # the same if the true intensity is 0
        ("sum", "f8"),  # summation over the peak disc
        ("sum_sigma", "f8"),
        ("background", "f8"),  # mean expected counts under the peak disc
        ("peak", "f8"),  # highest pixel of peak and ring, ADU
        ("chi2", "f8"),  # of the profile fit, per degree of freedom
        ("status", "u1"),
        ("saturated", "u1"),
    ]
)
"""What the fit finds about a spot; photons, but for ``peak``."""

ITERATIONS = 4
_EDGE, _BAD_PIXEL, _OFF_PANEL = int(Status.EDGE), int(Status.BAD_PIXEL), int(Status.OFF_PANEL)
_FEW_PIXELS, _BACKGROUND = int(Status.FEW_PIXELS), int(Status.BACKGROUND)


@njit(cache=True, nogil=True, error_model="numpy")
def sum_spots(
    counts, photons_per_adu, flags, saturation, has_map, max_adu, offsets, shapes, panel, fs, ss, outer, peak, ring,
    expected, scale_variance, factor, gain, read2, out,
):  # fmt: skip
    """CrystFEL's acceptance, and the sum over the peak disc.

    Accepted is (``check_box`` in integration.c) what has its whole box on the panel, no bad pixel under the peak and at least
    four pixels in peak and ring. ``out`` (n,) FIT: all but what the profile fit finds.
    """
    half = expected.shape[1] // 2
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
        highest = np.float32(-np.inf)
        n_peak = n_ring = 0
        saturated = is_bad = False
        total = under = np.float64(0)
        for q in range(peak.shape[0]):
            j, i = peak[q, 0], peak[q, 1]
            at = centre + j * n_fs + i
            flag = flags[at]
            if flag & BAD:
                is_bad = True
            elif flag & TWO == 0:
                value = counts[at]
                saturated = saturated or value > max_adu[p] or (has_map and value > saturation[at])
                highest = max(highest, value)
                n_peak += 1
                total += value
                under += expected[k, half + j, half + i]
        for q in range(ring.shape[0]):
            at = centre + ring[q, 0] * n_fs + ring[q, 1]
            if flags[at] & NOT_RING == 0:
                value = counts[at]
                saturated = saturated or value > max_adu[p] or (has_map and value > saturation[at])
                highest = max(highest, value)
                n_ring += 1
        result.peak, result.saturated = highest, saturated
        if is_bad:
            result.status = _BAD_PIXEL
        elif n_peak < 4 or n_ring < 4:
            result.status = _FEW_PIXELS
        else:
            signal = total * photons_per_adu[p] - under
            empty = max(factor[k] * (gain * under + read2 * n_peak), 0.0)
            variance = empty + factor[k] * gain * max(signal - 0.5 * np.sqrt(empty), 0.0)
            result.sum, result.background = signal, under / n_peak
            result.sum_sigma = np.sqrt(variance + under * under * scale_variance[k])
            if not result.sum_sigma > 0:  # also where the background has no answer
                result.status = _BACKGROUND


@njit(cache=True, nogil=True, error_model="numpy")
def fit_spots(
    counts, photons_per_adu, flags, offsets, shapes, rays, panel, fs, ss, inner, reach, shift, widths, blur, tail,
    expected, scale_variance, factor, gain, read2, out,
):  # fmt: skip
    """Fit every accepted spot by itself, over its own pixels.

    Parameters
    ----------
    counts : (n_pixels,) float32, ADU
    photons_per_adu : (n_panels,) float32
    flags : (n_pixels,) uint8
    rays : (n_panels, 9) float64
    inner : int
        Radius of the peak disc about the predicted pixel.
    reach : float
        Radius of the fit about the spot's own place, pixels.
    shift, widths, blur : (n, 2) float64
        Place relative to the prediction along fs and ss; widths, and variance of the place, along and across the radius.
    tail : float
    expected : (n, size, size) float32
        Background around the predicted pixel.
    scale_variance : (n,) float64
        Relative variance of ``expected`` as a whole.
    factor : (n,) float64
        A pixel has variance factor·(gain·mu + read2).
    out : (n,) FIT
        Rows whose status is 0 are filled.
    """
    half = expected.shape[1] // 2
    n_box = expected.shape[1] * expected.shape[2]
    n, B, P = np.empty(n_box), np.empty(n_box), np.empty(n_box)
    for k in range(panel.size):
        result = out[k]
        if result.status != 0:
            continue
        p = panel[k]
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        x, y = fs[k] + shift[k, 0], ss[k] + shift[k, 1]
        core = gaussian(rays[p], fs[k], ss[k], widths[k], blur[k], 1.0, 1 - tail)
        wide = gaussian(rays[p], fs[k], ss[k], widths[k], blur[k], TAIL_WIDTH, tail)
        used = 0
        for j in range(max(cs - half, 0, int(y - reach)), min(cs + half, n_ss - 1, int(y + reach)) + 1):
            for i in range(max(cf - half, 0, int(x - reach)), min(cf + half, n_fs - 1, int(x + reach)) + 1):
                dx, dy = i + 0.5 - x, j + 0.5 - y
                if dx * dx + dy * dy > reach * reach:
                    continue
                at = offsets[p] + j * n_fs + i
                own = (i - cf) ** 2 + (j - cs) ** 2 <= inner * inner
                if flags[at] & (BAD | TWO) or (flags[at] & ONE and not own):
                    continue
                n[used], B[used] = counts[at] * photons_per_adu[p], expected[k, half + j - cs, half + i - cf]
                P[used] = pixel_share(core, dx, dy)
                if tail > 0:
                    P[used] += pixel_share(wide, dx, dy)
                used += 1
        # I from the counts, weights from the model alone, else low counts would weigh more than high ones
        guess = intensity = first_sigma = information = pull = 0.0
        for iteration in range(ITERATIONS):
            top = information = pull = 0.0
            for q in range(used):
                v = max(factor[k] * (gain * (B[q] + guess * P[q]) + read2), 1e-6)
                top += P[q] * (n[q] - B[q]) / v
                information += P[q] * P[q] / v
                pull += P[q] * B[q] / v
            if not information > 0:
                break
            intensity = top / information
            if iteration == 0:
                first_sigma = np.sqrt(1 / information)
                result.sigma_zero = np.sqrt(1 / information + (pull / information) ** 2 * scale_variance[k])
            if intensity <= 2 * first_sigma:  # nothing would change
                break
            guess = intensity - 2 * first_sigma
        if not information > 0:
            result.status = _BACKGROUND
            continue
        # sigma has the weights of max(I - sigma_0/2, 0): a low fluctuation must not look precise, a high one not too poor
        guess = max(intensity - 0.5 * first_sigma, 0.0)
        information = chi2 = pull = 0.0
        for q in range(used):
            v = max(factor[k] * (gain * (B[q] + guess * P[q]) + read2), 1e-6)
            information += P[q] * P[q] / v
            pull += P[q] * B[q] / v
            left = n[q] - B[q] - intensity * P[q]
            chi2 += left * left / v
        result.I = intensity
        result.sigma = np.sqrt(1 / information + (pull / information) ** 2 * scale_variance[k])
        result.chi2 = chi2 / max(used - 1, 1)
