"""Where strong spots are and how wide they are, each by itself: Fisher scoring of I, position and two widths."""

from __future__ import annotations

import numpy as np
from numba import njit

from waterbg.background.masks import BAD, ONE, TWO
from waterbg.integrate.psf import FLOOR, TAIL_WIDTH

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
"""What is found about a strong spot: offset from the prediction, Gaussian widths, their variances from counting; pixels."""

FARTHEST = 2.5  # px: a spot further from its prediction is another spot
_STEPS = 7


@njit(cache=True, nogil=True, error_model="numpy")
def measure_spots(
    counts, photons_per_adu, flags, offsets, shapes, rays, panel, fs, ss, which, inner, reach, expected, factor, gain,
    read2, start, tail, out,
):  # fmt: skip
    """Fit a Gaussian with five unknowns (I, x, y, radial and tangential sigma) to each of the spots ``which``.

    ``reach``: radius of the fit about the spot, pixels. ``start`` (n, 2): radial and tangential sigma to start from.
    ``tail``: share in the component that is TAIL_WIDTH times as wide. ``out`` (len(which),) MEASURED.
    """
    half = expected.shape[1] // 2
    wide2 = 1 / (TAIL_WIDTH * TAIL_WIDTH)
    share = tail * wide2 / (1 - tail)
    gauss = 0.5 / np.sqrt(3.0)
    matrix, vector = np.empty((5, 5)), np.empty(5)
    d = np.empty(5)
    for m in range(which.size):
        k = which[m]
        p = panel[k]
        ray = rays[p]
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        x, y = ray[0] + fs[k] * ray[3] + ss[k] * ray[6], ray[1] + fs[k] * ray[4] + ss[k] * ray[7]
        rho = max(np.sqrt(x * x + y * y), 1e-9)
        ux, uy = x / rho, y / rho
        rf, rs = ux * ray[3] + uy * ray[4], ux * ray[6] + uy * ray[7]  # radial part of a step along fs, ss
        tf, ts = ux * ray[4] - uy * ray[3], ux * ray[7] - uy * ray[6]
        jacobian = abs(rf * ts - rs * tf)
        intensity, du, dv = 0.0, 0.0, 0.0  # du, dv: offset along and across the radius
        sr, st = start[k, 0], start[k, 1]
        ok = False
        deviance = 0.0
        for step in range(_STEPS):
            matrix[:], vector[:] = 0.0, 0.0
            deviance = 0.0
            # where the spot is now, in panel pixels
            determinant = rf * ts - rs * tf
            of, os = (ts * du - rs * dv) / determinant, (rf * dv - tf * du) / determinant
            norm = 0.25 * (1 - tail) * jacobian / (2 * np.pi * sr * st)
            for j in range(max(-half, -cs), min(half, n_ss - 1 - cs) + 1):
                row = offsets[p] + (cs + j) * n_fs + cf
                for i in range(max(-half, -cf), min(half, n_fs - 1 - cf) + 1):
                    bx, by = cf + i + 0.5 - fs[k] - of, cs + j + 0.5 - ss[k] - os
                    own = i * i + j * j <= inner * inner
                    flag = flags[row + i]
                    if bx * bx + by * by > reach * reach or flag & (BAD | TWO) or (flag & ONE and not own):
                        continue
                    P = Pu = Pv = Pr = Pt = 0.0
                    for sy in (by - gauss, by + gauss):
                        for sx in (bx - gauss, bx + gauss):
                            u, v = (sx * rf + sy * rs) / sr, (sx * tf + sy * ts) / st
                            e = np.exp(-0.5 * (u * u + v * v))
                            f = share * np.exp(-0.5 * wide2 * (u * u + v * v)) if tail > 0 else 0.0
                            slope = e + wide2 * f
                            P += e + f
                            Pu += slope * u
                            Pv += slope * v
                            Pr += slope * u * u - e - f
                            Pt += slope * v * v - e - f
                    P, Pu, Pv, Pr, Pt = norm * P, norm * Pu / sr, norm * Pv / st, norm * Pr / sr, norm * Pt / st
                    b = expected[k, half + j, half + i]
                    value = counts[row + i] * photons_per_adu[p]
                    variance = max(factor[k] * (gain * (b + max(intensity, 0.0) * P) + read2), 1e-3)
                    d[0], d[1], d[2], d[3], d[4] = P, intensity * Pu, intensity * Pv, intensity * Pr, intensity * Pt
                    left = (value - b - intensity * P) / variance
                    deviance += left * left * variance + np.log(variance)
                    for q in range(5):
                        vector[q] += d[q] * left
                        for w in range(q, 5):
                            matrix[q, w] += d[q] * d[w] / variance
            if not matrix[0, 0] > 0:
                break
            if step == 0:  # I alone
                intensity = vector[0] / matrix[0, 0]
                if not intensity > 0:
                    break
                continue
            for q in range(5):
                for w in range(q):
                    matrix[q, w] = matrix[w, q]
                matrix[q, q] *= 1 + 1e-9
            if abs(np.linalg.det(matrix)) < 1e-300:
                break
            change = np.linalg.solve(matrix, vector)
            intensity = max(intensity + change[0], 0.5 * intensity)
            du += min(max(change[1], -1.0), 1.0)
            dv += min(max(change[2], -1.0), 1.0)
            sr = max(min(max(sr + change[3], 0.7 * sr), 1.4 * sr), FLOOR)
            st = max(min(max(st + change[4], 0.7 * st), 1.4 * st), FLOOR)
            if du * du + dv * dv > FARTHEST * FARTHEST * 1.5 or sr > reach or st > reach:
                break
            ok = step >= 3 and abs(change[1]) < 0.1 and abs(change[2]) < 0.1 and abs(change[3]) < 0.1 * sr
            ok = ok and abs(change[4]) < 0.1 * st
            if step >= 3 and max(abs(change[1]), abs(change[2]), abs(change[3]), abs(change[4])) < 0.01:
                break
        ok = ok and du * du + dv * dv <= FARTHEST * FARTHEST
        out[m].ok = ok
        if ok:
            covariance = np.linalg.inv(matrix)
            out[m].dx, out[m].dy = ux * du - uy * dv, uy * du + ux * dv
            out[m].radial, out[m].tangential = sr, st
            out[m].var_u, out[m].var_v = covariance[1, 1], covariance[2, 2]
            out[m].var_radial, out[m].var_tangential = covariance[3, 3], covariance[4, 4]
            out[m].I, out[m].deviance = intensity, deviance
