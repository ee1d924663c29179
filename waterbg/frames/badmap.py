"""Bad pixels that do not depend on the values of an image: whole panels, edges, regions, masks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import ImageError
from waterbg.frames.events import Event, TooFewParts
from waterbg.frames.files import Files
from waterbg.frames.hdf5 import HDF5_ERRORS, said
from waterbg.frames.kernels import mark_lab_region, mark_masked
from waterbg.frames.layout import PANEL, Block, Misfit, blocks_of
from waterbg.geometry import BadRegion, Detector, Panel
from waterbg.geometry.cnumbers import wrap_int

MOST_KEPT = 4  # maps; more than one when files with masks of their own take turns

Complain = Callable[[str], None]


def fixed_bad(detector: Detector, complain: Complain) -> NDArray[np.uint8]:
    """(n_pixels,) map of what the geometry alone says: no_index, mask_edge_pixels, bad regions.

    As ``create_badmap`` of CrystFEL's image.c, except that ``no_index`` covers the whole panel: CrystFEL 0.12 means to
    do so and marks its first quarter (it counts bytes for ints).
    """
    bad = np.zeros(detector.n_pixels, np.uint8)
    for number, panel in enumerate(detector.panels):
        view = _panel(bad, detector, number)
        if panel.no_index:
            view[:] = 1
        elif panel.mask_edge_pixels > 0 and view.size:
            width = panel.mask_edge_pixels
            view[:width], view[:, :width] = 1, 1
            view[max(0, panel.n_ss - width) :], view[:, max(0, panel.n_fs - width) :] = 1, 1
    for region in detector.bad_regions:
        if region.panel is None:
            for number, panel in enumerate(detector.panels):
                _mark_lab(_panel(bad, detector, number), panel, region)
        else:
            panel = detector.panels[region.panel]
            if min(region.min_fs, region.min_ss) < 0 or region.max_fs >= panel.n_fs or region.max_ss >= panel.n_ss:
                complain(f"bad region '{region.name}' is not inside panel {panel.name}; ignored, as CrystFEL does")
                continue
            view = _panel(bad, detector, region.panel)
            view[region.min_ss : region.max_ss + 1, region.min_fs : region.max_fs + 1] = 1
    return bad


def _panel(flat: NDArray[np.uint8], detector: Detector, number: int) -> NDArray[np.uint8]:
    start, stop = detector.offsets[number : number + 2]
    return flat[start:stop].reshape(tuple(detector.shapes[number]))


def _mark_lab(bad: NDArray[np.uint8], panel: Panel, region: BadRegion) -> None:
    low, high = (region.min_x, region.min_y), (region.max_x, region.max_y)
    for axis, corner in enumerate((panel.corner_x, panel.corner_y)):
        ends = [corner + i * panel.fs[axis] + j * panel.ss[axis] for i in (0, panel.n_fs) for j in (0, panel.n_ss)]
        if not (max(ends) + 1e-3 > low[axis] and min(ends) - 1e-3 < high[axis]):  # NaN: never inside
            return
    rows, columns = _around(panel, low, high)
    mark_lab_region(bad, rows, columns, (panel.corner_x, panel.corner_y), panel.fs, panel.ss, low, high)


def _around(
    panel: Panel, low: tuple[float, float], high: tuple[float, float]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last + 1 of the rows and columns that a region in the laboratory may touch, with room for rounding."""
    matrix = np.array([[panel.fs[0], panel.ss[0]], [panel.fs[1], panel.ss[1]]])
    whole = (0, panel.n_ss), (0, panel.n_fs)
    if not abs(np.linalg.det(matrix)) > 1e-3 or not np.isfinite([*low, *high]).all():
        return whole
    x, y = np.meshgrid((low[0], high[0]), (low[1], high[1]))
    columns, rows = np.linalg.solve(matrix, np.stack([x.ravel() - panel.corner_x, y.ravel() - panel.corner_y]))
    return (
        (int(np.clip(rows.min() - 1, 0, panel.n_ss)), int(np.clip(rows.max() + 2, 0, panel.n_ss))),
        (int(np.clip(columns.min() - 1, 0, panel.n_fs)), int(np.clip(columns.max() + 2, 0, panel.n_fs))),
    )


class Masks:
    """The masks of a geometry, read when needed and kept as long as they stay the same.

    Parameters
    ----------
    detector : Detector
    files : Files
    locate : callable
        Path of a mask file as the geometry names it.
    """

    def __init__(self, detector: Detector, files: Files, locate: Callable[[str], str]) -> None:
        self.files, self.locate, self.n_pixels = files, locate, detector.n_pixels
        self.layers: list[tuple[str | None, Block, NDArray[np.int32], NDArray[np.int32]]] = []
        wanted: dict[tuple[int, str | None], list[Any]] = {}
        for number, panel in enumerate(detector.panels):
            for mask in panel.masks if not panel.no_index else ():
                layer = wanted.setdefault((mask.number, mask.file), [None] * len(detector.panels))
                layer[number] = mask
        for (_, file), masks in wanted.items():
            for block in blocks_of(detector, [mask and mask.data for mask in masks]):
                here = [masks[number] for number in block.table[:, PANEL]]
                good = np.array([wrap_int(mask.good_bits) for mask in here], np.int32)
                wrong = np.array([wrap_int(mask.bad_bits) for mask in here], np.int32)
                if good.any() or wrong.any():  # without bits a mask says nothing
                    self.layers.append((file, block, good, wrong))
        self.in_image = any(file is None for file, *_ in self.layers)
        self.by_parts = any("%" in block.location for _, block, _, _ in self.layers)
        self.by_index = False  # found out when a mask turns out to have one slice for each event
        self._kept: OrderedDict[Any, NDArray[np.uint8]] = OrderedDict()

    def read(self, path: str, event: Event) -> NDArray[np.uint8] | None:
        """(n_pixels,) masked pixels of this event, the same array as long as they are the same; None without masks."""
        if not self.layers:
            return None
        key = self._key(path, event)
        kept = self._kept.get(key)
        if kept is None:
            kept = np.zeros(self.n_pixels, np.uint8)
            for file, block, good, wrong in self.layers:
                self._apply(path if file is None else self.locate(file), block, good, wrong, event, kept)
            kept.flags.writeable = False
            self._kept[self._key(path, event)] = kept
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return kept

    def _key(self, path: str, event: Event) -> tuple[Any, ...]:
        return (
            (path, self.files.stamp(path)) if self.in_image else None,
            event.parts if self.by_parts else None,
            event.indices if self.by_index else None,
        )

    def _apply(
        self,
        path: str,
        block: Block,
        good: NDArray[np.int32],
        wrong: NDArray[np.int32],
        event: Event,
        bad: NDArray[np.uint8],
    ) -> None:
        raw, per_event = read_block(self.files, path, block, event, np.dtype(np.int32), "mask")
        self.by_index |= per_event
        mark_masked(raw, block.table, bad, good, wrong)


def read_block(
    files: Files, path: str, block: Block, event: Event, dtype: np.dtype[Any], what: str
) -> tuple[NDArray[Any], bool]:
    """Read a map (mask, saturation) that may be the same for all events, made ``dtype`` by HDF5 as CrystFEL has it.

    Returns
    -------
    raw : (slices, rows, columns) array
    per_event : bool
        The map has a slice for each event.

    Raises
    ------
    ImageError
    """
    name = block.location
    try:
        name = event.substitute(block.location)
        data = files.dataset(path, name)
        start, count = block.select(data.shape, event, may_skip=True)
        files.check_sources(data, start, count, written=False)
        raw = np.empty(block.shape, dtype)
        data.read(start, count, raw)
    except (Misfit, TooFewParts) as problem:
        raise ImageError(f"the {what} does not fit: {problem}", path=path, dataset=name) from None
    except HDF5_ERRORS as problem:
        raise ImageError(f"the {what} cannot be read ({said(problem)})", path=path, dataset=name) from None
    return raw, len(count) == len(block.dims) and "%" in block.dims
