"""All reflections that CrystFEL would predict, and where any point of the lattice is seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.geometry.sources import C_VACUO, ELECTRON_CHARGE, PLANCK
from waterbg.predict.lattice import near_sphere
from waterbg.predict.rays import extent, planes, rays_of

if TYPE_CHECKING:
    from waterbg.geometry import Detector

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
        ("reduced", "f8"),  # excitation error in profile radii, `lattice.reduced_error`; 0 where nobody asked
    ]
)

LIMIT = 1.7  # CrystFEL predicts where its partiality exp(-r²/2) >= exp(-1.7²/2), r = excitation error / profile radius
NEAR = 4.0  # and beyond that, up to here, a reflection can still be seen


def wavenumber(photon_energy_eV: float) -> float:
    """1/wavelength in nm⁻¹, with the constants the photon energy in a stream was made with (utils.h of CrystFEL).

    Today's value of the electron charge, 5e-7 away, moves spots at a large detector's edge by 0.0006 px, and on a
    Pilatus 6M put 0.13 % of them into the next pixel.
    """
    return photon_energy_eV * ELECTRON_CHARGE / (PLANCK * C_VACUO) * 1e-9


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
        Its ``bandwidth`` counts.
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
        Largest excitation error in profile radii; with a bandwidth, in widths (`lattice.reduced_error`).

    Returns
    -------
    spots : (n,) SPOT
        Ordered by h, k, l; position panel-local and exact, excitation error and 1/d in nm⁻¹. Empty where axes, profile
        radius, energy or camera length are no numbers to predict from.
    """
    axes = np.ascontiguousarray(axes, float)
    k = wavenumber(photon_energy_eV)
    spread = detector.bandwidth * k
    nothing = np.zeros(0, SPOT)
    numbers = (k, spread, profile_radius, limit, clen, *det_shift_mm)
    if not (np.isfinite(axes).all() and np.isfinite(numbers).all() and k > 0 and profile_radius > 0):
        return nothing
    with np.errstate(all="ignore"):
        volume = 1 / np.linalg.det(axes)
        lengths = np.linalg.norm(np.cross(axes[[1, 2, 0]], axes[[2, 0, 1]]), axis=1) * abs(volume)  # of a, b, c
    if not (np.isfinite(lengths).all() and (lengths < 1e5).all()):  # nm
        return nothing
    angle, distance = extent(detector, float(clen))
    # CrystFEL takes the highest indices from the detector without its shift (detgeom_max_resolution)
    farthest = 2 * k * math.sin(0.5 * angle)
    highest = np.floor(np.minimum(min(farthest, max_inv_d) * lengths, 1e6)).astype(np.int64)
    turn = 2e-3 * math.hypot(*det_shift_mm) / distance if distance > 0 else math.pi  # more than a shift turns any ray
    seen = 2 * k * math.sin(0.5 * min(angle + turn, math.pi)) + 2 * limit * (profile_radius + spread)
    reach = min(max_inv_d, seen * (1 + 5 * detector.bandwidth))
    if not reach > 0:
        return nothing
    hkl, reduced = near_sphere(axes, centering, k, spread, profile_radius, limit, reach, highest)
    spots = _spots(hkl, axes, detector, clen, k, det_shift_mm, profile_radius)
    spots["reduced"] = reduced
    return spots[spots["panel"] >= 0]


def project(
    indices: NDArray[np.float64],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    det_shift_mm: tuple[float, float] = (0.0, 0.0),
    profile_radius: float = 0.0,
) -> NDArray[np.void]:
    """Find where the rays of lattice points meet the detector.

    Parameters
    ----------
    indices : (n, 3) float64
        Any indices, also half-integer ones (their ``h``, ``k``, ``l`` in the result are rounded down).
    axes, detector, clen, photon_energy_eV, det_shift_mm
        As in `predict`.
    profile_radius : float
        nm⁻¹; matters only with a bandwidth that is comparable. 0: the central wavelength makes every spot.

    Returns
    -------
    spots : (n,) SPOT
        Aligned with ``indices``; panel is -1 and fs, ss NaN where a ray misses the detector.
    """
    indices = np.ascontiguousarray(indices, float).reshape(-1, 3)
    axes = np.asarray(axes, float)
    return _spots(indices, axes, detector, clen, wavenumber(photon_energy_eV), det_shift_mm, profile_radius)


def _spots(
    indices: NDArray[np.int32] | NDArray[np.float64],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    k: float,
    det_shift_mm: tuple[float, float],
    profile_radius: float,
) -> NDArray[np.void]:
    spots = np.zeros(len(indices), SPOT)
    for column, name in enumerate("hkl"):
        spots[name] = np.floor(indices[:, column])
    points = indices @ axes
    spots["inv_d"] = np.sqrt((points**2).sum(axis=1))
    spots["excitation"] = k - np.sqrt(points[:, 0] ** 2 + points[:, 1] ** 2 + (points[:, 2] + k) ** 2)
    rays = rays_of(points, k, detector.bandwidth, profile_radius)
    panel, position = planes(detector, clen, det_shift_mm).meet(rays)
    spots["panel"], spots["fs"], spots["ss"] = panel, position[:, 0], position[:, 1]
    return spots


def columns_of(spots: NDArray[np.void]) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Panel, fs and ss of spots, each an array of its own."""
    return tuple(np.ascontiguousarray(spots[name]) for name in ("panel", "fs", "ss"))  # type: ignore[return-value]
