"""One stream into two: reflections by a mask; frames into data sets by a number in their header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError
from waterbg.geometry import Detector
from waterbg.scripts.layout import ImageLayout, stream_detector
from waterbg.stream import NUMBERS, SPLICED, Chunk, Crystal, StreamFile, splice_reflections


class MaskSplit:
    """Splits the reflections of a stream by a mask in the layout of its images.

    Parameters
    ----------
    stream : StreamFile
        Its geometry says how panels lie in the mask.
    mask : (n_ss, n_fs) or (n_slices, n_ss, n_fs) array
        Not 0: first stream; 0: second.

    Attributes
    ----------
    first, second : int
        Reflections that went either way.
    lost : int
        Those on no panel of the geometry, or off the mask; they go with 0.

    Raises
    ------
    GeometryError
        When the mask does not have the size of the images.
    """

    def __init__(self, stream: StreamFile, mask: NDArray) -> None:
        self.stream = stream
        self.detector: Detector = stream_detector(stream)
        layout = ImageLayout(self.detector)
        if len(layout.arrays) != 1:
            raise GeometryError("has panels in several datasets; a mask of one array cannot fit", path=stream.path)
        array = next(iter(layout.arrays.values()))
        if mask.ndim != array.ndim or any(m < n for m, n in zip(mask.shape, array.shape)):
            raise GeometryError(f"needs a mask of shape {array.shape}, this one has {mask.shape}", path=stream.path)
        self._places = layout.places
        self._mask = (mask != 0).reshape((1,) * (3 - mask.ndim) + mask.shape)
        self.first = self.second = self.lost = 0

    def pieces(self, which: int) -> Iterator[bytes]:
        """Bytes of the first (0) or second (1) stream."""
        at = self.stream.header_end
        yield self.stream.header
        for chunk in self.stream.chunks():
            yield self.stream.read(at, chunk.start)
            at = chunk.stop
            ways = [self._inside(crystal) for crystal in chunk.crystals]
            yield self._with(chunk, [~way for way in ways] if which else ways)

    def _inside(self, crystal: Crystal) -> NDArray[np.bool_]:
        rows = crystal.reflections
        inside = np.zeros(len(rows), bool)
        if not len(rows):
            return inside
        panel = self.detector.panel_numbers(crystal.panel_names)[rows["panel"]]
        layer = np.array([place.layer for place in self._places] + [0])[panel]
        with np.errstate(invalid="ignore"):
            known = (panel >= 0) & (rows["fs"] >= 0) & (rows["ss"] >= 0)
            known &= (rows["fs"] < self._mask.shape[2]) & (rows["ss"] < self._mask.shape[1])
        row, column = (rows[name][known].astype(np.int64) for name in ("ss", "fs"))
        inside[known] = self._mask[layer[known], row, column]
        self.lost += int(np.count_nonzero(~known))
        self.first += int(np.count_nonzero(inside))
        self.second += int(np.count_nonzero(~inside))
        return inside

    @staticmethod
    def _with(chunk: Chunk, ways: Sequence[NDArray[np.bool_]]) -> bytes:
        new = []
        for crystal, keep in zip(chunk.crystals, ways):
            values = np.zeros(len(keep), SPLICED)
            for name in NUMBERS:
                values[name] = crystal.reflections[name]
            values["keep"] = keep
            new.append(values)
        return splice_reflections(chunk, new)


def header_value(chunk: Chunk, name: str) -> float | int | None:
    """Number that indexamajig copied from the image, by its path, with or without ``hdf5`` or ``header/int`` before."""
    for prefix in ("hdf5/", "header/int/", "header/float/"):
        if name.startswith(prefix):
            name = name[len(prefix) :]
    wanted = "/" + name.lstrip("/")
    return next((value for path, _, value in chunk.headers if "/" + path.lstrip("/") == wanted), None)


def custom_split(
    stream: StreamFile, header: str, divide: float, names: Sequence[str], skip: Sequence[float]
) -> Iterator[tuple[Chunk, str]]:
    """Data set of each frame, by a number in its header: ``names[(number // divide) % len(names)]``.

    Yields
    ------
    chunk : Chunk
    name : str
        Of the data set; empty when the chunk lacks the number, or that is to be skipped.
    """
    for chunk in stream.chunks():
        value = header_value(chunk, header)
        known = value is not None and np.isfinite(value) and value not in skip
        yield chunk, names[int(value // divide) % len(names)] if known and value is not None else ""
