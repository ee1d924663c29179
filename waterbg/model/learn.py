"""Learning a run's model from a sample of its frames.

The first walk finds the detector's noise, how far surfaces can be trusted, and the shapes of spots; the second
(`waterbg.model.calibrate`), with all of that, what decoys say about sigma. Both end when they know enough, so that a
short run is not mostly learning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from waterbg.background import Noise, Trust, frame_rays
from waterbg.background.estimators import flag_pixels, water_estimate
from waterbg.background.faulty import Faults, deviations, text_of
from waterbg.background.noise import learn_noise, lowest_level, noise_groups, starting_noise
from waterbg.background.photons import Photons, learn_photons, panel_groups
from waterbg.background.surface import Surface, fit_surface
from waterbg.integrate import profile, shapes, strong
from waterbg.integrate.overlaps import are_countless, find_neighbours
from waterbg.integrate.places import Places, lab_places
from waterbg.integrate.psf import FLOOR, Psf, learn_lines
from waterbg.integrate.robust import robust_std, spread_beyond
from waterbg.model.calibrate import ENOUGH_DECOYS, FEWEST_DECOYS, calibrate
from waterbg.model.decoys import equal_edges, half_index_decoys
from waterbg.model.places import Teachers, scatter_of_places, shared_map
from waterbg.model.run_model import RunModel
from waterbg.predict import columns_of

if TYPE_CHECKING:
    from waterbg.background.rays import Rays
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.settings import Settings

Result = TypeVar("Result")

SAMPLE_FRAMES = 24
"""Frames a model is learnt from, at most."""

ENOUGH_FRAMES, ENOUGH_SPOTS = 6, 400
TAILS = (0.0, 0.03, 0.06, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3, 0.35, 0.4)
FAINT = 0.1  # share of the frames that may have lower levels than a pedestal makes room for
TEACHERS = 200  # strong spots a frame that are looked at
FEWEST_FOR_TAIL = 40  # strong spots, fewer of which say nothing about a tail
NO_TAIL = 9.0  # deviance that a tail may save by chance
STRANGE = 10.0  # robust standard deviations of what a tail saves in a spot
SURPRISE = 1.5  # ratio of variances, found over assumed


def one_by_one(sample: Iterable[tuple[Frame, Scene]], work: Callable[..., Result], *args: object) -> Iterator[Result]:
    """Yield ``work(frame, scene, *args)`` for each frame of a sample, when it is asked for."""
    for frame, scene in sample:
        yield work(frame, scene, *args)


def learn_model(
    sample: Iterable[tuple[Frame, Scene]], settings: Settings, walk: Callable[..., Iterator[Any]] = one_by_one
) -> RunModel:
    """Learn a run's model.

    Parameters
    ----------
    sample : iterable of (Frame, Scene)
        The same frames in the same order whenever it is walked; it is walked twice.
    settings : Settings
        ``decoys`` off leaves sigma as counting statistics make it.
    walk : callable
        As `one_by_one`, perhaps with several processes; the results come in the order of the frames, and the model
        does not depend on it.
    """
    seen: list[_Look] = []
    faults = None
    for look in walk(sample, _look, settings):
        faults = faults or Faults(look.shapes)
        faults.add(look.deviations)
        seen.append(dataclasses.replace(look, deviations=np.zeros((2, 0), np.int8)))
        spots = sum(len(each.places) for each in seen)
        decoys = sum(len(each.scale) for each in seen)
        if len(seen) >= ENOUGH_FRAMES and spots >= ENOUGH_SPOTS and decoys >= ENOUGH_DECOYS:
            break
    if faults is None:
        return RunModel()
    noise = learn_noise(
        np.concatenate([each.groups for each in seen]),
        float(np.quantile([each.lowest for each in seen], FAINT, method="higher")),
    )
    model = RunModel(
        noise=_with_photons(noise, learn_photons([each.by_panel for each in seen], len(seen[0].shapes))),
        trust=_learn_trust(seen),
        spots=_learn_spots(seen),
        faulty=text_of(faults.pixels()),
        frames=len(seen),
        detector=seen[0].detector,
        options=" ".join(settings.as_options()),
    )
    return calibrate(sample, model, settings, walk)


@dataclass
class _Look:
    """What one frame of the first walk gives.

    ``groups`` for the noise, of all panels and ``by_panel``, and the ``lowest`` level; ``inv_d``, ``scale``,
    ``variance`` of the rings of decoys; ``places``, ``crystal``, ``spot_inv_d`` of the strong spots that could be
    measured with every tail, ``alone``: those without neighbours, ``measured`` (n_tails, n) MEASURED; ``everywhere``
    1/d of all; ``deviations`` of every pixel, for the faulty ones; the ``detector``'s name and the ``shapes`` of its
    panels.
    """

    groups: NDArray[np.float64]
    by_panel: NDArray[np.float64]
    lowest: float
    inv_d: NDArray[np.float64]
    scale: NDArray[np.float64]
    variance: NDArray[np.float64]
    places: Places
    crystal: NDArray[np.int32]
    spot_inv_d: NDArray[np.float64]
    alone: NDArray[np.bool_]
    measured: NDArray[np.void]
    everywhere: NDArray[np.float64]
    deviations: NDArray[np.int8]
    detector: str
    shapes: NDArray[np.int64]

    def only(self, which: NDArray[np.bool_]) -> _Look:
        """Without the other strong spots."""
        return dataclasses.replace(
            self,
            places=self.places[which],
            crystal=self.crystal[which],
            spot_inv_d=self.spot_inv_d[which],
            alone=self.alone[which],
            measured=self.measured[:, which],
        )


def _look(frame: Frame, scene: Scene, settings: Settings) -> _Look:
    radii, spots = settings.int_radius, scene.spots
    rays = frame_rays(frame, scene, settings.polarisation)
    flags = flag_pixels(frame, scene, radii)
    lowest = lowest_level(frame, flags)
    noise = starting_noise(frame, flags, rays, lowest)
    surface, groups = _surface_and_groups(frame, flags, rays, noise, lowest < 0)
    if len(groups):
        found, level = learn_noise(groups, lowest), float(np.median(groups[:, 0]))
        ratio = found.variance(level) / noise.variance(level)
        # outliers were not known as such, or good counts were cut; or there is a pedestal that was not known
        if not 1 / SURPRISE < ratio < SURPRISE or found.pedestal != noise.pedestal:
            noise = found
            surface, groups = _surface_and_groups(frame, flags, rays, noise, lowest < 0)
    by_panel = panel_groups(surface, noise.pedestal)
    noise = _with_photons(noise, learn_photons([by_panel], len(frame.detector.shapes)))
    frame = frame.without(noise.pedestal)
    off = deviations(frame, flags, surface)  # before spots are summed up, who flag what is hot in this frame
    decoys = half_index_decoys(frame, scene, radii)
    targets = np.concatenate([spots, decoys])
    background, rings = water_estimate(frame, surface, flags, targets, radii, noise, Trust())
    ground = strong.Ground(frame, radii, rays, background)
    none = np.zeros(len(targets), bool)  # how wide spots are is to be learnt, from whole ones
    fits = profile.sum_all(ground, targets, none, none)
    n = len(spots)
    known = (fits["status"][n:] == 0) & np.isfinite(rings.scale[n:])

    which, measured, _ = strong.measure_strong(ground, spots, fits[:n], TAILS, TEACHERS)
    return _Look(
        groups=groups,
        by_panel=by_panel,
        lowest=lowest,
        inv_d=decoys["inv_d"][known],
        scale=rings.scale[n:][known],
        variance=rings.variance[n:][known],
        places=lab_places(frame, rays, spots[which]),
        crystal=scene.crystal[which],
        spot_inv_d=spots["inv_d"][which],
        alone=_alone(frame, scene, int(radii[0]))[which],
        measured=measured,
        everywhere=spots["inv_d"],
        deviations=off,
        detector=frame.detector.sizes,
        shapes=frame.detector.shapes,
    )


def _with_photons(noise: Noise, photons: Photons) -> Noise:
    return dataclasses.replace(noise, per_photon=photons.variance, drift=photons.drift)


def _alone(frame: Frame, scene: Scene, inner: int) -> NDArray[np.bool_]:
    """(n,) whether no light of other reflections, listed or not, reaches the pixels that a spot is measured in."""
    every, reach = np.concatenate([scene.spots, scene.near]), 2 * inner + strong.FIT_MARGIN + 1
    if are_countless(len(every), reach, frame.detector.n_pixels):
        return np.zeros(len(scene.spots), bool)
    start, _ = find_neighbours(*columns_of(every), every["panel"] >= 0, reach)
    return (np.diff(start) == 0)[: len(scene.spots)]


def _surface_and_groups(
    frame: Frame, flags: NDArray[np.uint8], rays: Rays, noise: Noise, by_profile: bool
) -> tuple[Surface, NDArray[np.float64]]:
    surface = fit_surface(frame.without(noise.pedestal), flags, rays, (noise.gain, noise.read2))
    groups = noise_groups(surface, by_profile)
    groups[:, 0] += noise.pedestal
    return surface, groups


def _learn_trust(seen: list[_Look]) -> Trust:
    """Spread of decoys' rings about the surfaces, beyond counting, by resolution."""
    inv_d, scale, variance = (
        np.concatenate([getattr(each, name) for each in seen]) for name in ("inv_d", "scale", "variance")
    )
    if len(inv_d) < FEWEST_DECOYS:
        return Trust()
    edges = equal_edges(inv_d)
    tau2 = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = (inv_d >= low) & (inv_d < high)
        tau2.append(spread_beyond(scale[here], variance[here]))
    return Trust(tuple(edges[1:-1]), tuple(tau2))


def _learn_spots(seen: list[_Look]) -> shapes.Spots:
    """Widths, tail, places and their scatter from all frames' strong spots."""
    default = shapes.NOTHING_KNOWN
    seen = _without_hot_pixels(seen)
    inv_d = np.concatenate([each.spot_inv_d for each in seen])
    if len(inv_d) < shapes.FEW:
        return default
    everywhere = np.concatenate([each.everywhere for each in seen])
    # a neighbour's light looks like a tail
    deviance = np.concatenate([each.measured["deviance"][:, each.alone] for each in seen], axis=1)
    tail = best_tail(deviance) if deviance.shape[1] >= FEWEST_FOR_TAIL else 0.0
    per_frame = [_with_tail(each.measured, tail) for each in seen]
    whole = np.concatenate(per_frame)

    found, counting = strong.widths_of(whole)
    widths = learn_lines(found, counting, inv_d, default.psf.widths, everywhere, default.psf.scatter, run_weight=1)
    expected = np.concatenate(
        [
            _expected_widths(m, each, Psf(widths, tail, default.psf.scatter))
            for m, each in zip(per_frame, seen, strict=True)
        ]
    )
    relative = (found / expected - 1).ravel()
    scatter = float(np.clip(np.sqrt(spread_beyond(relative, (counting / expected**2).ravel())), 0.01, 0.5))
    teachers = [
        Teachers(each.places, each.crystal, each.spot_inv_d, m) for each, m in zip(seen, per_frame, strict=True)
    ]
    shared = shared_map(teachers, len(seen[0].shapes))
    about_map, about_run = scatter_of_places(teachers, shared, default, everywhere)
    return shapes.Spots(psf=Psf(widths, tail, scatter), map=shared, about_map=about_map, about_run=about_run)


def _without_hot_pixels(seen: list[_Look]) -> list[_Look]:
    """Looks without teachers of one pixel, unless the others are narrow as well, or there are many and no others."""
    hot = [strong.is_one_pixel(each.measured[0]) for each in seen]
    others = [each.only(~here) for each, here in zip(seen, hot, strict=True)]
    found, _ = strong.widths_of(np.concatenate([each.measured[0] for each in others]))
    if len(found):
        are_narrow = np.median(found.min(axis=1)) <= shapes.NARROW_SPOTS
    else:
        are_narrow = sum(map(len, hot)) >= FEWEST_FOR_TAIL
    return seen if are_narrow else others


def best_tail(deviance: NDArray[np.float64]) -> float:
    """Where the deviance (n_tails, n) is least, drawn to 0 by what three standard deviations are of what is found.

    A tail that is not there would take all intensities up with it; one that is there shows by far more than that, and
    in most spots: the few that ask for it (or against it) beyond all others have something beside them.
    """
    gains = deviance - deviance[0]
    apart = np.abs(gains - np.median(gains, axis=1, keepdims=True))
    spread = np.array([robust_std(row) for row in gains])[:, None]
    deviance = gains[:, (apart <= STRANGE * spread).all(axis=0)].sum(axis=1)
    best = int(np.argmin(deviance))
    gain = deviance[0] - deviance[best]
    if gain <= NO_TAIL:
        return 0.0
    middle = int(np.clip(best, 1, len(TAILS) - 2))
    a, b, _ = np.polyfit(TAILS[middle - 1 : middle + 2], deviance[middle - 1 : middle + 2], 2)
    found = float(np.clip(-b / (2 * a), 0, TAILS[-1])) if a > 0 else TAILS[best]
    return (1 - NO_TAIL / gain) * found


def _with_tail(measured: NDArray[np.void], tail: float) -> NDArray[np.void]:
    """What would be measured with a tail between two that were tried."""
    above = min(int(np.searchsorted(TAILS, tail, side="right")), len(TAILS) - 1)
    share = (tail - TAILS[above - 1]) / (TAILS[above] - TAILS[above - 1])
    out = measured[above].copy()
    for name in measured.dtype.names or ():
        if name != "ok":
            out[name] = (1 - share) * measured[above - 1][name] + share * measured[above][name]
    return out


def _expected_widths(measured: NDArray[np.void], seen: _Look, run: Psf) -> NDArray[np.float64]:
    lines, stretch, _ = shapes.learn_widths(measured, seen.places, seen.spot_inv_d, run, seen.everywhere)
    return lines.at(seen.spot_inv_d, FLOOR) * stretch.at(seen.places)
