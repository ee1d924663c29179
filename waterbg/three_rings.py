"""The original repository's estimate of a peak: its centre pixel less the average of a square ring around it.

Three nested pieces, hence "three rings": the centre pixel, the 3 x 3 pixels around it that belong to the peak and are
left out, and the ring beyond them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class RingEstimate(NamedTuple):
    """What one coordinate gives with one radius; in the units of the image.

    Attributes
    ----------
    x, y : int
        Row (ss) and column (fs).
    radius : int
        Pixels from the centre to the outer edge of the square ring.
    peak : float
        Value of the centre pixel.
    average : float
        Mean of the ring pixels; NaN when none could be used (radius 1 has none).
    pixels : int
        Ring pixels averaged.
    estimate : float
        ``peak - average``; NaN without a ring, or when the centre is no measurement.
    saturated : bool
        The centre is at the end of its scale: the true peak is higher.
    """

    x: int
    y: int
    radius: int
    peak: float
    average: float
    pixels: int
    estimate: float
    saturated: bool


def three_rings(
    image_array: ArrayLike,
    coordinates: ArrayLike,
    radius: int,
    *,
    saturation: float | None = None,
    keep_negative: bool = False,
) -> list[RingEstimate]:
    """Take the average of a square ring off the centre pixel, for each coordinate.

    The ring is the square of ``2·radius + 1`` pixels without the inner 3 x 3, cut at the edges of the image. Left out
    of it are pixels that are not finite, at the end of their scale, or negative: detectors mark gaps and dead pixels by
    -1, -2 or their largest number.

    Parameters
    ----------
    image_array : (n_ss, n_fs) array
    coordinates : (n, 2) whole numbers
        Row and column.
    radius : int
        1 or more, in pixels.
    saturation : float, optional
        Pixels at or above it are at the end of their scale; default: the largest number of an integer type.
    keep_negative : bool
        Average negative pixels, too: right for images with their dark current taken off, where leaving them out makes
        the background too high.

    Raises
    ------
    ValueError
        When a coordinate is not in the image or the radius is no whole number from 1 on.
    """
    image = as_image(image_array)
    radius = whole_number(radius, "the radius")
    if radius < 1:
        raise ValueError(f"the radius is a number of pixels, 1 or more, not {radius}")
    pixels = as_coordinates(coordinates, image.shape)
    if saturation is None:
        saturation = float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else np.inf
    reach = min(radius, max(image.shape))  # the ring is cut at the edges anyway
    step = np.arange(-reach, reach + 1)
    di, dj = (part.ravel() for part in np.meshgrid(step, step, indexing="ij"))
    ring = np.maximum(np.abs(di), np.abs(dj)) > 1
    di, dj = di[ring], dj[ring]
    found = []
    for x, y in pixels.tolist():
        i, j = x + di, y + dj
        inside = (i >= 0) & (i < image.shape[0]) & (j >= 0) & (j < image.shape[1])
        around = image[i[inside], j[inside]].astype(np.float64)
        around = around[_is_measured(around, saturation, keep_negative)]
        peak = float(image[x, y])
        saturated = peak >= saturation
        average = float(around.mean()) if len(around) else np.nan
        measured = saturated or bool(_is_measured(np.float64(peak), saturation, keep_negative))
        estimate = peak - average if measured else np.nan
        found.append(RingEstimate(x, y, radius, peak, average, len(around), estimate, saturated))
    return found


def _is_measured(values: Any, saturation: float, keep_negative: bool) -> Any:
    with np.errstate(invalid="ignore"):
        return np.isfinite(values) & (values < saturation) & (keep_negative | (values >= 0))


def estimate_lines(estimates: Sequence[RingEstimate]) -> Iterator[str]:
    """Lines of a table of estimates, with a head."""
    if estimates:
        yield "    row column radius       peak ring average  pixels   estimate"
    for one in estimates:
        note = "  saturated" if one.saturated else ""
        yield (
            f"{one.x:7d} {one.y:6d} {one.radius:6d} {one.peak:10.2f} {one.average:12.2f} {one.pixels:7d} "
            f"{one.estimate:10.2f}{note}"
        )


def as_image(array: ArrayLike) -> NDArray[Any]:
    """Take what is given as a 2-D array of numbers; ValueError when it is none."""
    image = np.asarray(array)
    if image.ndim != 2:
        raise ValueError(f"an image has two axes, not {image.ndim} (shape {image.shape})")
    if image.dtype.kind not in "biuf":
        raise ValueError(f"an image holds numbers, not {image.dtype}")
    return image


def as_coordinates(coordinates: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Take what is given as (n, 2) pixels of an image of that shape; ValueError when one is not."""
    pixels = np.asarray(coordinates)
    if not pixels.size:
        return np.zeros((0, 2), np.int64)
    if pixels.ndim != 2 or pixels.shape[1] != 2:
        raise ValueError(f"coordinates are pairs (row, column), not of shape {pixels.shape}")
    if pixels.dtype.kind not in "iu" and (pixels.dtype.kind != "f" or (pixels != np.floor(pixels)).any()):
        raise ValueError("coordinates are whole numbers: row and column of a pixel")
    pixels = pixels.astype(np.int64)
    off = ((pixels < 0) | (pixels >= shape)).any(axis=1)
    if off.any():
        x, y = pixels[off][0]
        raise ValueError(f"({x}, {y}) is not in the image of {shape[0]} rows and {shape[1]} columns")
    return pixels


def whole_number(value: Any, what: str) -> int:
    """Take what is given as a whole number; ValueError, which calls it ``what``, when it is none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{what} is a whole number, not {value!r}") from None
    if number != value:
        raise ValueError(f"{what} is a whole number, not {value!r}")
    return number
