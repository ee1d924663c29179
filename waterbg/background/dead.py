"""Pixels that say nothing about light: dead modules that no mask knows, and full shadows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, DEAD, SKEW, TAIL, Pixels
from waterbg.background.rays import Rays, trace_point
from waterbg.background.table import PER_BIN
from waterbg.background.tiles import TILE, TileGrid
from waterbg.kernel import kernel

LIGHTLESS = 0.03  # of what the radial profile expects: what the air behind it scatters into a full shadow
SURE = 3.0  # standard deviations of the read noise that must not hide more
CERTAIN = 25.0  # photons that must be expected in a tile; to see none by chance is 1e-11
LIKELY = 3.0  # and in a line of pixels that goes on from a dead tile
# pixels with one and the same number of counts, which is no accident, unless it is none of the few photons expected:
# that need not be exactly 0, for a pedestal may have been taken off
ALIKE = TILE * TILE // 2
_ALIVE, _DARK, _ALIKE = 0, 1, 2


def flag_dead(
    pixels: Pixels,
    rays: Rays,
    grid: TileGrid,
    profile: NDArray[np.float32],
    tile_n: NDArray[np.float32],
    noise: tuple[float, float],
    many: float,
) -> int:
    """Flag dead pixels that are not BAD yet as BAD and DEAD; how many.

    A tile is dead where its pixels show less than LIGHTLESS of what the radial profile expects, or all the same (which
    CERTAIN photons do not, nor what the walk would take for clean); from there on it goes line by line, as far as lines
    of pixels do so.

    Parameters
    ----------
    pixels, rays, grid, profile, noise
        As in :func:`waterbg.background.scan.walk`.
    tile_n : (n_tiles,) float32
        Counts of the clean pixels of each tile; where there are any, it is alive.
    many : float
        Pixels. Where so many are all the same, the profile may be theirs, and what light it expects says nothing.
    """
    return int(_flag_dead(pixels, rays, grid.shapes, profile, tile_n, noise[0], noise[1], many))


@kernel
def _is_dead(counts, flags, first, n_fs, area, to_photons, light, gain, read2, least, alike):
    """What an area (rows from, to; columns from, to) is: alike are at least so many pixels that are all the same."""
    whole = (area[1] - area[0]) * (area[3] - area[2])
    doubt = SURE * np.sqrt(read2 * whole)
    is_bright, enough = whole * light >= least, LIGHTLESS * whole * light + doubt
    total, pixels, same, value = 0.0, 0, True, np.float32(0)
    for j in range(area[0], area[1]):
        for at in range(first + j * n_fs + area[2], first + j * n_fs + area[3]):
            if flags[at] & BAD:
                continue
            if pixels == 0:
                value = counts[at]
            same = same and counts[at] == value and value != 0
            total += counts[at] * to_photons
            pixels += 1
            if not same and (not is_bright or total > enough):  # most are known to be alive by their first pixels
                return _ALIVE
    if same and pixels >= alike:
        reach = TAIL * np.sqrt(gain * light + read2)
        off = value * to_photons - light
        if pixels * light >= least or off < -reach or off > reach + SKEW * gain:
            return _ALIKE
    is_dark = pixels * light >= least and abs(total) + doubt <= LIGHTLESS * light * pixels
    return _DARK if is_dark else _ALIVE


@kernel
def _spoil(flags, first, n_fs, area):
    """Flag an area; how many pixels were not yet."""
    flagged = 0
    for j in range(area[0], area[1]):
        for at in range(first + j * n_fs + area[2], first + j * n_fs + area[3]):
            if not flags[at] & BAD:
                flags[at] |= BAD | DEAD
                flagged += 1
    return flagged


@kernel
def _next_line(area, side):
    """The line of pixels beside an area, or line: above, below, left or right of it."""
    top, bottom, left, right = area
    if side == 0:
        return top - 1, top, left, right
    if side == 1:
        return bottom, bottom + 1, left, right
    if side == 2:
        return top, bottom, left - 1, left
    return top, bottom, right, right + 1


@kernel
def _area(t, tile, n_tf, n_ss, n_fs):
    """Rows from and to, columns from and to, of a tile of a panel, whose first tile is ``tile``."""
    j, i = (t - tile) // n_tf, (t - tile) % n_tf
    return j * TILE, min((j + 1) * TILE, n_ss), i * TILE, min((i + 1) * TILE, n_fs)


@kernel
def _ring_and_light(ray, area, length, polarisation, profile):
    """Number of a tile's ring about the beam, one tile wide, and what the profile expects of each of its pixels."""
    middle = 0.5 * (area[2] + area[3]), 0.5 * (area[0] + area[1])
    _, _, r, g = trace_point(ray, middle[0], middle[1], length, polarisation)
    at = min(r * PER_BIN, profile.shape[1] - 1.0)
    k = int(at)
    return k // (PER_BIN * TILE), (profile[0, k] + profile[1, k] * at) * g


@kernel
def _flag_dead(pixels, rays, grid_shapes, profile, tile_n, gain, read2, many):
    counts, photons_per_adu, flags, _, shapes = pixels
    length, polarisation = rays.length, rays.polarisation
    most = gain + 4.0 * TILE * np.sqrt(read2)  # what noise makes of nothing
    state = np.zeros(tile_n.size, np.uint8)
    first = tile = dark = alike = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        for t in range(tile, tile + n_ts * n_tf):
            if tile_n[t] > most:
                continue
            area = _area(t, tile, n_tf, n_ss, n_fs)
            _, light = _ring_and_light(rays.panel[p], area, length, polarisation, profile)
            if tile_n[t] == 0 or light * TILE * TILE >= CERTAIN * gain:
                state[t] = _is_dead(
                    counts, flags, first, n_fs, area, photons_per_adu[p], light, gain, read2, CERTAIN * gain, ALIKE
                )  # fmt: skip
                dark += state[t] == _DARK
                alike += state[t] == _ALIKE
        first += n_ss * n_fs
        tile += n_ts * n_tf
    if not (dark or alike):
        return 0

    # where as many tiles of a ring have no light as have some, it is the profile that is wrong
    votes = np.zeros(profile.shape[1] // (PER_BIN * TILE) + 1, np.int64)
    tile = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        for t in range(tile, tile + n_ts * n_tf):
            if tile_n[t] > most or state[t] == _DARK:
                area = _area(t, tile, n_tf, n_ss, n_fs)
                ring, _ = _ring_and_light(rays.panel[p], area, length, polarisation, profile)
                votes[ring] += -1 if state[t] == _DARK else 1
        tile += n_ts * n_tf
    if alike * TILE * TILE > many:
        votes[:] = 0

    first = tile = flagged = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        for t in range(tile, tile + n_ts * n_tf):
            if state[t] == _ALIVE:
                continue
            area = _area(t, tile, n_tf, n_ss, n_fs)
            ring, light = _ring_and_light(rays.panel[p], area, length, polarisation, profile)
            if state[t] == _DARK and votes[ring] <= 0:
                continue
            flagged += _spoil(flags, first, n_fs, area)
            for side in range(4):
                line = _next_line(area, side)
                for _ in range(TILE):
                    if line[0] < 0 or line[2] < 0 or line[1] > n_ss or line[3] > n_fs:
                        break
                    if state[tile + (line[0] // TILE) * n_tf + line[2] // TILE] != _ALIVE:
                        break
                    here = _is_dead(
                        counts, flags, first, n_fs, line, photons_per_adu[p], light, gain, read2, LIKELY * gain, TILE
                    )
                    if here != state[t]:
                        break
                    flagged += _spoil(flags, first, n_fs, line)
                    line = _next_line(line, side)
        first += n_ss * n_fs
        tile += n_ts * n_tf
    return flagged
