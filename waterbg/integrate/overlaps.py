"""Neighbours whose discs meet: their profiles are taken off each other, or they are fitted together.

By default a spot keeps to the pixels that are its alone, and what its neighbours' profiles reach into them is
subtracted. With ``joint`` the shared pixels are used, too, and all neighbours' intensities solve one set of
equations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import is_usable
from waterbg.integrate.fit import completed_sum, likely_intensity
from waterbg.integrate.psf import fill_shares
from waterbg.kernel import kernel

SWEEPS, JOINT_SWEEPS = 6, 40  # times around all neighbours (Gauss and Seidel's iteration)
CLOSEST = 0.02  # of its information that a spot keeps beside its neighbours, at least
MOST_NEIGHBOURS = 30.0  # of a spot, on average


def are_countless(n_spots: int, reach: float, n_pixels: int) -> bool:
    """Whether spots lie so densely that who is whose neighbour says nothing, and takes long to find out."""
    return n_spots * np.pi * reach**2 > MOST_NEIGHBOURS * n_pixels


def find_neighbours(
    panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64], usable: NDArray[np.bool_], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Neighbours of usable spots, closer than ``reach`` pixels: start of each spot's list, and the lists in a row.

    Returns
    -------
    start : (n + 1,) int64
    others : (start[-1],) int64
    """
    rows = np.flatnonzero(usable)
    order = rows[np.lexsort((ss[rows], panel[rows]))]
    places = panel[order], fs[order], ss[order]
    pairs = np.empty((_pairs(*places, reach, np.empty((0, 2), np.int64)), 2), np.int64)
    _pairs(*places, reach, pairs)
    pairs = order[pairs]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    start = np.searchsorted(both[:, 0], np.arange(len(panel) + 1)).astype(np.int64)
    return start, np.ascontiguousarray(both[:, 1])


@kernel
def _pairs(panel, fs, ss, reach, found):
    """Count pairs among spots that are sorted by panel and row, and list those that there is room for."""
    n = 0
    for i in range(panel.size):
        j = i + 1
        while j < panel.size and panel[j] == panel[i] and ss[j] - ss[i] < reach:
            if (fs[j] - fs[i]) ** 2 + (ss[j] - ss[i]) ** 2 < reach * reach:
                if n < len(found):
                    found[n, 0], found[n, 1] = i, j
                n += 1
            j += 1
    return n


@kernel
def refit_neighbours(
    pixels, rays, panel, fs, ss, inner, profiles, background, usual, start, others, hidden, joint, out
):  # fmt: skip
    """Fit spots that have neighbours again; other parameters as of :func:`waterbg.integrate.fit.fit_spots`.

    ``start``, ``others``: lists of neighbours. ``hidden`` (n,): spots of which so little is seen that not what was
    measured, but what is likely, is taken off their neighbours. ``joint``: use shared pixels, too. ``out`` holds the
    first fits and gets the new I, sigma, sigma_zero, chi2 and flat, and sums without what neighbours have in the disc.
    """
    counts, photons_per_adu, flags, offsets, shapes = pixels
    expected, scale_variance, factor, per_photon, least, gain, read2 = background
    reach, shift, widths, blur, tail = profiles
    half = expected.shape[1] // 2
    size = expected.shape[1]
    n_spots = panel.size
    involved = 0
    place = np.full(n_spots, -1, np.int64)
    for k in range(n_spots):
        if start[k + 1] > start[k]:
            place[k] = involved
            involved += 1
    share = np.zeros((involved, size, size), np.float32)
    for k in range(n_spots):
        if place[k] < 0:
            continue
        fill_shares(rays.panel[panel[k]], fs[k], ss[k], shift[k], widths[k], blur[k], tail, share[place[k]])
    intensity, guess, knowledge = np.zeros(n_spots), np.zeros(n_spots), np.zeros(n_spots)
    taken = np.zeros(n_spots)  # off neighbours
    for k in range(n_spots):
        intensity[k] = out[k].I
        guess[k] = max(intensity[k], 0.0)
        taken[k] = likely_intensity(intensity[k], out[k].sigma, usual[k]) if hidden[k] else intensity[k]
    last = JOINT_SWEEPS if joint else SWEEPS
    for sweep in range(last + 1):
        for k in range(n_spots):
            if place[k] < 0:
                continue
            p = panel[k]
            n_ss, n_fs = shapes[p]
            cf, cs = int(fs[k]), int(ss[k])
            x, y = fs[k] + shift[k, 0], ss[k] + shift[k, 1]
            far = reach[k]
            mine = start[k + 1] - start[k]
            cross = np.zeros(mine)  # sum P_k P_j / V of the neighbours
            in_disc = np.zeros(mine)  # share of the neighbours in the disc
            top = information = pull = bare = bare_pull = chi2 = flat = 0.0
            used = disc_pixels = 0
            signal = disc_b = disc_others = held = lost = np.float64(0)  # of the disc
            for j in range(max(cs - half, 0, int(y - far)), min(cs + half, n_ss - 1, int(y + far)) + 1):
                for i in range(max(cf - half, 0, int(x - far)), min(cf + half, n_fs - 1, int(x + far)) + 1):
                    r2 = (i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2
                    if r2 > far * far:
                        continue
                    at = offsets[p] + j * n_fs + i
                    own = (i - cf) ** 2 + (j - cs) ** 2 <= inner * inner
                    P = share[place[k], half + j - cs, half + i - cf]
                    if not is_usable(flags[at], own, joint):
                        if r2 <= inner * inner:
                            lost += P
                        continue
                    b = expected[k, half + j - cs, half + i - cf]
                    others_n = others_v = 0.0
                    for m in range(mine):
                        q = others[start[k] + m]
                        jj, ii = half + j - int(ss[q]), half + i - int(fs[q])
                        if 0 <= jj < size and 0 <= ii < size:
                            Q = share[place[q], jj, ii]
                            others_n += taken[q] * Q
                            others_v += guess[q] * Q
                    n = counts[at] * photons_per_adu[p] - b - others_n
                    v_bare = factor[k] * (gain * b + read2) + per_photon[k] * others_v
                    v, v_bare = max(v_bare + per_photon[k] * guess[k] * P, least[k]), max(v_bare, least[k])
                    top += P * n / v
                    information += P * P / v
                    flat += P * P / v * (1 - per_photon[k] * guess[k] * P / v)
                    pull += P * b / v
                    bare += P * P / v_bare
                    bare_pull += P * b / v_bare
                    chi2 += (n - intensity[k] * P) ** 2 / v
                    used += 1
                    if r2 <= inner * inner:
                        signal, disc_b, disc_others = signal + n, disc_b + b, disc_others + others_v
                        held, disc_pixels = held + P, disc_pixels + 1
                    if sweep == last:
                        for m in range(mine):
                            q = others[start[k] + m]
                            jj, ii = half + j - int(ss[q]), half + i - int(fs[q])
                            if 0 <= jj < size and 0 <= ii < size:
                                Q = share[place[q], jj, ii]
                                cross[m] += P * Q / v
                                in_disc[m] += Q if r2 <= inner * inner else 0.0
            if not information > 0:
                continue
            if sweep < last:
                intensity[k], knowledge[k] = top / information, information
                guess[k] = max(intensity[k], 0.0)
                taken[k] = intensity[k]
                if hidden[k]:
                    taken[k] = likely_intensity(intensity[k], 1 / np.sqrt(information), usual[k])
                if sweep == last - 1:  # for sigma
                    guess[k] = likely_intensity(intensity[k], 1 / np.sqrt(information), usual[k])
                continue
            # what the neighbours take of the spot's information: exact for two, else as if they were strangers to
            # each other
            kept, beyond = 1.0, disc_b * disc_b * scale_variance[k]
            for m in range(mine):
                q = others[start[k] + m]
                known = knowledge[q]
                if hidden[q] and usual[q] > 0:  # the variance of an exponential distribution
                    known += 1 / (usual[q] * usual[q])
                if known > 0:
                    kept -= cross[m] * cross[m] / (information * known)
                    beyond += in_disc[m] * in_disc[m] / known
            kept = max(kept, CLOSEST)
            out[k].I = intensity[k]
            out[k].sigma_zero = np.sqrt(1 / (bare * kept) + (bare_pull / bare) ** 2 * scale_variance[k])
            out[k].sigma = np.sqrt(1 / (information * kept) + (pull / information) ** 2 * scale_variance[k])
            out[k].chi2 = chi2 / max(used - 1, 1)
            out[k].flat = flat / information
            empty = factor[k] * (gain * disc_b + read2 * disc_pixels) + per_photon[k] * disc_others
            out[k].sum, out[k].sum_sigma, out[k].sum_zero = completed_sum(
                signal, 1 + lost / held if held > 0 else np.nan, max(empty, least[k] * disc_pixels), beyond,
                per_photon[k], guess[k], usual[k],
            )  # fmt: skip
