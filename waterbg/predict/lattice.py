"""Lattice points near the Ewald sphere: ``predict_to_res`` and ``check_reflection`` in geometry.c."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel
from waterbg.stream.grammar import LARGEST_INDEX

# points of one crystal: a virus crystal has some 100 000; beyond it cell or profile radius are damaged
MOST_POINTS = 2_000_000
ROOM = 1 << 14  # points there is room for at first


def near_sphere(
    axes: NDArray[np.float64],
    centering: str,
    k: float,
    spread: float,
    radius: float,
    limit: float,
    reach: float,
    highest: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """List the lattice points that are excited enough.

    Parameters
    ----------
    axes : (3, 3) float64
        Rows astar, bstar, cstar in nm⁻¹, linearly independent.
    centering : str
        P, A, B, C, I, F, R or H; absences of the lattice are left out.
    k : float
        1/wavelength in nm⁻¹.
    spread : float
        Standard deviation of k, nm⁻¹: the ``bandwidth`` of the geometry times k.
    radius : float
        Profile radius in nm⁻¹, positive.
    limit : float
        Largest reduced excitation error, see `reduced_error`.
    reach : float
        Largest 1/d in nm⁻¹.
    highest : (3,) int64
        Highest h, k, l.

    Returns
    -------
    hkl : (n, 3) int32
        Ordered by h, k, l; empty when there would be more than `MOST_POINTS`.
    reduced : (n,) float64
    """
    widest = min(2.0, reach * reach / (2 * k * k)) * spread  # of the Ewald sphere: (1 - cos 2θ) spread
    excess = 2.0 * math.log(math.hypot(1.0, spread / radius))
    thickness = math.sqrt((radius * radius + widest * widest) * (limit * limit + excess)) * (1 + 1e-9)
    highest = np.minimum(highest, LARGEST_INDEX)
    code = ord(centering[:1] or "P")
    axes = np.ascontiguousarray(axes, np.float64)
    room = ROOM
    while True:
        hkl, reduced = np.empty((room, 3), np.int32), np.empty(room)
        n = _near_sphere(axes, code, k, spread, radius, limit, thickness, reach, highest, MOST_POINTS, hkl, reduced)
        if n <= room:
            return hkl[:n], reduced[:n]
        if n > MOST_POINTS:
            return hkl[:0], reduced[:0]
        room = n


@kernel
def reduced_error(x, y, z, k, spread, radius):
    """Excitation error in widths, such that CrystFEL's partiality is exp(-r²/2); 0 also where that is above 1.

    For a monochromatic beam it is |error| / radius. With a bandwidth the sphere is (1 - cos 2θ) times the spread of k
    thick, and the loss of intensity by that is given back (``check_reflection``, "general case").
    """
    norm = math.sqrt(x * x + y * y + (z + k) * (z + k))
    if norm == 0.0:
        return math.inf
    error = k - norm
    across = (1.0 - (z + k) / norm) * spread
    width2 = radius * radius + across * across
    r2 = error * error / width2 - math.log((radius * radius + spread * spread) / width2)
    return math.sqrt(max(r2, 0.0))


@kernel
def reduced_errors(points, k, spread, radius):
    """`reduced_error` of each of the points (n, 3)."""
    out = np.empty(len(points))
    for n in range(len(points)):
        out[n] = reduced_error(points[n, 0], points[n, 1], points[n, 2], k, spread, radius)
    return out


@kernel
def _allowed(centering, h, k, l):
    """Reflection conditions as ``forbidden_reflection`` in cell-utils.c; H is the obverse setting."""
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


@kernel
def _between(a, half_b, c):
    """Ends of the interval where a t² + 2 half_b t + c <= 0; empty (1, 0) when there is none."""
    d = half_b * half_b - a * c
    if not (a > 0.0 and d >= 0.0):
        return 1.0, 0.0
    root = math.sqrt(d)
    return (-half_b - root) / a, (-half_b + root) / a


@kernel
def _whole(low, high, most):
    """First and last whole number in an interval, widened by what rounding may have cost, and cut to ±most."""
    low, high = max(low - 1e-6, -most - 1.0), min(high + 1e-6, most + 1.0)
    return max(int(math.ceil(low)), -most), min(int(math.floor(high)), most)  # noqa: RUF046 (floats under numba)


@kernel
def _near_sphere(axes, centering, k, spread, radius, limit, thickness, reach, highest, most, hkl, reduced):
    """Walk the lines of constant h, k through the shell around the sphere, and count the points, with room or without.

    A line meets the shell in one or two short stretches, whose ends are the roots of quadratics; no other point of
    the lattice is looked at.
    """
    n = 0
    ax, ay, az = axes[0, 0], axes[0, 1], axes[0, 2]
    bx, by, bz = axes[1, 0], axes[1, 1], axes[1, 2]
    cx, cy, cz = axes[2, 0], axes[2, 1], axes[2, 2]
    cc = cx * cx + cy * cy + cz * cz
    ac, bc = ax * cx + ay * cy + az * cz, bx * cx + by * cy + bz * cz
    # products of a and b across c: how far the lines of constant h, k pass from the origin
    aa = ax * ax + ay * ay + az * az - ac * ac / cc
    bb = bx * bx + by * by + bz * bz - bc * bc / cc
    ab = ax * bx + ay * by + az * bz - ac * bc / cc
    outer, inner = k + thickness, k - thickness
    reach2 = reach * reach
    for h in range(-highest[0], highest[0] + 1):
        low, high = _between(bb, h * ab, h * h * aa - reach2)
        first_k, last_k = _whole(low, high, highest[1])
        for kk in range(first_k, last_k + 1):
            qx, qy, qz = h * ax + kk * bx, h * ay + kk * by, h * az + kk * bz
            qc, qq = qx * cx + qy * cy + qz * cz, qx * qx + qy * qy + qz * qz
            pc, pp = qc + k * cz, qq + 2.0 * k * qz + k * k
            low, high = _between(cc, qc, qq - reach2)
            far_low, far_high = _between(cc, pc, pp - outer * outer)
            low, high = max(low, far_low), min(high, far_high)
            if not low - 1e-6 <= high + 1e-6:
                continue
            hole_low, hole_high = _between(cc, pc, pp - inner * inner) if inner > 0.0 else (1.0, 0.0)
            first, last = _whole(low, high, highest[2])
            skip_from, skip_to = 1, 0
            if hole_low < hole_high:
                skip_from, skip_to = _whole(hole_low + 2e-6, hole_high - 2e-6, highest[2])
            l = first
            while l <= last:
                if skip_from <= l <= skip_to:
                    l = skip_to + 1
                    continue
                x, y, z = qx + l * cx, qy + l * cy, qz + l * cz
                inv_d2 = x * x + y * y + z * z
                if inv_d2 <= reach2 and _allowed(centering, h, kk, l) and not (h == 0 and kk == 0 and l == 0):
                    r = reduced_error(x, y, z, k, spread, radius)
                    if r <= limit:
                        if n < reduced.size:
                            hkl[n, 0], hkl[n, 1], hkl[n, 2] = h, kk, l
                            reduced[n] = r
                        n += 1
                        if n > most:
                            return n
                l += 1
    return n
