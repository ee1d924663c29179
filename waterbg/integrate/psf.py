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


@dataclass(frozen=True)
class Psf:
    """Widths of the spots of a frame, in pixels.

    Attributes
    ----------
    radial, radial_slope : float
        Gaussian sigma along the radius at 1/d = 0, and its growth per nm⁻¹.
    tangential, tangential_slope : float
        The same across the radius.
    tail : float
        Share of the intensity in a component TAIL_WIDTH times as wide.
    """

    radial: float = 1.2
    radial_slope: float = 0.0
    tangential: float = 1.2
    tangential_slope: float = 0.0
    tail: float = 0.0

    def as_array(self) -> NDArray[np.float64]:
        """The five numbers, in the order of the attributes."""
        return np.array([self.radial, self.radial_slope, self.tangential, self.tangential_slope, self.tail])

    def widths(self, inv_d: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) radial and tangential sigma at each 1/d (nm⁻¹)."""
        radial = np.maximum(self.radial + self.radial_slope * inv_d, FLOOR)
        tangential = np.maximum(self.tangential + self.tangential_slope * inv_d, FLOOR)
        return np.stack([radial, tangential], axis=1)


def profiles(
    psf: Psf,
    rays: Rays,
    panel: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    inv_d: NDArray[np.float64],
    shift: NDArray[np.float64],
    blur: NDArray[np.float64],
    half: int,
) -> NDArray[np.float32]:
    """Share of each spot in the pixels around it.

    Parameters
    ----------
    psf : Psf
    rays : Rays
    panel, fs, ss, inv_d : (n,) arrays
        Predicted positions, panel-local pixels, and 1/d in nm⁻¹.
    shift : (n, 2) float64
        Where the spots are instead, relative to the prediction, along fs and ss.
    blur : (n,) float64
        Variance of the place along one axis, pixels², added to the core's.
    half : int
        Half width of the boxes, which are centred on the pixel the *prediction* falls into.

    Returns
    -------
    (n, 2 half + 1, 2 half + 1) float32
        Integrated over each pixel; over an infinite box it would sum to 1.
    """
    out = np.zeros((len(panel), 2 * half + 1, 2 * half + 1), np.float32)
    _profiles(psf.as_array(), rays.panel, panel, fs, ss, inv_d, shift, blur, half, out)
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
def widths(psf, inv_d):
    """Radial and tangential sigma in pixels."""
    return max(psf[0] + psf[1] * inv_d, FLOOR), max(psf[2] + psf[3] * inv_d, FLOOR)


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
def _profiles(psf, rays, panel, fs, ss, inv_d, shift, blur, half, out):
    for k in range(panel.size):
        p = panel[k]
        if p < 0:
            continue
        sigma_r, sigma_t = widths(psf, inv_d[k])
        left, top = int(fs[k]) - half, int(ss[k]) - half
        x, y = fs[k] + shift[k, 0], ss[k] + shift[k, 1]
        for wider, weight in ((1.0, 1 - psf[4]), (TAIL_WIDTH, psf[4])):
            if weight > 0:
                r, t = np.sqrt((wider * sigma_r) ** 2 + blur[k]), np.sqrt((wider * sigma_t) ** 2 + blur[k])
                a, b, c = metric(rays[p], fs[k], ss[k], r, t)
                add_gaussian(a, b, c, x, y, left, top, weight, out[k])


RUN_WEIGHT = 20  # spots: how many a frame needs until its own widths count as much as the run's
SCATTER = 0.1  # relative, of the widths of spots beyond counting
DEFAULT = Psf()


def learn_psf(
    radial: NDArray[np.float64],
    tangential: NDArray[np.float64],
    var_radial: NDArray[np.float64],
    var_tangential: NDArray[np.float64],
    inv_d: NDArray[np.float64],
    run: Psf,
    run_weight: float = RUN_WEIGHT,
    all_inv_d: NDArray[np.float64] | None = None,
) -> Psf:
    """Robust straight lines through the widths of strong spots over 1/d, shrunk to the run's by n/(n + run_weight).

    Parameters
    ----------
    radial, tangential, var_radial, var_tangential : (n,) float64
        Measured widths in pixels and their variances from counting.
    inv_d : (n,) float64
        nm⁻¹.
    run : Psf
        What to shrink to; its tail is kept.
    run_weight : float
    all_inv_d : (m,) float64, optional
        1/d of all spots of the frame: few strong spots at low angle shall not
        extrapolate.
    """
    if not len(inv_d):
        return run
    at = inv_d if all_inv_d is None or not len(all_inv_d) else all_inv_d
    terms, held = _line(inv_d), _line(at)
    moment = held.T @ held / len(at)
    lines = []
    for width, variance, before in (
        (radial, var_radial, np.array([run.radial, run.radial_slope])),
        (tangential, var_tangential, np.array([run.tangential, run.tangential_slope])),
    ):
        line = before
        for _ in range(6):
            expected = np.maximum(terms @ line, FLOOR)
            total = variance + (SCATTER * expected) ** 2
            z = (width - expected) / np.sqrt(total)
            # Huber's weights, 1.5 sigma
            weight = np.minimum(1, 1.5 / np.maximum(np.abs(z), 1e-9)) / total
            prior = run_weight * np.median(1 / total) * moment
            normal = (terms * weight[:, None]).T @ terms + prior
            line = np.linalg.solve(normal + 1e-12 * np.eye(2), (terms * weight[:, None]).T @ width + prior @ before)
        lines.append(line)
    (r, r_slope), (t, t_slope) = lines
    return Psf(float(r), float(r_slope), float(t), float(t_slope), run.tail)


def _line(inv_d: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones(len(inv_d)), inv_d], axis=1)
