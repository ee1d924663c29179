"""Where strong spots are and how wide they are, each by itself: Fisher scoring of I, position and two widths."""

from __future__ import annotations

import numpy as np

from waterbg.background.masks import is_usable
from waterbg.integrate.psf import BEYOND, FLOOR, STEEP, TAIL_WIDTH, THREE_POINTS
from waterbg.integrate.solve import invert
from waterbg.kernel import kernel

MEASURED = np.dtype(
    [
        ("dx", "f8"),  # lab, pixels: radial and tangential offsets would mix at the centre
        ("dy", "f8"),
        ("radial", "f8"),
        ("tangential", "f8"),
        ("var_u", "f8"),  # of the offset along the radius
        ("var_v", "f8"),  # and across it
        ("var_radial", "f8"),
        ("var_tangential", "f8"),
        ("I", "f8"),
        ("deviance", "f8"),  # Gaussian, of the pixels of the fit: chi² + log of the variances
        ("ok", "u1"),
    ]
)
"""What is found about a strong spot: offset from the prediction, Gaussian widths, their variances; pixels."""

FARTHEST = 2.5  # px: a spot further from its prediction is another spot, unless a map leads there
SECOND_LOOK = 4.0  # px from predictions, where a map leads that far: the disc is still in its box
_STEPS = 9
_POWER = int(TAIL_WIDTH**2)
assert _POWER == TAIL_WIDTH**2


@kernel
def _steep_pixel(x, y, au, bu, av, bv, share):
    """What `measure_spots` adds up over four points of a pixel, for spots that need three by three.

    (x, y): the pixel's middle from the spot's. Each of the few spots of a frame that teach has an exponential of its
    own for each point: only large pixels see such spots.
    """
    P = Pu = Pv = Pr = Pt = 0.0
    for dy, of_y in THREE_POINTS:
        for dx, of_x in THREE_POINTS:
            u, v = (x + dx) * au + (y + dy) * bu, (x + dx) * av + (y + dy) * bv
            weight, far2 = 4 * of_x * of_y, u * u + v * v
            core, wide = weight * np.exp(-0.5 * far2), weight * share * np.exp(-0.5 * far2 / TAIL_WIDTH**2)
            slope = core + wide / TAIL_WIDTH**2
            P += core + wide
            Pu += slope * u
            Pv += slope * v
            Pr += slope * u * u - core - wide
            Pt += slope * v * v - core - wide
    return P, Pu, Pv, Pr, Pt


@kernel
def measure_spots(
    pixels, rays, panel, fs, ss, which, inner, reach, background, start, tail, farthest, before, out
):  # fmt: skip
    """Fit a Gaussian with five unknowns (I, x, y, radial and tangential sigma) to each of the spots ``which``.

    ``reach``: radius of the fit about the spot, pixels. ``start`` (n, 2): radial and tangential sigma to start from.
    ``tail``: share in the component that is TAIL_WIDTH times as wide. ``farthest``: from the prediction, pixels.
    ``before`` (len(which),) MEASURED: what was found with another tail, or is expected, to go on from (spots without an
    answer have none now); empty for a fresh start. ``out`` (len(which),) MEASURED.
    """
    counts, photons_per_adu, flags, offsets, shapes = pixels
    expected, _, factor, per_photon, least, gain, read2 = background
    half = expected.shape[1] // 2
    wide2 = 1 / (TAIL_WIDTH * TAIL_WIDTH)
    share = tail * wide2 / (1 - tail)
    gauss = 0.5 / np.sqrt(3.0)
    slow = wide2 if tail > 0 else 1.0  # the core is a power of the tail
    matrix, covariance = np.empty((5, 5)), np.empty((5, 5))
    vector, change, d = np.empty(5), np.empty(5), np.empty(5)
    fresh = before.size == 0
    # steps until a short one may be the last, and how short: going on from close by, all of them are short
    fewest, settled = (3, 0.01) if fresh else (1, 0.004)
    for m in range(which.size):
        if not fresh and not before[m].ok:
            continue
        k = which[m]
        p = panel[k]
        ray = rays.panel[p]
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        x, y = ray[0] + fs[k] * ray[3] + ss[k] * ray[6], ray[1] + fs[k] * ray[4] + ss[k] * ray[7]
        rho = max(np.sqrt(x * x + y * y), 1e-9)
        ux, uy = x / rho, y / rho
        rf, rs = ux * ray[3] + uy * ray[4], ux * ray[6] + uy * ray[7]  # radial part of a step along fs, ss
        tf, ts = ux * ray[4] - uy * ray[3], ux * ray[7] - uy * ray[6]
        jacobian = abs(rf * ts - rs * tf)
        intensity, du, dv = 0.0, 0.0, 0.0  # du, dv: offset along and across the radius
        if fresh:
            sr, st = start[k, 0], start[k, 1]
        else:
            intensity, sr, st = before[m].I, before[m].radial, before[m].tangential
            du, dv = ux * before[m].dx + uy * before[m].dy, ux * before[m].dy - uy * before[m].dx
        ok = False
        deviance = 0.0
        for step in range(_STEPS):
            for q in range(5):
                vector[q] = 0.0
                for w in range(q + 1):
                    matrix[q, w] = 0.0
            deviance, product = 0.0, 1.0
            # where the spot is now, in panel pixels
            determinant = rf * ts - rs * tf
            of, os = (ts * du - rs * dv) / determinant, (rf * dv - tf * du) / determinant
            norm = 0.25 * (1 - tail) * jacobian / (2 * np.pi * sr * st)
            norm_r, norm_t = norm / sr, norm / st
            x, y = fs[k] + of, ss[k] + os
            au, bu, av, bv = rf / sr, rs / sr, tf / st, ts / st  # widths of one step along fs, ss
            u1, u2, v1, v2 = gauss * (au + bu), gauss * (au - bu), gauss * (av + bv), gauss * (av - bv)
            # quadratic form of the slowest exponential, and its factors from pixel to pixel: an exponential of each
            # pixel's four points would take longer than all else
            a, b, c = slow * (au * au + av * av), slow * (au * bu + av * bv), slow * (bu * bu + bv * bv)
            is_steep = max(a, c) > slow * STEEP
            bend, turn = np.exp(-a), np.exp(-b * gauss * gauss)
            grow_both, grow_ratio = np.exp(gauss * (a + b)), np.exp(gauss * (a - b))
            shrink_both, shrink_ratio, turn_back = 1 / grow_both, 1 / grow_ratio, 1 / turn  # a division is as slow
            first = max(-half, -cf, int(x - reach) - cf)
            last = min(half, n_fs - 1 - cf, int(x + reach) - cf)
            for j in range(max(-half, -cs, int(y - reach) - cs), min(half, n_ss - 1 - cs, int(y + reach) - cs) + 1):
                row = offsets[p] + (cs + j) * n_fs + cf
                bx, by = cf + first - 0.5 - x, cs + j + 0.5 - y  # of the pixel before the first
                middle = next_x = 0.0
                both = ratio = less_both = less_ratio = 1.0
                begin = max(int(-b * by / a - BEYOND / np.sqrt(a) + x - cf - 0.5), first)  # where they are not 0 yet
                for i in range(first, last + 1):
                    if i == begin:
                        middle = np.exp(
                            -0.5 * (a * (bx * bx + gauss * gauss) + 2 * b * bx * by + c * (by * by + gauss * gauss))
                        )
                        next_x = np.exp(-0.5 * (a * (2 * bx + 1) + 2 * b * by))
                        u, v = gauss * (a * bx + b * by), gauss * (b * bx + c * by)
                        both, ratio = np.exp(u + v), np.exp(u - v)
                        less_both, less_ratio = 1 / both, 1 / ratio
                    bx += 1
                    middle *= next_x
                    next_x *= bend
                    both *= grow_both
                    less_both *= shrink_both
                    ratio *= grow_ratio
                    less_ratio *= shrink_ratio
                    own = i * i + j * j <= inner * inner
                    if bx * bx + by * by > reach * reach or not is_usable(flags[row + i], own, False):
                        continue
                    if is_steep:
                        P, Pu, Pv, Pr, Pt = _steep_pixel(bx, by, au, bu, av, bv, share)
                    else:
                        # at the points (-, -), (+, +), (-, +), (+, -) from the middle; ``beyond``: what bends less
                        p1, p2 = middle * turn * both, middle * turn * less_both
                        p3, p4 = middle * turn_back * ratio, middle * turn_back * less_ratio
                        beyond = 0.0
                        if tail > 0:
                            beyond = (1 - wide2) * share * (p1 + p2 + p3 + p4)
                            p1, p2 = p1**_POWER + wide2 * share * p1, p2**_POWER + wide2 * share * p2
                            p3, p4 = p3**_POWER + wide2 * share * p3, p4**_POWER + wide2 * share * p4
                        one, other, total = p1 + p2, p3 + p4, p1 + p2 + p3 + p4
                        P = total + beyond
                        u, v = bx * au + by * bu, bx * av + by * bv
                        moved_u, moved_v = u1 * (p2 - p1) + u2 * (p4 - p3), v1 * (p2 - p1) + v2 * (p4 - p3)
                        Pu, Pv = u * total + moved_u, v * total + moved_v
                        Pr = u * (Pu + moved_u) + u1 * u1 * one + u2 * u2 * other - P
                        Pt = v * (Pv + moved_v) + v1 * v1 * one + v2 * v2 * other - P
                    P, Pu, Pv, Pr, Pt = norm * P, norm_r * Pu, norm_t * Pv, norm_r * Pr, norm_t * Pt
                    under = expected[k, half + j, half + i]
                    value = counts[row + i] * photons_per_adu[p]
                    variance = factor[k] * (gain * under + read2) + per_photon[k] * max(intensity, 0.0) * P
                    variance = max(variance, least[k], 1e-3)
                    weight = 1 / variance
                    d[0], d[1], d[2], d[3], d[4] = P, intensity * Pu, intensity * Pv, intensity * Pr, intensity * Pt
                    left = value - under - intensity * P
                    deviance += left * left * weight
                    product *= variance
                    if product < 1e-100 or product > 1e100:  # one logarithm for many pixels
                        deviance += np.log(product)
                        product = 1.0
                    left *= weight
                    for q in range(5):
                        vector[q] += d[q] * left
                        weighted = d[q] * weight
                        for w in range(q + 1):
                            matrix[q, w] += weighted * d[w]
            deviance += np.log(product)
            if not matrix[0, 0] > 0:
                break
            if fresh and step == 0:  # I alone
                intensity = vector[0] / matrix[0, 0]
                if not intensity > 0:
                    break
                continue
            if not invert(matrix, covariance):
                break
            for q in range(5):
                change[q] = 0.0
                for w in range(5):
                    change[q] += covariance[q, w] * vector[w]
            intensity = max(intensity + change[0], 0.5 * intensity)
            moved = max(abs(change[1]), abs(change[2]))
            du += min(max(change[1], -1.0), 1.0)
            dv += min(max(change[2], -1.0), 1.0)
            before_r, before_t = sr, st
            sr = max(min(max(sr + change[3], 0.7 * sr), 1.4 * sr), FLOOR)
            st = max(min(max(st + change[4], 0.7 * st), 1.4 * st), FLOOR)
            if du * du + dv * dv > farthest * farthest * 1.5 or sr > reach or st > reach:
                ok = False
                break
            widened = max(abs(sr - before_r) / sr, abs(st - before_t) / st)
            ok = step >= fewest and moved < 0.15 and widened < 0.15
            if ok and max(moved, widened) < settled:
                break
        ok = ok and du * du + dv * dv <= farthest * farthest
        out[m].ok = ok
        if ok:
            out[m].dx, out[m].dy = ux * du - uy * dv, uy * du + ux * dv
            out[m].radial, out[m].tangential = sr, st
            out[m].var_u, out[m].var_v = covariance[1, 1], covariance[2, 2]
            out[m].var_radial, out[m].var_tangential = covariance[3, 3], covariance[4, 4]
            out[m].I, out[m].deviance = intensity, deviance
