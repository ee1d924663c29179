"""Images put together from panels, in the layout that the geometry says the data files have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError
from waterbg.geometry import Detector, parse_geometry
from waterbg.geometry.detector import MOST_PIXELS
from waterbg.stream import StreamFile

DATASET = "/data/data"


@dataclass(frozen=True)
class Place:
    """Where a panel is: dataset, layer of a stack, first row and column, and behind the last ones."""

    dataset: str
    layer: int
    rows: slice
    columns: slice

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """View of the panel's pixels in an array of this layout, a single image or a stack."""
        return (array[self.layer] if array.ndim == 3 else array)[self.rows, self.columns]


class ImageLayout:
    """One array for each dataset of a data file, without the axis that counts frames.

    Parameters
    ----------
    detector : Detector

    Attributes
    ----------
    places : list of Place
        One for each panel.
    arrays : dict
        Dataset name -> (n_ss, n_fs) or (n_slices, n_ss, n_fs) float64, zero at first. A detector whose panels are all
        in one dataset is called ``/data/data``, which is CrystFEL's default; panels in slices of a stack (AGIPD)
        make a stack.

    Raises
    ------
    GeometryError
        When the arrays would not fit into memory: no detector is that large.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        names = {panel.data for panel in detector.panels}
        keys = [(panel.data, tuple(dim for dim in panel.dims if isinstance(dim, int))) for panel in detector.panels]
        slices: dict[str, list[tuple[int, ...]]] = {}
        for data, fixed in keys:
            slices.setdefault(data, []).append(fixed)
        order = {data: {fixed: i for i, fixed in enumerate(sorted(set(all_)))} for data, all_ in slices.items()}
        self.places = [
            Place(
                DATASET if len(names) == 1 else data.replace("%", ""),
                order[data][fixed],
                slice(panel.min_ss, panel.max_ss + 1),
                slice(panel.min_fs, panel.max_fs + 1),
            )
            for panel, (data, fixed) in zip(detector.panels, keys)
        ]
        self.arrays: dict[str, NDArray[np.float64]] = {}
        for dataset in dict.fromkeys(place.dataset for place in self.places):
            mine = [place for place in self.places if place.dataset == dataset]
            shape = (
                max(place.layer for place in mine) + 1,
                max(place.rows.stop for place in mine),
                max(place.columns.stop for place in mine),
            )
            if shape[0] * shape[1] * shape[2] > MOST_PIXELS:
                raise GeometryError(f"an image of {shape} pixels: no detector has so many", path=detector.path)
            self.arrays[dataset] = np.zeros(shape if shape[0] > 1 else shape[1:])

    def panel(self, number: int) -> NDArray[np.float64]:
        """View of the pixels of one panel."""
        place = self.places[number]
        return place.of(self.arrays[place.dataset])

    def add_points(
        self, panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64], values: NDArray[np.float64]
    ) -> int:
        """Add values at positions as a stream prints them (pixel *i* spans [i, i + 1)).

        Parameters
        ----------
        panel : (n,) int
            -1 for a panel that is not there.
        fs, ss, values : (n,) float64
            Positions in the data coordinates of the file.

        Returns
        -------
        int
            How many were on no panel, or not finite, and so left out.
        """
        done = 0
        for number, place in enumerate(self.places):
            mine = panel == number
            if not mine.any():
                continue
            with np.errstate(invalid="ignore"):
                mine &= (fs >= place.columns.start) & (fs < place.columns.stop) & np.isfinite(values)
                mine &= (ss >= place.rows.start) & (ss < place.rows.stop)
            row = ss[mine].astype(np.int64) - place.rows.start
            column = fs[mine].astype(np.int64) - place.columns.start
            np.add.at(self.panel(number), (row, column), values[mine])
            done += int(np.count_nonzero(mine))
        return len(values) - done


def stream_detector(stream: StreamFile) -> Detector:
    """Detector of the geometry inside a stream, read leniently: positions and energies stand in the stream anyway.

    Raises
    ------
    GeometryError
    """
    return parse_geometry(stream.geometry_text, stream.path, lenient=True, first_line=stream.geometry_line)
