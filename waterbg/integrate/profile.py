"""Profile fit of all spots of a frame: what a frame's strong spots teach about places and shapes, then the fit of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import BackgroundEstimate, Radii, count_constant
from waterbg.background.masks import spot_mask
from waterbg.background.rays import Rays
from waterbg.integrate.fit import FIT, accept_spots, fit_spots
from waterbg.integrate.measure import MEASURED, measure_spots
from waterbg.integrate.positions import PositionMap, learn_positions
from waterbg.integrate.psf import DEFAULT, FLOOR, Psf, learn_psf, profiles
from waterbg.integrate.result import INTEGRATED, Status

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

STRONG, STRONG_PLACE = 12.0, 15.0  # I/sigma of spots that teach widths, places
MOST = 200  # strong spots that are measured
FIT_MARGIN = 1.0  # px beyond the peak disc
SIGNAL_ERROR = 0.03  # relative error of strong spots, not to be learnt from repeats, which show partiality


@dataclass
class Shapes:
    """What a frame's strong spots say.

    Attributes
    ----------
    psf : Psf
    positions : PositionMap
    measured : (m,) MEASURED
        Every strong spot.
    which : (m,) int64
        Their rows among the spots.
    fallbacks : list of str
    """

    psf: Psf
    positions: PositionMap
    measured: NDArray[np.void]
    which: NDArray[np.int64]
    fallbacks: list[str] = field(default_factory=list)


def integrate_profile(
    frame: Frame,
    scene: Scene,
    radii: Radii,
    background: BackgroundEstimate,
    rays: Rays,
    *,
    targets: NDArray[np.void] | None = None,
    run_psf: Psf = DEFAULT,
    sigma_scale: float = 1.0,
    summation: bool = False,
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
    run_psf : Psf
        The run's median widths.
    sigma_scale : float
        What decoys say sigma must be multiplied with.
    summation : bool
        Give the sum over the peak disc instead of the fit.

    Returns
    -------
    result : (n,) INTEGRATED
        ADU, aligned with the targets.
    fits : (n,) FIT
        Photons: fit and summation of every spot.
    shapes : Shapes
    """
    spots = scene.spots if targets is None else targets
    flags = spot_mask(frame.bad, frame.detector, *_places(scene.spots), radii[0])
    fits = accepted(frame, spots, flags, radii)
    shapes = learn_shapes(frame, spots, len(scene.spots), flags, fits, radii, background, rays, run_psf)
    shift, blur = places(shapes, rays, spots)
    fit_all(frame, spots, flags, fits, radii, background, rays, shapes.psf, shift, blur)
    return as_integrated(frame, spots, fits, sigma_scale, summation), fits, shapes


def accepted(frame: Frame, spots: NDArray[np.void], flags: NDArray[np.uint8], radii: Radii) -> NDArray[np.void]:
    """(n,) FIT with CrystFEL's acceptance, highest pixel and saturation filled in."""
    fits = np.zeros(len(spots), FIT).view(np.recarray)
    has_map = frame.saturation is not None
    accept_spots(
        frame.data, flags, frame.saturation if has_map else np.zeros(0, np.float32), has_map,
        np.ascontiguousarray(frame.max_adu, np.float64), frame.detector.offsets, frame.detector.shapes, *_places(spots),
        tuple(int(radius) for radius in radii), fits,
    )  # fmt: skip
    return fits


def fit_all(
    frame: Frame,
    spots: NDArray[np.void],
    flags: NDArray[np.uint8],
    fits: NDArray[np.void],
    radii: Radii,
    background: BackgroundEstimate,
    rays: Rays,
    psf: Psf,
    shift: NDArray[np.float64],
    blur: NDArray[np.float64],
) -> None:
    """Fit the accepted spots; fills ``fits``."""
    shape = profiles(psf, rays, *_places(spots), np.ascontiguousarray(spots["inv_d"]), shift, blur, background.half)
    inner = int(radii[0])
    fit_spots(
        frame.data, count_constant(frame), flags, frame.detector.offsets, frame.detector.shapes, *_places(spots), inner,
        inner + FIT_MARGIN, shift, background.expected, background.scale_variance, background.factor,
        background.noise.gain, background.noise.read2, shape, fits,
    )  # fmt: skip


def learn_shapes(
    frame: Frame,
    spots: NDArray[np.void],
    n_teachers: int,
    flags: NDArray[np.uint8],
    fits: NDArray[np.void],
    radii: Radii,
    background: BackgroundEstimate,
    rays: Rays,
    run_psf: Psf,
) -> Shapes:
    """Measure the strong spots of a frame and learn its position map and widths from them.

    Spots are chosen by their summation over the peak disc, which needs neither place nor width.
    """
    fit_all(frame, spots, flags, fits, radii, background, rays, run_psf, np.zeros((len(spots), 2)), np.zeros(len(spots)))
    which = strong_spots(spots[:n_teachers], fits[:n_teachers])
    measured = measure(frame, spots, flags, which, radii, background, rays, run_psf)
    good = (measured["ok"] > 0) & (measured["var_position"] < 0.2**2)
    which, measured = which[good], measured[good]
    x, y = lab_positions(rays, spots[which])
    sure = measured["var_position"] < 0.12**2
    positions = learn_positions(
        x[sure], y[sure], np.stack([measured["dx"], measured["dy"]], axis=1)[sure], measured["var_position"][sure]
    )
    fallbacks = (
        []
        if len(positions.coefficients)
        else ["too few strong spots for a position map: predictions taken as they are"]
    )
    # a width at the floor is a spot of one pixel, a hot one as a rule
    spot_like = (measured["radial"] > FLOOR) & (measured["tangential"] > FLOOR)
    m = measured[spot_like]
    psf = learn_psf(
        m["radial"], m["tangential"], m["var_radial"], m["var_tangential"], spots["inv_d"][which[spot_like]], run_psf,
        all_inv_d=spots["inv_d"],
    )  # fmt: skip
    return Shapes(psf, positions, m, which[spot_like], fallbacks)


def measure(
    frame: Frame,
    spots: NDArray[np.void],
    flags: NDArray[np.uint8],
    which: NDArray[np.int64],
    radii: Radii,
    background: BackgroundEstimate,
    rays: Rays,
    psf: Psf,
) -> NDArray[np.void]:
    """(len(which),) MEASURED: place and widths of single spots; ``psf`` says where to start, and its tail is taken."""
    measured = np.zeros(len(which), MEASURED).view(np.recarray)
    measure_spots(
        frame.data, count_constant(frame), flags, frame.detector.offsets, frame.detector.shapes, rays.panel,
        *_places(spots), which, int(radii[0]), int(radii[0]) + FIT_MARGIN, background.expected, background.factor,
        background.noise.gain, background.noise.read2, psf.widths(spots["inv_d"]), psf.tail, measured,
    )  # fmt: skip
    return measured


def strong_spots(spots: NDArray[np.void], fits: NDArray[np.void]) -> NDArray[np.int64]:
    """Rows of unsaturated strong spots, at most MOST: the strongest from each of ten groups by resolution."""
    with np.errstate(divide="ignore", invalid="ignore"):
        signal = np.where(fits["status"] == 0, fits["sum"] / fits["sum_sigma"], 0)
    rows = np.flatnonzero((signal > STRONG) & (fits["saturated"] == 0))
    if len(rows) <= MOST:
        return rows
    rows = rows[np.argsort(spots["inv_d"][rows], kind="stable")]
    groups = np.array_split(rows, 10)
    return np.sort(np.concatenate([g[np.argsort(-signal[g], kind="stable")[: MOST // 10]] for g in groups]))


def lab_positions(rays: Rays, spots: NDArray[np.void]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Laboratory x and y of spots in pixels."""
    ray = rays.panel[spots["panel"]]
    x = ray[:, 0] + spots["fs"] * ray[:, 3] + spots["ss"] * ray[:, 6]
    y = ray[:, 1] + spots["fs"] * ray[:, 4] + spots["ss"] * ray[:, 7]
    return x, y


def places(
    shapes: Shapes, rays: Rays, spots: NDArray[np.void]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each spot is expected, and how surely.

    All follow the position map, and their profiles are blurred by what strong spots scatter about it. A strong spot's own
    place counts by its precision against that scatter.

    Returns
    -------
    shift : (n, 2) float64
        Offset from the prediction along fs and ss, pixels.
    blur : (n,) float64
        Variance of the place along one axis, pixels².
    """
    offset = shapes.positions.at(*lab_positions(rays, spots))
    scatter = shapes.positions.rms**2
    blur = np.full(len(spots), scatter)
    own, which = shapes.measured, shapes.which
    if scatter > 0 and len(which):
        trust = scatter / (scatter + own["var_position"])
        found = np.stack([own["dx"], own["dy"]], axis=1)
        offset[which] += trust[:, None] * (found - offset[which])
        blur[which] = scatter * (1 - trust)
    ray = rays.panel[spots["panel"]]
    determinant = ray[:, 3] * ray[:, 7] - ray[:, 4] * ray[:, 6]
    fs = (offset[:, 0] * ray[:, 7] - offset[:, 1] * ray[:, 6]) / determinant
    ss = (offset[:, 1] * ray[:, 3] - offset[:, 0] * ray[:, 4]) / determinant
    return np.stack([fs, ss], axis=1), blur


def as_integrated(
    frame: Frame, spots: NDArray[np.void], fits: NDArray[np.void], sigma_scale: float, summation: bool
) -> NDArray[np.void]:
    """Turn fits in photons into numbers as the stream has them, with all terms of sigma, drop as CrystFEL does."""
    result = np.zeros(len(spots), INTEGRATED)
    adu = np.asarray(frame.adu_per_photon, float)[np.maximum(spots["panel"], 0)]
    intensity = fits["sum"] if summation else fits["I"]
    counting = fits["sum_sigma"] if summation else fits["sigma"]
    sigma = sigma_scale * np.hypot(counting, SIGNAL_ERROR * np.maximum(intensity, 0))
    result["I"], result["sigma"] = intensity * adu, sigma * adu
    result["peak"], result["background"] = fits["peak"], fits["background"] * adu
    status = fits["status"].copy()
    status[(status == 0) & (fits["saturated"] > 0)] = Status.SATURATED
    status[(status == 0) & ~(np.isfinite(intensity) & (sigma > 0))] = Status.BACKGROUND
    status[(status == 0) & (intensity < -5 * sigma)] = Status.IMPLAUSIBLE
    result["status"] = status
    return result


def _places(spots: NDArray[np.void]) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    return tuple(np.ascontiguousarray(spots[name]) for name in ("panel", "fs", "ss"))  # type: ignore[return-value]
