"""The original repository's second tool: the rings of `waterbg.h5_background_subtraction`, on a stream's intensities.

The reflections of a stream make an image of their own: at each position stands the integrated intensity, elsewhere 0.
fs is the column and ss the row, so coordinates read off it are those of the detector.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import StreamError
from waterbg.geometry.detector import MOST_PIXELS
from waterbg.h5_background_subtraction import (
    RADII,
    ArrayRegion,
    PeakThresholdProcessor,
    coordinate_menu,
    extract_region,
    load_file_h5,
    menu_lines,
    print_chosen,
)
from waterbg.stream_columns import StreamColumns, load_stream, retrieve
from waterbg.three_rings import RingEstimate

__all__ = [
    "ArrayRegion",
    "PeakThresholdProcessor",
    "StreamColumns",
    "coordinate_menu",
    "extract_region",
    "intensity_array",
    "load_file_h5",
    "load_stream",
    "main",
]

THRESHOLD = 10000.0  # ADU, the original's


def intensity_array(data_columns: Mapping[str, Sequence[Any]], path: str = "stream") -> NDArray[np.float64]:
    """Put the intensities of reflections where they lie on the detector.

    Parameters
    ----------
    data_columns : mapping
        At least the columns fs, ss and I; see `load_stream`.
    path : str
        Where they are from, for the error.

    Returns
    -------
    (n_ss, n_fs) float64
        ADU; row = ss, column = fs, just large enough. Pixel *i* holds positions in [i, i + 1). Reflections on the same
        pixel (of other crystals, as a rule) are added up; 0 where there is none.

    Raises
    ------
    StreamError
        When positions are negative, or so large that the image would not fit into memory.
    """
    fs, ss, values = (np.asarray(part, np.float64) for part in retrieve(data_columns, "fs", "ss", "I"))
    known = np.isfinite(fs) & np.isfinite(ss) & np.isfinite(values)
    fs, ss, values = fs[known], ss[known], values[known]
    if not len(values):
        return np.zeros((0, 0))
    if min(fs.min(), ss.min()) < 0 or (np.floor(fs.max()) + 1) * (np.floor(ss.max()) + 1) > MOST_PIXELS:
        raise StreamError(
            f"reflections from fs {fs.min():g} to {fs.max():g}, ss {ss.min():g} to {ss.max():g}: no detector has these",
            path=path,
        )
    row, column = ss.astype(np.int64), fs.astype(np.int64)
    image = np.zeros((int(row.max()) + 1, int(column.max()) + 1))
    np.add.at(image, (row, column), values)
    return image


def main(
    stream_path: str | os.PathLike[str],
    threshold_value: float = THRESHOLD,
    choice: int | str | Sequence[int] = "all",
    radii: Sequence[int] = RADII,
    **how: Any,
) -> list[RingEstimate]:
    """Make the intensity array of a stream, print its pixels above a threshold, and estimate the chosen ones.

    Parameters
    ----------
    stream_path : str or path
    threshold_value : float
        ADU.
    choice : int, str or sequence of int
        See `waterbg.h5_background_subtraction.coordinate_menu`.
    radii : sequence of int
        Pixels.
    **how
        ``saturation`` and ``keep_negative`` of `three_rings`.

    Returns
    -------
    list of RingEstimate
        Radius by radius; x is ss (row), y is fs (column).

    Raises
    ------
    StreamError
    """
    image = intensity_array(load_stream(stream_path), os.fspath(stream_path))
    coordinates = PeakThresholdProcessor(image, threshold_value).get_coordinates_above_threshold()
    print("\n".join(menu_lines(image, threshold_value, coordinates)))
    return print_chosen(image, coordinates, choice, radii, **how)


if __name__ == "__main__":
    from waterbg.scripts.app import Script

    class Tool(Script):
        """List the strong reflections of a stream and take the average of a square ring off each"""

        PROGNAME = "python -m waterbg.h5_stream_background_subtraction"

        def main(self, stream: str) -> int:
            """Print."""
            main(stream)
            return 0

    Tool.entry()
