"""One walk over the pixels of a frame: radial and tile sums of clean counts, and of what the model expects there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import NOT_CLEAN, SKEW, TAIL, Pixels
from waterbg.background.rays import Rays, column_middles, trace_point, trace_radius, trace_row
from waterbg.background.table import PER_BIN
from waterbg.background.tiles import TILE, TileGrid
from waterbg.kernel import kernel

HALF = TILE // 2


class Sums(NamedTuple):
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
    pixels: Pixels,
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
    pixels : Pixels
    rays : Rays
    grid : TileGrid
    profile : (2, PER_BIN * n_bins + 1) float32
        Curve of the radial profile, see :func:`waterbg.background.table.curve`.
    ratio : (n_tiles,) float32
        Ratio to the radial profile at the middle of every tile; bilinear between them.
    noise : 2 floats
        Variance of a pixel is noise[0] times its expected counts plus noise[1].
    step : int
        Only every step-th row is walked, but for what ``every`` wants of the others near the beam.
    slack : float
        Relative error allowed to the model on top of the noise.
    quiet : (n_tiles,) uint8, optional
        Tiles that count for the radial sums; default: all.
    every : (n_bins,) uint8, optional
        Of the rows that reach a radial bin every n-th will do; n is a multiple of ``step`` or less; default: ``step``.
    """
    sums = Sums(
        np.zeros(rays.n_bins),
        np.zeros(rays.n_bins),
        np.zeros(rays.n_bins, np.int64),
        *(np.zeros(grid.n_tiles, np.float32) for _ in range(4)),
    )
    quiet = np.ones(grid.n_tiles, np.uint8) if quiet is None else quiet
    every = np.full(rays.n_bins, step, np.uint8) if every is None else every
    gain, read2 = np.float32(noise[0]), np.float32(noise[1])
    _walk(pixels, rays, profile, grid.shapes, ratio, gain, read2, step, np.float32(slack), quiet, every, sums)
    return sums


@kernel
def foot(ray, ss, n_fs):
    """Column at which a row is nearest to the beam."""
    x, y = ray[0] + (ss + 0.5) * ray[6], ray[1] + (ss + 0.5) * ray[7]
    length2 = ray[3] * ray[3] + ray[4] * ray[4]
    if length2 == 0.0:  # a row along the beam
        return 0.0
    return min(max(-(x * ray[3] + y * ray[4]) / length2, 0.0), float(n_fs))


@kernel
def blend_rows(ratio, first_tile, n_ts, n_tf, ss, out):
    """Ratio at every tile column for one row of pixels: linear between the two rows of tiles around it."""
    at = (ss + 0.5) / TILE - 0.5
    above = min(max(int(np.floor(at)), 0), n_ts - 1)
    below = min(above + 1, n_ts - 1)
    w = np.float32(min(max(at - above, 0.0), 1.0))
    # slices, because an index that may be negative keeps the loop from becoming vector instructions
    upper, lower = ratio[first_tile + above * n_tf :], ratio[first_tile + below * n_tf :]
    for t in range(n_tf):
        out[t] = upper[t] + w * (lower[t] - upper[t])


@kernel
def expected_row(profile, r, g, blended, first, n, pieces, middles, rises, out):
    """Expected counts of n pixels of a row from tile ``first`` on, in ``out`` from HALF on.

    Curve times scattering factor times ratio. The product of the two latter is linear between the middles of tiles
    (``g`` begins one tile before): where the sample is a thousand pixels away that is right to 1e-5. ``middles`` and
    ``rises`` are buffers for it and its steps; ``pieces`` becomes the piece of the curve for each pixel.
    """
    per_bin = np.float32(PER_BIN)
    intercept, slope, here = profile[0], profile[1], out[HALF : HALF + n]
    for i in range(n):  # apart, for whole numbers (with a sign) are made by vector instructions and looked up by others
        pieces[i] = np.int32(r[i] * per_bin)
    for i in range(n):
        k = np.uint32(pieces[i])
        here[i] = intercept[k] + r[i] * per_bin * slope[k]
    eighth, half, last, n_here = np.float32(1 / TILE), np.float32(0.5), blended.size - 1, (n + TILE - 1) // TILE + 1
    middles[0] = g[0] * blended[max(first - 1, 0)]
    for t in range(n_here):
        middles[t + 1] = g[t + 1] * blended[min(first + t, last)]
    for t in range(n_here):
        rises[t] = (middles[t + 1] - middles[t]) * eighth
    at_pixel = 0
    for t in range(n_here):
        middle, rise = middles[t], rises[t]
        for i in range(TILE):  # as many as fit one vector
            out[at_pixel] *= middle + (np.float32(i) + half) * rise
            at_pixel += 1


@kernel
def _near_columns(due, middle, out):
    """First and last tile of a row, as ``out``, of those about the ``middle`` one that are due without a gap."""
    out[0] = out[1] = middle
    while out[0] > 0 and due[out[0] - 1]:
        out[0] -= 1
    while out[1] < due.size - 1 and due[out[1] + 1]:
        out[1] += 1


@kernel
def _add_pairs(source, target):
    for i in range(target.size):
        target[i] = source[2 * i] + source[2 * i + 1]


@kernel
def _add_tiles(column, halves, quarters, out):
    """Sums over the columns of each tile, of neighbours first; ``halves`` and ``quarters`` are buffers."""
    n = out.size
    _add_pairs(column, halves[: 4 * n])
    _add_pairs(halves, quarters[: 2 * n])
    _add_pairs(quarters, out)


@kernel
def _add_bins(pieces, n, s, radial_n, radial_s, radial_k):
    """Add pixels to their radial bins. A loop from 0 on, for an index that may be negative takes a fifth longer."""
    for i in range(pieces.size):
        k = np.uint32(pieces[i]) // np.uint32(PER_BIN)
        radial_n[k] += n[i]
        radial_s[k] += s[i]
        radial_k[k] += s[i] > np.float32(0)


@kernel
def _walk(pixels, rays, profile, grid_shapes, ratio, gain, read2, step, slack, quiet, every, sums):
    # Rows between those that are walked whole are walked near the beam only, as far as bins want them.
    # Rows are handled in buffers, one short loop after the other, so that each becomes vector instructions. The radial
    # sums are the one loop that cannot, and take a third of the time, even with bins that are made whole numbers
    # beforehand; they skip rows where bins are full without them.
    counts, photons_per_adu, flags, _, shapes = pixels
    length, polarisation = rays.length, rays.polarisation
    radial_n, radial_s, radial_k, tile_n, tile_s, tile_v, tile_k = sums
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    r, out = np.empty(widest, np.float32), np.zeros(widest + 2 * TILE, np.float32)
    far, g = np.empty(widest // TILE + 4, np.float32), np.empty(widest // TILE + 4, np.float32)
    middles, rises = np.empty(widest // TILE + 4, np.float32), np.empty(widest // TILE + 4, np.float32)
    pieces, due = np.empty(widest, np.int32), np.empty(widest // TILE + 1, np.uint8)
    clean_n, clean_s = np.empty(widest, np.float32), np.empty(widest, np.float32)
    widest = -(-widest // TILE) * TILE  # whole tiles
    column_n, column_s = np.empty(widest, np.float32), np.empty(widest, np.float32)
    column_v, column_k = np.empty(widest, np.float32), np.empty(widest, np.float32)
    blended, halves, quarters = (
        np.empty(widest // TILE + 1, np.float32),
        np.empty(widest // 2, np.float32),
        np.empty(widest // 4, np.float32),
    )
    columns, tile_columns = column_middles(widest), column_middles(widest // TILE + 4, -0.5 * TILE - 0.5, TILE)
    tiles, is_due = np.empty(2, np.int64), np.empty(256, np.uint8)
    least, most = step, 0
    for k in range(every.size):
        least, most = min(least, every[k]), max(most, every[k])
    zero, one, tail2, skew = np.float32(0), np.float32(1), np.float32(TAIL * TAIL), np.float32(SKEW) * gain
    up, down, not_clean = one + slack, one / (one + slack), np.uint8(NOT_CLEAN)
    first_pixel = first_tile = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        to_photons = photons_per_adu[p]
        for top in range(0, n_ss, TILE):
            walked = False
            for ss in range(top, min(top + TILE, n_ss)):
                if ss % step != 0:
                    if least >= step:
                        continue
                    # rows that come near the beam hold the only pixels of small bins
                    _, _, nearest, _ = trace_point(
                        rays.panel[p], foot(rays.panel[p], ss, n_fs), ss + 0.5, length, polarisation
                    )
                    if ss % every[int(nearest)] != 0:
                        continue
                if not walked:
                    column_n[:], column_s[:], column_v[:], column_k[:] = zero, zero, zero, zero
                    walked = True
                trace_row(rays.panel[p], ss, tile_columns[: n_tf + 2], length, polarisation, far, g)
                for k in range(1, most + 1):
                    is_due[k] = ss % k == 0
                for t in range(n_tf):  # by the bin that the middle of the tile is in
                    due[t] = is_due[every[min(int(far[t + 1]), every.size - 1)]]
                tiles[0], tiles[1] = 0, n_tf - 1
                if ss % step != 0:
                    nearest = int(foot(rays.panel[p], ss, n_fs)) // TILE
                    _near_columns(due[:n_tf], min(nearest, n_tf - 1), tiles)
                begin, end = tiles[0] * TILE, min((tiles[1] + 1) * TILE, n_fs)
                n_here = end - begin
                trace_radius(rays.panel[p], ss, columns[begin:end], length, r)
                blend_rows(ratio, first_tile, n_ts, n_tf, ss, blended)
                expected_row(profile, r, g[tiles[0] :], blended[:n_tf], tiles[0], n_here, pieces, middles, rises, out)
                S = out[HALF : HALF + n_here]
                row = counts[first_pixel + ss * n_fs + begin : first_pixel + ss * n_fs + end]
                flag = flags[first_pixel + ss * n_fs + begin : first_pixel + ss * n_fs + end]
                sum_n, sum_s = column_n[begin:end], column_s[begin:end]
                sum_v, sum_k = column_v[begin:end], column_k[begin:end]
                for i in range(n_here):
                    n, s = row[i] * to_photons, S[i]
                    reach2 = tail2 * (gain * s + read2)
                    above, below = max(n - up * s - skew, zero), max(down * s - n, zero)
                    clean = ((flag[i] & not_clean) == 0) & (above * above <= reach2) & (below * below <= reach2)
                    clean_n[i] = n if clean else zero
                    clean_s[i] = s if clean else zero
                # apart, because a loop over more than a few arrays does not become vector instructions
                for i in range(n_here):
                    sum_n[i] += clean_n[i]
                    sum_s[i] += clean_s[i]
                for i in range(n_here):
                    sum_v[i] += (clean_n[i] - clean_s[i]) * (clean_n[i] - clean_s[i])
                    sum_k[i] += one if clean_s[i] > zero else zero
                at, t = first_tile + (top // TILE) * n_tf, tiles[0]
                while t <= tiles[1]:
                    start = t * TILE - begin  # of tiles in a row that all count
                    while t <= tiles[1] and due[t] & quiet[at + t]:
                        t += 1
                    stop = min(t * TILE - begin, n_here)
                    if start < stop:
                        _add_bins(
                            pieces[start:stop], clean_n[start:stop], clean_s[start:stop], radial_n, radial_s, radial_k
                        )
                    t += 1
            if not walked:
                continue
            at = first_tile + (top // TILE) * n_tf
            _add_tiles(column_n, halves, quarters, tile_n[at : at + n_tf])
            _add_tiles(column_s, halves, quarters, tile_s[at : at + n_tf])
            _add_tiles(column_v, halves, quarters, tile_v[at : at + n_tf])
            _add_tiles(column_k, halves, quarters, tile_k[at : at + n_tf])
        first_pixel += n_ss * n_fs
        first_tile += n_ts * n_tf
