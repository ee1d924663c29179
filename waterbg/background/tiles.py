"""Maps on a grid of small tiles: smoothing that knows where nothing was measured, and outliers among the tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE = 8  # px


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

    @cached_property
    def panel(self) -> NDArray[np.int64]:
        """(n_tiles,) panel of each tile."""
        return np.repeat(np.arange(len(self.shapes)), np.diff(self.offsets))


def panel_means(grid: TileGrid, top: NDArray, bottom: NDArray) -> NDArray[np.float64]:
    """Sum of ``top`` over sum of ``bottom`` for each panel; the whole detector's where a panel has nothing, 1 at last."""
    tops = np.bincount(grid.panel, top, len(grid.shapes))
    bottoms = np.bincount(grid.panel, bottom, len(grid.shapes))
    whole = tops.sum() / bottoms.sum() if bottoms.sum() > 0 else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottoms > 0, tops / bottoms, whole)


def smooth_ratio(
    grid: TileGrid, top: NDArray[np.float32], bottom: NDArray[np.float32], sigma: float, default: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Gaussian-weighted sum of ``top`` over that of ``bottom`` around every tile, panel by panel.

    Weighting by ``bottom`` (expected counts) is the maximum-likelihood ratio of Poisson counts.

    Parameters
    ----------
    grid : TileGrid
    top, bottom : (n_tiles,) float32
    sigma : float
        Width of the Gaussian in pixels; it ends at three sigma.
    default : (n_panels,) float64
        Where there is nothing within reach.
    """
    width = sigma / TILE
    kernel = np.exp(-0.5 * (np.arange(math.ceil(3 * width) + 1) / width) ** 2).astype(np.float32)
    out = np.empty(grid.n_tiles, np.float32)
    _smooth_ratio(top, bottom, grid.shapes, kernel, default.astype(np.float32), out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _smooth_ratio(top, bottom, shapes, kernel, default, out):
    reach = kernel.size - 1
    first = 0
    for p in range(shapes.shape[0]):
        n_ts, n_tf = shapes[p]
        along_top, along_bottom = np.empty((n_ts, n_tf), np.float32), np.empty((n_ts, n_tf), np.float32)
        for j in range(n_ts):
            row = first + j * n_tf
            for i in range(n_tf):
                a, b = np.float32(0), np.float32(0)
                for k in range(max(i - reach, 0), min(i + reach, n_tf - 1) + 1):
                    w = kernel[abs(k - i)]
                    a += w * top[row + k]
                    b += w * bottom[row + k]
                along_top[j, i], along_bottom[j, i] = a, b
        sum_top, sum_bottom = np.empty(n_tf, np.float32), np.empty(n_tf, np.float32)
        for j in range(n_ts):
            sum_top[:], sum_bottom[:] = 0, 0
            for k in range(max(j - reach, 0), min(j + reach, n_ts - 1) + 1):
                w = kernel[abs(k - j)]
                for i in range(n_tf):
                    sum_top[i] += w * along_top[k, i]
                    sum_bottom[i] += w * along_bottom[k, i]
            for i in range(n_tf):
                out[first + j * n_tf + i] = sum_top[i] / sum_bottom[i] if sum_bottom[i] > 0 else default[p]
        first += n_ts * n_tf


def reject_tiles(
    grid: TileGrid, top: NDArray[np.float32], bottom: NDArray[np.float32], smooth: NDArray[np.float32]
) -> int:
    """Empty the tiles that are not smooth background (edges of shadows, ice spots); how many.

    A tile goes when its ratio leaves the median of the 5 x 5 tiles around it by more than 6 % and four standard
    deviations. Only tiles that leave the smoothed map by half of that are looked at: the median is dear.

    Parameters
    ----------
    grid : TileGrid
    top, bottom : (n_tiles,) float32
        Counts and expected counts; rejected tiles become 0 in both.
    smooth : (n_tiles,) float32
        Smoothed ratio.
    """
    rejected = np.zeros(grid.n_tiles, np.bool_)
    _find_outliers(top, bottom, smooth, grid.shapes, rejected)
    top[rejected] = 0
    bottom[rejected] = 0
    return int(rejected.sum())


@njit(cache=True, nogil=True, error_model="numpy")
def _find_outliers(top, bottom, smooth, shapes, rejected):
    around = np.empty(25, np.float32)
    first = 0
    for p in range(shapes.shape[0]):
        n_ts, n_tf = shapes[p]
        for j in range(n_ts):
            for i in range(n_tf):
                t = first + j * n_tf + i
                if bottom[t] <= 0:
                    continue
                ratio = top[t] / bottom[t]
                limit = max(0.06, 4 / np.sqrt(max(top[t], bottom[t])))
                if abs(ratio - smooth[t]) < 0.5 * limit * smooth[t]:
                    continue
                n = 0
                for jj in range(max(j - 2, 0), min(j + 2, n_ts - 1) + 1):
                    for ii in range(max(i - 2, 0), min(i + 2, n_tf - 1) + 1):
                        k = first + jj * n_tf + ii
                        if bottom[k] > 0:
                            around[n] = top[k] / bottom[k]
                            n += 1
                middle = np.median(around[:n])
                rejected[t] = abs(ratio - middle) > limit * middle
        first += n_ts * n_tf
