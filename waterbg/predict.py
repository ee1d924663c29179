"""Where reflections are: reciprocal axes + geometry + det_shift -> panel, fs, ss, excitation error.

The lattice points near the Ewald sphere, and where their rays meet the panels, as libcrystfel finds them
(``predict_to_res``, ``check_reflection`` and ``locate_peak_on_panel`` in geometry.c, for a monochromatic beam).
The beam runs along +z with k = 1/wavelength; a lattice point s has excitation error k - |s + k z|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.geometry.sources import wavelength_m

if TYPE_CHECKING:
    from waterbg.geometry import Detector
    from waterbg.stream import Crystal

SPOT = np.dtype(
    [
        ("h", "i4"),
        ("k", "i4"),
        ("l", "i4"),
        ("panel", "i4"),
        ("fs", "f8"),
        ("ss", "f8"),
        ("excitation", "f8"),
        ("inv_d", "f8"),
    ]
)

LIMIT = 1.7  # CrystFEL predicts where exp(-x²/2) >= exp(-1.7²/2), x = excitation error / profile radius
NEAR = 4.0  # and beyond that, up to here, a reflection can still be seen
_HIGHEST_INDEX = 511  # libcrystfel's lists hold no more


def wavenumber(photon_energy_eV: float) -> float:
    """1/wavelength in nm⁻¹, with the constants the photon energy in a stream was made with (utils.h of CrystFEL).

    Today's value of the electron charge, 5e-7 away, moves spots at a large detector's edge by 0.0006 px, and on a
    Pilatus 6M put 0.13 % of them into the next pixel.
    """
    return 1e-9 / wavelength_m(photon_energy_eV)


def predict(
    axes: NDArray[np.float64],
    centering: str,
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    profile_radius: float,
    max_inv_d: float = math.inf,
    det_shift_mm: tuple[float, float] = (0.0, 0.0),
    limit: float = LIMIT,
) -> NDArray[np.void]:
    """List every reflection CrystFEL would predict on the detector.

    Parameters
    ----------
    axes : (3, 3) float64
        Rows astar, bstar, cstar in nm⁻¹.
    centering : str
        P, A, B, C, I, F, R or H; absences of the lattice are left out.
    detector : Detector
    clen : float
        Camera length in m.
    photon_energy_eV : float
    profile_radius : float
        nm⁻¹.
    max_inv_d : float
        Largest 1/d in nm⁻¹.
    det_shift_mm : tuple of float
        Shift of the detector in x and y.
    limit : float
        Largest excitation error in profile radii.

    Returns
    -------
    spots : (n,) SPOT
        Ordered by h, k, l; position panel-local and exact, excitation error and 1/d in nm⁻¹.
    """
    axes = np.ascontiguousarray(axes, float)
    k = wavenumber(photon_energy_eV)
    reach = min(max_inv_d, _farthest(detector, clen, k, det_shift_mm) + 4 * limit * profile_radius)
    with np.errstate(all="ignore"):
        determinant = np.linalg.det(axes)
    if not (np.isfinite(axes).all() and abs(determinant) > 1e-12 and profile_radius > 0 and reach > 0 and k > 0):
        return np.zeros(0, SPOT)
    lengths = np.linalg.norm(np.linalg.inv(axes), axis=0)  # of a, b, c: how many planes fit into the reach
    most = np.minimum(np.floor(reach * lengths * (1 + 1e-12)), _HIGHEST_INDEX).astype(np.int64)
    hkl = _near_sphere(axes, k, limit * profile_radius, reach, most, ord(centering[:1] or "P"))
    spots = project(hkl, axes, detector, clen, photon_energy_eV, det_shift_mm)
    return spots[spots["panel"] >= 0]


def project(
    indices: NDArray[np.float64],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    det_shift_mm: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.void]:
    """Find where the rays of lattice points meet the detector.

    Parameters
    ----------
    indices : (n, 3) float64
        Any indices, also half-integer ones (their ``h``, ``k``, ``l`` in the result are rounded down).

    Returns
    -------
    spots : (n,) SPOT
        Aligned with ``indices``; panel is -1 and fs, ss NaN where a ray misses the detector.
    """
    indices = np.ascontiguousarray(indices, float).reshape(-1, 3)
    spots = np.zeros(len(indices), SPOT)
    for column, name in enumerate("hkl"):
        spots[name] = np.floor(indices[:, column])
    points = indices @ np.asarray(axes, float)
    k = wavenumber(photon_energy_eV)
    spots["inv_d"] = np.sqrt((points**2).sum(axis=1))
    rays = points + [0.0, 0.0, k]
    spots["excitation"] = k - np.sqrt((rays**2).sum(axis=1))
    panel, position = _locate(rays, _inverses(detector, clen, *det_shift_mm), detector.shapes)
    spots["panel"], spots["fs"], spots["ss"] = panel, position[:, 0], position[:, 1]
    return spots


def refine_det_shift(
    det_shift_mm: tuple[float, float],
    printed: NDArray[np.void],
    panels: NDArray[np.int32],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
) -> tuple[float, float]:
    """Recover det_shift below the 0.001 mm a stream prints, from the printed positions.

    Every position was rounded to 0.1 px, so it bounds the shift to an interval of that width; the intervals of all
    reflections leave very little, and its centre is taken.

    Parameters
    ----------
    det_shift_mm : tuple of float
        As printed.
    printed : (n,) REFLECTION
        Positions in the data coordinates of the file.
    panels : (n,) int32
        Number of each reflection's panel, -1 unknown.

    Returns
    -------
    tuple of float
        mm. The printed shift, where most positions are not the predicted ones (``cen``, ``prof2d``, another geometry).
    """
    shift = np.array(det_shift_mm, float)
    usable = (panels >= 0) & np.isfinite(printed["fs"]) & np.isfinite(printed["ss"])
    if usable.sum() < 3:
        return det_shift_mm
    rows, panel = printed[usable], panels[usable]
    observed = np.stack(detector.to_panel(panel, rows["fs"], rows["ss"]), axis=1)
    rays = np.stack([rows["h"], rows["k"], rows["l"]], axis=1) @ axes + [0.0, 0.0, wavenumber(photon_energy_eV)]
    pitch = np.array([p.pixel_size for p in detector.panels])[panel] * 1e3  # mm
    step = 1e-3

    def at(x: float, y: float) -> NDArray[np.float64]:
        return _on_panel(rays, _inverses(detector, clen, x, y)[panel])

    base = at(*shift)
    # d(position)/d(shift), (n, fs|ss, x|y): a shift by one pixel moves a spot by about one
    slope = np.stack([at(shift[0] + step, shift[1]) - base, at(shift[0], shift[1] + step) - base], axis=2) / step
    error = observed - base
    half = 0.05
    # what rounding of position, shift (0.0005 mm) and axes can explain
    agrees = np.abs(error) <= half + 0.01 + (0.00051 * np.abs(slope).sum(axis=2))
    good = agrees.all(axis=1) & (pitch > 0)
    if good.sum() < 3 or good.sum() < 0.5 * len(good):
        return det_shift_mm
    error, slope = error[good], slope[good]
    change = np.zeros(2)
    for _ in range(3):
        for axis in (0, 1):
            steep = np.abs(slope[:, :, axis])
            decisive = steep > 0.5 * steep.max()
            left = (error - slope @ change)[decisive]
            a = slope[:, :, axis][decisive]
            low = np.max(np.minimum((left - half) / a, (left + half) / a))
            high = np.min(np.maximum((left - half) / a, (left + half) / a))
            change[axis] += 0.5 * (low + high)
    if np.abs(change).max() > 0.0011:  # more than rounding: something else is wrong with these positions
        return det_shift_mm
    return float(shift[0] + change[0]), float(shift[1] + change[1])


@dataclass(frozen=True)
class Scene:
    """Everything predicted on one frame, for all of its crystals.

    Attributes
    ----------
    spots : (n,) SPOT
        Reflections predicted by CrystFEL's rule, printed in the stream or not, and printed ones that are not predicted.
    crystal : (n,) int32
        Number of the crystal in the chunk.
    printed : (n,) int32
        Row in that crystal's reflections; -1 where the stream does not have it.
    near : (m,) SPOT
        Reflections just outside CrystFEL's rule: in the image, never in the list.
    rows : tuple of (n_reflections,) int32
        For each crystal, the spot that belongs to each printed row.
    det_shift : (n_crystals, 2) float64
        mm, refined.
    crystals : tuple of Crystal
    """

    spots: NDArray[np.void]
    crystal: NDArray[np.int32]
    printed: NDArray[np.int32]
    near: NDArray[np.void]
    rows: tuple[NDArray[np.int32], ...]
    det_shift: NDArray[np.float64]
    crystals: tuple[Crystal, ...]


def build_scene(
    crystals: Sequence[Crystal],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    push_res: float = math.inf,
) -> Scene:
    """Predict all reflections of all crystals of one chunk.

    Parameters
    ----------
    crystals : sequence of Crystal
    push_res : float
        How far beyond a crystal's resolution limit reflections are predicted, nm⁻¹ (``--push-res``).
    """
    parts, nears, owner, printed, rows, shifts = [], [], [], [], [], []
    n_spots = 0
    for number, crystal in enumerate(crystals):
        listed = crystal.reflections
        panels = detector.panel_numbers(crystal.panel_names)[listed["panel"]] if len(listed) else np.zeros(0, np.int32)
        spots, near, shift = _one_crystal(crystal, listed, panels, detector, clen, photon_energy_eV, push_res)
        row_of_spot, spot_of_row, extra = _match(spots, listed)
        if len(extra):
            lacking = _lacking(crystal, listed[extra], panels[extra], detector, clen, photon_energy_eV, shift)
            spot_of_row[extra] = len(spots) + np.arange(len(extra))
            spots = np.concatenate([spots, lacking])
            row_of_spot = np.concatenate([row_of_spot, extra]).astype(np.int32)
        parts.append(spots)
        nears.append(near)
        owner.append(np.full(len(spots), number, np.int32))
        printed.append(row_of_spot)
        rows.append((spot_of_row + n_spots).astype(np.int32))
        shifts.append(shift)
        n_spots += len(spots)
    return Scene(
        spots=np.concatenate(parts) if parts else np.zeros(0, SPOT),
        crystal=np.concatenate(owner) if owner else np.zeros(0, np.int32),
        printed=np.concatenate(printed) if printed else np.zeros(0, np.int32),
        near=np.concatenate(nears) if nears else np.zeros(0, SPOT),
        rows=tuple(rows),
        det_shift=np.array(shifts, float).reshape(-1, 2),
        crystals=tuple(crystals),
    )


def _one_crystal(
    crystal: Crystal,
    listed: NDArray[np.void],
    panels: NDArray[np.int32],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    push_res: float,
) -> tuple[NDArray[np.void], NDArray[np.void], tuple[float, float]]:
    """Spots within CrystFEL's limit, spots beyond it, and the refined det_shift."""
    shift = crystal.det_shift or (0.0, 0.0)
    radius = crystal.profile_radius or 0.0
    if crystal.axes is None:
        return np.zeros(0, SPOT), np.zeros(0, SPOT), shift
    if len(listed):
        shift = refine_det_shift(shift, listed, panels, crystal.axes, detector, clen, photon_energy_eV)
    reach = math.inf
    if math.isfinite(push_res) and crystal.resolution_limit is not None:
        reach = crystal.resolution_limit + push_res
        if len(listed):  # the limit is printed with two decimals
            hkl = np.stack([listed["h"], listed["k"], listed["l"]], axis=1)
            seen = float(np.sqrt(((hkl @ crystal.axes) ** 2).sum(axis=1)).max())
            reach = min(max(reach, seen), reach + 0.006)
    wide = predict(
        crystal.axes,
        crystal.centering or "P",
        detector,
        clen,
        photon_energy_eV,
        radius,
        det_shift_mm=shift,
        limit=NEAR,
    )
    # the threshold is on exp(-x²/2), rounded as libcrystfel rounds it
    x = wide["excitation"] / radius if radius > 0 else wide["excitation"]
    inside = (np.exp(-0.5 * x * x) >= math.exp(-0.5 * LIMIT * LIMIT)) & (wide["inv_d"] <= reach)
    return wide[inside], wide[~inside], shift


def _match(
    spots: NDArray[np.void], listed: NDArray[np.void]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Pair predicted and printed reflections by hkl; the third array holds the printed rows without a prediction."""
    row_of_spot = np.full(len(spots), -1, np.int32)
    spot_of_row = np.full(len(listed), -1, np.int32)
    if len(listed) and len(spots):
        keys, order = _key(spots), np.argsort(_key(spots), kind="stable")
        wanted = _key(listed)
        at = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        found = keys[order][at] == wanted
        spot_of_row[found] = order[at[found]]
        # of rows with the same indices the first one owns the spot
        row_of_spot[spot_of_row[found][::-1]] = np.flatnonzero(found)[::-1]
    return row_of_spot, spot_of_row, np.flatnonzero(spot_of_row < 0)


def _key(rows: NDArray[np.void]) -> NDArray[np.int64]:
    h, k, l = (rows[name].astype(np.int64) for name in "hkl")
    return (h << 42) + (k << 21) + l  # unique within ±2^20


def _lacking(
    crystal: Crystal,
    listed: NDArray[np.void],
    panels: NDArray[np.int32],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    shift: tuple[float, float],
) -> NDArray[np.void]:
    """Spots of printed reflections the prediction does not have."""
    if crystal.axes is not None:
        hkl = np.stack([listed["h"], listed["k"], listed["l"]], axis=1)
        return project(hkl.astype(float), crystal.axes, detector, clen, photon_energy_eV, shift)
    # a crystal without a cell: the printed position, known to 0.1 px, is all there is
    spots = np.zeros(len(listed), SPOT)
    for name in "hkl":
        spots[name] = listed[name]
    spots["panel"] = np.where(np.isfinite(listed["fs"]) & np.isfinite(listed["ss"]), panels, -1)
    known = spots["panel"] >= 0
    spots["fs"] = spots["ss"] = np.nan
    fs, ss = detector.to_panel(spots["panel"][known], listed["fs"][known], listed["ss"][known])
    spots["fs"][known], spots["ss"][known] = fs, ss
    x, y, z = detector.lab(spots["panel"][known], fs, ss, clen)
    two_theta = np.arctan2(np.hypot(x, y), z)
    spots["inv_d"][known] = 2 * wavenumber(photon_energy_eV) * np.sin(two_theta / 2)
    return spots


@lru_cache(maxsize=32)
def _inverses(detector: Detector, clen: float, shift_x_mm: float, shift_y_mm: float) -> NDArray[np.float64]:
    """(n_panels, 3, 3): from a ray to (1, fs, ss)/mu, as locate_peak_on_panel solves it for each panel."""
    corner = np.array(detector.corners, float)
    corner[:, 0] += shift_x_mm * 1e-3
    corner[:, 1] += shift_y_mm * 1e-3
    corner[:, 2] += clen
    matrices = np.stack([corner, detector.axes[:, 0], detector.axes[:, 1]], axis=2)
    pitch = np.linalg.norm(detector.axes[:, 0], axis=1)[:, None, None]
    return np.ascontiguousarray(np.linalg.inv(matrices / pitch))


def _farthest(detector: Detector, clen: float, k: float, shift_mm: tuple[float, float]) -> float:
    """Largest 1/d that reaches a corner of a panel, nm⁻¹."""
    reach = 0.0
    for number, (n_ss, n_fs) in enumerate(detector.shapes):
        fs, ss = np.array([0.0, n_fs, 0.0, n_fs]), np.array([0.0, 0.0, n_ss, n_ss])
        x, y, z = detector.lab(np.full(4, number), fs, ss, clen, shift_mm)
        reach = max(reach, float((2 * k * np.sin(0.5 * np.arctan2(np.hypot(x, y), z))).max()))
    return reach


def _on_panel(rays: NDArray[np.float64], inverses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) position of each ray on its own panel's plane, also beyond the panel's edges."""
    solution = np.einsum("nij,nj->ni", inverses, rays)
    with np.errstate(all="ignore"):
        return solution[:, 1:] / solution[:, :1]


@njit(cache=True, nogil=True)
def _locate(rays, inverses, shapes):
    n = rays.shape[0]
    panel = np.full(n, -1, np.int32)
    position = np.full((n, 2), np.nan)
    for i in range(n):
        x, y, z = rays[i, 0], rays[i, 1], rays[i, 2]
        for p in range(inverses.shape[0]):
            m = inverses[p]
            one_over_mu = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z
            if not one_over_mu > 0.0:
                continue
            fs = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z) / one_over_mu
            ss = (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z) / one_over_mu
            if 0.0 <= fs < shapes[p, 1] and 0.0 <= ss < shapes[p, 0]:
                panel[i], position[i, 0], position[i, 1] = p, fs, ss
                break
    return panel, position


@njit(cache=True, nogil=True)
def _allowed(centering, h, k, l):
    """Reflection conditions as forbidden_reflection in cell-utils.c; H is the obverse setting."""
    if centering == 65:  # A
        return (k + l) % 2 == 0
    if centering == 66:  # B
        return (h + l) % 2 == 0
    if centering == 67:  # C
        return (h + k) % 2 == 0
    if centering == 73:  # I
        return (h + k + l) % 2 == 0
    if centering == 70:  # F
        return (h + k) % 2 == 0 and (h + l) % 2 == 0 and (k + l) % 2 == 0
    if centering == 72:  # H
        return (-h + k + l) % 3 == 0
    return True


@njit(cache=True, nogil=True)
def _near_sphere(axes, k, limit, reach, most, centering):
    """Indices of lattice points within ``limit`` of the Ewald sphere: (n, 3), ordered by h, k, l.

    Along each line of constant h, k the sphere's shell is met in at most two short stretches, whose ends are the
    roots of a quadratic; only those are walked.
    """
    found = np.empty((1024, 3))
    n = 0
    cx, cy, cz = axes[2, 0], axes[2, 1], axes[2, 2]
    cc = cx * cx + cy * cy + cz * cz
    outer, inner = k + limit, max(k - limit, 0.0)
    for h in range(-most[0], most[0] + 1):
        for kk in range(-most[1], most[1] + 1):
            px = h * axes[0, 0] + kk * axes[1, 0]
            py = h * axes[0, 1] + kk * axes[1, 1]
            pz = h * axes[0, 2] + kk * axes[1, 2] + k
            b = (px * cx + py * cy + pz * cz) / cc
            pp = px * px + py * py + pz * pz
            far = b * b - (pp - outer * outer) / cc
            if far < 0.0:
                continue
            root_far = math.sqrt(far)
            near = b * b - (pp - inner * inner) / cc
            root_near = math.sqrt(near) if near > 0.0 else 0.0
            first, last = -b - root_far, -b + root_far
            hole_first, hole_last = -b - root_near, -b + root_near
            l = max(-most[2], math.ceil(first - 1e-9))
            end = min(most[2], math.floor(last + 1e-9))
            while l <= end:
                if root_near > 0.0 and hole_first + 1.0 < l < hole_last - 1.0:
                    l = int(math.floor(hole_last - 1.0)) + 1
                    continue
                x, y, z = px + l * cx, py + l * cy, pz + l * cz
                inv_d2 = x * x + y * y + (z - k) * (z - k)
                if (
                    abs(k - math.sqrt(x * x + y * y + z * z)) <= limit * (1.0 + 1e-9)
                    and 0.0 < inv_d2 <= reach * reach
                    and not (h == 0 and kk == 0 and l == 0)
                    and _allowed(centering, h, kk, l)
                ):
                    if n == len(found):
                        more = np.empty((2 * n, 3))
                        more[:n] = found
                        found = more
                    found[n, 0], found[n, 1], found[n, 2] = h, kk, l
                    n += 1
                l += 1
    return found[:n].copy()
