"""Where the spots of a frame are, and what they look like: its strong spots teach it, within what the run knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import BackgroundEstimate
from waterbg.background.masks import Pixels
from waterbg.background.rays import Rays
from waterbg.integrate.measure import FARTHEST, MEASURED, measure_spots
from waterbg.integrate.positions import AFFINE_FROM, NO_MAP, Places, PositionMap, learn_positions
from waterbg.integrate.psf import (
    DEFAULT,
    FLOOR,
    NARROW,
    RUN_WEIGHT,
    Lines,
    Psf,
    capture,
    counting_at,
    learn_lines,
    scaled_lines,
)
from waterbg.integrate.robust import MEDIAN_CHI2, median
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.stretch import NO_STRETCH, Stretch, learn_stretch
from waterbg.predict import columns_of, wavenumber
from waterbg.settings import Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

STRONG = 8.0  # I/sigma of spots that teach places and widths
SECOND_LOOK = 4.0  # px from predictions, where a map leads that far: the disc is still in its box
FAR = 1.0  # px: from here on a second look pays
MOST = 1000  # strong spots that are measured
SURE = 0.2  # px: a place that is less sure teaches nothing
ONE_PIXEL = 1.02 * FLOOR  # px: as narrow as can be
NARROW_SPOTS = 0.6  # px: spots that are no wider, one way, may come out as one pixel
FEW = 5  # strong spots, fewer than which a frame's widths are the run's
FIT_MARGIN, MOST_MARGIN = 1.0, 3.0  # px beyond the peak disc: the least and the most that the fit reaches
MOST_ADDED = 1.06  # flux of a spot's core over what the peak disc holds of it
WIDE_REACH = 2.5  # widths that the fit reaches between these
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


def learn_shapes(ground: Ground, spots: NDArray[np.void], fits: NDArray[np.void], places: Places, run: Spots) -> Shapes:
    """Measure the strong spots of a frame and learn its position map and widths from them."""
    which, (measured,) = measure_strong(ground, spots, fits, (run.psf.tail,), MOST, run)
    good = _like_the_runs(measured, spots["inv_d"][which], run)
    return _shapes_of(spots["inv_d"], places, run, which[good], measured[good], FARTHEST)


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
    _measure(ground, spots, which, np.zeros((0, 2)), run.psf.tail, SECOND_LOOK, before, measured)
    good = _sure(measured) & _like_the_runs(measured, inv_d[which], run)
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


def measure_strong(
    ground: Ground,
    spots: NDArray[np.void],
    fits: NDArray[np.void],
    tails: Sequence[float],
    most: int,
    run: Spots = NOTHING_KNOWN,
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Place and widths of a frame's strong spots, measured one by one with each of the tails.

    Each tail goes on where the one before it ended, for these are near each other. The spots are chosen by their
    summation over the peak disc, which needs neither place nor width.

    Returns
    -------
    which : (m,) int64
        Rows of the spots that look like spots with every tail.
    measured : (n_tails, m) MEASURED
    """
    start = run.psf.widths.at(spots["inv_d"], FLOOR)
    which = strongest(spots["inv_d"], fits, "disc", "disc_sigma", most)
    measured = np.zeros((len(tails), len(which)), MEASURED)
    before = measured[0, :0]
    for tail, out in zip(tails, measured, strict=True):
        _measure(ground, spots, which, start, tail, FARTHEST, before, out)
        before = out
    good = _sure(measured).all(axis=0)
    return which[good], measured[:, good]


def _measure(
    ground: Ground,
    spots: NDArray[np.void],
    which: NDArray[np.int64],
    start: NDArray[np.float64],
    tail: float,
    farthest: float,
    before: NDArray[np.void],
    out: NDArray[np.void],
) -> None:
    inner = int(ground.radii[0])
    measure_spots(
        ground.pixels, ground.rays, *columns_of(spots), which, inner, inner + FIT_MARGIN, ground.background.arrays,
        start, tail, farthest, before.view(np.recarray), out.view(np.recarray),
    )  # fmt: skip


def _sure(measured: NDArray[np.void]) -> NDArray[np.bool_]:
    return (measured["ok"] > 0) & (measured["var_u"] + measured["var_v"] < 2 * SURE**2)


def is_one_pixel(measured: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which spots come out as narrow as can be, both ways: hot pixels, where others are not narrow."""
    return (measured["radial"] <= ONE_PIXEL) & (measured["tangential"] <= ONE_PIXEL)


def are_wide(inv_d: NDArray[np.float64], run: Spots) -> NDArray[np.bool_]:
    """Where the run's spots are so wide that none is of one pixel."""
    return run.psf.widths.at(inv_d, FLOOR).min(axis=1) > NARROW_SPOTS


def _like_the_runs(measured: NDArray[np.void], inv_d: NDArray[np.float64], run: Spots) -> NDArray[np.bool_]:
    """Which are not one pixel where the run's spots are wider."""
    return ~(is_one_pixel(measured) & are_wide(inv_d, run))


def strongest(
    inv_d: NDArray[np.float64], fits: NDArray[np.void], name: str, error: str, most: int
) -> NDArray[np.int64]:
    """Rows of unsaturated spots with ``name`` over ``error`` above STRONG; beyond ``most`` the strongest from each
    of ten groups by resolution.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = np.where((fits["status"] == 0) & (fits["saturated"] == 0), fits[name] / fits[error], 0)
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


def lab_places(frame: Frame, rays: Rays, spots: NDArray[np.void]) -> Places:
    """Laboratory positions of spots in pixels, and which way they may lean from there."""
    ray = rays.panel[spots["panel"]]
    position = ray[:, :3] + spots["fs"][:, None] * ray[:, 3:6] + spots["ss"][:, None] * ray[:, 6:]
    return Places.of(spots["panel"], position, spots["excitation"], wavenumber(frame.photon_energy_eV))


def scene_places(frame: Frame, scene: Scene, rays: Rays, targets: NDArray[np.void]) -> Places:
    """Places of targets that begin with the scene's spots; what follows may lean as the first crystal does."""
    crystal = np.zeros(len(targets), np.int32)
    crystal[: len(scene.spots)] = scene.crystal
    return lab_places(frame, rays, targets).by_crystal(crystal)


def to_panel(offset: NDArray[np.float64], rays: Rays, spots: NDArray[np.void]) -> NDArray[np.float64]:
    """(n, 2) offset along fs and ss of an offset in x and y; 0 on a panel that is seen edge-on."""
    ray = rays.panel[spots["panel"]]
    determinant = ray[:, 3] * ray[:, 7] - ray[:, 4] * ray[:, 6]
    determinant = np.where(np.abs(determinant) < 1e-6, np.inf, determinant)
    fs = (offset[:, 0] * ray[:, 7] - offset[:, 1] * ray[:, 6]) / determinant
    ss = (offset[:, 1] * ray[:, 3] - offset[:, 0] * ray[:, 4]) / determinant
    return np.stack([fs, ss], axis=1)


@dataclass(frozen=True)
class Expected:
    """Where each spot is expected, how wide, and how sure that is.

    Attributes
    ----------
    shift : (n, 2) float64
        Offset from the prediction along fs and ss, pixels.
    widths : (n, 2) float64
        Along and across the radius, pixels.
    blur : (n, 2) float64
        Variance of the place along and across the radius, pixels².
    doubt : (n, 2) float64
        Relative standard deviation of the widths.
    mean : (n, 2) float64
        The frame's widths there, whatever the spot itself says.
    """

    shift: NDArray[np.float64]
    widths: NDArray[np.float64]
    blur: NDArray[np.float64]
    doubt: NDArray[np.float64]
    mean: NDArray[np.float64]


def spot_shapes(shapes: Shapes, rays: Rays, spots: NDArray[np.void], places: Places) -> Expected:
    """Say of each spot what is expected, for the profile it is fitted with.

    All follow the frame's map and widths, blurred by what strong spots scatter about the map. A strong spot's own
    place and widths count by their precision against that scatter.
    """
    offset = shapes.positions.at(places, shapes.farthest)
    mean = shapes.widths_at(spots["inv_d"], places)
    widths = mean.copy()
    blur = shapes.places.variance(spots["inv_d"], places, 0.02)
    doubt = np.full_like(widths, shapes.psf.scatter)
    own, which = shapes.measured, shapes.which
    if len(which):
        found, counting = widths_of(own)
        scatter = (shapes.psf.scatter * widths[which]) ** 2
        like = ((found - widths[which]) > -NARROW * np.sqrt(scatter + counting)).all(axis=1)
        own, which = own[like], which[like]
        found, counting = offsets_of(own)
        trust = blur[which] / (blur[which] + counting)
        moved = trust * places[which].along_radius(found - offset[which])
        offset[which] += places[which].off_radius(moved)
        blur[which] *= 1 - trust
        found, counting = widths_of(own)
        own_doubt2 = counting_at(widths[which], found, counting) / widths[which] ** 2
        trust = doubt[which] ** 2 / (doubt[which] ** 2 + own_doubt2)
        widths[which] += trust * (found - widths[which])
        doubt[which] *= np.sqrt(1 - trust)
    return Expected(to_panel(offset, rays, spots), widths, blur, doubt, mean)


def fit_reach(expected: Expected, inner: int) -> NDArray[np.float64]:
    """(n,) radius of the fit in pixels: a little more than the peak disc, and more for wide spots."""
    widest = np.sqrt((expected.widths**2 + expected.blur).max(axis=1))
    return np.clip(WIDE_REACH * widest, inner + FIT_MARGIN, inner + MOST_MARGIN)


def kept_shares(
    shapes: Shapes, inv_d: NDArray[np.float64], expected: Expected, inner: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(n,) what the disc holds of the core of the frame's mean spot; what a fitted flux, and the sum over a disc,
    are to be multiplied with for a spot's intensity.

    The profile may add a sixteenth to what the disc holds of a spot's core: how much of a wide arc lies farther out
    is a guess, and only a smooth function of the spot's place. A strong spot's own width says how its counts are to be
    weighted, but is no measurement of what lies outside the disc: there it is taken to have what the frame's mean
    spot has.
    """
    mean, blur, tail = expected.mean, expected.blur, shapes.psf.tail
    core = capture(mean, shapes.places.lines.at(inv_d) ** 2, 0.0, inner)
    counted = np.minimum(MOST_ADDED * core, 1)
    in_disc = capture(mean, blur, tail, inner)
    fitted, own = counted.copy(), shapes.which
    if len(own):  # all others have the frame's widths
        fitted[own] *= capture(expected.widths[own], blur[own], tail, inner) / in_disc[own]
    return core, fitted, counted / in_disc


def shape_error(
    widths: NDArray[np.float64], blur: NDArray[np.float64], doubt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relative error of a fitted intensity because the spot's place and widths are not quite known.

    For a Gaussian spot on a level background, from the overlap of the profile and spots that scatter about it. What a
    strong spot itself adds to the variance of its pixels levels their weights, until the fit is a sum, which is right
    for any shape: the error is to be multiplied with the background's share in the variance.

    Parameters
    ----------
    widths, blur : (n, 2) float64
        Gaussian sigma, and variance of the place, along and across the radius; pixels, pixels².
    doubt : (n, 2) float64
        Relative standard deviation of the widths.

    Returns
    -------
    (n,) float64

    Notes
    -----
    Along one axis a spot of width w at s gives I a factor R(s) = sqrt((a + b²)/a) exp(-s²/2a), a = 2 w² + b², when it
    is fitted with the profile blurred by b. For s of variance b² the mean of R is 1, that of R² (a + b²) / sqrt(a (a +
    2 b²)). The logarithm of I falls with that of either width by a half.
    """
    a = 2 * widths**2 + blur
    place = ((a + blur) / np.sqrt(a * (a + 2 * blur))).prod(axis=1) - 1
    return np.sqrt(place + 0.25 * (doubt**2).sum(axis=1))
