"""The strong spots of a frame: which they are, and where and how wide each comes out when it is measured alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import BackgroundEstimate
from waterbg.background.masks import Pixels
from waterbg.background.rays import Rays
from waterbg.integrate.measure import FARTHEST, MEASURED, SECOND_LOOK, measure_spots
from waterbg.integrate.psf import DEFAULT, FLOOR, Lines
from waterbg.predict import columns_of
from waterbg.settings import Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame

STRONG = 8.0  # I/sigma of spots that teach places and widths
SURE = 0.2  # px: a place that is less sure teaches nothing
MANY, HARDLY_ANY = 20, 0.1  # strong spots; share of them that are where they may be, or the geometry is further off
ONE_PIXEL = 1.02 * FLOOR  # px: as narrow as can be
FIT_MARGIN = 1.0  # px beyond the peak disc that a fit reaches at least


@dataclass(frozen=True)
class Ground:
    """What the spots of a frame stand on.

    Attributes
    ----------
    frame : Frame
    radii : 3 floats
        Peak disc, inner and outer radius of the ring, pixels.
    rays : Rays
    background : BackgroundEstimate
        Its first rows are those of the spots in question.
    """

    frame: Frame
    radii: Radii
    rays: Rays
    background: BackgroundEstimate

    @property
    def pixels(self) -> Pixels:
        """For kernels."""
        return Pixels.of(self.frame, self.background.flags)


def measure_strong(
    ground: Ground,
    spots: NDArray[np.void],
    fits: NDArray[np.void],
    tails: Sequence[float],
    most: int,
    widths: Lines = DEFAULT.widths,
) -> tuple[NDArray[np.int64], NDArray[np.void], float]:
    """Place and widths of a frame's strong spots, measured one by one with each of the tails.

    Each tail goes on where the one before it ended, for these are near each other. The spots are chosen by their
    summation over the peak disc, which needs neither place nor width; ``widths`` are where the first tail begins.

    Returns
    -------
    which : (m,) int64
        Rows of the spots that look like spots with every tail.
    measured : (n_tails, m) MEASURED
    farthest : float
        How far from predictions they were looked for, pixels: farther where hardly any of many is near its own.
    """
    start = widths.at(spots["inv_d"], FLOOR)
    which = strongest(spots["inv_d"], fits, "disc", "disc_sigma", most)
    measured = np.zeros((len(tails), len(which)), MEASURED)
    for farthest in (FARTHEST, SECOND_LOOK):
        before = measured[0, :0]
        for tail, out in zip(tails, measured, strict=True):
            measure(ground, spots, which, start, tail, farthest, before, out)
            before = out
        good = sure(measured).all(axis=0)
        if len(which) < MANY or good.mean() > HARDLY_ANY:
            break
    return which[good], measured[:, good], farthest


def measure(
    ground: Ground,
    spots: NDArray[np.void],
    which: NDArray[np.int64],
    start: NDArray[np.float64],
    tail: float,
    farthest: float,
    before: NDArray[np.void],
    out: NDArray[np.void],
) -> None:
    """Run `measure_spots` for rows ``which`` of the spots; its answers go to ``out``."""
    inner = int(ground.radii[0])
    measure_spots(
        ground.pixels, ground.rays, *columns_of(spots), which, inner, inner + FIT_MARGIN, ground.background.arrays,
        start, tail, farthest, before.view(np.recarray), out.view(np.recarray),
    )  # fmt: skip


def sure(measured: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which could be measured, and their place to within SURE."""
    return (measured["ok"] > 0) & (measured["var_u"] + measured["var_v"] < 2 * SURE**2)


def is_one_pixel(measured: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which spots come out as narrow as can be, both ways: hot pixels, where others are not narrow."""
    return (measured["radial"] <= ONE_PIXEL) & (measured["tangential"] <= ONE_PIXEL)


def are_whole(fits: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which spots were accepted with every pixel of their peak, none saturated: what these sum to is all there is."""
    return (fits["status"] == 0) & (fits["saturated"] == 0) & (fits["marred"] == 0)


def strongest(
    inv_d: NDArray[np.float64], fits: NDArray[np.void], name: str, error: str, most: int
) -> NDArray[np.int64]:
    """Rows of whole spots that have ``name`` over ``error`` above STRONG; beyond ``most`` the
    strongest from each of ten groups by resolution.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = np.where(are_whole(fits), fits[name] / fits[error], 0)
    rows = np.flatnonzero(signal > STRONG)
    if len(rows) <= most:
        return rows
    rows = rows[np.argsort(inv_d[rows], kind="stable")]
    groups = np.array_split(rows, 10)
    return np.sort(np.concatenate([g[np.argsort(-signal[g], kind="stable")[: most // 10]] for g in groups]))


def offsets_of(measured: NDArray[np.void]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) offset in x and y, and its variance from counting along and across the radius; pixels."""
    found = np.stack([measured["dx"], measured["dy"]], axis=1)
    return found, np.stack([measured["var_u"], measured["var_v"]], axis=1)


def widths_of(measured: NDArray[np.void]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 2) radial and tangential width, and its variance from counting; pixels."""
    found = np.stack([measured["radial"], measured["tangential"]], axis=1)
    return found, np.stack([measured["var_radial"], measured["var_tangential"]], axis=1)
