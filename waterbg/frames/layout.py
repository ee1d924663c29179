"""Which parts of which datasets hold the panels.

Panels are one block of a dataset, many blocks, slices of a stack, or datasets of their own. What lies together is read
together: a :class:`Block` is one rectangular read, its table says where in it each panel is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from waterbg.frames.events import Event
from waterbg.geometry import Detector
from waterbg.geometry.detector import Dim

# columns of a block's table
SLICE, ROW, COLUMN, N_SS, N_FS, OFFSET, PANEL = range(7)

# Reading a rectangle around several panels is worth it unless more than this part of it belongs to none of them.
MOST_WASTE = 0.5


class Misfit(Exception):
    """A dataset that does not have the shape the geometry says."""


@dataclass(frozen=True)
class Block:
    """One rectangular read.

    Attributes
    ----------
    location : str
        Path in the file, may hold ``%``.
    dims : tuple
        As of a panel; the fixed indices are those of the first panel.
    low, count : tuple of int
        Along each axis of the data where the read starts and how much it takes; for ``%``, 0 and 1.
    table : (n, 7) int64
        For each panel: number of its slice, first row and column in the block, rows, columns, its offset in a flat
        frame, its number.
    """

    location: str
    dims: tuple[Dim, ...]
    low: tuple[int, ...]
    count: tuple[int, ...]
    table: NDArray[np.int64]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns of the read."""
        ss, fs = self.dims.index("ss"), self.dims.index("fs")
        slices = int(np.prod([n for axis, n in enumerate(self.count) if axis not in (ss, fs)], dtype=np.int64))
        return slices, self.count[ss], self.count[fs]

    def select(
        self, shape: tuple[int, ...], event: Event, may_skip: bool = False
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Start and count along each axis of a dataset of this shape.

        ``may_skip``: a dataset without the axes of ``%`` fits, too (a mask for all events), as ``load_hdf5_hyperslab``
        of CrystFEL's image-hdf5.c.

        Raises
        ------
        Misfit
            If the shape does not fit, or the event is not in it.
        """
        axes = list(range(len(self.dims)))
        if None in self.dims:
            raise Misfit(f"the geometry leaves out dim{self.dims.index(None)}")
        if len(shape) != len(axes):
            axes = [axis for axis in axes if self.dims[axis] != "%"]
            if not may_skip or len(shape) != len(axes):
                raise Misfit(f"the geometry has {len(self.dims)} dimensions, the data {len(shape)} {_by(shape)}")
        start, count = [], []
        indices = iter(zip(event.indices, event.written, strict=True))
        for n, axis in zip(shape, axes, strict=True):
            low, many = self.low[axis], self.count[axis]
            if self.dims[axis] == "%":
                found, written = next(indices, (0 if n == 1 else None, ""))
                if found is None:
                    raise Misfit(f"the event gives no index for dim{axis} of {_by(shape)}, which is %")
                if not 0 <= found < n:
                    raise Misfit(f"there is no frame {written}, the data have {n} (numbered from 0)")
                low = found
            elif low + many > n:
                what = self.dims[axis] if isinstance(self.dims[axis], str) else f"dim{axis}"
                raise Misfit(f"the geometry needs {what} up to {low + many - 1}, the data {_by(shape)} end at {n - 1}")
            start.append(low)
            count.append(many)
        return tuple(start), tuple(count)


def blocks_of(detector: Detector, locations: Sequence[str | None]) -> list[Block]:
    """How to read panels from these places.

    Parameters
    ----------
    detector : Detector
    locations : sequence of str or None
        One for each panel; None for a panel that is not to be read.
    """
    groups: dict[tuple[str, tuple[Dim, ...]], list[int]] = {}
    for number, (panel, location) in enumerate(zip(detector.panels, locations, strict=True)):
        if location is None or not panel.n_fs or not panel.n_ss:
            continue
        # fixed indices may differ inside a group when they come before ss, so that the slices are whole
        ss = panel.dims.index("ss")
        form = tuple("#" if isinstance(dim, int) and axis < ss else dim for axis, dim in enumerate(panel.dims))
        groups.setdefault((location, form), []).append(number)
    blocks = []
    for (place, _), numbers in groups.items():
        blocks += _covering(detector, place, numbers)
    return blocks


def blocks_in_one_array(detector: Detector) -> list[Block]:
    """How to read panels of an image that is one array of rows and columns, as a CBF file has it."""
    plain = replace(detector, panels=tuple(replace(panel, dims=("ss", "fs")) for panel in detector.panels))
    return blocks_of(plain, [""] * len(plain.panels))


def _covering(detector: Detector, location: str, numbers: list[int]) -> list[Block]:
    block = _block(detector, location, numbers)
    used = int((block.table[:, N_SS] * block.table[:, N_FS]).sum())
    if len(numbers) == 1 or used >= (1.0 - MOST_WASTE) * float(np.prod(np.array(block.count, float))):
        return [block]
    slices: dict[tuple[Dim, ...], list[int]] = {}
    for number in numbers:
        slices.setdefault(detector.panels[number].dims, []).append(number)
    if len(slices) > 1:
        return [b for members in slices.values() for b in _covering(detector, location, members)]
    return [_block(detector, location, [number]) for number in numbers]


def _block(detector: Detector, location: str, numbers: list[int]) -> Block:
    panels = [detector.panels[number] for number in numbers]
    dims = panels[0].dims
    low, count = [], []
    for axis, dim in enumerate(dims):
        if dim == "fs":
            first, last = min(p.min_fs for p in panels), max(p.max_fs for p in panels)
        elif dim == "ss":
            first, last = min(p.min_ss for p in panels), max(p.max_ss for p in panels)
        elif isinstance(dim, int):
            fixed = [int(p.dims[axis] or 0) for p in panels]
            first, last = min(fixed), max(fixed)
        else:
            first = last = 0
        low.append(first)
        count.append(last - first + 1)
    ss, fs = dims.index("ss"), dims.index("fs")
    table = np.zeros((len(panels), 7), np.int64)
    for row, number, panel in zip(table, numbers, panels, strict=True):
        which = 0
        for axis, dim in enumerate(panel.dims):
            if axis not in (ss, fs):
                which = which * count[axis] + (dim - low[axis] if isinstance(dim, int) else 0)
        row[:] = (
            which,
            panel.min_ss - low[ss],
            panel.min_fs - low[fs],
            panel.n_ss,
            panel.n_fs,
            detector.offsets[number],
            number,
        )
    return Block(location, dims, tuple(low), tuple(count), table)


def _by(shape: tuple[int, ...]) -> str:
    return f"({' x '.join(map(str, shape))})"
