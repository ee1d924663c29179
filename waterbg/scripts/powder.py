"""Peak powders: what all frames of streams say about a pixel, in one image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError
from waterbg.scripts.layout import ImageLayout, stream_detector
from waterbg.stream import StreamFile


@dataclass(frozen=True)
class Powder:
    """A sum over streams.

    Attributes
    ----------
    datasets : dict
        Dataset name -> array, see `ImageLayout.arrays`; ADU.
    frames, points : int
        What was summed.
    lost : int
        Points on no panel.
    """

    datasets: dict[str, NDArray[np.float64]]
    frames: int
    points: int
    lost: int


def sum_peaks(streams: Iterable[StreamFile], *, reflections: bool = False, count: bool = False) -> Powder:
    """Add up the peaks of streams where they were found.

    Parameters
    ----------
    streams : iterable of StreamFile
        All with the panels of the first.
    reflections : bool
        Integrated intensities of the predicted reflections, from which their background is taken off, instead of the
        peaks of the peak search.
    count : bool
        Count points instead of adding up their intensities.

    Returns
    -------
    Powder

    Raises
    ------
    GeometryError
        When the geometry cannot be read, or the panels differ between streams.
    """
    layout: ImageLayout | None = None
    frames = points = lost = 0
    for stream in streams:
        detector = stream_detector(stream)
        if layout is None:
            layout = ImageLayout(detector)
        elif detector.digest != layout.detector.digest and ImageLayout(detector).places != layout.places:
            raise GeometryError("has other panels than the stream before", path=stream.path)
        for chunk in stream.chunks():
            frames += 1
            lists = (
                [(crystal.reflections, crystal.panel_names, "I") for crystal in chunk.crystals]
                if reflections
                else [(chunk.peaks, chunk.peak_panel_names, "intensity")]
            )
            for rows, names, value in lists:
                panel = detector.panel_numbers(names)[rows["panel"]] if len(rows) else np.zeros(0, np.int32)
                values = np.ones(len(rows)) if count else rows[value]
                lost += layout.add_points(panel, rows["fs"], rows["ss"], values)
                points += len(rows)
    assert layout is not None
    return Powder(layout.arrays, frames, points, lost)
