"""Rays from the sample, and where they meet the panels: ``locate_peak`` and ``locate_peak_on_panel`` in geometry.c."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from waterbg.geometry import Detector

_MONOCHROMATIC = 1e-7  # bandwidth below which positions move by less than 1e-5 px; CrystFEL's default is 1e-8
_FEW_PANELS = 8  # that many are tried one after the other; more are looked up by direction


@dataclass(frozen=True)
class Planes:
    """The planes of all panels as rays see them.

    With the corner c and the steps f, s of a panel, a ray t meets its plane where t mu = c + fs f + ss s. The inverse
    of the matrix (c f s) times t is (1, fs, ss)/mu; its rows are cross products over the determinant.

    Attributes
    ----------
    inverses : (n_panels, 3, 3) float64
        Rays of any length -> (1, fs, ss)/mu. Not finite for a panel whose plane runs through the sample.
    shapes : (n_panels, 2) int64
        Rows and columns.
    grid : (3,) float64
        Lower ends in x and y, and cells a unit, of the directory by direction.
    cells : (2,) int64
        Number of cells in x and y.
    starts : (n_cells + 1,) int64
    members : (n_entries,) int32
        Panels that may be met in each cell, in ascending order.
    """

    inverses: NDArray[np.float64]
    shapes: NDArray[np.int64]
    grid: NDArray[np.float64]
    cells: NDArray[np.int64]
    starts: NDArray[np.int64]
    members: NDArray[np.int32]

    def meet(self, rays: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Panel that each ray meets first in the geometry's order, and where.

        Parameters
        ----------
        rays : (n, 3) float64
            Any length.

        Returns
        -------
        panel : (n,) int32
            -1 for none.
        position : (n, 2) float64
            fs, ss in panel-local pixels; NaN for none.
        """
        return _meet(
            np.ascontiguousarray(rays, np.float64),
            self.inverses,
            self.shapes,
            self.grid,
            self.cells,
            self.starts,
            self.members,
        )


def planes(detector: Detector, clen: float, det_shift_mm: tuple[float, float] = (0.0, 0.0)) -> Planes:
    """Planes of a detector at a camera length (m), shifted (mm)."""
    inverses = panel_inverses(detector, clen, det_shift_mm)
    shift = 1e-3 * math.hypot(*det_shift_mm)
    if shift > 0:  # a directory serves all shifts up to the next power of 2
        shift = max(2.0 ** math.ceil(math.log2(shift)), 2.0**-12)
    return Planes(inverses, detector.shapes, *_directory(detector, float(clen), shift))


def panel_inverses(
    detector: Detector, clen: float, det_shift_mm: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """(n_panels, 3, 3) the inverses of `Planes`."""
    move = np.array([det_shift_mm[0] * 1e-3, det_shift_mm[1] * 1e-3, clen])
    return _inverses(detector.corners + move, np.ascontiguousarray(detector.axes))


@lru_cache(maxsize=32)
def extent(detector: Detector, clen: float) -> tuple[float, float]:
    """Largest 2θ of a corner of any panel, in rad, and distance of the closest plane, in m; without any shift."""
    move = np.array([0.0, 0.0, clen])
    angles, distances = _sizes(detector.corners + move, np.ascontiguousarray(detector.axes), detector.shapes)
    return float(np.nanmax(angles, initial=0.0)), float(np.nanmin(distances, initial=math.inf))


def rays_of(points: NDArray[np.float64], k: float, bandwidth: float, profile_radius: float) -> NDArray[np.float64]:
    """Directions in which lattice points scatter.

    Parameters
    ----------
    points : (n, 3) float64
        nm⁻¹.
    k : float
        1/wavelength in nm⁻¹.
    bandwidth : float
        Relative standard deviation of k.
    profile_radius : float
        nm⁻¹.

    Returns
    -------
    rays : (n, 3) float64
        nm⁻¹; NaN where no wavelength of the beam can make the reflection.
    """
    if bandwidth <= _MONOCHROMATIC or profile_radius <= 0:
        return points + np.array([0.0, 0.0, k])
    return _pink_rays(np.ascontiguousarray(points), k, bandwidth * k, profile_radius)


@lru_cache(maxsize=8)
def _directory(
    detector: Detector, clen: float, shift: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Grid over the x and y of unit vectors; each cell lists the panels it may show, shifted by up to ``shift`` (m)."""
    move = np.array([0.0, 0.0, clen])
    boxes = _boxes(detector.corners + move, np.ascontiguousarray(detector.axes), detector.shapes, shift)
    seen = np.isfinite(boxes).all(axis=1)
    if not seen.any():
        return np.zeros(3), np.ones(2, np.int64), np.zeros(2, np.int64), np.zeros(0, np.int32)
    low, high = boxes[seen][:, ::2].min(axis=0), boxes[seen][:, 1::2].max(axis=0)
    width = np.maximum(high - low, 1e-12)
    scale = 0.0  # everything in one cell
    if len(boxes) > _FEW_PANELS:
        scale = min(math.sqrt(4 * seen.sum() / float(width[0] * width[1])), 1024 / float(width.max()))
    cells = (np.floor(width * scale) + 1).astype(np.int64)
    grid = np.array([low[0], low[1], scale])
    starts, members = _fill_directory(boxes, seen, grid, cells)
    return grid, cells, starts, members


@njit(cache=True, nogil=True)
def _inverses(corners, axes):
    n = len(corners)
    inverses = np.empty((n, 3, 3))
    for p in range(n):
        determinant = 0.0
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            normal = axes[p, 0, j] * axes[p, 1, k] - axes[p, 0, k] * axes[p, 1, j]
            inverses[p, 0, i] = normal
            inverses[p, 1, i] = axes[p, 1, j] * corners[p, k] - axes[p, 1, k] * corners[p, j]
            inverses[p, 2, i] = corners[p, j] * axes[p, 0, k] - corners[p, k] * axes[p, 0, j]
            determinant += corners[p, i] * normal
        if determinant == 0.0:  # no ray meets a plane through the sample
            determinant = np.nan
        for i in range(3):
            for j in range(3):
                inverses[p, i, j] /= determinant
    return inverses


@njit(cache=True, nogil=True)
def _distance(corner, axes):
    """Of a panel's plane from the sample; 0 for a panel that is no plane."""
    across = normal2 = 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        normal = axes[0, j] * axes[1, k] - axes[0, k] * axes[1, j]
        across += corner[i] * normal
        normal2 += normal * normal
    return abs(across) / math.sqrt(normal2) if normal2 > 0.0 else 0.0


@njit(cache=True, nogil=True)
def _sizes(corners, axes, shapes):
    angles, distances = np.zeros(len(corners)), np.zeros(len(corners))
    point = np.empty(3)
    for p in range(len(corners)):
        distances[p] = _distance(corners[p], axes[p])
        for q in range(4):
            for i in range(3):
                point[i] = (
                    corners[p, i] + (q % 2) * shapes[p, 1] * axes[p, 0, i] + (q // 2) * shapes[p, 0] * axes[p, 1, i]
                )
            angles[p] = max(angles[p], math.atan2(math.hypot(point[0], point[1]), point[2]))
    return angles, distances


@njit(cache=True, nogil=True)
def _boxes(corners, axes, shapes, shift):
    """Least and largest x, y of the unit vectors towards each panel, (n_panels, 4); NaN for one that is no plane.

    Seen from the sample a panel lies in the cone around its middle that holds its corners (as long as that is narrower
    than a half space), and so do the ends of the unit vectors, within the chord. A shift turns none of them by more
    than it is long, measured by the distance of the plane.
    """
    n = len(corners)
    boxes = np.full((n, 4), np.nan)
    points, middle = np.empty((4, 3)), np.empty(3)
    for p in range(n):
        distance = _distance(corners[p], axes[p])
        if not 0.0 < distance < math.inf:
            continue
        middle[:] = 0.0
        for q in range(4):
            norm = 0.0
            for i in range(3):
                points[q, i] = corners[p, i]
                points[q, i] += (q % 2) * shapes[p, 1] * axes[p, 0, i] + (q // 2) * shapes[p, 0] * axes[p, 1, i]
                norm += points[q, i] ** 2
            for i in range(3):
                points[q, i] /= math.sqrt(norm)
                middle[i] += points[q, i]
        norm = math.sqrt(middle[0] ** 2 + middle[1] ** 2 + middle[2] ** 2)
        chord = 2.0
        if norm > 1.0:
            chord = 0.0
            for q in range(4):
                away = 0.0
                for i in range(3):
                    away += (points[q, i] - middle[i] / norm) ** 2
                chord = max(chord, math.sqrt(away))
            # more than some 80 degrees: anywhere
            chord = chord + 1.5 * shift / distance + 1e-9 if chord < 1.3 and shift < 0.5 * distance else 2.0
        for i in range(2):
            boxes[p, 2 * i] = max(middle[i] / max(norm, 1.0) - chord, -1.0)
            boxes[p, 2 * i + 1] = min(middle[i] / max(norm, 1.0) + chord, 1.0)
    return boxes


@njit(cache=True, nogil=True)
def _cell(value, low, scale, n):
    return min(max(int((value - low) * scale), 0), n - 1)


@njit(cache=True, nogil=True)
def _fill_directory(boxes, seen, grid, cells):
    starts = np.zeros(cells[0] * cells[1] + 1, np.int64)
    members = np.zeros(0, np.int32)
    for filling in (False, True):
        at = np.zeros(starts.size, np.int64)
        if filling:
            at[:] = starts
            members = np.zeros(starts[-1], np.int32)
        for p in range(len(boxes)):
            if not seen[p]:
                continue
            first_x = _cell(boxes[p, 0], grid[0], grid[2], cells[0])
            last_x = _cell(boxes[p, 1], grid[0], grid[2], cells[0])
            first_y = _cell(boxes[p, 2], grid[1], grid[2], cells[1])
            last_y = _cell(boxes[p, 3], grid[1], grid[2], cells[1])
            for j in range(first_y, last_y + 1):
                for i in range(first_x, last_x + 1):
                    cell = j * cells[0] + i
                    if filling:
                        members[at[cell]] = p
                    at[cell] += 1
        if not filling:
            starts[1:] = np.cumsum(at[:-1])
    return starts, members


@njit(cache=True, nogil=True)
def _meet(rays, inverses, shapes, grid, cells, starts, members):
    n = len(rays)
    panel = np.full(n, -1, np.int32)
    position = np.full((n, 2), np.nan)
    for i in range(n):
        x, y, z = rays[i, 0], rays[i, 1], rays[i, 2]
        norm = math.sqrt(x * x + y * y + z * z)
        if not 0.0 < norm < math.inf:
            continue
        column = _cell(x / norm, grid[0], grid[2], cells[0])
        row = _cell(y / norm, grid[1], grid[2], cells[1])
        cell = row * cells[0] + column
        for at in range(starts[cell], starts[cell + 1]):
            p = members[at]
            m = inverses[p]
            one_over_mu = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z
            if not one_over_mu > 0.0:  # behind the sample, or no plane
                continue
            fs = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z) / one_over_mu
            ss = (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z) / one_over_mu
            if 0.0 <= fs < shapes[p, 1] and 0.0 <= ss < shapes[p, 0]:
                panel[i], position[i, 0], position[i, 1] = p, fs, ss
                break
    return panel, position


@njit(cache=True, nogil=True)
def _pink_rays(points, k, spread, radius):
    """Rays from the wavelength that fits best: ``check_reflection``'s mean of lattice point and Ewald sphere."""
    rays = np.empty((len(points), 3))
    w0 = 1.0 / (radius * radius)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        norm = math.sqrt(x * x + y * y + (z + k) * (z + k))
        across = (1.0 - (z + k) / norm) * spread if norm > 0.0 else 0.0
        best = k
        if across > 1e-100:
            w1 = 1.0 / (across * across)
            mx = (x * w0 + x * k / norm * w1) / (w0 + w1)
            my = (y * w0 + y * k / norm * w1) / (w0 + w1)
            mz = (min(z, 0.0) * w0 + ((z + k) * k / norm - k) * w1) / (w0 + w1)
            best = -(mx * mx + my * my + mz * mz) / (2.0 * mz) if mz < 0.0 else np.nan
        rays[i, 0], rays[i, 1], rays[i, 2] = x, y, z + best
    return rays
