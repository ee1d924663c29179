"""Where the rings of a frame are centred, and how round they are.

The geometry knows the beam's centre and the detector's tilt as well as spots need them; spots forgive both, for a
crystal's orientation and cell make up for them. Narrow rings (of ice, say) do not: two pixels beside their centre they
are no rings any more, and neither a radial profile nor a smooth ratio to it can follow them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import NOT_CLEAN, SKEW, TAIL, Pixels
from waterbg.background.rays import Rays, column_middles, reaching, trace_point, trace_row
from waterbg.background.start import first_profile
from waterbg.background.table import denoise, fill_gaps
from waterbg.background.tiles import TILE
from waterbg.kernel import kernel

SECTORS = 24  # of azimuth
_PIXELS = 80_000  # looked at in all
_MOST_BINS = 8192  # of radius; no detector has more
_BRIGHT, _REACH = 8.0, 12  # times the highest level within so many pixels of radius: no ring is as bright
_SMOOTH = 24  # px of radius on either side: what is smoother the ratio follows
_NEAR = 3 * _SMOOTH  # px of radius: nearer to the beam a halo's own shape is not told from where it is
_STEPS = (6.0, 6.0, 3.0, 3.0, 1.0, 0.0, 0.0, 0.0)  # px that rings are blurred by until they overlap
# standard deviations of what is expected: px, and what makes as much at a few hundred pixels
_USUAL = np.array([5.0, 5.0, 0.02, 0.02, 0.05, 0.05])
_FARTHEST = 3.0  # of these
_CERTAIN = 100.0  # deviance that must be gained
_LOSERS = 0.25  # share of the sectors that may lose by it: of shadows, streaks and dead modules a few gain all there is
_STRANGE, _SOME = 30.0, 30.0  # times what other sectors have at a radius; counts that this is told by
_FEWEST = 4  # sectors that must have pixels at a radius
_COUNTS = 50.0  # photons at a radius of which scatter is known


def centred(pixels: Pixels, rays: Rays, noise: tuple[float, float]) -> tuple[Rays, NDArray[np.float64]]:
    """Rays of the background of a frame, and the radial profile to start with (:func:`first_profile`).

    The same rays where that is not certain. Elsewhere seen from where its rings are round: shifted by (t0, t1) pixels,
    without their ellipse (t2, t3) and with the detector tilted by (t4, t5): r' = r - t0 cos φ - t1 sin φ
    - r (t2 cos 2φ + t3 sin 2φ) - r²/L (t4 cos φ + t5 sin φ), to first order.

    Parameters
    ----------
    pixels : Pixels
        Flags say which of them are clean.
    rays : Rays
        By the geometry.
    noise : 2 floats
        Variance of a pixel per expected count, and at no counts.
    """
    means, _ = first_profile(pixels, rays, noise)
    if rays.n_bins > _MOST_BINS:
        return rays, means
    off = _misfit_of_rings(pixels, rays, noise, means)
    if not off.any():
        return rays, means
    better = reaching(rays._replace(panel=_seen_from(rays.panel, off)), pixels.shapes)
    return better, first_profile(pixels, better, noise)[0]


def _seen_from(panel: NDArray[np.float64], off: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners and steps of panels in the coordinates in which rings are round."""
    turn = np.array([[1 - off[2], -off[3], 0], [-off[3], 1 + off[2], 0], [off[4], off[5], 1]])
    out = panel.copy()
    for part in (0, 3, 6):
        out[:, part : part + 3] = panel[:, part : part + 3] @ turn.T
    out[:, :2] -= off[:2]
    return out


def _misfit_of_rings(
    pixels: Pixels, rays: Rays, noise: tuple[float, float], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(6,) see `centred`; zeros where rings are where they should be, or nothing is certain."""
    sums = _sums(pixels, rays, noise, means)
    there = np.flatnonzero(sums[1].any(axis=0))
    first, last = (max(int(there[0]), _NEAR), int(there[-1]) + 1) if len(there) else (0, 0)
    if last - first < 2 * _SMOOTH:
        return np.zeros(6)
    sums = np.ascontiguousarray(sums[:, :, first:last])
    nowhere = np.zeros(6)
    if _look(sums, first, rays.length, nowhere, noise).promise < _CERTAIN:
        return nowhere
    _empty_strange(sums)
    before = _look(sums, first, rays.length, nowhere, noise)
    if before.promise < _CERTAIN:
        return nowhere
    off, limit = nowhere, _FARTHEST * _USUAL
    for width in _STEPS:
        off = np.clip(off + _look(_blurred(sums, width), first, rays.length, off, noise).step, -limit, limit)
    after = _look(sums, first, rays.length, off, noise)
    gain = (before.deviance - after.deviance)[before.deviance > 0]
    return off if gain.sum() > _CERTAIN and np.quantile(gain, _LOSERS) > 0 else nowhere


def _empty_strange(sums: NDArray[np.float64]) -> None:
    """Forget what is far from the median of all sectors: modules that show nothing, or always the same."""
    counts, factors, _ = sums
    there = np.where(factors > 0, counts / np.maximum(factors, 1e-9), np.nan)
    known = np.isfinite(there).any(axis=0)
    middle = np.zeros(counts.shape[1])
    middle[known] = np.nanmedian(there[:, known], axis=0)
    usual = middle * factors
    sums[:, (counts > _STRANGE * usual + _SOME) | (usual > _STRANGE * np.maximum(counts, 0) + _SOME)] = 0


def _sums(pixels: Pixels, rays: Rays, noise: tuple[float, float], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, SECTORS, n_bins) counts, scattering factors and number of clean pixels, of some rows."""
    padded = np.pad(means, _REACH, mode="edge")
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1).max(axis=1)
    sums = np.zeros((3, SECTORS, rays.n_bins))
    step = max(1, round(pixels.counts.size / _PIXELS))
    _add_up(pixels, rays, _BRIGHT * highest, noise[0], noise[1], step, sums)
    return sums


@kernel
def _add_up(pixels, rays, most, gain, read2, step, sums):
    counts, photons_per_adu, flags, _, shapes = pixels
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    r, g = np.empty(widest, np.float32), np.empty(widest, np.float32)
    columns, n_sectors = column_middles(widest), sums.shape[1]
    first, due = 0, step // 2  # rows are counted on from panel to panel, which may have fewer than a step
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        ray = rays.panel[p]
        while due < n_ss:
            trace_row(ray, due, columns[:n_fs], rays.length, rays.polarisation, r, g)
            row = first + due * n_fs
            for begin in range(0, n_fs, TILE):
                end = min(begin + TILE, n_fs)
                x, y, _, _ = trace_point(ray, 0.5 * (begin + end), due + 0.5, rays.length, rays.polarisation)
                sector = min(int((np.arctan2(y, x) / (2 * np.pi) + 0.5) * n_sectors), n_sectors - 1)
                for i in range(begin, end):
                    if flags[row + i] & NOT_CLEAN:
                        continue
                    k, n = int(r[i]), counts[row + i] * photons_per_adu[p]
                    mu = most[k] * g[i]
                    if n > mu + TAIL * np.sqrt(gain * mu + read2) + SKEW * gain:
                        continue
                    sums[0, sector, k] += n
                    sums[1, sector, k] += g[i]
                    sums[2, sector, k] += 1
            due += step
        due -= n_ss
        first += n_ss * n_fs


def _blurred(sums: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Sums over neighbouring bins, by a triangle of that standard deviation."""
    half = round((np.sqrt(1 + 6 * width * width) - 1) / 2)
    box = np.ones(2 * half + 1) / (2 * half + 1)
    triangle = np.convolve(box, box)
    return np.apply_along_axis(np.convolve, -1, sums, triangle, mode="same") if half else sums


class _Look(NamedTuple):
    """A step of Gauss and Newton, the deviance that it promises to save, and that of each sector before it."""

    step: NDArray[np.float64]
    promise: float
    deviance: NDArray[np.float64]


def _look(
    sums: NDArray[np.float64], first: int, length: float, off: NDArray[np.float64], noise: tuple[float, float]
) -> _Look:
    """What counts say of rings that are supposed to be ``off``; ``first``: radius of the first bin."""
    counts, factors, number = _round_sums(sums, first, length, off) if off.any() else sums.sum(axis=1)
    some = factors > 0
    profile, variance = np.zeros_like(counts), np.full_like(counts, np.inf)
    profile[some] = np.maximum(counts[some] / factors[some], 0)
    scatter = noise[0] * np.maximum(counts, _COUNTS) + noise[1] * number
    variance[some] = scatter[some] / factors[some] ** 2
    profile = denoise(fill_gaps(profile, factors), variance)
    matrix, vector, deviance = np.zeros((6, 6)), np.zeros(6), np.zeros(SECTORS)
    _compare(sums, first, length, off, profile, np.gradient(profile), noise[0], noise[1], matrix, vector, deviance)
    tied = matrix + np.diag(1 / _USUAL**2)
    step = np.linalg.solve(tied, vector - off / _USUAL**2)
    return _Look(step, float(vector @ np.linalg.solve(tied, vector)), deviance)


@kernel
def _directions(sector):
    """Cosine and sine of the azimuth of a sector, and of twice that."""
    phi = 2 * np.pi * (sector + 0.5) / SECTORS - np.pi
    return np.cos(phi), np.sin(phi), np.cos(2 * phi), np.sin(2 * phi)


@kernel
def _moved(off, directions, r, length):
    """How far outwards rings are at a radius."""
    c, s, cc, ss = directions
    return off[0] * c + off[1] * s + r * (off[2] * cc + off[3] * ss) + r * r / length * (off[4] * c + off[5] * s)


@kernel
def _between(values, at):
    """Value between two bins, by their middles."""
    at = min(max(at, 0.0), values.size - 1.001)
    k = int(at)
    return values[k] + (at - k) * (values[k + 1] - values[k])


@kernel
def _round_sums(sums, first, length, off):
    """(3, n_bins) sums over all sectors, each taken back to where it is round."""
    n = sums.shape[2]
    out = np.zeros((3, n))
    for sector in range(sums.shape[1]):
        directions = _directions(sector)
        for k in range(n):
            at = k + _moved(off, directions, first + k + 0.5, length)
            for part in range(3):
                out[part, k] += _between(sums[part, sector], at)
    return out


@kernel
def _smooth_over(values, out):
    """Sums over _SMOOTH bins on either side."""
    n, total = values.size, 0.0
    for k in range(min(_SMOOTH, n)):
        total += values[k]
    for k in range(n):
        if k + _SMOOTH < n:
            total += values[k + _SMOOTH]
        if k > _SMOOTH:
            total -= values[k - _SMOOTH - 1]
        out[k] = total


@kernel
def _compare(sums, first, length, off, profile, slope, gain, read2, matrix, vector, deviance):
    """Normal equations of what moves rings, and deviance, each against a smooth ratio of its sector."""
    n = profile.size
    expected, rise, level, seen, steep = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    counts, known = np.empty(n), np.zeros(n, np.int64)
    # powers of the radius are the same for both directions that go with them, and these for all of a sector
    squares, lefts, turns, powers = np.empty((3, 3)), np.empty(3), np.empty((3, 2)), np.ones(3)
    for sector in range(SECTORS):
        for k in range(n):
            known[k] += sums[2, sector, k] > 0
    for sector in range(SECTORS):
        directions = _directions(sector)
        for k in range(n):
            expected[k] = rise[k] = counts[k] = 0.0
            if sums[2, sector, k] > 0 and known[k] >= _FEWEST:
                at = k - _moved(off, directions, first + k + 0.5, length)
                expected[k] = sums[1, sector, k] * _between(profile, at)
                rise[k] = -sums[1, sector, k] * _between(slope, at)
                counts[k] = sums[0, sector, k]
        _smooth_over(expected, level)
        _smooth_over(counts, seen)
        for k in range(n):
            level[k] = max(level[k], 1e-9)
            seen[k] = max(seen[k] / level[k], 0.0)
            rise[k] *= seen[k]
        _smooth_over(rise, steep)
        squares[:], lefts[:] = 0.0, 0.0
        for k in range(n):
            if not expected[k] > 0:
                continue
            mu = expected[k] * seen[k]
            left, weight = counts[k] - mu, 1 / max(gain * mu + read2 * sums[2, sector, k], 1e-3)
            deviance[sector] += left * left * weight
            up = rise[k] - expected[k] * steep[k] / level[k]
            powers[1] = first + k + 0.5
            powers[2] = powers[1] * powers[1] / length
            for i in range(3):
                lefts[i] += up * powers[i] * left * weight
                for j in range(i + 1):
                    squares[i, j] += up * up * powers[i] * powers[j] * weight
        turns[0], turns[1], turns[2] = directions[:2], directions[2:], directions[:2]
        for i in range(6):
            vector[i] += lefts[i // 2] * turns[i // 2, i % 2]
            for j in range(6):
                product = squares[max(i // 2, j // 2), min(i // 2, j // 2)]
                matrix[i, j] += product * turns[i // 2, i % 2] * turns[j // 2, j % 2]
