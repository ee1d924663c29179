"""The background of a whole frame: radial profile × scattering factor × smooth two-dimensional ratio, and its noise.

Global shape first, local scale later: Parkhurst et al. 2017, IUCrJ 4, 626.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.centre import centred
from waterbg.background.dead import flag_dead
from waterbg.background.masks import Pixels
from waterbg.background.rays import Rays, column_middles, trace_row
from waterbg.background.scan import Sums, walk
from waterbg.background.table import PER_BIN, curve, denoise, fill_gaps, pooled
from waterbg.background.tiles import TILE, TileGrid, reject_tiles, scaled_ratio, smooth_ratio
from waterbg.kernel import kernel

if TYPE_CHECKING:
    from waterbg.frames import Frame

COUNTS = 50.0  # photons: radial bins with fewer are pooled with their neighbours
ENOUGH = 800  # pixels: with its neighbours a radial bin of that many adds nothing to the noise of a reflection
# pixels: rows of larger detectors are skipped until about so many are walked. Of stills of 6 megapixels (a quarter of
# the rows) an eighth of the rows costs up to 4 % of Rsplit in a shell, half of them gains up to 2 %.
PLENTY = 1_500_000
FEWEST_PIXELS, FEWEST_PHOTONS = 2000, 100.0  # clean ones; with fewer a frame has no model
UNQUIET = 0.04  # relative: tiles with finer structure (edges of shadows) say nothing about the radial profile
MANY_DEAD = 0.002  # share of the pixels: with so many that are dead, all is learnt again without them
_HALF = 31  # px, of the boxes that a whole frame is made of


@dataclass
class Surface:
    """Expected background everywhere on a frame.

    Attributes
    ----------
    rays : Rays
    grid : TileGrid
    profile : (2, …) float32
        Curve of the radial profile, photons a pixel at scattering factor 1.
    ratio : (n_tiles,) float32
        Ratio of the frame to the radial profile at the middle of each tile.
    noise : 2 floats
        Gain and read noise²: a pixel of expected counts mu has variance factor·(noise[0]·mu + noise[1]).
    factor : (n_tiles,) float32
        What the frame's own scatter says on top of that, about 1.
    counts, expected, scatter, pixels : (n_tiles,) float32
        Of the clean pixels of each tile: sum of counts, of what is expected, of squared deviations from that, number.
    clean : int
        Number of clean pixels.
    counted : float
        Photons in them.
    dead : int
        Number of pixels that turned out to be dead, or in a full shadow.
    """

    rays: Rays
    grid: TileGrid
    profile: NDArray[np.float32]
    ratio: NDArray[np.float32]
    noise: tuple[float, float]
    factor: NDArray[np.float32]
    counts: NDArray[np.float32]
    expected: NDArray[np.float32]
    scatter: NDArray[np.float32]
    pixels: NDArray[np.float32]
    clean: int
    counted: float
    dead: int

    @property
    def usable(self) -> bool:
        """Whether there was enough to learn from."""
        return self.clean >= FEWEST_PIXELS and self.counted >= FEWEST_PHOTONS

    def boxes(
        self,
        panel: NDArray[np.int32],
        fs: NDArray[np.float64],
        ss: NDArray[np.float64],
        half: int,
        shapes: NDArray[np.int64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Expected counts of the pixels around each position, and the noise factor there.

        Parameters
        ----------
        panel, fs, ss : (n,) arrays
            Panel-local pixels; the box is centred on the pixel the position falls into.
        half : int
            Half width of the boxes, pixels.
        shapes : (n_panels, 2) int64

        Returns
        -------
        expected : (n, 2 half + 1, 2 half + 1) float32
            Photons; NaN beyond the panel.
        factor : (n,) float64
        """
        expected = np.empty((len(panel), 2 * half + 1, 2 * half + 1), np.float32)
        factor = np.ones(len(panel))
        _fill_boxes(
            panel, fs, ss, half, shapes, self.grid.shapes, self.grid.offsets, self.rays, self.profile, self.ratio,
            self.factor, expected, factor,
        )  # fmt: skip
        return expected, factor

    def everywhere(self, shapes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Expected counts of every pixel of the frame: (n_pixels,) photons, panel after panel.

        Parameters
        ----------
        shapes : (n_panels, 2) int64
        """
        size = 2 * _HALF + 1
        parts = []
        for number, (n_ss, n_fs) in enumerate(shapes):
            rows, columns = np.arange(_HALF, n_ss + _HALF, size), np.arange(_HALF, n_fs + _HALF, size)
            ss, fs = (grid.ravel() + 0.5 for grid in np.meshgrid(rows, columns, indexing="ij"))
            boxes, _ = self.boxes(np.full(len(fs), number, np.int32), fs, ss, _HALF, shapes)
            whole = boxes.reshape(len(rows), len(columns), size, size).transpose(0, 2, 1, 3)
            parts.append(whole.reshape(len(rows) * size, len(columns) * size)[:n_ss, :n_fs].ravel())
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def row_step(n_pixels: int) -> int:
    """How many rows of a detector lie between those that are walked."""
    return int(np.clip(round(n_pixels / PLENTY), 1, TILE))


def fit_surface(frame: Frame, flags: NDArray[np.uint8], rays: Rays, noise: tuple[float, float]) -> Surface:
    """Learn the background of a frame from its clean pixels.

    Parameters
    ----------
    frame : Frame
        ADU.
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`; BAD and WIDE pixels are left out. Dead pixels become BAD.
    rays : Rays
        By the geometry; the surface's own are others where narrow rings are not round about the beam.
    noise : 2 floats
        Variance of a pixel per expected count, and at no counts.
    """
    shapes, grid = frame.detector.shapes, TileGrid.of(frame.detector.shapes)
    pixels = Pixels.of(frame, flags)
    by_geometry = rays
    rays, means = centred(pixels, by_geometry, noise)
    # A few rows find the level of every panel and the shape of the ratio, with room for what is not yet in the model;
    # then more rows, against a model that is right to a few per cent.
    step = row_step(frame.detector.n_pixels)
    second = min(4 * step, TILE)
    flat = np.ones(grid.n_tiles, np.float32)
    sums = walk(pixels, rays, grid, curve(means), flat, noise, step=min(2 * second, 2 * TILE), slack=0.6)
    ratio = smooth_ratio(grid, sums.tile_n, sums.tile_s)
    means, _ = _update_means(means, sums, noise)
    sums = walk(pixels, rays, grid, curve(means), ratio, noise, step=second, slack=0.1)
    ratio, fine = _new_ratio(grid, ratio, sums, noise, coarse=True)
    quiet = ((np.abs(fine) < UNQUIET) & (sums.tile_s > 0)).astype(np.uint8)
    means, _ = _update_means(means, sums, noise)
    every = np.clip(second * sums.radial_k // ENOUGH, 1, TILE).astype(np.uint8)
    every -= np.where(every > step, every % step, 0).astype(np.uint8)  # of rows that are walked
    sums = walk(pixels, rays, grid, curve(means), ratio, noise, step=step, quiet=quiet, every=every)
    means, change = _update_means(means, sums, noise)
    many = MANY_DEAD * frame.detector.n_pixels
    dead = flag_dead(pixels, rays, grid, curve(means), sums.tile_n, noise, many)
    if dead > many:  # they pulled everything down with them
        surface = fit_surface(frame, flags, by_geometry, noise)
        surface.dead += dead
        return surface
    # the tiles were summed before the profile changed: their expected counts change with it
    error = _at_tiles(grid, rays, shapes, change)
    np.multiply(sums.tile_s, error, out=sums.tile_s)
    before = ratio / np.maximum(error, 1e-6)
    ratio, _ = _new_ratio(grid, ratio, sums, noise)
    # rejected tiles are empty by now; the error of the model during the walk is taken off the scatter about it
    used = np.where(sums.tile_s > 0, sums.tile_k, 0)
    off = (ratio / np.maximum(before, 1e-6) - 1) * sums.tile_s
    scatter = np.where(used > 0, np.maximum(sums.tile_v - off**2 / np.maximum(used, 1), 0), 0)
    model = (noise[0] * sums.tile_s + noise[1] * used).astype(np.float32)
    factor = smooth_ratio(grid, scatter, model)
    clean, counted = int(used.sum()), float(sums.tile_n.sum())
    counts, expected = sums.tile_n, sums.tile_s
    return Surface(
        rays, grid, curve(means), ratio, noise, factor, counts, expected, scatter, used, clean, counted, dead
    )


def _update_means(
    means: NDArray[np.float64], sums: Sums, noise: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Profile after a walk, without noise, and the factor that was put on it."""
    n, s = sums.radial_n, sums.radial_s
    change = pooled(n, s, COUNTS)
    new = means * np.where(np.isnan(change), n.sum() / max(s.sum(), 1e-9), change)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(
            s > 0, (noise[0] * np.maximum(n, COUNTS) + noise[1] * sums.radial_k) * (means / s) ** 2, np.inf
        )
    new = denoise(fill_gaps(new, s), variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return new, np.where(means > 0, new / means, 1.0)


def _new_ratio(
    grid: TileGrid, before: NDArray[np.float32], sums: Sums, noise: tuple[float, float], coarse: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Ratio after a walk made with the ratio ``before``, without tiles that stick out (emptied in ``sums``)."""
    reject_tiles(grid, sums.tile_n, sums.tile_s, sums.tile_k, noise)
    bare = np.divide(sums.tile_s, before, out=np.zeros_like(before), where=before > 0)
    total = max(float(sums.tile_s.sum()), 1e-9)
    excess = noise[0] + noise[1] * float(sums.tile_k.sum()) / total
    variance = None if coarse else _variance(sums, np.float32(noise[0]), np.float32(noise[1]))
    return scaled_ratio(grid, sums.tile_n, bare, excess, variance)


@kernel
def _variance(sums, gain, read2):
    """Variance of the counts of each tile: pixels of a panel with a pedestal scatter by more than their level says."""
    expected, scatter, pixels, zero = sums.tile_s, sums.tile_v, sums.tile_k, np.float32(0)
    out = np.empty(expected.size, np.float32)
    for t in range(out.size):
        by_level = gain * expected[t] + read2 * pixels[t]
        out[t] = max(by_level, scatter[t]) if expected[t] > zero else zero
    return out


def _at_tiles(
    grid: TileGrid, rays: Rays, shapes: NDArray[np.int64], change: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Value of a radial quantity, averaged over TILE bins, at the middle of every tile."""
    kernel = np.ones(TILE) / TILE
    smooth = np.convolve(np.pad(change, (TILE // 2, TILE - TILE // 2 - 1), mode="edge"), kernel, mode="valid")
    out = np.empty(grid.n_tiles, np.float32)
    _tile_values(grid.shapes, shapes, rays, smooth, out)
    return out


@kernel
def _tile_values(grid_shapes, shapes, rays, radial, out):
    first, no_polarisation = 0, np.zeros(3)
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        columns = column_middles(n_tf, 0.5 * TILE - 0.5, TILE)
        columns[n_tf - 1] = 0.5 * ((n_tf - 1) * TILE + n_fs)  # of the part that is on the panel
        r, g = np.empty(n_tf, np.float32), np.empty(n_tf, np.float32)
        for j in range(n_ts):
            ss = 0.5 * (j * TILE + min((j + 1) * TILE, n_ss)) - 0.5
            trace_row(rays.panel[p], ss, columns, rays.length, no_polarisation, r, g)
            for i in range(n_tf):
                out[first + i] = radial[min(int(r[i]), radial.size - 1)]
            first += n_tf


@kernel
def bilinear(tiles, first, n_ts, n_tf, fs, ss):
    """Value of a tile map at a point (panel-local pixels), constant beyond the outermost middles."""
    u = min(max(fs / TILE - 0.5, 0.0), n_tf - 1.0)
    v = min(max(ss / TILE - 0.5, 0.0), n_ts - 1.0)
    i, j = min(int(u), max(n_tf - 2, 0)), min(int(v), max(n_ts - 2, 0))
    ii, jj = min(i + 1, n_tf - 1), min(j + 1, n_ts - 1)
    u, v = u - i, v - j
    top = tiles[first + j * n_tf + i] * (1 - u) + tiles[first + j * n_tf + ii] * u
    bottom = tiles[first + jj * n_tf + i] * (1 - u) + tiles[first + jj * n_tf + ii] * u
    return top * (1 - v) + bottom * v


@kernel
def _fill_boxes(
    panel, fs, ss, half, shapes, grid_shapes, grid_offsets, rays, profile, ratio, tile_factor, expected, factor
):  # fmt: skip
    length, polarisation = rays.length, rays.polarisation
    size = 2 * half + 1
    n_box = size * size
    # one loop over all of a box, as `trace_row` does it, becomes vector instructions; loops over its short rows do not
    across, down = np.empty(n_box, np.float32), np.empty(n_box, np.float32)
    for q in range(n_box):
        across[q], down[q] = q % size, q // size
    r, g = np.empty(n_box, np.float32), np.empty(n_box, np.float32)
    a, b, c = np.float32(polarisation[0]), np.float32(polarisation[1]), np.float32(polarisation[2])
    scale, cube, one = np.float32(length * PER_BIN), np.float32(length * length * length), np.float32(1)
    last = np.float32(profile.shape[1] - 1)
    intercept, slope = profile[0], profile[1]
    share, upper, rise = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    column = np.empty(size, np.int64)
    for k in range(panel.size):
        p = panel[k]
        expected[k] = np.nan
        if p < 0:
            continue
        n_ts, n_tf = grid_shapes[p]
        n_ss, n_fs = shapes[p]
        first, ray = grid_offsets[p], rays.panel[p]
        left, top = int(fs[k]) - half, int(ss[k]) - half
        factor[k] = bilinear(tile_factor, first, n_ts, n_tf, fs[k], ss[k])
        x0 = np.float32(ray[0] + (left + 0.5) * ray[3] + (top + 0.5) * ray[6])
        y0 = np.float32(ray[1] + (left + 0.5) * ray[4] + (top + 0.5) * ray[7])
        z0 = np.float32(ray[2] + (left + 0.5) * ray[5] + (top + 0.5) * ray[8])
        fx, fy, fz = np.float32(ray[3]), np.float32(ray[4]), np.float32(ray[5])
        sx, sy, sz = np.float32(ray[6]), np.float32(ray[7]), np.float32(ray[8])
        for q in range(n_box):
            i, j = across[q], down[q]
            x, y, z = x0 + i * fx + j * sx, y0 + i * fy + j * sy, z0 + i * fz + j * sz
            rho2 = x * x + y * y
            inverse = one / (rho2 + z * z)
            r[q] = scale * np.sqrt(rho2) / z
            g[q] = (one - (a * x * x + b * x * y + c * y * y) * inverse) * cube * inverse * np.sqrt(inverse)
        begin, end = max(-left, 0), min(n_fs - left, size)
        right = 1 if n_tf > 1 else 0
        for i in range(begin, end):
            u = min(max((left + i + 0.5) / TILE - 0.5, 0.0), n_tf - 1.0)
            column[i] = min(int(u), max(n_tf - 2, 0))
            share[i] = u - column[i]
        before = -1
        for j in range(max(-top, 0), min(n_ss - top, size)):
            v = min(max((top + j + 0.5) / TILE - 0.5, 0.0), n_ts - 1.0)
            row = min(int(v), max(n_ts - 2, 0))
            if row != before:  # the ratio along the two rows of tiles around this row of pixels
                before = row
                above = first + row * n_tf
                below = first + min(row + 1, n_ts - 1) * n_tf
                for i in range(begin, end):
                    t, u = column[i], share[i]
                    upper[i] = ratio[above + t] + u * (ratio[above + t + right] - ratio[above + t])
                    rise[i] = ratio[below + t] + u * (ratio[below + t + right] - ratio[below + t]) - upper[i]
            w, pixels = np.float32(v - row), expected[k, j]
            for i in range(begin, end):
                q = j * size + i
                here = min(r[q], last)
                at = np.uint32(here)
                pixels[i] = (intercept[at] + here * slope[at]) * g[q] * (upper[i] + w * rise[i])
