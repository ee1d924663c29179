"""Single images: what can be said about one without a geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRIM = 0.05  # of the pixels of each circle, at either end: spots and dead pixels


def unusable(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels that detectors mark as bad: not finite, negative integers, the largest integer of the type."""
    if image.dtype.kind == "f":
        return ~np.isfinite(image)
    return np.asarray((image < 0) | (image == np.iinfo(image.dtype).max))


def take_off_circles(image: NDArray[Any], centre: tuple[float, float]) -> NDArray[np.float64]:
    """An image less the mean of the circle each pixel is on; for pictures, the water ring goes and the spots stay.

    Parameters
    ----------
    image : (n_ss, n_fs) array
    centre : (float, float)
        fs and ss of the beam in pixels; pixel *i* spans [i, i + 1).

    Returns
    -------
    (n_ss, n_fs) float64
        NaN where a pixel is not usable. Circles are one pixel wide; the highest and lowest 5 % of their pixels do not
        count, so single photons are underestimated: measure with ``waterbg subtract``.
    """
    ss, fs = np.indices(image.shape) + 0.5
    radius = np.hypot(fs - centre[0], ss - centre[1])
    circle = (radius - np.floor(radius.min())).astype(np.int64)  # from the first: the centre may be anywhere
    good = ~unusable(image)
    values, number = image[good].astype(np.float64), circle[good]
    order = np.lexsort((values, number))
    values, number = values[order], number[order]
    count = np.bincount(number, minlength=circle.max() + 1)
    first = np.cumsum(count) - count
    rank = np.arange(len(values)) - first[number]
    cut = np.floor(_TRIM * count).astype(np.int64)[number]
    inner = (rank >= cut) & (rank < count[number] - cut)
    total = np.bincount(number[inner], weights=values[inner], minlength=len(count))
    mean = total / np.maximum(np.bincount(number[inner], minlength=len(count)), 1)
    return np.where(good, image - mean[circle], np.nan)


def bad_pixel_map(image: NDArray[Any], above: float | None = None) -> NDArray[np.uint8]:
    """1 where a pixel of an Eiger image is bad, 0 elsewhere.

    Parameters
    ----------
    image : (n_ss, n_fs) integers
    above : float, optional
        Larger values are bad. Default: for 32-bit images, what does not fit into 16 bits (CrystFEL's ``eiger-badmap``:
        such an image is a 16-bit one widened, its marks with it); for others the largest number of the type.
    """
    if above is None:
        above = 65535 if image.dtype.itemsize >= 4 or image.dtype.kind == "f" else float(np.iinfo(image.dtype).max) - 1
    with np.errstate(invalid="ignore"):
        return (~(image <= above)).astype(np.uint8)


def saturation_map(gains: NDArray[Any], threshold: float, low: float, high: float) -> NDArray[np.float64]:
    """``high`` where a gain is above ``threshold``, ``low`` elsewhere."""
    return np.where(gains > threshold, float(high), float(low))
