"""One walk over the pixels of a frame: radial and tile sums of clean counts, and of what the model expects there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.background.masks import NOT_CLEAN
from waterbg.background.rays import Rays, trace_point, trace_row
from waterbg.background.table import PER_BIN
from waterbg.background.tiles import TILE, TileGrid

# Counts further than this many standard deviations from the model are not background: 1e-5 of Poisson counts. The upper
# Poisson quantile is mu + 4.3 sqrt(mu) + 3.2 within half a photon for all mu. What is cut biases the mean by less than
# 1e-5 * (4.3 sqrt(mu) + 4) photons per pixel, 1 % of a hundredth of what matters: no correction is made.
# Tighter tails would bias integrating detectors, whose counts are not Poisson.
TAIL = 4.3
SKEW = 3.2


@dataclass
class Sums:
    """What one walk collects; tiles as in the grid, radial bins of one pixel.

    Attributes
    ----------
    radial_n, radial_s : (n_bins,) float64
        Counts, and expected counts, of the clean pixels of each bin.
    radial_k : (n_bins,) int64
        Their number.
    tile_n, tile_s, tile_v, tile_k : (n_tiles,) float32
        Counts, expected counts, squared deviations, number of the clean pixels of each tile.
    """

    radial_n: NDArray[np.float64]
    radial_s: NDArray[np.float64]
    radial_k: NDArray[np.int64]
    tile_n: NDArray[np.float32]
    tile_s: NDArray[np.float32]
    tile_v: NDArray[np.float32]
    tile_k: NDArray[np.float32]


def walk(
    counts: NDArray[np.float32],
    adu_per_photon: NDArray[np.float64],
    flags: NDArray[np.uint8],
    shapes: NDArray[np.int64],
    rays: Rays,
    grid: TileGrid,
    profile: NDArray[np.float32],
    ratio: NDArray[np.float32],
    noise: tuple[float, float],
    *,
    step: int = 1,
    slack: float = 0.0,
    quiet: NDArray[np.uint8] | None = None,
    every: NDArray[np.uint8] | None = None,
) -> Sums:
    """Add up clean pixels that agree with the model, profile(r) times g times ratio.

    Parameters
    ----------
    counts : (n_pixels,) float32
        ADU.
    adu_per_photon : (n_panels,) float64
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`.
    shapes : (n_panels, 2) int64
    rays : Rays
    grid : TileGrid
    profile : (2, PER_BIN * n_bins + 1) float32
        Curve of the radial profile, see :func:`waterbg.background.table.curve`.
    ratio : (n_tiles,) float32
        Ratio to the radial profile at the middle of every tile; bilinear between them.
    noise : 2 floats
        Variance of a pixel is noise[0] times its expected counts plus noise[1].
    step : int
        Only every step-th row is walked, but for those that ``every`` wants.
    slack : float
        Relative error allowed to the model on top of the noise.
    quiet : (n_tiles,) uint8, optional
        Tiles that count for the radial sums; default: all.
    every : (n_bins,) uint8, optional
        Of the rows that reach a radial bin every so-manieth will do; default: ``step``.
    """
    sums = Sums(
        np.zeros(rays.n_bins),
        np.zeros(rays.n_bins),
        np.zeros(rays.n_bins, np.int64),
        *(np.zeros(grid.n_tiles, np.float32) for _ in range(4)),
    )
    _walk(
        counts,
        (1 / adu_per_photon).astype(np.float32),
        flags,
        shapes,
        rays.panel,
        rays.length,
        rays.polarisation,
        profile,
        grid.shapes,
        ratio,
        np.float32(noise[0]),
        np.float32(noise[1]),
        step,
        np.float32(slack),
        np.ones(grid.n_tiles, np.uint8) if quiet is None else quiet,
        np.full(rays.n_bins, step, np.uint8) if every is None else every,
        sums.radial_n,
        sums.radial_s,
        sums.radial_k,
        sums.tile_n,
        sums.tile_s,
        sums.tile_v,
        sums.tile_k,
    )
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
def foot(ray, ss, n_fs):
    """Column at which a row is nearest to the beam."""
    x, y = ray[0] + (ss + 0.5) * ray[6], ray[1] + (ss + 0.5) * ray[7]
    length2 = ray[3] * ray[3] + ray[4] * ray[4]
    if length2 == 0.0:  # a row along the beam
        return 0.0
    return min(max(-(x * ray[3] + y * ray[4]) / length2, 0.0), float(n_fs))


@njit(cache=True, nogil=True, error_model="numpy")
def blend_rows(ratio, first_tile, n_ts, n_tf, ss, out):
    """Ratio at every tile column for one row of pixels: linear between the two rows of tiles around it."""
    at = (ss + 0.5) / TILE - 0.5
    above = min(max(int(np.floor(at)), 0), n_ts - 1)
    below = min(above + 1, n_ts - 1)
    w = np.float32(min(max(at - above, 0.0), 1.0))
    for t in range(n_tf):
        upper, lower = ratio[first_tile + above * n_tf + t], ratio[first_tile + below * n_tf + t]
        out[t] = upper + w * (lower - upper)


@njit(cache=True, nogil=True, error_model="numpy")
def _expected_row(profile, r, g, blended, n_fs, n_tf, out):
    """Expected counts of one row: curve times scattering factor times the ratio, linear between tile columns."""
    per_bin = np.float32(PER_BIN)
    intercept, slope = profile[0], profile[1]
    for i in range(n_fs):
        at = r[i] * per_bin
        k = np.uint32(at)
        out[i] = (intercept[k] + at * slope[k]) * g[i]
    half = TILE // 2
    for i in range(min(half, n_fs)):
        out[i] *= blended[0]
    for t in range(n_tf - 1):
        here, rise = blended[t], (blended[t + 1] - blended[t]) / np.float32(TILE)
        start = t * TILE + half
        for i in range(min(TILE, n_fs - start)):
            out[start + i] *= here + (np.float32(i) + np.float32(0.5)) * rise
    for i in range((n_tf - 1) * TILE + half, n_fs):
        out[i] *= blended[n_tf - 1]


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(
    counts, inverse_adu, flags, shapes, rays, length, polarisation, profile, grid_shapes, ratio, gain, read2, step,
    slack, quiet, every, radial_n, radial_s, radial_k, tile_n, tile_s, tile_v, tile_k,
):  # fmt: skip
    # Rows are handled in buffers, one short loop after the other, so that each becomes vector instructions: 3 ns a
    # pixel in all. The radial sums are the one loop that cannot; they skip rows where bins are full without them.
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    r, g, S = np.empty(widest, np.float32), np.empty(widest, np.float32), np.empty(widest, np.float32)
    clean_n, clean_s = np.empty(widest, np.float32), np.empty(widest, np.float32)
    column_n, column_s = np.empty(widest, np.float32), np.empty(widest, np.float32)
    column_v, column_k = np.empty(widest, np.float32), np.empty(widest, np.float32)
    blended = np.empty(widest // TILE + 1, np.float32)
    zero, one, tail, skew = np.float32(0), np.float32(1), np.float32(TAIL), np.float32(SKEW) * gain
    up, down, not_clean = one + slack, one / (one + slack), np.uint8(NOT_CLEAN)
    first_pixel = first_tile = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        to_photons = inverse_adu[p]
        for top in range(0, n_ss, TILE):
            column_n[:], column_s[:], column_v[:], column_k[:] = zero, zero, zero, zero
            for ss in range(top, min(top + TILE, n_ss)):
                # rows that come near the beam hold the only pixels of small bins: none of them is skipped
                _, _, nearest, _ = trace_point(rays[p], foot(rays[p], ss, n_fs), ss + 0.5, length, polarisation)
                if ss % min(step, every[int(nearest)]) != 0:
                    continue
                trace_row(rays[p], ss, n_fs, length, polarisation, r, g)
                blend_rows(ratio, first_tile, n_ts, n_tf, ss, blended)
                _expected_row(profile, r, g, blended, n_fs, n_tf, S)
                row = counts[first_pixel + ss * n_fs : first_pixel + (ss + 1) * n_fs]
                flag = flags[first_pixel + ss * n_fs : first_pixel + (ss + 1) * n_fs]
                for i in range(n_fs):
                    n, s = row[i] * to_photons, S[i]
                    reach = tail * np.sqrt(gain * s + read2)
                    clean = ((flag[i] & not_clean) == 0) & (n <= up * s + reach + skew) & (n >= down * s - reach)
                    clean_n[i] = n if clean else zero
                    clean_s[i] = s if clean else zero
                    column_n[i] += clean_n[i]
                    column_s[i] += clean_s[i]
                    column_v[i] += (clean_n[i] - clean_s[i]) * (clean_n[i] - clean_s[i])
                    column_k[i] += one if clean else zero
                at = first_tile + (top // TILE) * n_tf
                for t in range(n_tf):
                    start = t * TILE
                    if quiet[at + t] == 0 or ss % every[int(r[start])] != 0:
                        continue
                    for i in range(start, min(start + TILE, n_fs)):
                        k = np.uint32(r[i])
                        radial_n[k] += clean_n[i]
                        radial_s[k] += clean_s[i]
                        radial_k[k] += clean_s[i] > zero
            at = first_tile + (top // TILE) * n_tf
            for t in range(n_tf):
                total_n = total_s = total_v = total_k = zero
                for i in range(t * TILE, min(t * TILE + TILE, n_fs)):
                    total_n += column_n[i]
                    total_s += column_s[i]
                    total_v += column_v[i]
                    total_k += column_k[i]
                tile_n[at + t], tile_s[at + t] = total_n, total_s
                tile_v[at + t], tile_k[at + t] = total_v, total_k
        first_pixel += n_ss * n_fs
        first_tile += n_ts * n_tf
