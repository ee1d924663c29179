"""The shape of a spot: an elliptical Gaussian along and across the radius, with an optional wide component.

Widths grow linearly with 1/d: along the radius by bandwidth and mosaicity, across it by mosaicity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.background.rays import Rays

FLOOR = 0.5  # px: no spot is narrower than what its pixel makes of it
TAIL_WIDTH = 2.0  # width of the wide component over that of the core
RUN_WEIGHT = 20  # spots: how many a frame needs until its own shapes count as much as the run's


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


def profiles(
    rays: Rays,
    panel: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    shift: NDArray[np.float64],
    widths: NDArray[np.float64],
    blur: NDArray[np.float64],
    tail: float,
    half: int,
) -> NDArray[np.float32]:
    """Share of each spot in the pixels around it.

    Parameters
    ----------
    rays : Rays
    panel, fs, ss : (n,) arrays
        Predicted positions, panel-local pixels.
    shift : (n, 2) float64
        Where the spots are instead, relative to the prediction, along fs and ss.
    widths : (n, 2) float64
        Gaussian sigma along and across the radius, pixels.
    blur : (n, 2) float64
        Variance of the place along and across the radius, pixels², by which core and tail are widened.
    tail : float
        Share of the component that is TAIL_WIDTH times as wide.
    half : int
        Half width of the boxes, which are centred on the pixel the *prediction* falls into.

    Returns
    -------
    (n, 2 half + 1, 2 half + 1) float32
        Integrated over each pixel; over an infinite box it would sum to 1.
    """
    out = np.zeros((len(panel), 2 * half + 1, 2 * half + 1), np.float32)
    _profiles(rays.panel, panel, fs, ss, shift, widths, blur, tail, half, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def metric(ray, fs, ss, sigma_r, sigma_t):
    """Quadratic form of the Gaussian in panel pixels: exp(-(a x² + 2 b x y + c y²)/2)."""
    x, y = ray[0] + fs * ray[3] + ss * ray[6], ray[1] + fs * ray[4] + ss * ray[7]
    rho = max(np.sqrt(x * x + y * y), 1e-9)
    ux, uy = x / rho, y / rho
    # radial and tangential component of one step along fs and ss
    rf, rs = (ux * ray[3] + uy * ray[4]) / sigma_r, (ux * ray[6] + uy * ray[7]) / sigma_r
    tf, ts = (ux * ray[4] - uy * ray[3]) / sigma_t, (ux * ray[7] - uy * ray[6]) / sigma_t
    return rf * rf + tf * tf, rf * rs + tf * ts, rs * rs + ts * ts


@njit(cache=True, nogil=True, error_model="numpy")
def add_gaussian(a, b, c, fs, ss, left, top, weight, out):
    """Add a Gaussian centred at (fs, ss) to a box whose first pixel is (left, top), integrated over each pixel.

    Two by two Gauss-Legendre points a pixel: 0.2 % of the peak at sigma = 0.8 px, 1 % at 0.5.
    """
    norm = 0.25 * weight * np.sqrt(max(a * c - b * b, 0.0)) / (2 * np.pi)
    n = out.shape[0]
    away = 0.5 / np.sqrt(3.0)
    for j in range(n):
        for i in range(n):
            x, y = left + i + 0.5 - fs, top + j + 0.5 - ss
            total = 0.0
            for v in (y - away, y + away):
                for u in (x - away, x + away):
                    total += np.exp(-0.5 * (a * u * u + 2 * b * u * v + c * v * v))
            out[j, i] += norm * total


@njit(cache=True, nogil=True, error_model="numpy")
def _profiles(rays, panel, fs, ss, shift, widths, blur, tail, half, out):
    for k in range(panel.size):
        p = panel[k]
        if p < 0:
            continue
        left, top = int(fs[k]) - half, int(ss[k]) - half
        x, y = fs[k] + shift[k, 0], ss[k] + shift[k, 1]
        for wider, weight in ((1.0, 1 - tail), (TAIL_WIDTH, tail)):
            if weight > 0:
                r = np.sqrt((wider * widths[k, 0]) ** 2 + blur[k, 0])
                t = np.sqrt((wider * widths[k, 1]) ** 2 + blur[k, 1])
                a, b, c = metric(rays[p], fs[k], ss[k], r, t)
                add_gaussian(a, b, c, x, y, left, top, weight, out[k])


def learn_lines(
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
    inv_d: NDArray[np.float64],
    run: Lines,
    everywhere: NDArray[np.float64],
    scatter: float,
    limit: float = 1.5,
) -> Lines:
    """Robust straight lines through measured lengths over 1/d, shrunk to the run's by n/(n + RUN_WEIGHT).

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
    """
    if not len(inv_d):
        return run
    terms = np.stack([np.ones(len(inv_d)), inv_d], axis=1)
    held = np.stack([np.ones(len(everywhere)), everywhere], axis=1)
    moment = held.T @ held / max(len(everywhere), 1)
    found = []
    for axis, before in enumerate(([run.radial, run.radial_slope], [run.tangential, run.tangential_slope])):
        line = np.array(before)
        for _ in range(6):
            expected = np.maximum(terms @ line, 0.05)
            total = variance[:, axis] + (scatter * expected) ** 2
            z = (values[:, axis] - expected) / np.sqrt(total)
            weight = np.minimum(1, limit / np.maximum(np.abs(z), 1e-9)) / total
            prior = RUN_WEIGHT * np.median(1 / total) * moment
            normal = (terms * weight[:, None]).T @ terms + prior + 1e-12 * np.eye(2)
            line = np.linalg.solve(normal, (terms * weight[:, None]).T @ values[:, axis] + prior @ before)
        found += [float(line[0]), float(line[1])]
    return Lines(*found)
