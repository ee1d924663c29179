"""Which pixels may say something about the background: one byte of flags for every pixel of a frame.

A pixel is BAD as the frame says; WIDE near anything that may scatter there (the global model leaves it out); and it
counts the peak discs it lies in: ONE for its own reflection, TWO when two reflections or more share it (CrystFEL's
peak mask, ``make_BgMask`` in peaks.c). NEAR are the discs of reflections that are in the image but in no list.
FAULTY is what no light makes: pixels that are wrong in all frames of a run (see :mod:`waterbg.background.faulty`), and
those that stand out of the background as no Bragg reflection does (found when the spots are summed up). Unlike BAD ones
they are left out of a disc, and the reflection stays. DEAD are BAD ones that no mask knew, and that have no light, or
all the same counts: where they are a shadow's, the pixels beside them have lost some of it, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.geometry import Detector

BAD, WIDE, ONE, TWO, NEAR, FAULTY, DEAD = 1, 2, 4, 8, 16, 32, 64
NOT_CLEAN = BAD | WIDE | FAULTY  # the global model
NOT_RING = BAD | ONE | TWO  # a reflection's own ring, as CrystFEL masks it
NOT_SCALE = NOT_RING | NEAR | FAULTY  # and where it scales the frame's model

# Counts further than this many standard deviations from the model are not background: 1e-5 of Poisson counts. The upper
# Poisson quantile is mu + 4.3 sqrt(mu) + 3.2 within half a photon for all mu. What is cut biases the mean by less than
# 1e-5 * (4.3 sqrt(mu) + 4) photons per pixel, 1 % of a hundredth of what matters: no correction is made.
# Tighter tails would bias integrating detectors, whose counts are not Poisson.
TAIL = 4.3
SKEW = 3.2
HOT = 50.0  # standard deviations that a hot pixel is above the background
SHARP = 4.0  # times its neighbours that a pixel which stands alone is above the background


class Pixels(NamedTuple):
    """What kernels need of a frame, all panels one after the other.

    Attributes
    ----------
    counts : (n_pixels,) float32
        ADU.
    photons_per_adu : (n_panels,) float32
    flags : (n_pixels,) uint8
    offsets : (n_panels + 1,) int64
        First pixel of each panel.
    shapes : (n_panels, 2) int64
        Rows and columns of each panel.
    """

    counts: NDArray[np.float32]
    photons_per_adu: NDArray[np.float32]
    flags: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    shapes: NDArray[np.int64]

    @classmethod
    def of(cls, frame: Frame, flags: NDArray[np.uint8]) -> Pixels:
        """A frame's pixels, with flags that say what each may be used for."""
        return cls(frame.data, frame.photons_per_adu, flags, frame.detector.offsets, frame.detector.shapes)


@kernel
def is_usable(flag, in_disc, joint):
    """Whether a pixel may be used for a spot: one of its own predicted disc, or of none; with ``joint`` of any."""
    if flag & (BAD | FAULTY):
        return False
    return joint or not (flag & TWO or (flag & ONE and not in_disc))


@kernel
def stands_alone(counts, offset, n_ss, n_fs, row, column, level):
    """Whether a pixel is SHARP times as high above ``level`` (ADU) as its neighbours, but for one of them.

    Of a spot that is wider than half a pixel, wherever it is, several neighbours have more: half, as a rule.
    """
    here = offset + row * n_fs + column
    limit = level + (counts[here] - level) / SHARP
    bright = 0
    for j in range(max(row - 1, 0), min(row + 1, n_ss - 1) + 1):
        for i in range(max(column - 1, 0), min(column + 1, n_fs - 1) + 1):
            at = offset + j * n_fs + i
            bright += at != here and counts[at] > limit
    return bright <= 1


@lru_cache(maxsize=16)
def stencil(radii: tuple[float, float, float]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of the peak disc and of the ring about a pixel: (n, 2) rows of ss and fs; what is both is ring."""
    inner, middle, outer = (int(radius) for radius in radii)  # as CrystFEL cuts them
    reach = np.arange(-outer, outer + 1)
    j, i = (axis.ravel() for axis in np.meshgrid(reach, reach, indexing="ij"))
    r2 = i * i + j * j
    ring = (r2 >= middle**2) & (r2 <= outer**2)
    peak = (r2 <= inner**2) & ~ring
    return np.stack([j[peak], i[peak]], axis=1), np.stack([j[ring], i[ring]], axis=1)


def spot_mask(
    bad: NDArray[np.uint8],
    detector: Detector,
    panel: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    inner: float,
) -> NDArray[np.uint8]:
    """Flags of all pixels: BAD, and the peak discs of the predicted reflections.

    Parameters
    ----------
    bad : (n_pixels,) uint8
        1 = never use.
    panel, fs, ss : (n,) arrays
        Predicted reflections of all crystals, panel-local pixels; panel < 0 is off the detector.
    inner : float
        Radius of the peak disc, pixels.

    Returns
    -------
    flags : (n_pixels,) uint8
    """
    flags = (bad != 0).view(np.uint8)
    _count_discs(flags, detector.offsets, detector.shapes, panel, fs, ss, float(inner))
    return flags


def add_wide(
    flags: NDArray[np.uint8],
    detector: Detector,
    panel: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    radius: float,
    flag: int = WIDE,
) -> int:
    """Set WIDE, or another flag, within ``radius`` pixels of the given positions; how many of these were clean."""
    return int(_paint(flags, detector.offsets, detector.shapes, panel, fs, ss, float(radius), np.uint8(flag)))


@kernel
def _count_discs(flags, offsets, shapes, panel, fs, ss, inner):
    reach = int(inner)  # CrystFEL's loops run over int(ir_inn)
    for k in range(panel.size):
        p = panel[k]
        if p < 0:
            continue
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        for j in range(max(cs - reach, 0), min(cs + reach, n_ss - 1) + 1):
            row = offsets[p] + j * n_fs
            for i in range(max(cf - reach, 0), min(cf + reach, n_fs - 1) + 1):
                if (i - cf) ** 2 + (j - cs) ** 2 <= inner * inner:
                    flags[row + i] |= TWO if flags[row + i] & ONE else ONE


@kernel
def _paint(flags, offsets, shapes, panel, fs, ss, radius, flag):
    painted, not_clean = 0, np.uint8(NOT_CLEAN)
    for k in range(panel.size):
        p = panel[k]
        if p < 0:
            continue
        n_ss, n_fs = shapes[p]
        for j in range(max(int(ss[k] - radius), 0), min(int(ss[k] + radius), n_ss - 1) + 1):
            dy = j + 0.5 - ss[k]
            if abs(dy) > radius:
                continue
            half = np.sqrt(radius * radius - dy * dy)
            first, last = int(np.ceil(fs[k] - half - 0.5)), int(np.floor(fs[k] + half - 0.5))
            row = offsets[p] + j * n_fs
            line = flags[row + max(first, 0) : row + min(last, n_fs - 1) + 1]
            for i in range(line.size):  # from 0 on, for an index that may be negative takes half as long again
                painted += line[i] & not_clean == 0
                line[i] |= flag
    return painted
