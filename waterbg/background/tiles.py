"""Maps on a grid of small tiles: smoothing that knows where nothing was measured, and outliers among the tiles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import SKEW
from waterbg.kernel import kernel

TILE = 8  # px
WIDTH = 1.75  # cells, Gaussian sigma of the smoothing on each level: 14, 28, 56, 112 px
AROUND = 2.6  # cells of twice the size, over which power and noise are compared: three times WIDTH
CAUTION = 1.3  # noise is taken for a little more than it is
# a last look at single tiles and those beside them: sharp edges (of an attenuator, a half shadow) reach as far as the
# smoothing does; cells, and in place of CAUTION
NARROW, STRICT = 0.7, 1.5


@dataclass(frozen=True)
class TileGrid:
    """Tiles of all panels, one panel after the other, rows of tiles along fs.

    Attributes
    ----------
    shapes : (n_panels, 2) int64
        Rows and columns of tiles of each panel.
    """

    shapes: NDArray[np.int64]

    @classmethod
    def of(cls, shapes: NDArray[np.int64]) -> TileGrid:
        """Grid over panels of the given (n_ss, n_fs)."""
        return cls(-(-np.asarray(shapes, np.int64) // TILE))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(n_panels + 1,) first tile of each panel; the last is the number of tiles."""
        return np.concatenate([[0], np.cumsum(self.shapes[:, 0] * self.shapes[:, 1])]).astype(np.int64)

    @property
    def n_tiles(self) -> int:
        """Tiles of all panels together."""
        return int(self.offsets[-1])


def scaled_ratio(
    grid: TileGrid,
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    excess: float,
    variance: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Map of ``top`` over ``bottom``, as smooth as the counts allow, panel by panel.

    The widest smoothing comes first; on each finer level what is left is smoothed and added as far as its local power
    is more than its noise (Wiener's filter with the power measured on the spot). Shadows and edges thus keep the finest
    width, while water without structure is averaged over a hundred pixels. Weighting by expected counts makes each
    level the maximum-likelihood ratio of Poisson counts. Where nothing is within reach it is the panel's mean ratio; a
    panel without counts has the whole detector's, or 1.

    Parameters
    ----------
    grid : TileGrid
    top, bottom : (n_tiles,) float32
        Counts and expected counts.
    excess : float
        Variance of the counts over their mean, of all tiles.
    variance : (n_tiles,) float32, optional
        Of the counts of each tile. Without, the finest level is left out, which costs most, and the look at single
        tiles after it.

    Returns
    -------
    ratio : (n_tiles,) float32
    fine : (n_tiles,) float32
        Share of the ratio that only the two finer levels see: 0 where the background is smooth.
    """
    ratio, fine = np.empty(grid.n_tiles, np.float32), np.empty(grid.n_tiles, np.float32)
    variance = np.empty(0, np.float32) if variance is None else variance
    gaussians = _kernel(WIDTH), _kernel(NARROW), _kernel(AROUND)
    _scaled_ratio(top, bottom, variance, grid.shapes, gaussians, excess, ratio, fine)
    return ratio, fine


def smooth_ratio(grid: TileGrid, top: NDArray[np.float32], bottom: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian-weighted sum of ``top`` over that of ``bottom`` around every tile, panel by panel, 28 px wide.

    Where there is nothing: as :func:`scaled_ratio`.
    """
    out = np.empty(grid.n_tiles, np.float32)
    _smooth_ratio(top, bottom, grid.shapes, _kernel(WIDTH), out)
    return out


@lru_cache(maxsize=4)
def _kernel(width: float) -> NDArray[np.float32]:
    """One half of a Gaussian with height 1, to three sigma."""
    return np.exp(-0.5 * (np.arange(int(3 * width + 1)) / width) ** 2).astype(np.float32)


@kernel
def _mean_ratio(top, bottom, all_top, all_bottom):
    """Sum of ``top`` over sum of ``bottom``; where a panel has nothing the whole detector's, or 1."""
    over, under = np.float64(0), np.float64(0)
    for j in range(top.shape[0]):
        for i in range(top.shape[1]):
            over += top[j, i]
            under += bottom[j, i]
    if not under > 0:
        for t in range(all_top.size):
            over += all_top[t]
            under += all_bottom[t]
    return np.float32(over / under if under > 0 else 1.0)


@kernel
def _blur(values, kernel):
    """Gaussian-weighted sums over a (rows, columns) map; cells on either side of one share a factor."""
    rows, columns = values.shape
    reach = kernel.size - 1
    along, padded = np.empty((rows, columns), np.float32), np.zeros(columns + 2 * reach, np.float32)
    for j in range(rows):
        target, middle = along[j], padded[reach : reach + columns]
        middle[:] = values[j]
        for i in range(columns):
            target[i] = kernel[0] * middle[i]
        for k in range(1, reach + 1):
            # slices, because an index that may be negative keeps the loop from becoming vector instructions
            w, left, right = kernel[k], padded[reach - k : reach - k + columns], padded[reach + k :]
            for i in range(columns):
                target[i] += w * (left[i] + right[i])
    out = np.empty((rows, columns), np.float32)
    nothing = np.zeros(columns, np.float32)
    for j in range(rows):
        target, middle = out[j], along[j]
        for i in range(columns):
            target[i] = kernel[0] * middle[i]
        for k in range(1, reach + 1):
            if j < k and j + k >= rows:
                break
            w, above, below = kernel[k], along[j - k] if j >= k else nothing, along[j + k] if j + k < rows else nothing
            for i in range(columns):
                target[i] += w * (above[i] + below[i])
    return out


# The loops below are short ones along rows without branches, so that each becomes vector instructions.


@kernel
def _halved(values):
    """Sums over two by two cells."""
    rows, columns = values.shape
    out = np.zeros(((rows + 1) // 2, (columns + 1) // 2), np.float32)
    for j in range(rows):
        target, source = out[j // 2], values[j]
        for i in range(columns // 2):
            target[i] += source[2 * i] + source[2 * i + 1]
        if columns % 2:
            target[columns // 2] += source[columns - 1]
    return out


@kernel
def _doubled(values, rows, columns):
    """Bilinear values on a grid of cells of half the size."""
    last, n = values.shape[0] - 1, values.shape[1]
    out = np.empty((rows, columns), np.float32)
    line = np.empty(n + 2, np.float32)  # a cell more on either side
    twice = np.empty(2 * n, np.float32)
    near, far = np.float32(0.75), np.float32(0.25)
    for j in range(rows):
        here = values[j // 2]
        there = values[min(max(j // 2 + (1 if j % 2 else -1), 0), last)]
        for i in range(n):
            line[i + 1] = near * here[i] + far * there[i]
        line[0], line[n + 1] = line[1], line[n]
        for i in range(n):
            twice[2 * i] = near * line[i + 1] + far * line[i]
            twice[2 * i + 1] = near * line[i + 1] + far * line[i + 2]
        out[j] = twice[:columns]
    return out


@kernel
def _refine(top, bottom, ratio, variance, kernel, around, excess, caution):
    """Add to ``ratio`` what is left of ``top`` as far as it is more than ``caution`` times the noise.

    Whose ``variance`` is known for each cell (rows, columns), or is ``excess`` times what is expected (where it has no
    row), which takes no smoothing of its own: wide ones do not see how unequal cells are.
    """
    rows, columns = top.shape
    left = _blur(top - ratio * bottom, kernel)
    weight = _blur(bottom, kernel)
    # variance of left/weight: for a Gaussian in two dimensions sum k² = sum k / 2
    power, cells = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    zero, one, least, most = np.float32(0), np.float32(1), np.float32(1e-6), np.float32(1e4)
    half = np.float32(0.5)
    spread = _blur(variance, kernel) if variance.shape[0] else np.float32(excess) * ratio * weight
    for j in range(rows):
        off, w, noise, p, c = left[j], weight[j], spread[j], power[j], cells[j]
        for i in range(columns):
            observed = min(off[i] * off[i] / (half * max(noise[i], least)), most)
            p[i] = observed if w[i] > zero else zero
        for i in range(columns):
            c[i] = one if w[i] > zero else zero
    power, cells = _blur(_halved(power), around), _blur(_halved(cells), around)
    for j in range(power.shape[0]):
        for i in range(power.shape[1]):
            observed = power[j, i] / max(cells[j, i], least)
            power[j, i] = max(one - caution / observed, zero) if observed > zero else zero
    share = _doubled(power, rows, columns)
    for j in range(rows):
        off, w, believed, s = left[j], weight[j], ratio[j], share[j]
        for i in range(columns):
            better = max(believed[i] + s[i] * off[i] / w[i], zero)
            believed[i] = better if w[i] > zero else believed[i]


@kernel
def _scaled_ratio(top, bottom, variance, shapes, gaussians, excess, out, fine):
    kernel, narrow, around = gaussians
    first, alike, caution = 0, np.empty((0, 0), np.float32), np.float32(CAUTION)
    for p in range(shapes.shape[0]):
        n_ts, n_tf = shapes[p]
        last = first + n_ts * n_tf
        top_0, bottom_0 = top[first:last].reshape(n_ts, n_tf), bottom[first:last].reshape(n_ts, n_tf)
        top_1, bottom_1 = _halved(top_0), _halved(bottom_0)
        top_2, bottom_2 = _halved(top_1), _halved(bottom_1)
        top_3, bottom_3 = _halved(top_2), _halved(bottom_2)
        ratio = np.full(top_3.shape, _mean_ratio(top_3, bottom_3, top, bottom))
        _settle(top_3, bottom_3, ratio, kernel)
        _refine(top_3, bottom_3, ratio, alike, kernel, around, excess, caution)
        ratio = _doubled(ratio, top_2.shape[0], top_2.shape[1])
        _refine(top_2, bottom_2, ratio, alike, kernel, around, excess, caution)
        wide = _doubled(ratio, top_1.shape[0], top_1.shape[1])
        ratio = wide.copy()
        _refine(top_1, bottom_1, ratio, alike, kernel, around, excess, caution)
        wide, ratio = _doubled(wide, n_ts, n_tf), _doubled(ratio, n_ts, n_tf)
        if variance.size:
            _refine(top_0, bottom_0, ratio, alike, kernel, around, excess, caution)
            variance_0 = variance[first:last].reshape(n_ts, n_tf)
            _refine(top_0, bottom_0, ratio, variance_0, narrow, around, excess, np.float32(STRICT))
        for j in range(n_ts):
            at = first + j * n_tf
            here, rough, new, finer = ratio[j], wide[j], out[at : at + n_tf], fine[at : at + n_tf]
            for i in range(n_tf):
                new[i] = here[i]
                finer[i] = here[i] / rough[i] - np.float32(1) if rough[i] > np.float32(0) else np.float32(0)
        first = last


@kernel
def _settle(top, bottom, ratio, kernel):
    """Smoothed ``top`` over smoothed ``bottom`` where there is any."""
    top, bottom = _blur(top, kernel), _blur(bottom, kernel)
    for j in range(ratio.shape[0]):
        for i in range(ratio.shape[1]):
            if bottom[j, i] > 0:
                ratio[j, i] = top[j, i] / bottom[j, i]


@kernel
def _smooth_ratio(top, bottom, shapes, kernel, out):
    first = 0
    for p in range(shapes.shape[0]):
        n_ts, n_tf = shapes[p]
        last = first + n_ts * n_tf
        top_1 = _halved(top[first:last].reshape(n_ts, n_tf))
        bottom_1 = _halved(bottom[first:last].reshape(n_ts, n_tf))
        ratio = np.full(top_1.shape, _mean_ratio(top_1, bottom_1, top, bottom))
        _settle(top_1, bottom_1, ratio, kernel)
        ratio = _doubled(ratio, n_ts, n_tf)
        for j in range(n_ts):
            out[first + j * n_tf : first + (j + 1) * n_tf] = ratio[j]
        first = last


def reject_tiles(
    grid: TileGrid,
    top: NDArray[np.float32],
    bottom: NDArray[np.float32],
    pixels: NDArray[np.float32],
    noise: tuple[float, float],
) -> int:
    """Empty the tiles that are not smooth background (edges of shadows, ice spots); how many.

    A tile goes when its ratio leaves the median of the 5 x 5 tiles around it by more than 6 % and four standard
    deviations of what it would have at that ratio: when more than half of them are that much lower, or that much
    higher. Only tiles that leave 1 by three quarters of that are looked at.

    Parameters
    ----------
    grid : TileGrid
    top, bottom : (n_tiles,) float32
        Counts and expected counts; rejected tiles become 0 in both.
    pixels : (n_tiles,) float32
        Number of pixels they are of.
    noise : 2 floats
        Variance of a pixel per expected count, and at no counts.
    """
    return int(_empty_outliers(top, bottom, pixels, np.float32(noise[0]), np.float32(noise[1]), grid.shapes))


@kernel
def middle_of(values, n):
    """Median of the first n of a few values, which are sorted by insertion: NumPy's takes three times as long."""
    for i in range(1, n):
        v, j = values[i], i
        while j > 0 and values[j - 1] > v:
            values[j] = values[j - 1]
            j -= 1
        values[j] = v
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / np.float32(2)


@kernel
def _far(ratio, bottom, gain, read):
    """How far the ratio of a tile may be from that of those around it; ``read``: variance of no counts at all.

    A count more than the ratio says: of tiles with hardly any the median is 0.
    """
    variance = gain * (max(ratio, np.float32(0)) * bottom + gain) + read
    return max(np.float32(0.06) * ratio, (np.float32(4) * np.sqrt(variance) + np.float32(SKEW) * gain) / bottom)


@kernel
def _empty_outliers(top, bottom, pixels, gain, read2, shapes):
    # |ratio - 1| < 0.75 limit, without division and root; all tiles first, as vector instructions
    near, sure, zero = np.float32(0.045), np.float32(9), np.float32(0)
    rejected, around = np.empty(top.size, np.uint8), np.empty(25, np.float32)
    for t in range(top.size):
        off = abs(top[t] - bottom[t])
        variance = gain * max(min(top[t], bottom[t]), zero) + read2 * pixels[t]
        rejected[t] = (bottom[t] > 0) & (off >= near * bottom[t]) & (off * off >= sure * variance)
    first = 0
    for p in range(shapes.shape[0]):
        n_ts, n_tf = shapes[p]
        for j in range(n_ts):
            for i in range(n_tf):
                t = first + j * n_tf + i
                if not rejected[t]:
                    continue
                ratio, read = top[t] / bottom[t], read2 * pixels[t]
                n = lower = higher = 0
                for jj in range(max(j - 2, 0), min(j + 2, n_ts - 1) + 1):
                    row = first + jj * n_tf
                    for k in range(row + max(i - 2, 0), row + min(i + 2, n_tf - 1) + 1):
                        if bottom[k] > 0:
                            value = top[k] / bottom[k]
                            limit = _far(value, bottom[t], gain, read)
                            lower += ratio - value > limit
                            higher += value - ratio > limit
                            around[n] = value
                            n += 1
                # what holds for more than half of the values holds for their median, which need not be known then
                if 2 * max(lower, higher) == n:
                    middle = middle_of(around, n)
                    rejected[t] = abs(ratio - middle) > _far(middle, bottom[t], gain, read)
                else:
                    rejected[t] = 2 * max(lower, higher) > n
        first += n_ts * n_tf
    n = 0
    for t in range(top.size):
        if rejected[t]:
            top[t], bottom[t] = 0, 0
            n += 1
    return n
