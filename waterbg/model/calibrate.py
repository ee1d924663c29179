"""The second walk over a sample: what decoys and strong spots say of a model whose sigma is not scaled yet."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate import profile
from waterbg.integrate.robust import robust_std, spread_beyond
from waterbg.integrate.strong import are_whole
from waterbg.model.decoys import DECOY, displaced_decoys, half_index_decoys, paired, rings_on_decoys, with_stray
from waterbg.model.frame import integrate_frame
from waterbg.model.quality import Quality, judge
from waterbg.model.run_model import RunModel
from waterbg.settings import SUM

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.settings import Settings

ENOUGH_DECOYS = 3000
FEWEST_DECOYS = 100  # fewer say nothing about sigma
FEWEST_STRONG = 40  # strong spots, fewer of which say nothing about their error
SHARED = 1.5  # error of a strong spot over what fit and summation differ by: part of it they have in common
LEAST_SIGNAL_ERROR = 0.01  # not to be learnt from repeats, which show partiality
STRONG_RATIO = 20.0  # I/sigma of spots whose fit is compared with their summation
SCALE_RANGE, SCALE_SPREAD = (0.6, 4.0), 0.1  # of sigma; the second is a standard deviation
STRAY_RANGE, STRAY_SPREAD = (0.0, 2.0), 1.0  # of the stray light that is left in discs, likewise
STRAY_MOST = 50.0  # standard deviations that a decoy may count for, in the mean of all


def calibrate(
    sample: Iterable[tuple[Frame, Scene]],
    model: RunModel,
    settings: Settings,
    walk: Callable[..., Iterator[Any]],
) -> RunModel:
    """Let decoys say what every sigma is multiplied with, and strong spots what their error is at least."""
    wholly = dataclasses.replace(model, trust=dataclasses.replace(model.trust, stray=1.0))
    tries = itertools.islice(walk(sample, _try_frame, wholly, settings), model.frames)
    trial = _pooled_trial(tries, ENOUGH_DECOYS)
    least = profile.LEAST_SIGMA * model.noise.light
    share = stray_share(np.concatenate([trial.half, trial.displaced])) if settings.decoys else 0.0
    for decoys in (trial.half, trial.displaced):
        with_stray(decoys, share, least)
    scale = sigma_scale(np.concatenate([trial.half, trial.displaced]), least) if settings.decoys else 1.0
    spots = model.spots
    if len(trial.ratio) >= FEWEST_STRONG:
        beyond = spread_beyond(trial.ratio, np.maximum(trial.apart, 1e-8))
        spots = dataclasses.replace(spots, signal_error=max(LEAST_SIGNAL_ERROR, SHARED * float(np.sqrt(beyond))))
    trust = dataclasses.replace(model.trust, stray=share)
    return dataclasses.replace(model, trust=trust, spots=spots, sigma_scale=scale, quality=_judged(trial, scale))


def check_model(sample: Iterable[tuple[Frame, Scene]], model: RunModel, settings: Settings) -> Quality:
    """Judge a model by the decoys and strong spots of any frames.

    Parameters
    ----------
    sample : iterable of (Frame, Scene)
    model : RunModel
    settings : Settings
    """
    unscaled = dataclasses.replace(model, sigma_scale=1.0)
    tries = (_try_frame(frame, scene, unscaled, settings) for frame, scene in sample)
    return _judged(_pooled_trial(tries, None), model.sigma_scale)


@dataclass
class _Trial:
    """Decoys (DECOY) integrated with a model whose sigma is not scaled; fit over summation of strong spots, and the
    variance of that from counting.
    """

    half: NDArray[np.void]
    displaced: NDArray[np.void]
    ratio: NDArray[np.float64]
    apart: NDArray[np.float64]


def _try_frame(frame: Frame, scene: Scene, model: RunModel, settings: Settings) -> _Trial:
    """What one frame of the second walk gives."""
    kinds = [kind(frame, scene, settings.int_radius) for kind in (half_index_decoys, displaced_decoys)]
    targets = np.concatenate([scene.spots, *kinds])
    found = integrate_frame(frame, scene, model, settings, targets)
    if found.background.fallbacks:  # decoys of a blank frame do not scatter, and say nothing of others
        return _no_trial()
    background, start, pairs = found.background, len(scene.spots), []
    for decoys in kinds:
        rings = rings_on_decoys(frame, scene, decoys, settings.int_radius)
        rows = slice(start, start + len(decoys))
        by_sum, fits = settings.integration == SUM, found.fits[rows]
        sigma_zero = fits["sum_zero" if by_sum else "sigma_zero"]
        stray = background.stray[rows] * (math.pi * int(settings.int_radius[0]) ** 2 if by_sum else fits["area"])
        pairs.append(paired(frame, decoys, found.result[rows], sigma_zero, stray, background.lit[rows], rings))
        start += len(decoys)
    fits = found.fits[: len(scene.spots)]
    strong = are_whole(fits) & (fits["disc"] > STRONG_RATIO * fits["disc_sigma"])
    strong &= fits["sum"] > 0
    fits = fits[strong]
    # the fit's error is part of the sum's: what both differ by has the difference of their variances
    apart = np.maximum(fits["sum_sigma"] ** 2 - fits["sigma"] ** 2, 0) / fits["sum"] ** 2
    return _Trial(pairs[0], pairs[1], fits["I"] / fits["sum"], apart)


def _no_trial() -> _Trial:
    nothing = np.zeros(0)
    return _Trial(np.zeros(0, DECOY), np.zeros(0, DECOY), nothing, nothing)


def _pooled_trial(tries: Iterable[_Trial], enough: int | None) -> _Trial:
    """All frames' trials as one; from two frames on, no more than it takes to have ``enough`` decoys."""
    seen = [_no_trial()]
    decoys = 0
    for walked, trial in enumerate(tries, start=1):
        seen.append(trial)
        decoys += len(trial.half) + len(trial.displaced)
        if enough is not None and walked >= 2 and decoys >= enough:
            break
    return _Trial(
        *(np.concatenate([getattr(each, name) for each in seen]) for name in ("half", "displaced", "ratio", "apart"))
    )


def _judged(trial: _Trial, scale: float) -> Quality:
    for decoys in (trial.half, trial.displaced):
        decoys["sigma"] *= scale
    return judge(trial.half, trial.displaced, trial.ratio)


def stray_share(decoys: NDArray[np.void]) -> float:
    """Share of the stray light that decoys' intensities have, whose mean is then 0; drawn to none by its own error.

    ``decoys`` are those from which all of it was taken off. None counts for more than STRAY_MOST standard deviations of
    what they are with it: without, they also scatter by how uneven it is.
    """
    known = decoys[np.isfinite(decoys["I"])]
    light = known["I"] + known["stray"]
    off, most = float(known["stray"].sum()), STRAY_MOST * robust_std(light)
    if len(known) < FEWEST_DECOYS or not (off > 0 and most > 0):
        return 0.0
    left = np.clip(light, -most, most) - known["stray"]
    excess, error2 = float(left.sum()) / off, float((left**2).sum()) / off**2
    believed = STRAY_SPREAD**2 / (STRAY_SPREAD**2 + error2)
    return float(np.clip(believed * (1 + excess), *STRAY_RANGE))


def sigma_scale(decoys: NDArray[np.void], least: float) -> float:
    """Robust scatter of decoys over the sigma of no intensity, drawn to 1 by its own error.

    As far as that explains what it differs from 1 by, and as far as it is not small beside SCALE_SPREAD, by which
    scales differ. Without decoys whose sigma is less than any reflection's (``least``): hardly any of them has a count,
    and quantiles of these say nothing.
    """
    known = np.isfinite(decoys["I"]) & (decoys["sigma_zero"] > least)
    if known.sum() < FEWEST_DECOYS:
        return 1.0
    z = decoys["I"][known] / decoys["sigma_zero"][known]
    excess = robust_std(z) - 1
    error2 = 0.92 / len(z)  # of half the distance of these quantiles
    believed = excess**2 / (excess**2 + error2) * SCALE_SPREAD**2 / (SCALE_SPREAD**2 + error2)
    return float(np.clip(1 + believed * excess, *SCALE_RANGE))
