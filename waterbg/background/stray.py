"""Light that the frame's model leaves out, but that falls into discs as well as beside them.

Spots of crystals that nobody indexed, spotty ice, noisy pixels: the model clips them, or intensities would follow every
bright one. On average they are in the discs all the same, and without them the background is too low by as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import HOT, NOT_CLEAN, SKEW, TAIL, Pixels, stands_alone
from waterbg.background.rays import Rays, column_middles, lab_positions, trace_row
from waterbg.background.surface import Surface, row_step
from waterbg.background.table import PER_BIN
from waterbg.background.tiles import TILE
from waterbg.kernel import kernel

if TYPE_CHECKING:
    from waterbg.frames import Frame

REACH = 4.0  # tiles, Gaussian sigma along the radius
USUAL, MOST = 0.9, 8.0  # share of the tiles with stray light that are as usual; times their mean that any may count for


def stray_light(frame: Frame, flags: NDArray[np.uint8], surface: Surface) -> NDArray[np.float64]:
    """Mean light of a pixel that is no background and belongs to no reflection, by radius.

    The excess of pixels above the model's clipping limit, but for hot ones, which no disc keeps. No tile
    counts for more than MOST times the mean of the usual ones: a bright spot of ice or salt would be taken off
    everything at its radius.

    Parameters
    ----------
    frame : Frame
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`; as the surface was fitted with.
    surface : Surface
        Of the frame.

    Returns
    -------
    (n_rings,) float64
        Photons, by radius in steps of TILE pixels.
    """
    rays, grid = surface.rays, surface.grid
    n_rings = rays.n_bins // TILE + 1
    excess, ring = np.zeros(grid.n_tiles, np.float32), np.empty(grid.n_tiles, np.int32)
    area = np.zeros(n_rings)
    step = 2 * row_step(frame.detector.n_pixels)
    _collect(
        Pixels.of(frame, flags), rays, grid.shapes, surface.profile, surface.ratio, *surface.noise, step,
        excess, ring, area,
    )  # fmt: skip
    bright = np.flatnonzero(excess)
    usual = np.sort(excess[bright])[: int(USUAL * len(bright))]
    if not len(usual):
        return np.zeros(n_rings)
    light = np.bincount(ring[bright], np.minimum(excess[bright], MOST * usual.mean()), n_rings)
    reach = np.arange(-int(3 * REACH), int(3 * REACH) + 1)
    kernel = np.exp(-0.5 * (reach / REACH) ** 2)
    half = len(kernel) // 2
    light, area = (np.convolve(values, kernel)[half : half + n_rings] for values in (light, area))
    return light / np.maximum(area, 1.0)


def stray_at(
    stray: NDArray[np.float64], rays: Rays, panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(n,) photons a pixel of `stray_light` at positions, panel-local pixels."""
    x, y, z = lab_positions(rays, panel, fs, ss)
    ring = np.nan_to_num(rays.length * np.hypot(x, y) / z / TILE)
    return stray[np.clip(ring, 0, len(stray) - 1).astype(int)].astype(np.float32)


@kernel
def _glance(counts, flags, limit):
    """How many pixels are clean, and how many of them are above a limit."""
    seen, bright, not_clean = np.uint8(0), np.uint8(0), np.uint8(NOT_CLEAN)
    for i in range(counts.size):
        clean = np.uint8(flags[i] & not_clean == 0)
        seen += clean
        bright += clean & np.uint8(counts[i] > limit)
    return seen, bright


@kernel
def _collect(pixels, rays, grid_shapes, profile, ratio, gain, read2, step, excess, ring, area):
    counts, photons_per_adu, flags, _, shapes = pixels
    not_clean, last = np.uint8(NOT_CLEAN), profile.shape[1] - 1
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, grid_shapes[p, 1])
    columns = column_middles(widest, 0.5 * TILE - 0.5, TILE)
    r, g = np.empty(widest, np.float32), np.empty(widest, np.float32)
    first = tile = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        to_photons = photons_per_adu[p]
        for ss in range(0, n_ss, step):
            j, row = ss // TILE, first + ss * n_fs
            trace_row(rays.panel[p], j * TILE + 0.5 * TILE - 0.5, columns[:n_tf], rays.length, rays.polarisation, r, g)
            for i in range(n_tf):
                t, at_curve = tile + j * n_tf + i, min(r[i] * np.float32(PER_BIN), np.float32(last))
                k = int(at_curve)
                mu = max((profile[0, k] + profile[1, k] * at_curve) * g[i] * ratio[t], np.float32(0))
                limit = mu + TAIL * np.sqrt(gain * mu + read2) + SKEW * gain
                begin, end, adu = row + i * TILE, row + min((i + 1) * TILE, n_fs), np.float32(limit / to_photons)
                seen, bright = _glance(counts[begin:end], flags[begin:end], adu)
                area[k // (PER_BIN * TILE)] += seen
                if not bright:
                    continue
                ring[t] = k // (PER_BIN * TILE)
                hot = (mu + HOT * np.sqrt(gain * mu + read2)) / to_photons
                for at in range(begin, end):
                    if not counts[at] > adu or flags[at] & not_clean:
                        continue
                    if counts[at] < hot or not stands_alone(counts, first, n_ss, n_fs, ss, at - row, mu / to_photons):
                        excess[t] += counts[at] * to_photons - mu
        first += n_ss * n_fs
        tile += n_ts * n_tf
