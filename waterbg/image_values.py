"""Values of an image at the positions of reflections: the other half of the original repository's third tool."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waterbg.h5_image import read_image
from waterbg.stream_columns import retrieve


def intensity_finder(
    x_coords: ArrayLike,
    y_coords: ArrayLike,
    image_name: str | os.PathLike[str],
    dataset: str | None = None,
    frame: int = 0,
) -> list[float]:
    """Values of an image at positions.

    Parameters
    ----------
    x_coords, y_coords : (n,) numbers
        fs (column) and ss (row), as the columns fs and ss of a stream; pixel *i* holds positions in [i, i + 1).
    image_name : str or path
        HDF5 file.
    dataset, frame
        See `waterbg.h5_image.read_image`.

    Returns
    -------
    list of float
        One for each position, in the units of the image; NaN off the image.

    Raises
    ------
    ImageError
    ValueError
        When there are not as many x as y.
    """
    image = read_image(image_name, dataset, frame)
    row, column, inside = _pixels(image, x_coords, y_coords)
    values = np.full(len(inside), np.nan)
    values[inside] = image[row, column]
    return [float(value) for value in values]


def populate_intensity_array(
    data_columns: Mapping[str, Sequence[Any]],
    image_name: str | os.PathLike[str],
    dataset: str | None = None,
    frame: int = 0,
) -> NDArray[Any]:
    """An image with nothing but the pixels at which reflections lie.

    Parameters
    ----------
    data_columns : mapping
        With the columns fs and ss; see `load_stream`. Positions off the image are passed over.
    image_name, dataset, frame
        See `intensity_finder`.

    Returns
    -------
    (n_ss, n_fs) array
        Of the type of the image; 0 elsewhere.

    Raises
    ------
    ImageError, UnknownColumnError
    """
    image = read_image(image_name, dataset, frame)
    row, column, _ = _pixels(image, *retrieve(data_columns, "fs", "ss"))
    array = np.zeros_like(image)
    array[row, column] = image[row, column]
    return array


def _pixels(
    image: NDArray[Any], fs: ArrayLike, ss: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Rows and columns of the positions that lie on the image, and which do."""
    x, y = np.asarray(fs, np.float64), np.asarray(ss, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x and y are lists of one length, not of shapes {x.shape} and {y.shape}")
    with np.errstate(invalid="ignore"):
        inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
    return y[inside].astype(np.int64), x[inside].astype(np.int64), inside
