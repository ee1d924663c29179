"""All panels of a frame in one picture, looking into the beam.

Every pixel is drawn where its ray meets the plane across the beam at the mean distance of the panels. For a flat
detector across the beam that is the laboratory position itself, and resolution circles are circles for any other, too.
x is to the right and y up, as in CrystFEL's own image window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.background.rays import Rays, lab_positions
from waterbg.kernel import kernel

_MOST_SAMPLES = 8  # points along the side of a cell


@dataclass(frozen=True)
class Canvas:
    """Square cells over the whole detector.

    Attributes
    ----------
    rays : Rays
    shapes, offsets : (n_panels, 2), (n_panels + 1,) int64
        Of the detector.
    left, bottom : float
        Outer corner of the first cell, pixels from the beam.
    side : int
        Of a cell, in pixels.
    rows, columns : int
    """

    rays: Rays
    shapes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    left: float
    bottom: float
    side: int
    rows: int
    columns: int

    @property
    def mm(self) -> float:
        """Millimetres a pixel."""
        return self.rays.pixel * 1e3

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm."""
        right, top = self.left + self.columns * self.side, self.bottom + self.rows * self.side
        return self.left * self.mm, right * self.mm, self.bottom * self.mm, top * self.mm

    def place(
        self, panel: NDArray[np.int32], fs: NDArray[np.float64], ss: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """X and y in mm of points on panels (panel-local pixels)."""
        x, y, z = lab_positions(self.rays, panel, fs, ss)
        return x * self.rays.length / z * self.mm, y * self.rays.length / z * self.mm

    def add_up(
        self, values: NDArray[np.float32], bad: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Sum of a quantity over the usable pixels of each cell.

        Parameters
        ----------
        values : (n_pixels,) float32
        bad : (n_pixels,) uint8
            Not 0: not usable. Neither is a pixel that is not finite.

        Returns
        -------
        sums : (rows, columns) float64
        counts : (rows, columns) int32
            Pixels in each sum. The first row is the lowest.
        """
        sums, counts = np.zeros((self.rows, self.columns)), np.zeros((self.rows, self.columns), np.int32)
        samples = min(self.side, _MOST_SAMPLES)
        _add_up(
            values, bad, self.offsets, self.shapes, self.rays.panel, self.rays.length, self.left, self.bottom,
            float(self.side), samples, sums, counts,
        )  # fmt: skip
        return sums, counts


def make_canvas(rays: Rays, shapes: NDArray[np.int64], offsets: NDArray[np.int64], most: int) -> Canvas:
    """Cover the detector with at most ``most`` cells along either axis.

    Parameters
    ----------
    rays : Rays
    shapes, offsets : (n_panels, 2), (n_panels + 1,) int64
    most : int
    """
    x, y = _corners(rays.panel, shapes, rays.length)
    left, bottom = float(np.floor(x.min())), float(np.floor(y.min()))
    width, height = float(np.ceil(x.max())) - left, float(np.ceil(y.max())) - bottom
    side = max(1, int(np.ceil(max(width, height) / most)))
    return Canvas(rays, shapes, offsets, left, bottom, side, int(-(-height // side)), int(-(-width // side)))


def _corners(
    rays: NDArray[np.float64], shapes: NDArray[np.int64], length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4, n_panels) projected corners of panels, pixels."""
    n_ss, n_fs = shapes[:, :1], shapes[:, 1:]
    ends = np.stack([rays[:, :3] + rays[:, 3:6] * n_fs * i + rays[:, 6:] * n_ss * j for j in (0, 1) for i in (0, 1)])
    return ends[..., 0] * length / ends[..., 2], ends[..., 1] * length / ends[..., 2]


@kernel
def _add_up(values, bad, offsets, shapes, rays, length, left, bottom, side, samples, sums, counts):
    rows, columns = sums.shape
    step = side / samples
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        c, a, b = rays[p, :3], rays[p, 3:6], rays[p, 6:]
        low_x = low_y = np.inf
        high_x = high_y = -np.inf
        for j in range(2):
            for i in range(2):
                z = c[2] + i * n_fs * a[2] + j * n_ss * b[2]
                x = (c[0] + i * n_fs * a[0] + j * n_ss * b[0]) * length / z
                y = (c[1] + i * n_fs * a[1] + j * n_ss * b[1]) * length / z
                low_x, high_x = min(low_x, x), max(high_x, x)
                low_y, high_y = min(low_y, y), max(high_y, y)
        # The point (fs, ss) with c + fs a + ss b = t s, by Cramer's rule: fs = s·(b × c) / s·(a × b), and so on.
        ab, bc, ca = np.cross(a, b), np.cross(b, c), np.cross(c, a)
        first_row, last_row = max(int((low_y - bottom) / side), 0), min(int((high_y - bottom) / side), rows - 1)
        first, last = max(int((low_x - left) / side), 0), min(int((high_x - left) / side), columns - 1)
        for row in range(first_row, last_row + 1):
            for column in range(first, last + 1):
                for v in range(samples):
                    y = bottom + row * side + (v + 0.5) * step
                    for u in range(samples):
                        x = left + column * side + (u + 0.5) * step
                        bottom_line = x * ab[0] + y * ab[1] + length * ab[2]
                        fs = (x * bc[0] + y * bc[1] + length * bc[2]) / bottom_line
                        ss = (x * ca[0] + y * ca[1] + length * ca[2]) / bottom_line
                        if not (0.0 <= fs < n_fs and 0.0 <= ss < n_ss):
                            continue
                        at = offsets[p] + int(ss) * n_fs + int(fs)
                        if bad[at] == 0 and np.isfinite(values[at]):
                            sums[row, column] += values[at]
                            counts[row, column] += 1
