"""Where too few pixels are clean: zones of radius, for it is the radial profile that lives on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, NOT_CLEAN
from waterbg.background.rays import Rays, column_middles, lab_positions, trace_radius
from waterbg.kernel import kernel

if TYPE_CHECKING:
    from waterbg.geometry import Detector

ZONE = 32  # px of radius
LEAST_CLEAN = 0.25  # share of the pixels
# clean pixels a radial bin of one pixel. Some ten bins share theirs: what the profile does not know of the background
# under fifty pixels adds a fortieth to the variance of their counts.
FEW = 200.0
_PIXELS = 80_000  # looked at in all


def starved_zones(flags: NDArray[np.uint8], detector: Detector, rays: Rays) -> NDArray[np.bool_]:
    """Which zones have too few clean pixels, both of all of theirs and for their radial bins: (n_zones,).

    Parameters
    ----------
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`.
    detector : Detector
    rays : Rays
    """
    usable, clean = np.zeros(rays.n_bins // ZONE + 1), np.zeros(rays.n_bins // ZONE + 1)
    stride = max(1, round((flags.size / _PIXELS) ** 0.5))
    _count(flags, detector.shapes, rays, stride, usable, clean)
    return (clean < LEAST_CLEAN * usable) & (clean * stride**2 < FEW * ZONE)


def zones_of(
    rays: Rays, panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(n,) zones that positions, panel-local pixels, are in; any for those beside the detector."""
    x, y, z = lab_positions(rays, panel, fs, ss)
    zone = np.nan_to_num(rays.length * np.hypot(x, y) / z / ZONE)
    return np.clip(zone, 0, rays.n_bins // ZONE).astype(np.int64)


@kernel
def _count(flags, shapes, rays, stride, usable, clean):
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    r = np.empty(widest, np.float32)
    first = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        for ss in range(stride // 2, n_ss, stride):
            row, start = first + ss * n_fs, (ss // stride) % stride
            n = (n_fs - start + stride - 1) // stride
            trace_radius(rays.panel[p], ss, column_middles(n, start, stride), rays.length, r)
            for j in range(n):
                flag = flags[row + start + j * stride]
                if not flag & BAD:
                    zone = int(r[j]) // ZONE
                    usable[zone] += 1
                    clean[zone] += not flag & NOT_CLEAN
        first += n_ss * n_fs
