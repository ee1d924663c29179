"""Where the spots of a frame are, and what they look like: its strong spots teach it, within what the run knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import MEASURED, SECOND_LOOK
from waterbg.integrate.places import Places
from waterbg.integrate.positions import AFFINE_FROM, NO_MAP, PositionMap, learn_positions
from waterbg.integrate.psf import DEFAULT, FLOOR, RUN_WEIGHT, Lines, Psf, counting_at, learn_lines, scaled_lines
from waterbg.integrate.robust import MEDIAN_CHI2, median
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.stretch import NO_STRETCH, Stretch, learn_stretch
from waterbg.integrate.strong import (
    Ground,
    is_one_pixel,
    measure,
    measure_strong,
    offsets_of,
    strongest,
    sure,
    widths_of,
)

FAR = 1.0  # px: from here on a second look pays
MOST = 1000  # strong spots that are measured
NARROW_SPOTS = 0.6  # px: spots that are no wider, one way, may come out as one pixel
FEW = 5  # strong spots, fewer than which a frame's widths are the run's
LEAST_SCATTER, MOST_SCATTER = 0.01, 0.5  # of widths, relative

ABOUT_MAP = Scatter(Lines(0.1, 0.0, 0.1, 0.0))  # of places before anything is known
ABOUT_RUN = Scatter(Lines(0.3, 0.0, 0.3, 0.0))


@dataclass(frozen=True)
class Spots:
    """What the strong spots of a run say about all of its frames.

    Attributes
    ----------
    psf : Psf
        Median of the frames.
    map : PositionMap
        Offset from the predictions that all frames share.
    signal_error : float
        Relative error of strong spots, from how the profile fit and the summation of the same spots differ.
    about_map, about_run : Scatter
        Scatter of places about a frame's own map, and about the run's where a frame has none.
    """

    psf: Psf = DEFAULT
    map: PositionMap = NO_MAP
    signal_error: float = 0.03  # where no strong spots tell: what they have on real detectors
    about_map: Scatter = ABOUT_MAP
    about_run: Scatter = ABOUT_RUN


NOTHING_KNOWN = Spots()


@dataclass
class Shapes:
    """What a frame's strong spots say.

    Attributes
    ----------
    psf : Psf
    stretch : Stretch
        Factors on the widths.
    positions : PositionMap
    places : Scatter
        Scatter of places about the map.
    measured : (m,) MEASURED
        Every strong spot.
    which : (m,) int64
        Their rows among the spots.
    farthest : float
        How far from predictions spots were looked for, pixels.
    fallbacks : list of str
    """

    psf: Psf
    stretch: Stretch
    positions: PositionMap
    places: Scatter
    measured: NDArray[np.void]
    which: NDArray[np.int64]
    farthest: float
    fallbacks: list[str] = field(default_factory=list)

    def without(self, rows: NDArray[np.int64]) -> Shapes:
        """The same, but nothing is known of these spots in particular."""
        kept = ~np.isin(self.which, rows)
        return replace(self, measured=self.measured[kept], which=self.which[kept])

    def widths_at(self, inv_d: NDArray[np.float64], places: Places) -> NDArray[np.float64]:
        """(n, 2) radial and tangential width of the frame's spots, pixels."""
        return np.maximum(self.psf.widths.at(inv_d, FLOOR) * self.stretch.at(places), FLOOR)


def learn_shapes(ground: Ground, spots: NDArray[np.void], fits: NDArray[np.void], places: Places, run: Spots) -> Shapes:
    """Measure the strong spots of a frame and learn its position map and widths from them."""
    which, (measured,), farthest = measure_strong(ground, spots, fits, (run.psf.tail,), MOST, run.psf.widths)
    good = _like_the_runs(measured, spots["inv_d"][which], run)
    return _shapes_of(spots["inv_d"], places, run, which[good], measured[good], farthest)


def lead_far(shapes: Shapes, places: Places) -> bool:
    """Whether a tenth of the spots is so far from the predictions that strong ones can lie beyond their discs."""
    far = np.hypot(*shapes.positions.at(places, SECOND_LOOK).T)
    # a list may have reflections that are beside the detector, and nowhere
    return bool(np.count_nonzero(far > FAR) > 0.1 * np.count_nonzero(np.isfinite(far)))


def look_again(
    ground: Ground, spots: NDArray[np.void], fits: NDArray[np.void], places: Places, run: Spots, first: Shapes
) -> Shapes:
    """Measure the spots that the first shapes have made strong, from where these have them, and learn again."""
    inv_d = spots["inv_d"]
    which = strongest(inv_d, fits, "I", "sigma", MOST)
    measured, before = np.zeros(len(which), MEASURED), np.zeros(len(which), MEASURED)
    before["ok"], before["I"] = 1, fits["I"][which]
    before["dx"], before["dy"] = first.positions.at(places[which], SECOND_LOOK).T
    before["radial"], before["tangential"] = first.widths_at(inv_d[which], places[which]).T
    measure(ground, spots, which, np.zeros((0, 2)), run.psf.tail, SECOND_LOOK, before, measured)
    good = sure(measured) & _like_the_runs(measured, inv_d[which], run)
    return _shapes_of(inv_d, places, run, which[good], measured[good], SECOND_LOOK)


def _shapes_of(
    inv_d: NDArray[np.float64],
    places: Places,
    run: Spots,
    which: NDArray[np.int64],
    measured: NDArray[np.void],
    farthest: float,
) -> Shapes:
    strong = places[which]
    found, counting = offsets_of(measured)
    positions = learn_positions(strong, found, counting.mean(axis=1), run.map)
    mapped = len(which) >= AFFINE_FROM
    scatter = run.about_map if mapped else run.about_run
    if len(which):
        left = strong.along_radius(found - positions.at(strong, farthest))
        scatter = scatter.learn(left, counting, inv_d[which], strong, inv_d)
    widths, stretch, of_widths = learn_widths(measured, strong, inv_d[which], run.psf, inv_d)
    fallbacks = []
    if not mapped:
        fallbacks.append("too few strong spots for a position map of the frame")
    if len(which) < FEW:
        fallbacks.append("too few strong spots for spot widths of the frame: the run's are taken")
    psf = replace(run.psf, widths=widths, scatter=of_widths)
    return Shapes(psf, stretch, positions, scatter, measured, which, farthest, fallbacks)


def learn_widths(
    measured: NDArray[np.void],
    places: Places,
    inv_d: NDArray[np.float64],
    run: Psf,
    everywhere: NDArray[np.float64],
) -> tuple[Lines, Stretch, float]:
    """Learn how wide the spots of a frame are: over 1/d, by direction, and what single ones scatter about that.

    Parameters
    ----------
    measured : (n,) MEASURED
        Strong spots.
    places : Places
    inv_d : (n,) float64
    run : Psf
        What to shrink to.
    everywhere : (m,) float64
        1/d of all spots of the frame.
    """
    found, counting = widths_of(measured)
    widths = _learn_lines(found, counting, inv_d, run, everywhere)
    expected = widths.at(inv_d, FLOOR)
    stretch = learn_stretch(places, found / expected, counting_at(expected, found, counting) / expected**2)
    if stretch != NO_STRETCH:
        factor = stretch.at(places)
        widths = _learn_lines(found / factor, counting / factor**2, inv_d, run, everywhere)
        expected = widths.at(inv_d, FLOOR) * factor
    own2 = median(((found / expected - 1) ** 2 / MEDIAN_CHI2 - counting / expected**2).ravel()) if len(inv_d) else 0.0
    scatter2 = (len(inv_d) * max(own2, 0.0) + RUN_WEIGHT * run.scatter**2) / (len(inv_d) + RUN_WEIGHT)
    return widths, stretch, float(np.clip(np.sqrt(scatter2), LEAST_SCATTER, MOST_SCATTER))


def _learn_lines(
    found: NDArray[np.float64],
    counting: NDArray[np.float64],
    inv_d: NDArray[np.float64],
    run: Psf,
    everywhere: NDArray[np.float64],
) -> Lines:
    usual = scaled_lines(found, counting, inv_d, run.widths, run.scatter)
    return learn_lines(found, counting, inv_d, usual, everywhere, run.scatter)


def are_wide(inv_d: NDArray[np.float64], run: Spots) -> NDArray[np.bool_]:
    """Where the run's spots are so wide that none is of one pixel."""
    return run.psf.widths.at(inv_d, FLOOR).min(axis=1) > NARROW_SPOTS


def _like_the_runs(measured: NDArray[np.void], inv_d: NDArray[np.float64], run: Spots) -> NDArray[np.bool_]:
    """Which are not one pixel where the run's spots are wider."""
    return ~(is_one_pixel(measured) & are_wide(inv_d, run))
