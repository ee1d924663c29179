"""The weighted profile fit, one reflection after the other, over a given background.

Diamond 1969, Acta Cryst. A25, 43; Kabsch, International Tables F, chapter 11.3; Leslie 1999, Acta Cryst. D55, 1696.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from waterbg.background.masks import BAD, ONE, TWO
from waterbg.integrate.result import Status

FIT = np.dtype(
    [
        ("I", "f8"),
        ("sigma", "f8"),  # counting and background scale, without the share that grows with I
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
def accept_spots(
    counts, flags, saturation, has_map, max_adu, offsets, shapes, panel, fs, ss, radii, out,
):  # fmt: skip
    """CrystFEL's acceptance (``check_box`` in integration.c): whole box on the panel, no bad pixel under the peak, at least
    four pixels in peak and ring; fills peak, saturated and status.
    """
    inner, middle, outer = radii
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
        highest = -np.inf
        n_peak = n_ring = 0
        saturated = is_bad = False
        for j in range(-outer, outer + 1):
            row = offsets[p] + (cs + j) * n_fs + cf
            for i in range(-outer, outer + 1):
                r2 = i * i + j * j
                is_ring = middle * middle <= r2 <= outer * outer
                is_peak = r2 <= inner * inner and not is_ring
                if not (is_ring or is_peak):
                    continue
                flag = flags[row + i]
                if flag & BAD:
                    is_bad = is_bad or is_peak
                    continue
                if flag & TWO or (flag & ONE and is_ring):
                    continue
                value = counts[row + i]
                if value > max_adu[p] or (has_map and value > saturation[row + i]):
                    saturated = True
                highest = max(highest, np.float64(value))
                n_peak += is_peak
                n_ring += is_ring
        result.peak, result.saturated = highest, saturated
        if is_bad:
            result.status = _BAD_PIXEL
        elif n_peak < 4 or n_ring < 4:
            result.status = _FEW_PIXELS


@njit(cache=True, nogil=True, error_model="numpy")
def fit_spots(
    counts, photons_per_adu, flags, offsets, shapes, panel, fs, ss, inner, reach, shift, expected, scale_variance,
    factor, gain, read2, shape, out,
):  # fmt: skip
    """Fit every accepted spot by itself, over its own pixels.

    Parameters
    ----------
    counts : (n_pixels,) float32, ADU
    photons_per_adu : (n_panels,) float32
    flags : (n_pixels,) uint8
    inner : int
        Radius of the peak disc about the predicted pixel.
    reach : float
        Radius of the fit about the spot's own place, pixels.
    shift : (n, 2) float64
        The spot's own place relative to the predicted position.
    expected, shape : (n, size, size) float32
        Background and profile.
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
        used = n_disc = 0
        disc_n = disc_b = 0.0
        for j in range(max(-half, -cs), min(half, n_ss - 1 - cs) + 1):
            row = offsets[p] + (cs + j) * n_fs + cf
            for i in range(max(-half, -cf), min(half, n_fs - 1 - cf) + 1):
                dx, dy = cf + i + 0.5 - fs[k] - shift[k, 0], cs + j + 0.5 - ss[k] - shift[k, 1]
                near = dx * dx + dy * dy <= reach * reach
                own = i * i + j * j <= inner * inner
                flag = flags[row + i]
                if not (near or own) or flag & (BAD | TWO) or (flag & ONE and not own):
                    continue
                value, b = counts[row + i] * photons_per_adu[p], expected[k, half + j, half + i]
                if own:
                    disc_n, disc_b, n_disc = disc_n + value, disc_b + b, n_disc + 1
                if near:
                    n[used], B[used], P[used] = value, b, shape[k, half + j, half + i]
                    used += 1
        # I from the counts, weights from the model alone, else low counts would weigh more than high ones
        guess = intensity = first_sigma = information = pull = 0.0
        for iteration in range(ITERATIONS):
            top = information = 0.0
            for q in range(used):
                v = max(factor[k] * (gain * (B[q] + guess * P[q]) + read2), 1e-6)
                top += P[q] * (n[q] - B[q]) / v
                information += P[q] * P[q] / v
            if not information > 0:
                break
            intensity = top / information
            if iteration == 0:
                first_sigma = np.sqrt(1 / information)
            guess = max(intensity - 2 * first_sigma, 0.0)
        if not information > 0:  # also where the background has no answer
            result.status = _BACKGROUND
            continue
        # sigma has the weights of max(I - sigma_0, 0): a low fluctuation must not look precise
        guess = max(intensity - first_sigma, 0.0)
        information = chi2 = 0.0
        for q in range(used):
            v = max(factor[k] * (gain * (B[q] + guess * P[q]) + read2), 1e-6)
            information += P[q] * P[q] / v
            pull += P[q] * B[q] / v
            left = n[q] - B[q] - intensity * P[q]
            chi2 += left * left / v
        with_scale = pull / information
        result.I = intensity
        result.sigma = np.sqrt(1 / information + with_scale * with_scale * scale_variance[k])
        result.chi2 = chi2 / max(used - 1, 1)
        result.sum = disc_n - disc_b
        variance = factor[k] * (gain * (disc_b + max(result.sum - first_sigma, 0.0)) + read2 * n_disc)
        result.sum_sigma = np.sqrt(max(variance, 0.0) + disc_b * disc_b * scale_variance[k])
        result.background = disc_b / max(n_disc, 1)
