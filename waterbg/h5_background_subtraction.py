"""Peaks of one image and the background in a square ring around each: the original repository's first tool.

Coordinates here are pairs (x, y) as that tool had them: x is the first index of the array (the row, ss) and y the
second (the column, fs), so a pair from `PeakThresholdProcessor.get_coordinates_above_threshold` goes into
`extract_region`, `ArrayRegion.set_peak_coordinate` and `create_scatter` as it is. (In `waterbg.overwrite`, x and y are
fs and ss, as that tool had them.)

The estimate is a teaching example, and a quick look at an image: no geometry, no mask, no profile. The real thing is
`waterbg.subtract`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waterbg.h5_image import read_image
from waterbg.local_maxima import find_local_maxima
from waterbg.three_rings import RingEstimate, as_coordinates, as_image, estimate_lines, three_rings, whole_number

__all__ = [
    "ArrayRegion",
    "PeakThresholdProcessor",
    "RingEstimate",
    "build_coord_intensity",
    "choose",
    "coordinate_menu",
    "create_scatter",
    "estimate_lines",
    "extract_region",
    "load_file_h5",
    "main",
    "menu_lines",
    "three_rings",
]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII = (1, 2, 3, 4)
THRESHOLD = 1000.0  # ADU, the original's
_LISTED = 40  # coordinates a menu shows


class PeakThresholdProcessor:
    """Pixels of an image above a threshold.

    Parameters
    ----------
    image_array : (n_ss, n_fs) array
    threshold_value : float
        In the units of the image; a pixel counts when it is larger.

    Raises
    ------
    ValueError
        When the array is not two-dimensional, has no numbers, or the threshold is none.
    """

    def __init__(self, image_array: ArrayLike, threshold_value: float = 0) -> None:
        self.image_array = as_image(image_array)
        self.set_threshold_value(threshold_value)

    def set_threshold_value(self, new_threshold_value: float) -> None:
        """Use another threshold from now on."""
        if np.ndim(new_threshold_value) or np.isnan(float(new_threshold_value)):
            raise ValueError(f"a threshold is one number, not {new_threshold_value!r}")
        self.threshold_value = new_threshold_value

    def get_coordinates_above_threshold(self) -> NDArray[np.int64]:
        """Every pixel above the threshold.

        Returns
        -------
        (n, 2) int64
            Row (ss) and column (fs), in the order of rows; (0, 2) when there is none.
        """
        return np.argwhere(self.image_array > self.threshold_value)

    def get_local_maxima(self, min_distance: int = 1) -> NDArray[np.int64]:
        """One pixel for each peak above the threshold.

        Parameters
        ----------
        min_distance : int
            Of maxima closer than this many pixels only the highest stays; 1 keeps all.

        Returns
        -------
        (n, 2) int64
            Row and column of pixels that none of their eight neighbours exceeds. A flat top, as saturation makes it,
            counts once, at its middle.
        """
        return find_local_maxima(self.image_array, self.threshold_value, min_distance)


class ArrayRegion:
    """A square piece of an array around a pixel, cut where the array ends.

    Parameters
    ----------
    array : (n_ss, n_fs) array
    """

    def __init__(self, array: ArrayLike) -> None:
        self.array = as_image(array)
        self.x_center = 0
        self.y_center = 0
        self.region_size = 0

    def set_peak_coordinate(self, x: int, y: int) -> None:
        """Set the middle: x is the row (ss), y the column (fs).

        Raises
        ------
        ValueError
            When that is not a pixel of the array.
        """
        x, y = whole_number(x, "x"), whole_number(y, "y")
        n_rows, n_columns = self.array.shape
        if not (0 <= x < n_rows and 0 <= y < n_columns):
            raise ValueError(f"({x}, {y}) is not in the image of {n_rows} rows and {n_columns} columns")
        self.x_center, self.y_center = x, y

    def set_region_size(self, size: int) -> None:
        """Set how many pixels the region reaches from its middle: it is 2·size + 1 wide away from the edges.

        Raises
        ------
        ValueError
            When it is negative or no whole number.
        """
        size = whole_number(size, "the size")
        if size < 0:
            raise ValueError(f"the size is a number of pixels, 0 or more, not {size}")
        self.region_size = size

    def get_region(self) -> NDArray[Any]:
        """Give the region.

        Returns
        -------
        array
            A view. At the edges it is cut: its middle pixel is then `centre_in_region`, not its middle.
        """
        rows = slice(max(0, self.x_center - self.region_size), self.x_center + self.region_size + 1)
        columns = slice(max(0, self.y_center - self.region_size), self.y_center + self.region_size + 1)
        return self.array[rows, columns]

    def centre_in_region(self) -> tuple[int, int]:
        """Row and column of the peak coordinate within what `get_region` gives."""
        return min(self.x_center, self.region_size), min(self.y_center, self.region_size)


def load_file_h5(filename: str | os.PathLike[str], dataset: str | None = None, frame: int = 0) -> NDArray[Any]:
    """Read one image of an HDF5 file.

    Parameters
    ----------
    filename : str or path
    dataset : str, optional
        Path of the data inside the file; default: the usual places, then the only dataset that can be an image.
    frame : int
        Which image of a stack.

    Returns
    -------
    (n_ss, n_fs) array
        Row = ss, column = fs.

    Raises
    ------
    ImageError
        Missing file, no HDF5 file, no such dataset or frame: one line that says which.
    """
    return read_image(filename, dataset, frame)


def extract_region(image_array: ArrayLike, region_size: int, x_center: int, y_center: int) -> NDArray[Any]:
    """Cut out the square that reaches ``region_size`` pixels from row ``x_center``, column ``y_center``.

    See `ArrayRegion` for edges and errors.
    """
    region = ArrayRegion(image_array)
    region.set_peak_coordinate(x_center, y_center)
    region.set_region_size(region_size)
    return region.get_region()


def coordinate_menu(
    image_array: ArrayLike,
    threshold_value: float,
    coordinates: ArrayLike,
    radius: int,
    choice: int | str | Sequence[int] = "all",
    **how: Any,
) -> list[RingEstimate]:
    """Print the coordinates as a numbered menu, and the estimates of those that are chosen.

    Nothing is asked: the choice is an argument (``waterbg peaks`` asks on a terminal).

    Parameters
    ----------
    image_array : (n_ss, n_fs) array
    threshold_value : float
        What the coordinates are above; printed.
    coordinates : (n, 2) whole numbers
        Row and column; may be empty.
    radius : int
        Of the ring, in pixels.
    choice : int, str or sequence of int
        Numbers of the menu, from 1 on, ``"all"``, or ``"q"`` for none.
    **how
        ``saturation`` and ``keep_negative`` of `three_rings`.

    Returns
    -------
    list of RingEstimate
        In the order chosen.

    Raises
    ------
    ValueError
        When a number is not in the menu, or a coordinate not in the image.
    """
    image = as_image(image_array)
    pixels = as_coordinates(coordinates, image.shape)
    print("\n".join(menu_lines(image, threshold_value, pixels, radius)))
    return print_chosen(image, pixels, choice, [radius], **how)


def print_chosen(
    image: NDArray[Any],
    pixels: NDArray[np.int64],
    choice: int | str | Sequence[int],
    radii: Sequence[int],
    **how: Any,
) -> list[RingEstimate]:
    """Print the estimates of the pixels that are chosen (see `coordinate_menu`), and give them, radius by radius."""
    chosen = pixels[choose(choice, len(pixels))]
    found = [one for radius in radii for one in three_rings(image, chosen, radius, **how)]
    for line in estimate_lines(found):
        print(line)
    return found


def choose(choice: int | str | Sequence[int], count: int) -> list[int]:
    """Turn a choice from a menu into positions in its list, from 0 on.

    Raises
    ------
    ValueError
        When it is neither a number from 1 to ``count``, nor ``all``, nor ``q``.
    """
    if isinstance(choice, str):
        word = choice.strip().lower()
        if word in ("a", "all"):
            return list(range(count))
        if word in ("q", "quit"):
            return []
        numbers: Sequence[Any] = word.replace(",", " ").split() or [""]
    else:
        numbers = [choice] if np.ndim(choice) == 0 else list(choice)  # type: ignore[arg-type]
    chosen = []
    for number in numbers:
        try:
            position = int(number) - 1
        except (TypeError, ValueError):
            raise ValueError(f"{number!r} is not a number of the menu, 'all' or 'q'") from None
        if not 0 <= position < count:
            raise ValueError(f"{number} is not in the menu, which goes from 1 to {count}")
        chosen.append(position)
    return chosen


def menu_lines(
    image: NDArray[Any], threshold_value: float, pixels: NDArray[np.int64], radius: int | None = None
) -> Iterator[str]:
    """Lines of the numbered menu."""
    with_radius = f", ring of radius {radius} px" if radius is not None else ""
    yield f"{len(pixels)} coordinates above {threshold_value:g}{with_radius}: (row, column) = (ss, fs)"
    if not len(pixels):
        top = np.nanmax(image) if np.isfinite(image).any() else np.nan
        yield f"(the highest pixel is {top:g})"
    for number, (x, y) in enumerate(pixels[:_LISTED].tolist(), 1):
        yield f"{number:4d}. ({x}, {y})  {float(image[x, y]):g}"
    if len(pixels) > _LISTED:
        yield f"      … and {len(pixels) - _LISTED} more"


def build_coord_intensity(
    image_array: ArrayLike, threshold_value: float = 0.01
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Coordinates and values of all pixels above a threshold, ready to be drawn.

    Returns
    -------
    result_x, result_y : (n,) int64
        Row and column.
    result_z : (n,) array
        Values there.
    coordinates_and_intensities : (n, 3) float64
        The three side by side.
    """
    threshold = PeakThresholdProcessor(image_array, threshold_value)
    x, y = threshold.get_coordinates_above_threshold().T
    z = threshold.image_array[x, y]
    return x, y, z, np.column_stack([x, y, z]).astype(np.float64)


def create_scatter(
    x: ArrayLike, y: ArrayLike, z: ArrayLike, highlight_x: int | None = None, highlight_y: int | None = None
) -> Figure:
    """Draw coordinates and intensities in three dimensions.

    Parameters
    ----------
    x, y : (n,) numbers
        Rows (ss) and columns (fs).
    z : (n,) numbers
        Intensities.
    highlight_x, highlight_y : int, optional
        A coordinate among them to be marked.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``; no window is opened.

    Raises
    ------
    ValueError
        When the lengths differ, or the highlighted coordinate is not among the others.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    xs, ys, zs = (np.asarray(part, np.float64) for part in (x, y, z))
    if not (xs.ndim == 1 and xs.shape == ys.shape == zs.shape):
        raise ValueError(f"x, y and z are lists of one length, not {xs.shape}, {ys.shape} and {zs.shape}")
    if (highlight_x is None) != (highlight_y is None):
        raise ValueError("a highlighted coordinate has an x and a y")
    figure = Figure(figsize=(8, 6))
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(projection="3d")
    points = axes.scatter(xs, ys, zs, c=zs, cmap="viridis", marker="o")
    if highlight_x is not None:
        here = np.flatnonzero((xs == highlight_x) & (ys == highlight_y))
        if not len(here):
            raise ValueError(f"({highlight_x}, {highlight_y}) is not among the coordinates drawn")
        axes.scatter(xs[here], ys[here], zs[here], c="red", marker="x", s=100, label="Highlighted point")
        axes.legend()
    if len(zs):
        figure.colorbar(points, label="Intensity", pad=0.12)
    axes.set(xlabel="x: row (ss) / px", ylabel="y: column (fs) / px", title="Intensity by pixel")
    axes.set_zlabel("Intensity", labelpad=12)  # beyond the numbers
    return figure


def main(
    filename: str | os.PathLike[str],
    threshold_value: float = THRESHOLD,
    choice: int | str | Sequence[int] = "all",
    radii: Sequence[int] = RADII,
    *,
    dataset: str | None = None,
    frame: int = 0,
    min_distance: int = 3,
    **how: Any,
) -> list[RingEstimate]:
    """Find the peaks of an image, print them as a menu, and estimate the chosen ones with every radius.

    Parameters
    ----------
    filename : str or path
    threshold_value : float
        In the units of the image.
    choice : int, str or sequence of int
        See `coordinate_menu`.
    radii : sequence of int
        Pixels.
    dataset, frame
        See `load_file_h5`.
    min_distance : int
        See `PeakThresholdProcessor.get_local_maxima`.
    **how
        ``saturation`` and ``keep_negative`` of `three_rings`.

    Returns
    -------
    list of RingEstimate
        Radius by radius.
    """
    image = load_file_h5(filename, dataset, frame)
    coordinates = PeakThresholdProcessor(image, threshold_value).get_local_maxima(min_distance)
    print("\n".join(menu_lines(image, threshold_value, coordinates)))
    return print_chosen(image, coordinates, choice, radii, **how)


if __name__ == "__main__":
    import sys

    from waterbg.cli.base import run

    sys.exit(run(["waterbg", "peaks", *sys.argv[1:]]))
