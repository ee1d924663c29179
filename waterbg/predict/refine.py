"""What a stream rounds away, found again from the printed positions.

A stream prints det_shift to 0.001 mm, reciprocal axes to 1e-7 nm⁻¹ and positions to 0.1 px. With the first two rounded,
a recomputed position is wrong by up to some 0.01 px, and that share of the reflections falls into the wrong pixel. But
every printed position bounds the true one to an interval of 0.1 px: thousands of them leave next to nothing of what the
rounding of shift and axes could have been.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel
from waterbg.predict.rays import panel_inverses, rays_of
from waterbg.predict.spots import wavenumber

if TYPE_CHECKING:
    from waterbg.geometry import Detector

_SHIFT_ROUNDING = 0.5e-3  # mm
_AXIS_ROUNDING = 0.5e-7  # nm⁻¹
_POSITION_ROUNDING = 0.05  # px
_MARGIN = 1.02  # on the first two, for what else was rounded
_FEWEST = 3  # reflections
_FARTHEST = 1e7  # px, mm; where single precision knows no pixels any more
_PART = 1500  # coordinates that are looked at first when there are many
_CLOSE = 2e-3  # px; that many tell to much less than that
_MOST_CONTRADICTIONS = 8  # times that contradicting positions are left out
_SLACK = 1e-4  # px


def refine_det_shift(
    det_shift_mm: tuple[float, float],
    printed: NDArray[np.void],
    panels: NDArray[np.int32],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
) -> tuple[float, float]:
    """Recover det_shift below the 0.001 mm a stream prints, the axes taken as they are.

    Parameters
    ----------
    det_shift_mm : tuple of float
        As printed.
    printed : (n,) REFLECTION
        Positions in the data coordinates of the file.
    panels : (n,) int32
        Number of each reflection's panel, -1 unknown.
    axes : (3, 3) float64
        Rows astar, bstar, cstar in nm⁻¹.
    detector : Detector
    clen : float
        m.
    photon_energy_eV : float

    Returns
    -------
    tuple of float
        mm. The printed shift, where most positions are not the predicted ones.
    """
    return _refine(det_shift_mm, printed, panels, axes, detector, clen, photon_energy_eV, 0.0, hold_axes=True)[1]


def refine_crystal(
    det_shift_mm: tuple[float, float],
    printed: NDArray[np.void],
    panels: NDArray[np.int32],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    profile_radius: float = 0.0,
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Recover axes and det_shift below their printed rounding.

    Positions that were moved by whole pixels (``cen``) still tell where they were predicted; where fewer than half of
    the positions can be explained, they are not CrystFEL's predictions (another geometry), and nothing is changed.

    Parameters
    ----------
    det_shift_mm, printed, panels, axes, detector, clen, photon_energy_eV
        As in `refine_det_shift`.
    profile_radius : float
        nm⁻¹, see `spots.project`.

    Returns
    -------
    axes : (3, 3) float64
        nm⁻¹.
    det_shift : tuple of float
        mm.
    """
    return _refine(
        det_shift_mm, printed, panels, axes, detector, clen, photon_energy_eV, profile_radius, hold_axes=False
    )


def _refine(
    det_shift_mm: tuple[float, float],
    printed: NDArray[np.void],
    panels: NDArray[np.int32],
    axes: NDArray[np.float64],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    profile_radius: float,
    *,
    hold_axes: bool,
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    axes = np.asarray(axes, float)
    usable = (panels >= 0) & (np.abs(printed["fs"]) < _FARTHEST) & (np.abs(printed["ss"]) < _FARTHEST)
    rows, panel = printed[usable], panels[usable]
    if len(rows) < _FEWEST or not math.hypot(*det_shift_mm) < _FARTHEST:
        return axes, det_shift_mm
    indices = np.stack([rows["h"], rows["k"], rows["l"]], axis=1).astype(float)
    rays = rays_of(indices @ axes, wavenumber(photon_energy_eV), detector.bandwidth, profile_radius)
    inverses = panel_inverses(detector, clen, det_shift_mm)[panel]
    observed, half = _intervals(np.stack([rows["fs"], rows["ss"]], axis=1))
    observed -= detector.minima[panel]
    boxes = np.array([_SHIFT_ROUNDING] * 2 + [0.0 if hold_axes else _AXIS_ROUNDING] * 9) * _MARGIN
    error, slope = _linearise(rays, inverses, indices, observed, boxes, 2 if hold_axes else 11)
    # the range of what the unknown roundings can do to each position
    range_ = np.abs(slope).sum(axis=2)
    explained = (np.abs(error) <= half + range_).all(axis=1)
    if explained.sum() < max(_FEWEST, 0.5 * len(rows)):
        return axes, det_shift_mm
    decisive = explained[:, None] & (np.abs(error) + range_ >= half)
    if not decisive.any():
        return axes, det_shift_mm
    error, slope, half = error[decisive], slope[decisive], half[decisive]
    found = None
    if det_shift_mm == (0.0, 0.0):
        # CrystFEL 0.12 shifts no detector of itself, so that this is an exact zero as a rule
        found = np.zeros(slope.shape[1])
        found[2:] = _middle(error, np.ascontiguousarray(slope[:, 2:]), half)
        if (np.abs(error - slope @ found) > half + _SLACK).any():
            found = None
    if found is None:
        found = _middle(error, slope, half)
    change = np.zeros(11)
    change[: len(found)] = found
    change *= boxes
    x, y = float(det_shift_mm[0] + change[0]), float(det_shift_mm[1] + change[1])
    return axes + change[2:].reshape(3, 3), (x, y)


def _intervals(printed: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles and half widths of what positions can have been before they were printed with one decimal.

    CrystFEL prints the decimal that is closest to a single precision number (``write_stream_reflections``), so the true
    position lies within half a step of that precision of the numbers that give this decimal.
    """
    with np.errstate(all="ignore"):  # damaged numbers may be larger than single precision
        low, high = (printed - _POSITION_ROUNDING).astype(np.float32), (printed + _POSITION_ROUNDING).astype(np.float32)
        low = np.where(low < printed - _POSITION_ROUNDING, np.nextafter(low, np.float32(np.inf)), low).astype(
            np.float64
        )
        high = np.where(high > printed + _POSITION_ROUNDING, np.nextafter(high, np.float32(-np.inf)), high)
        step = np.spacing(np.abs(printed).astype(np.float32)).astype(np.float64)
        middle = (0.5 * (low + high)).astype(np.float64)
        return middle, 0.5 * (high - low + step)


@kernel
def _linearise(rays, inverses, indices, observed, boxes, n_unknown):
    """Error of each position and its change with each unknown, in units of that unknown's rounding.

    With (1, fs, ss)/mu = W t for a ray t and the panel's inverse W, a position p = (W t)_j / (W t)_0 changes with the
    ray by (W_j - p W_0)/(W t)_0, and with the panel's corner by -(W_j - p W_0).
    """
    n = len(rays)
    error = np.full((n, 2), np.inf)
    slope = np.zeros((n, 2, n_unknown))
    for i in range(n):
        w = inverses[i]
        over = w[0, 0] * rays[i, 0] + w[0, 1] * rays[i, 1] + w[0, 2] * rays[i, 2]
        if not over > 0.0:
            continue
        for j in range(2):
            place = (w[j + 1, 0] * rays[i, 0] + w[j + 1, 1] * rays[i, 1] + w[j + 1, 2] * rays[i, 2]) / over
            left = observed[i, j] - place
            error[i, j] = left - np.rint(left)  # whole pixels: the position was centred on the brightest
            for x in range(3):
                gradient = w[j + 1, x] - place * w[0, x]
                if x < 2:
                    slope[i, j, x] = -gradient * 1e-3 * boxes[x]
                if n_unknown > 2:
                    for m in range(3):
                        slope[i, j, 2 + 3 * m + x] = gradient / over * indices[i, m] * boxes[2 + 3 * m + x]
    return error, slope


def _middle(error: NDArray[np.float64], slope: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `_centre`, leaving out positions that contradict the others.

    A wrong position that agrees by chance makes the bounds contradict each other, and then the middle violates a few of
    them. These are left out, and those that were right come back when the middle is found.
    """
    every = np.ones(len(error), bool)
    kept, found = every, np.zeros(slope.shape[1])
    for _ in range(_MOST_CONTRADICTIONS):
        found = _quick_centre(error[kept], slope[kept], half[kept], found)
        beyond = np.abs(error - slope @ found) - half
        if not (beyond[kept] > 0).any():
            break
        kept = kept & (beyond <= 0)
    back = beyond <= _SLACK
    return (
        found if (back == kept).all() or kept is every else _quick_centre(error[back], slope[back], half[back], found)
    )


def _quick_centre(
    error: NDArray[np.float64], slope: NDArray[np.float64], half: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As `_centre`; of very many positions a part tells which of them matter."""
    if len(error) <= 2 * _PART:
        return _centre(error, slope, half, start)
    some = slice(None, None, len(error) // _PART)
    start = _centre(error[some], np.ascontiguousarray(slope[some]), half[some], start)
    close = np.abs(error - slope @ start) > half - _CLOSE
    found = _centre(error[close], slope[close], half[close], start)
    if (np.abs(error - slope @ found)[~close] <= half[~close]).all():
        return found
    return _centre(error, slope, half, found)


@kernel
def _centre(error, slope, half, start):
    """Middle of what |error - slope u| <= half and |u| <= 1 allow.

    The intervals are first widened until the start fulfils them all, then narrowed step by step to their true width, or
    to the least that can still be fulfilled; each time Newton's method finds the analytic centre, where the product of
    all distances from the bounds is largest.
    """
    m, d = slope.shape
    u, left = np.empty(d), np.empty(m)
    for a in range(d):
        u[a] = 0.99 * start[a]  # off the bounds
    for i in range(m):
        left[i] = error[i]
        for a in range(d):
            left[i] -= slope[i, a] * u[a]
    extra = max(_farthest(left, half), 0.0) + 1e-3
    gradient, hessian, step = np.zeros(d), np.zeros((d, d)), np.zeros(d)
    for _ in range(40):
        for _ in range(30):
            for a in range(d):
                gradient[a] = 0.0
                for b in range(a + 1):
                    hessian[a, b] = 0.0
            for i in range(m):
                above, below = 1.0 / (half[i] + extra - left[i]), 1.0 / (half[i] + extra + left[i])
                first, second = below - above, above * above + below * below
                for a in range(d):
                    gradient[a] += first * slope[i, a]
                    weighted = second * slope[i, a]
                    for b in range(a + 1):
                        hessian[a, b] += weighted * slope[i, b]
            for a in range(d):
                above, below = 1.0 / (1.0 - u[a]), 1.0 / (1.0 + u[a])
                gradient[a] += above - below
                hessian[a, a] += above * above + below * below
            _solve(hessian, gradient, step)
            decrement = 0.0
            for a in range(d):
                decrement += gradient[a] * step[a]
            decrement = math.sqrt(max(decrement, 0.0))
            # this long a step never leaves the bounds, as the barrier is self-concordant
            length = 1.0 if decrement < 0.25 else 1.0 / (1.0 + decrement)
            for a in range(d):
                u[a] -= length * step[a]
            for i in range(m):
                left[i] = error[i]
                for a in range(d):
                    left[i] -= slope[i, a] * u[a]
            if decrement < (1e-2 if extra == 0.0 else 0.5):
                break
        if extra == 0.0:
            break
        worst = _farthest(left, half)
        narrower = worst + 0.2 * (extra - worst)
        if worst < 0.0 and narrower < 1e-6:
            narrower = 0.0
        if extra - narrower < 1e-7:
            break
        extra = max(narrower, 0.0)
    _to_middles(u, left, slope, half, max(extra, _farthest(left, half)))
    return u


@kernel
def _farthest(left, half):
    """How far the worst of the positions is out of its interval; negative within."""
    worst = -np.inf
    for i in range(len(left)):
        worst = max(worst, abs(left[i]) - half[i])
    return worst


@kernel
def _to_middles(u, left, slope, half, extra):
    """Move each unknown in turn to the middle of what the others leave of it.

    With evenly distributed roundings that is closer to the truth than the analytic centre, which the many loose bounds
    pull aside: by 5–15 % in simulated streams, as close as the mean over all that is allowed.
    """
    m, d = slope.shape
    for _ in range(2):
        for a in range(d):
            low, high = -1.0 - u[a], 1.0 - u[a]
            for i in range(m):
                if slope[i, a] != 0.0:
                    wide = half[i] + extra
                    one, other = (left[i] - wide) / slope[i, a], (left[i] + wide) / slope[i, a]
                    low, high = max(low, min(one, other)), min(high, max(one, other))
            change = 0.5 * (low + high)
            u[a] += change
            for i in range(m):
                left[i] -= slope[i, a] * change


@kernel
def _solve(matrix, right, x):
    """Cholesky's way to matrix x = right, in place; only the lower triangle of ``matrix`` is looked at."""
    n = len(right)
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            # without rounding every pivot is 2 or more, from the bounds on the unknowns themselves
            matrix[i, j] = math.sqrt(max(total, 1.0)) if i == j else total / matrix[j, j]
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= matrix[i, k] * x[k]
        x[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, n):
            total -= matrix[k, i] * x[k]
        x[i] = total / matrix[i, i]
