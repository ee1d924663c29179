"""Local maxima of an image: one pixel for each peak, flat (saturated) tops included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
_HALF = tuple((i, j) for i, j in _NEIGHBOURS if (i, j) > (0, 0))


def find_local_maxima(image: NDArray[Any], threshold: float, min_distance: int = 1) -> NDArray[np.int64]:
    """Pixels above ``threshold`` that none of their eight neighbours exceeds; a flat top counts once.

    Parameters
    ----------
    image : (n_ss, n_fs) array
        NaN is never a maximum, and never above one.
    threshold : float
        In the units of the image.
    min_distance : int
        Of maxima less than this many pixels apart (the larger of the two differences), only the highest stays: noise
        gives a broad spot several.

    Returns
    -------
    (n, 2) int64
        Row and column, in the order of rows. Of a flat top, the pixel nearest to its middle.
    """
    over: NDArray[np.bool_] = np.asarray(image > threshold)
    above = np.argwhere(over)
    if not len(above):
        return above.astype(np.int64)
    values = image[above[:, 0], above[:, 1]]
    highest = np.ones(len(above), bool)
    tied = np.zeros(len(above), bool)
    for step in _NEIGHBOURS:
        beside, off = _values_beside(image, above, step)
        # written so that a NaN neighbour, or none, changes nothing
        highest &= off | ~(beside > values)
        tied |= ~off & (beside == values)
    alone = above[highest & ~tied]
    maxima = np.concatenate([alone, _flat_tops(image.shape, above[tied], values[tied], highest[tied])])
    maxima = maxima[np.lexsort((maxima[:, 1], maxima[:, 0]))]
    return _thin(maxima, image, min_distance) if min_distance > 1 else maxima


def _values_beside(image: NDArray[Any], pixels: NDArray[np.int64], step: tuple[int, int]) -> tuple[Any, Any]:
    """Values one step away, and whether that is off the image."""
    there = pixels + step
    off: NDArray[np.bool_] = np.any((there < 0) | (there >= image.shape), axis=1)
    row, column = np.where(off[:, None], 0, there).T
    return image[row, column], off


def _flat_tops(
    shape: tuple[int, ...], pixels: NDArray[np.int64], values: NDArray[Any], highest: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Middle pixel of each connected patch of equal values that is a maximum as a whole."""
    if not len(pixels):
        return pixels
    patch = _patches(shape, pixels, values)
    n = int(patch.max()) + 1
    counts = np.bincount(patch, minlength=n)
    whole = np.bincount(patch, weights=highest, minlength=n) == counts
    middle = np.stack([np.bincount(patch, weights=pixels[:, axis], minlength=n) / counts for axis in (0, 1)], axis=1)
    distance = ((pixels - middle[patch]) ** 2).sum(axis=1)
    order = np.lexsort((pixels[:, 1], pixels[:, 0], distance, patch))
    first = order[np.unique(patch[order], return_index=True)[1]]
    return pixels[first[whole]]


def _patches(shape: tuple[int, ...], pixels: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.int64]:
    """Number the connected patches of equal values: every pixel takes the lowest number among its like."""
    flat = pixels[:, 0] * shape[1] + pixels[:, 1]  # ascending, as argwhere gives them
    pairs = []
    for step in _HALF:
        there = pixels + step
        inside = ((there >= 0) & (there < shape)).all(axis=1)
        one = np.flatnonzero(inside)
        wanted = there[one, 0] * shape[1] + there[one, 1]
        other = np.minimum(np.searchsorted(flat, wanted), len(flat) - 1)
        same = (flat[other] == wanted) & (values[other] == values[one])
        pairs.append(np.stack([one[same], other[same]], axis=1))
    a, b = np.concatenate(pairs).T
    label = np.arange(len(flat))
    while True:
        lower = np.minimum(label[a], label[b])
        before = label.copy()
        # the roots of both join the lower one, then every pixel jumps to its root: a handful of rounds
        np.minimum.at(label, before[a], lower)
        np.minimum.at(label, before[b], lower)
        while (label[label] != label).any():
            label = label[label]
        if (label == before).all():
            return np.unique(label, return_inverse=True)[1]


def _thin(maxima: NDArray[np.int64], image: NDArray[Any], min_distance: int) -> NDArray[np.int64]:
    """Drop maxima near a higher one, from the highest down."""
    values = image[maxima[:, 0], maxima[:, 1]]
    cells: dict[tuple[int, int], list[int]] = {}
    kept = []
    for i in np.argsort(-values.astype(np.float64), kind="stable"):
        row, column = maxima[i]
        cell_row, cell_column = row // min_distance, column // min_distance
        near = (
            other
            for step_row in (-1, 0, 1)
            for step_column in (-1, 0, 1)
            for other in cells.get((cell_row + step_row, cell_column + step_column), ())
        )
        if all(np.abs(maxima[other] - maxima[i]).max() >= min_distance for other in near):
            cells.setdefault((cell_row, cell_column), []).append(int(i))
            kept.append(int(i))
    return maxima[np.sort(kept)]
