"""Rays from the sample, and where they meet the panels: ``locate_peak`` and ``locate_peak_on_panel`` in geometry.c."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel

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


@lru_cache(maxsize=8)  # a crystal asks twice, and frames in a row are often alike
def panel_inverses(
    detector: Detector, clen: float, det_shift_mm: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """(n_panels, 3, 3) the inverses of `Planes`."""
    move = np.array([det_shift_mm[0] * 1e-3, det_shift_mm[1] * 1e-3, clen])
    corner, fs, ss = detector.corners + move, detector.axes[:, 0], detector.axes[:, 1]
    inverses = np.stack([np.cross(fs, ss), np.cross(ss, corner), np.cross(corner, fs)], axis=1)
    determinant = (corner * inverses[:, 0]).sum(axis=1)
    determinant[determinant == 0] = np.nan  # no ray meets a plane through the sample
    return inverses / determinant[:, None, None]


@lru_cache(maxsize=32)
def extent(detector: Detector, clen: float) -> tuple[float, float]:
    """Largest 2θ of a corner of any panel, in rad, and distance of the closest plane, in m; without any shift."""
    move = np.array([0.0, 0.0, clen])
    x, y, z = np.moveaxis(_ends(detector, move), -1, 0)
    angles = np.arctan2(np.hypot(x, y), z)
    return float(np.nanmax(angles, initial=0.0)), float(np.nanmin(_distances(detector, move), initial=math.inf))


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
    n = len(detector.shapes)
    if n <= _FEW_PANELS:  # everything in one cell
        return np.zeros(3), np.ones(2, np.int64), np.array([0, n]), np.arange(n, dtype=np.int32)
    boxes = _boxes(detector, np.array([0.0, 0.0, clen]), shift)
    seen = np.isfinite(boxes).all(axis=1)
    if not seen.any():
        return np.zeros(3), np.ones(2, np.int64), np.zeros(2, np.int64), np.zeros(0, np.int32)
    low, high = boxes[seen][:, ::2].min(axis=0), boxes[seen][:, 1::2].max(axis=0)
    width = np.maximum(high - low, 1e-12)
    scale = min(math.sqrt(4 * seen.sum() / float(width[0] * width[1])), 1024 / float(width.max()))
    cells = (np.floor(width * scale) + 1).astype(np.int64)
    grid = np.array([low[0], low[1], scale])
    starts, members = _fill_directory(boxes, seen, grid, cells)
    return grid, cells, starts, members


def _ends(detector: Detector, move: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_panels, 4, 3) the four corners of each panel, moved; m."""
    corner = detector.corners + move
    fs, ss = detector.axes[:, 0] * detector.shapes[:, 1:], detector.axes[:, 1] * detector.shapes[:, :1]
    return np.stack([corner, corner + fs, corner + ss, corner + fs + ss], axis=1)


def _distances(detector: Detector, move: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_panels,) of the panels' planes from the sample; 0 for a panel that is no plane."""
    normal = np.cross(detector.axes[:, 0], detector.axes[:, 1])
    length = np.sqrt((normal**2).sum(axis=1))
    across = np.abs(((detector.corners + move) * normal).sum(axis=1))
    return np.divide(across, length, out=np.zeros(len(normal)), where=length > 0)


def _boxes(detector: Detector, move: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """Least and largest x, y of the unit vectors towards each panel, (n_panels, 4); NaN for one that is no plane.

    Seen from the sample a panel lies in the cone around its middle that holds its corners (as long as that is narrower
    than a half space), and so do the ends of the unit vectors, within the chord. A shift turns none of them by more
    than it is long, measured by the distance of the plane.
    """
    distance = _distances(detector, move)
    with np.errstate(all="ignore"):
        ends = _ends(detector, move)
        ends /= np.sqrt((ends**2).sum(axis=2, keepdims=True))
        middle = ends.sum(axis=1)
        norm = np.sqrt((middle**2).sum(axis=1))[:, None]
        chord = np.sqrt(((ends - (middle / norm)[:, None]) ** 2).sum(axis=2).max(axis=1))
        # more than some 80 degrees: anywhere
        narrow = (norm[:, 0] > 1.0) & (chord < 1.3) & (shift < 0.5 * distance)
        chord = np.where(narrow, chord + 1.5 * shift / distance + 1e-9, 2.0)[:, None]
        centre = middle[:, :2] / np.maximum(norm, 1.0)
        boxes = np.stack([np.maximum(centre - chord, -1.0), np.minimum(centre + chord, 1.0)], axis=2).reshape(-1, 4)
    boxes[~((distance > 0.0) & np.isfinite(distance))] = np.nan
    return boxes


@kernel
def _cell(value, low, scale, n):
    return min(max(int((value - low) * scale), 0), n - 1)


@kernel
def _fill_directory(boxes, seen, grid, cells):
    starts = np.zeros(cells[0] * cells[1] + 1, np.int64)
    members = np.zeros(0, np.int32)
    at = np.zeros(starts.size, np.int64)
    for filling in (False, True):
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
            for cell in range(starts.size - 1):
                starts[cell + 1] = starts[cell] + at[cell]
                at[cell] = starts[cell]
            members = np.zeros(starts[-1], np.int32)
    return starts, members


@kernel
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


@kernel
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
