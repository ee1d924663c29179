"""The shape of a spot: an elliptical Gaussian along and across the radius, with an optional wide component.

Widths grow linearly with 1/d: along the radius by bandwidth and mosaicity, across it by mosaicity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.robust import median
from waterbg.kernel import kernel

FLOOR = 0.25  # px: spots of one pixel are no better known
STEEP = 1 / 0.5**2  # px⁻²: in spots narrower than half a pixel each needs more Gauss-Legendre points
THREE_POINTS = (
    (-math.sqrt(0.15), 5 / 18),
    (0.0, 8 / 18),
    (math.sqrt(0.15), 5 / 18),
)  # along an axis, with their shares
BEYOND = 20.0  # standard deviations: an exponential of that many is not 0 yet for a double, one of forty is
TAIL_WIDTH = 2.0  # width of the wide component over that of the core
RUN_WEIGHT = 20  # spots: how many a frame needs until its own shapes count as much as the run's
SWEEPS = 6
NARROW = 4.0  # standard deviations: much narrower than all others is something else, which is not to be followed
SCALE_WEIGHT = 3  # and for the one factor on all of them


@dataclass(frozen=True)
class Lines:
    """Two lengths in pixels, along and across the radius, each a straight line over 1/d (nm⁻¹)."""

    radial: float = 0.0
    radial_slope: float = 0.0
    tangential: float = 0.0
    tangential_slope: float = 0.0

    def at(self, inv_d: NDArray[np.float64], floor: float = 0.0) -> NDArray[np.float64]:
        """(n, 2) radial and tangential length at each 1/d."""
        radial = np.maximum(self.radial + self.radial_slope * inv_d, floor)
        tangential = np.maximum(self.tangential + self.tangential_slope * inv_d, floor)
        return np.stack([radial, tangential], axis=1)


@dataclass(frozen=True)
class Psf:
    """Shapes of the spots of a frame.

    Attributes
    ----------
    widths : Lines
        Gaussian sigma of the core.
    tail : float
        Share of the intensity in a component TAIL_WIDTH times as wide.
    scatter : float
        How far single spots are from these widths, relative.
    """

    widths: Lines = Lines(1.2, 0.0, 1.2, 0.0)
    tail: float = 0.0
    scatter: float = 0.1


DEFAULT = Psf()


@kernel
def metric(ray, fs, ss, sigma_r, sigma_t):
    """Quadratic form of the Gaussian in panel pixels: exp(-(a x² + 2 b x y + c y²)/2)."""
    x, y = ray[0] + fs * ray[3] + ss * ray[6], ray[1] + fs * ray[4] + ss * ray[7]
    rho = max(np.sqrt(x * x + y * y), 1e-9)
    ux, uy = x / rho, y / rho
    # radial and tangential component of one step along fs and ss
    rf, rs = (ux * ray[3] + uy * ray[4]) / sigma_r, (ux * ray[6] + uy * ray[7]) / sigma_r
    tf, ts = (ux * ray[4] - uy * ray[3]) / sigma_t, (ux * ray[7] - uy * ray[6]) / sigma_t
    return rf * rf + tf * tf, rf * rs + tf * ts, rs * rs + ts * ts


@kernel
def gaussian(ray, fs, ss, widths, blur, wider, weight):
    """Numbers :func:`add_row_shares` needs: a, b, c of the quadratic form, and the height of the Gaussian.

    ``widths`` (2,) are multiplied with ``wider``, and ``blur`` (2,) is added to their squares.
    """
    sigma_r = np.sqrt((wider * widths[0]) ** 2 + blur[0])
    sigma_t = np.sqrt((wider * widths[1]) ** 2 + blur[1])
    a, b, c = metric(ray, fs, ss, sigma_r, sigma_t)
    return a, b, c, weight * np.sqrt(max(a * c - b * b, 0.0)) / (2 * np.pi)


@kernel
def add_row_shares(shape, x, y, shares):
    """Add the share of a Gaussian in each pixel of a row to ``shares``; the first one's middle is (x, y) from its own.

    Mean of two by two Gauss-Legendre points: 0.2 % of the peak is the error at sigma = 0.8 px, 1 % at 0.5; of three by
    three where it is steeper: 0.9 % at 0.3. From pixel to pixel all exponentials change by factors: an exponential of
    its own takes longer than all else. They begin where they are not 0 yet, or all would be.
    """
    a, b, c, height = shape
    h = 0.5 / np.sqrt(3.0)
    begin = max(int(-x - b * y / a - BEYOND / np.sqrt(a)), 0)
    x += begin
    bend = np.exp(-a)
    if max(a, c) > STEEP:
        for of_y, weight_y in THREE_POINTS:
            for of_x, weight_x in THREE_POINTS:
                dx, dy = x + of_x, y + of_y
                share = height * weight_x * weight_y
                share *= np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
                factor = np.exp(-0.5 * (a * (2 * dx + 1) + 2 * b * dy))
                for q in range(begin, shares.size):
                    shares[q] += share
                    share *= factor
                    factor *= bend
        return
    turn = np.exp(-b * h * h)
    middle = 0.25 * height * np.exp(-0.5 * (a * (x * x + h * h) + 2 * b * x * y + c * (y * y + h * h)))
    next_x = np.exp(-0.5 * (a * (2 * x + 1) + 2 * b * y))
    u, v = h * (a * x + b * y), h * (b * x + c * y)
    both, ratio, grow_both, grow_ratio = np.exp(u + v), np.exp(u - v), np.exp(h * (a + b)), np.exp(h * (a - b))
    less_both, less_ratio, shrink_both, shrink_ratio = 1 / both, 1 / ratio, 1 / grow_both, 1 / grow_ratio
    turn_back = 1 / turn
    for i in range(begin, shares.size):
        shares[i] += middle * (turn * (both + less_both) + turn_back * (ratio + less_ratio))
        middle *= next_x
        next_x *= bend
        both *= grow_both
        less_both *= shrink_both
        ratio *= grow_ratio
        less_ratio *= shrink_ratio


@kernel
def fill_shares(ray, fs, ss, shift, widths, blur, tail, out):
    """Fill a box about the pixel of the prediction with the spot's shares in its pixels."""
    core = gaussian(ray, fs, ss, widths, blur, 1.0, 1 - tail)
    wide = gaussian(ray, fs, ss, widths, blur, TAIL_WIDTH, tail)
    left = int(fs) - out.shape[1] // 2 + 0.5 - fs - shift[0]
    top = int(ss) - out.shape[0] // 2 + 0.5 - ss - shift[1]
    for j in range(out.shape[0]):
        row = out[j]
        row[:] = 0
        add_row_shares(core, left, top + j, row)
        if tail > 0:
            add_row_shares(wide, left, top + j, row)


def capture(widths: NDArray[np.float64], blur: NDArray[np.float64], tail: float, radius: float) -> NDArray[np.float64]:
    """(n,) share of spots within a circle about their places.

    Parameters
    ----------
    widths, blur : (n, 2) float64
        Gaussian sigma in pixels, and variance of the place in pixels².
    tail : float
        Share of the component that is TAIL_WIDTH times as wide.
    radius : float
        Pixels.
    """
    angle = (np.arange(16) + 0.5) * (np.pi / 16)
    share = np.zeros(len(widths))
    for wider, weight in ((1.0, 1 - tail), (TAIL_WIDTH, tail)):
        if weight > 0:
            sigma2 = (wider * widths) ** 2 + blur
            inverse2 = np.cos(angle) ** 2 / sigma2[:, :1] + np.sin(angle) ** 2 / sigma2[:, 1:]
            inside = np.mean((1 - np.exp(-0.5 * radius**2 * inverse2)) / inverse2, axis=1)
            share += weight * inside / np.sqrt(sigma2[:, 0] * sigma2[:, 1])
    return share


def scaled_lines(
    values: NDArray[np.float64], variance: NDArray[np.float64], inv_d: NDArray[np.float64], run: Lines, scatter: float
) -> Lines:
    """The run's lines times the one factor that fits a frame's lengths best: frames differ by their size first.

    Parameters as of :func:`learn_lines`; SCALE_WEIGHT spots hold the factor at 1.
    """
    if not len(inv_d):
        return run
    expected = run.at(inv_d, 0.05)
    ratio = (values / expected).ravel()
    total = (counting_at(expected, values, variance) / expected**2 + scatter**2).ravel()
    factor, held = 1.0, SCALE_WEIGHT * 2 * median(1 / total)
    for sweep in range(SWEEPS):
        weight = _robust_weight((ratio - factor) / np.sqrt(total), 1.5, sweep) / total
        factor = float((np.sum(weight * ratio) + held) / (weight.sum() + held))
    return Lines(factor * run.radial, factor * run.radial_slope, factor * run.tangential, factor * run.tangential_slope)


def _robust_weight(z: NDArray[np.float64], limit: float, sweep: int) -> NDArray[np.float64]:
    """Huber's weight; in the second half of the sweeps none for what is far too narrow, which is a hot pixel."""
    weight = np.minimum(1, limit / np.maximum(np.abs(z), 1e-9))
    return weight if sweep < SWEEPS // 2 else np.where(z < -NARROW, 0, weight)


def learn_lines(
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    inv_d: NDArray[np.float64],
    run: Lines,
    everywhere: NDArray[np.float64],
    scatter: float,
    limit: float = 1.5,
    run_weight: float = RUN_WEIGHT,
) -> Lines:
    """Robust straight lines through measured lengths over 1/d, shrunk to the run's by n/(n + run_weight).

    Parameters
    ----------
    values, variance : (n, 2) float64
        Radial and tangential, pixels; variance from counting.
    inv_d : (n,) float64
        nm⁻¹.
    run : Lines
        What to shrink to.
    everywhere : (m,) float64
        1/d of all spots of the frame: few strong spots at low angle shall not extrapolate.
    scatter : float
        Relative, of single spots beyond counting.
    limit : float
        Standard deviations beyond which a spot loses weight (Huber 1964).
    run_weight : float
        Spots.
    """
    if not len(inv_d):
        return run
    # columns of their own and floats, whatever was given: each other type would be compiled by itself
    lengths, errors = np.ascontiguousarray(values.T), np.ascontiguousarray(variance.T)
    held = (float(everywhere.mean()), float((everywhere**2).mean())), scatter, limit, float(run_weight)
    found: list[float] = []
    for axis, before in enumerate(((run.radial, run.radial_slope), (run.tangential, run.tangential_slope))):
        found += _robust_line(lengths[axis], errors[axis], inv_d, *before, *held)
    return Lines(*found)


@kernel
def counting_at(expected, width, variance):
    """Variance from counting of a width as expected, where one that came out as ``width`` has ``variance``.

    For as many counts it grows as s² + 1/(72 s²) px: so does, within 15 % from 0.3 to 1.2 px, the inverse of the
    Fisher information that pixels of Poisson counts have, whose place and I are unknown as well, on average over places
    in the pixel. Weighted by the error of what they are themselves, widths would be learnt too small, and those below
    half a pixel too large.
    """
    return variance * (expected**2 + 1 / (72 * expected**2)) / (width**2 + 1 / (72 * width**2))


@kernel
def _robust_line(values, variance, inv_d, level, slope, moment, scatter, limit, run_weight):
    """Level and slope of one of the lines of `learn_lines`; ``moment``: mean of 1/d and of its square everywhere."""
    n = values.size
    total, inverse = np.empty(n), np.empty(n)
    before_level, before_slope = level, slope
    for sweep in range(SWEEPS):
        for i in range(n):
            expected = max(level + slope * inv_d[i], 0.05)
            total[i] = counting_at(expected, values[i], variance[i]) + (expected * scatter) ** 2
            inverse[i] = 1 / total[i]
        held = run_weight * np.median(inverse)
        # normal equations of the level at the prior's mean 1/d, and of the slope: diagonal where all is at one 1/d
        a, b, c = held, 0.0, held * max(moment[1] - moment[0] ** 2, 1e-6)
        top, bottom = held * (before_level + moment[0] * before_slope), c * before_slope
        for i in range(n):
            expected = max(level + slope * inv_d[i], 0.05)
            z = (values[i] - expected) / np.sqrt(total[i])
            if sweep >= SWEEPS // 2 and z < -NARROW:
                continue
            weight = min(1.0, limit / max(abs(z), 1e-9)) * inverse[i]
            x = inv_d[i] - moment[0]
            a += weight
            b += weight * x
            c += weight * x * x
            top += weight * values[i]
            bottom += weight * x * values[i]
        slope = (a * bottom - b * top) / (a * c - b * b)
        level = (top - b * slope) / a - moment[0] * slope
    return level, slope
