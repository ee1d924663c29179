"""Where a frame's pixels are, seen from the sample: scattering angle, polarisation and solid angle of every pixel.

The radial coordinate is r = L·tan 2θ in pixels, with L the mean distance of the panels: on a flat detector across the
beam it is the distance from the beam centre, and it stays meaningful when panels are tilted or at different
distances.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError
from waterbg.kernel import kernel
from waterbg.settings import parse_polarisation

if TYPE_CHECKING:
    from waterbg.geometry import Detector

MOST_BINS = 1 << 18  # pixels from the beam; the largest detectors have some thousand
LONGEST = 1e8  # pixels to the detector; its third power is a float32 below


class Rays(NamedTuple):
    """Geometry of one frame in units of one pixel.

    Attributes
    ----------
    panel : (n_panels, 9) float64
        Corner, fs step and ss step of each panel (x, y, z of each), with det_shift in the corner.
    length : float
        Distance L that turns tan 2θ into r.
    pixel : float
        Size of the unit in m.
    polarisation : (3,) float64
        a, b, c of the polarised part of Thomson scattering, 1 - (a x² + b x y + c y²)/|s|².
    n_bins : int
        Number of one-pixel bins of r that cover the detector.
    """

    panel: NDArray[np.float64]
    length: float
    pixel: float
    polarisation: NDArray[np.float64]
    n_bins: int


@lru_cache(maxsize=4)  # a frame asks twice, and frames in a row are often alike
def make_rays(
    detector: Detector, clen: float, det_shift_mm: tuple[float, float] = (0.0, 0.0), polarisation: str = "horiz"
) -> Rays:
    """Lay out the rays of a frame.

    Parameters
    ----------
    detector : Detector
    clen : float
        Camera length in m.
    det_shift_mm : 2 floats
        Shift of the detector in mm, as in the stream.
    polarisation : str
        CrystFEL's syntax, see :func:`waterbg.settings.parse_polarisation`.

    Raises
    ------
    GeometryError
        When the camera length is not known, a panel reaches behind the sample or is none (its pixels have no area), or
        the detector is larger or farther away than any.
    """
    if not np.isfinite(clen):
        raise GeometryError("the camera length of this event is not known", path=detector.path)
    corners = detector.corners + np.array([det_shift_mm[0] * 1e-3, det_shift_mm[1] * 1e-3, clen])
    pixel = float(np.median([p.pixel_size for p in detector.panels]))
    panel = np.concatenate([corners, detector.axes[:, 0], detector.axes[:, 1]], axis=1) / pixel
    n_ss, n_fs = detector.shapes[:, :1], detector.shapes[:, 1:]
    middles = panel[:, :3] + panel[:, 3:6] * n_fs / 2 + panel[:, 6:] * n_ss / 2
    weight = np.maximum((n_ss * n_fs)[:, 0], 1)
    length = float(np.sum(middles[:, 2] * weight) / np.sum(weight))
    tops = panel[:, 2] + np.minimum(panel[:, 5:6] * n_fs, 0)[:, 0] + np.minimum(panel[:, 8:9] * n_ss, 0)[:, 0]
    if len(tops) and not tops.min() > 0:
        name = detector.panels[int(np.argmin(tops))].name
        raise GeometryError(f"panel {name} reaches behind the sample (camera length {clen:g} m)", path=detector.path)
    normal = np.linalg.norm(np.cross(panel[:, 3:6], panel[:, 6:]), axis=1)
    flat = ~(np.isfinite(panel).all(axis=1) & (normal > 1e-6))
    if flat.any():
        name = detector.panels[int(np.argmax(flat))].name
        raise GeometryError(f"the pixels of panel {name} have no area, or are nowhere", path=detector.path)
    farthest = _farthest(panel, detector.shapes, length)
    if not (farthest < MOST_BINS and 1 <= length < LONGEST):
        raise GeometryError(
            f"the detector is {length:.3g} pixels from the sample and reaches {farthest:.3g} pixels from the beam "
            f"(camera length {clen:g} m, shift {det_shift_mm[0]:g} and {det_shift_mm[1]:g} mm): no detector does",
            path=detector.path,
        )
    return Rays(panel, length, pixel, np.array(parse_polarisation(polarisation)), int(farthest) + 2)


def _farthest(panel: NDArray[np.float64], shapes: NDArray[np.int64], length: float) -> float:
    """Largest r of all corners of all panels, pixels."""
    n_ss, n_fs = shapes[:, :1], shapes[:, 1:]
    ends = [panel[:, :3] + panel[:, 3:6] * n_fs * i + panel[:, 6:] * n_ss * j for i in (0, 1) for j in (0, 1)]
    return max(float(np.max(np.hypot(e[:, 0], e[:, 1]) / e[:, 2], initial=0.0)) for e in ends) * length


def reaching(rays: Rays, shapes: NDArray[np.int64]) -> Rays:
    """The same rays with as many bins as their panels, of (n_panels, 2) ``shapes``, need."""
    return rays._replace(n_bins=int(_farthest(rays.panel, shapes, rays.length)) + 2)


def lab_positions(
    rays: Rays, panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Laboratory x, y, z of panel-local positions, all in pixels; anything for those beside the detector."""
    ray = rays.panel[np.maximum(panel, 0)]
    x, y, z = (ray[:, i] + fs * ray[:, 3 + i] + ss * ray[:, 6 + i] for i in range(3))
    return x, y, z


@kernel
def column_middles(n, first=0.0, stride=1.0):
    """(n,) float32, fs of the middles of every ``stride``-th column from ``first`` on, for `trace_row`."""
    columns = np.empty(n, np.float32)
    for i in range(n):
        columns[i] = first + i * stride + 0.5
    return columns


# Columns are given as floats: making them of whole numbers takes longer than all else that is done to a pixel here.


@kernel
def trace_row(ray, ss, columns, length, polarisation, r, g):
    """Fill r (pixels) and g (scattering factor) of points of a row of pixels; ``columns`` (n,) float32, their fs.

    A float32 is exact to 1e-4 px at r = 2000.
    """
    x0, y0 = np.float32(ray[0] + (ss + 0.5) * ray[6]), np.float32(ray[1] + (ss + 0.5) * ray[7])
    z0 = np.float32(ray[2] + (ss + 0.5) * ray[8])
    dx, dy, dz = np.float32(ray[3]), np.float32(ray[4]), np.float32(ray[5])
    a, b, c = np.float32(polarisation[0]), np.float32(polarisation[1]), np.float32(polarisation[2])
    scale, cube = np.float32(length), np.float32(length * length * length)
    one = np.float32(1)
    for i in range(columns.size):
        x, y, z = x0 + columns[i] * dx, y0 + columns[i] * dy, z0 + columns[i] * dz
        rho2 = x * x + y * y
        inverse = one / (rho2 + z * z)
        r[i] = scale * np.sqrt(rho2) / z
        # polarisation, and the solid angle at a panel's fixed distance: 1/|s|³ (cos³ 2θ across the beam)
        g[i] = (one - (a * x * x + b * x * y + c * y * y) * inverse) * cube * inverse * np.sqrt(inverse)


@kernel
def trace_radius(ray, ss, columns, length, r):
    """Fill r alone, as `trace_row` does."""
    x0, y0 = np.float32(ray[0] + (ss + 0.5) * ray[6]), np.float32(ray[1] + (ss + 0.5) * ray[7])
    z0 = np.float32(ray[2] + (ss + 0.5) * ray[8])
    dx, dy, dz = np.float32(ray[3]), np.float32(ray[4]), np.float32(ray[5])
    scale = np.float32(length)
    if dz == np.float32(0):  # a panel across the beam: half of the work is the same for all of its row
        scale /= z0
        for i in range(columns.size):
            x, y = x0 + columns[i] * dx, y0 + columns[i] * dy
            r[i] = scale * np.sqrt(x * x + y * y)
    else:
        for i in range(columns.size):
            x, y = x0 + columns[i] * dx, y0 + columns[i] * dy
            r[i] = scale * np.sqrt(x * x + y * y) / (z0 + columns[i] * dz)


@kernel
def trace_point(ray, fs, ss, length, polarisation):
    """Lab x, y (pixels), r and g of one point (panel-local pixels)."""
    x = ray[0] + fs * ray[3] + ss * ray[6]
    y = ray[1] + fs * ray[4] + ss * ray[7]
    z = ray[2] + fs * ray[5] + ss * ray[8]
    rho2 = x * x + y * y
    inverse = 1.0 / (rho2 + z * z)
    polarised = 1.0 - (polarisation[0] * x * x + polarisation[1] * x * y + polarisation[2] * y * y) * inverse
    return x, y, length * np.sqrt(rho2) / z, polarised * length**3 * inverse * np.sqrt(inverse)
