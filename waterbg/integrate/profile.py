"""Profile fit of all spots of a frame: its strong spots teach places and shapes, then all are fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import BackgroundEstimate
from waterbg.background.masks import stencil
from waterbg.background.rays import Rays
from waterbg.integrate.expected import Expected, fit_reach, kept_shares, shape_error, spot_shapes
from waterbg.integrate.fit import FIT, Profiles, fit_spots, sum_spots
from waterbg.integrate.overlaps import are_countless, find_neighbours, refit_neighbours
from waterbg.integrate.places import Places, scene_places
from waterbg.integrate.result import INTEGRATED, Status
from waterbg.integrate.shapes import NOTHING_KNOWN, Shapes, Spots, are_wide, lead_far, learn_shapes, look_again
from waterbg.integrate.strong import Ground
from waterbg.predict import columns_of
from waterbg.settings import Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

LEAST_SIGMA = 1.0  # photons, as of CrystFEL: where nothing is counted, one photon might have been
# of the squares of its profile: a spot of which neighbours (and bad pixels) leave less is five times as uncertain as if
# it stood alone, and would spoil what is merged without weights
VISIBLE = 0.04
# and that bad pixels leave: where spots stray by half a pixel, errors of less are up to half as large again as sigma
HALF = 0.5
MEETING = 1.0  # px beyond two peak discs: spots that are no farther apart are neighbours
MEAN_LISTED = 0.67  # mean partiality of reflections within 1.7 profile radii of the Ewald sphere, where CrystFEL lists
# of the usual intensity that is expected of an unlisted reflection at least: mosaic blocks' tails are not Gaussian
LEAST_UNLISTED = 0.1
SEEN = 4.0  # I/sigma of an unlisted reflection that is there
OUTSHINES = 0.2  # of a reflection's intensity: so much beside it makes its measured place and widths those of both
USUAL = 100  # reflections of about the same resolution whose mean says how strong one of them may be


def integrate_profile(
    frame: Frame,
    scene: Scene,
    radii: Radii,
    background: BackgroundEstimate,
    rays: Rays,
    *,
    targets: NDArray[np.void] | None = None,
    unlisted: int = 0,
    run: Spots = NOTHING_KNOWN,
    sigma_scale: float = 1.0,
    summation: bool = False,
    joint: bool = False,
) -> tuple[NDArray[np.void], NDArray[np.void], Shapes]:
    """Integrate all spots of a scene by a weighted profile fit.

    Parameters
    ----------
    frame : Frame
    scene : Scene
    radii : 3 floats
        Peak disc, inner and outer radius of the ring, pixels; cut to whole pixels as CrystFEL does.
    background : BackgroundEstimate
        For the same targets.
    rays : Rays
    targets : (m,) SPOT, optional
        What to integrate; default: ``scene.spots``. If given it begins with these: they teach places and shapes.
    unlisted : int
        How many of the targets, the last ones, are `near_spots`, whose light is to be taken off their neighbours.
    run : Spots
        What is known from the run.
    sigma_scale : float
        What decoys say sigma must be multiplied with.
    summation : bool
        Give the sum over a disc about each spot's own place, completed by its profile, instead of the fit.
    joint : bool
        Fit neighbours together instead of leaving their shared pixels out.

    Returns
    -------
    result : (n,) INTEGRATED
        ADU, aligned with the targets.
    fits : (n,) FIT
        Photons: fit and summation of every spot.
    shapes : Shapes
    """
    spots = scene.spots if targets is None else targets
    ground = Ground(frame, radii, rays, background)
    listed = np.zeros(len(spots), bool)
    listed[: len(scene.spots)] = scene.printed >= 0
    fits = sum_all(ground, spots, are_wide(spots["inv_d"], run), listed)
    places = scene_places(frame, scene, rays, spots)
    inner, own = int(radii[0]), slice(len(scene.spots))
    shapes = learn_shapes(ground, spots[own], fits[own], places[own], run)
    usual = usual_intensity(scene, spots, fits, unlisted)
    is_unlisted = np.arange(len(spots)) >= len(spots) - unlisted
    if lead_far(shapes, places[own]):
        first = fits[own].copy()
        _fit_all(ground, spots[own], places[own], shapes, usual[own], first)
        shapes = look_again(ground, spots[own], first, places[own], run, shapes)
    if unlisted:
        shapes = shapes.without(_outshone(spots, fits, len(scene.spots), unlisted, inner))
    expected = _fit_all(ground, spots, places, shapes, usual, fits)
    shift = expected.shift
    start, others = find_neighbours(
        np.ascontiguousarray(spots["panel"]),
        spots["fs"] + shift[:, 0],
        spots["ss"] + shift[:, 1],
        (fits["status"] == 0) & (is_unlisted | (np.arange(len(spots)) < len(scene.spots))),
        2 * inner + MEETING,
    )
    hidden = (fits["status"] == 0) & (is_unlisted | (fits["visible"] < (0 if joint else VISIBLE)))
    fits["I"][is_unlisted] = 0  # of two that lie on each other, the listed one is where the light is
    if len(others):
        profiles = _profiles(expected, shapes, inner)
        refit_neighbours(
            ground.pixels, rays, *columns_of(spots), inner, profiles, background.arrays, usual,
            start, others, hidden, joint, fits.view(np.recarray),
        )  # fmt: skip
    fits["status"][hidden] = Status.FEW_PIXELS  # only now: they had to be taken off their neighbours
    fits["status"][(fits["status"] == 0) & (fits["marred"] > 0) & (fits["sound"] < HALF)] = Status.BAD_PIXEL
    error = np.full(len(spots), run.signal_error)
    if not summation:  # a sum knows no shape
        error = np.hypot(error, fits["flat"] * shape_error(expected.widths, expected.blur, expected.doubt))
    fits["held"], share, summed = kept_shares(shapes, spots["inv_d"], expected, inner)
    for name in ("I", "sigma", "sigma_zero", "area"):
        fits[name] *= share
    for name in ("sum", "sum_sigma", "sum_zero"):
        fits[name] *= summed
    result = as_integrated(frame, spots, fits, sigma_scale, error, LEAST_SIGMA * background.noise.light, summation)
    return result, fits, shapes


def _fit_all(
    ground: Ground,
    spots: NDArray[np.void],
    places: Places,
    shapes: Shapes,
    usual: NDArray[np.float64],
    fits: NDArray[np.void],
) -> Expected:
    """Fit every accepted spot by itself, into ``fits``."""
    expected, inner = spot_shapes(shapes, ground.rays, spots, places), int(ground.radii[0])
    profiles = _profiles(expected, shapes, inner)
    fit_spots(
        ground.pixels, ground.rays, *columns_of(spots), inner, profiles, ground.background.arrays, usual,
        fits.view(np.recarray),
    )  # fmt: skip
    return expected


def _profiles(expected: Expected, shapes: Shapes, inner: int) -> Profiles:
    """For kernels."""
    reach = fit_reach(expected, inner)
    return Profiles(reach, expected.shift, expected.widths, expected.blur, float(shapes.psf.tail))


def near_spots(frame: Frame, scene: Scene, inner: int) -> NDArray[np.void]:
    """Spots that are in no list, but may be in the image, beside the scene's: (m,) SPOT, none where they are countless.

    Parameters
    ----------
    frame : Frame
    scene : Scene
    inner : int
        Radius of the peak disc, pixels.
    """
    n, every, reach = len(scene.spots), np.concatenate([scene.spots, scene.near]), 2 * inner + MEETING
    if are_countless(len(every), reach, frame.detector.n_pixels):
        return every[:0]
    start, others = find_neighbours(*columns_of(every), every["panel"] >= 0, reach)
    beside = np.repeat(np.arange(len(every)), np.diff(start))[others < n]
    return every[np.unique(beside[beside >= n])]


def _outshone(
    spots: NDArray[np.void], fits: NDArray[np.void], listed: int, unlisted: int, inner: int
) -> NDArray[np.int64]:
    """Rows of spots in whose light an unlisted one has its share: what is measured of them alone is of both."""
    rows = np.arange(len(spots))
    near = rows >= len(spots) - unlisted
    start, others = find_neighbours(*columns_of(spots), near | (rows < listed), 2 * inner + MEETING)
    first = np.repeat(rows, np.diff(start))
    first, others = first[near[others]], others[near[others]]
    bright = (fits["disc"][others] > SEEN * fits["disc_sigma"][others]) & (
        fits["disc"][others] > OUTSHINES * fits["disc"][first]
    )
    return np.unique(first[bright])


def usual_intensity(
    scene: Scene, spots: NDArray[np.void], fits: NDArray[np.void], unlisted: int = 0
) -> NDArray[np.float64]:
    """How strong a reflection of a frame usually is at its resolution, before it is measured.

    Parameters
    ----------
    scene : Scene
    spots : (n,) SPOT
        Beyond the scene's spots they are decoys, which have no intensity, then unlisted reflections, which have as much
        less as they are farther from the Ewald sphere.
    fits : (n,) FIT
        Of which the sums are taken.
    unlisted : int
        How many these are.

    Returns
    -------
    (n,) float64
        Mean summation, photons, of the 100 listed reflections nearest in 1/d; 0 for decoys, and where nothing is known.
    """
    n, inv_d = len(scene.spots), spots["inv_d"]
    usual = np.zeros(len(inv_d))
    listed = np.flatnonzero(
        (scene.printed >= 0) & (fits["status"][:n] == 0) & (fits["marred"][:n] == 0) & np.isfinite(fits["disc"][:n])
    )
    if not len(listed):
        return usual
    listed = listed[np.argsort(inv_d[listed], kind="stable")]
    total = np.concatenate([[0.0], np.cumsum(fits["disc"][listed])])
    width = min(USUAL, len(listed))
    first = np.clip(np.searchsorted(inv_d[listed], inv_d) - width // 2, 0, len(listed) - width)
    usual = (total[first + width] - total[first]) / width
    last = len(spots) - unlisted
    usual[n:last] = 0
    if unlisted:
        partiality = np.exp(-0.5 * spots["reduced"][last:] ** 2)
        usual[last:] *= np.maximum(partiality / MEAN_LISTED, LEAST_UNLISTED)
    return usual


def sum_all(
    ground: Ground, spots: NDArray[np.void], wide: NDArray[np.bool_], listed: NDArray[np.bool_]
) -> NDArray[np.void]:
    """(n,) FIT with CrystFEL's acceptance and the sums over the peak discs; ``wide``, ``listed``: see `sum_spots`."""
    frame, radii = ground.frame, ground.radii
    fits = np.zeros(len(spots), FIT)
    has_map = frame.saturation is not None
    sum_spots(
        ground.pixels, frame.saturation if has_map else np.zeros(0, np.float32), has_map,
        np.ascontiguousarray(frame.max_adu, np.float64), *columns_of(spots), int(radii[2]), *stencil(radii),
        ground.background.arrays, wide, listed, fits.view(np.recarray),
    )  # fmt: skip
    return fits


def as_integrated(
    frame: Frame,
    spots: NDArray[np.void],
    fits: NDArray[np.void],
    sigma_scale: float,
    signal_error: NDArray[np.float64],
    least: float,
    summation: bool,
) -> NDArray[np.void]:
    """Turn fits in photons into numbers as the stream has them, with all terms of sigma, drop as CrystFEL does."""
    result = np.zeros(len(spots), INTEGRATED)
    adu = np.asarray(frame.adu_per_photon, float)[np.maximum(spots["panel"], 0)]
    intensity = fits["sum"] if summation else fits["I"]
    counting = fits["sum_sigma"] if summation else fits["sigma"]
    sigma = sigma_scale * np.hypot(np.maximum(counting, least), signal_error * np.maximum(intensity, 0))
    result["I"], result["sigma"] = intensity * adu, sigma * adu
    result["peak"], result["background"] = fits["peak"], fits["background"] * adu
    status = fits["status"].copy()
    status[(status == 0) & (fits["saturated"] > 0)] = Status.SATURATED
    status[(status == 0) & ~(np.isfinite(intensity) & (sigma > 0))] = Status.BACKGROUND
    status[(status == 0) & (intensity < -5 * sigma)] = Status.IMPLAUSIBLE
    result["status"] = status
    return result
