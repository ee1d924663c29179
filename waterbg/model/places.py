"""What the strong spots of all frames say about where spots are: offsets that frames share, and scatter about them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import SECOND_LOOK
from waterbg.integrate.places import Places
from waterbg.integrate.positions import (
    AFFINE_FROM,
    NO_MAP,
    PositionMap,
    learn_panels,
    learn_positions,
)
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.shapes import Spots
from waterbg.integrate.strong import offsets_of

FEWEST_FRAMES = 4  # in two halves, which must find the same
ROUNDS = 6  # of learning where panels are


@dataclass(frozen=True)
class Teachers:
    """Strong spots of one frame: places, crystal, 1/d and MEASURED of each."""

    places: Places
    crystal: NDArray[np.int32]
    inv_d: NDArray[np.float64]
    measured: NDArray[np.void]

    @property
    def own_places(self) -> Places:
        """Places that lean as their own crystals do."""
        return self.places.by_crystal(self.crystal)


@dataclass(frozen=True)
class _Left:
    """What a map leaves of a frame's offsets, along and across the radius; its variance from counting; where."""

    left: NDArray[np.float64]
    counting: NDArray[np.float64]
    inv_d: NDArray[np.float64]
    places: Places


def shared_map(frames: list[Teachers], n_panels: int) -> PositionMap:
    """Offsets from the predictions that all frames share.

    Of the smooth ones as much as both halves of the frames find; of panels what the maps of the frames leave.

    Parameters
    ----------
    frames : list of Teachers
    n_panels : int
    """
    shared = _smooth_map(frames)
    places, (found, counting) = Places.joined([frame.places for frame in frames]), _offsets(frames)
    for _ in range(ROUNDS):  # a frame's map follows panels as far as it can, until they are known
        maps = [replace(_own_map(frame, shared), panels=()).at(frame.own_places, SECOND_LOOK) for frame in frames]
        panels = learn_panels(places, found - np.concatenate(maps), counting.mean(axis=1), n_panels)
        shared = replace(shared, panels=panels)
        if not panels:
            break
    return shared


def _smooth_map(frames: list[Teachers]) -> PositionMap:
    if len(frames) < FEWEST_FRAMES:
        return NO_MAP
    whole, *halves = (_pooled_map(part) for part in (frames, frames[0::2], frames[1::2]))
    places = Places.joined([frame.places for frame in frames])
    polynomial, leaning = (
        _agreement(*(replace(each, **{other: getattr(NO_MAP, other)}).at(places) for each in (*halves, whole)))
        for other in ("leaning", "coefficients")
    )
    return replace(
        whole,
        coefficients=tuple((polynomial * a, polynomial * b) for a, b in whole.coefficients),
        leaning=tuple(leaning * factor for factor in whole.leaning),
    )


def _agreement(one: NDArray[np.float64], other: NDArray[np.float64], both: NDArray[np.float64]) -> float:
    """Share of an offset that two halves have in common; 0 when that is next to nothing."""
    power = float((both**2).sum())
    share = float(np.clip((one * other).sum() / power, 0, 1)) if power > 0 else 0.0
    return share if share >= 0.1 else 0.0


def _pooled_map(frames: list[Teachers]) -> PositionMap:
    found, counting = _offsets(frames)
    return learn_positions(Places.joined([frame.places for frame in frames]), found, counting.mean(axis=1))


def _offsets(frames: list[Teachers]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return offsets_of(np.concatenate([frame.measured for frame in frames]))


def scatter_of_places(
    frames: list[Teachers], shared: PositionMap, default: Spots, everywhere: NDArray[np.float64]
) -> tuple[Scatter, Scatter]:
    """Scatter of places about the frames' own maps, and about the shared one.

    Parameters
    ----------
    frames : list of Teachers
    shared : PositionMap
    default : Spots
        What is taken when there are too few spots.
    everywhere : (m,) float64
        1/d of all reflections, nm⁻¹.
    """
    about_map = [_left_by(frame, _own_map(frame, shared)) for frame in frames if len(frame.places) >= AFFINE_FROM]
    about_run = [_left_by(frame, shared) for frame in frames]
    return _pooled_scatter(about_map, default.about_map, everywhere), _pooled_scatter(
        about_run, default.about_run, everywhere
    )


def _own_map(frame: Teachers, shared: PositionMap) -> PositionMap:
    found, counting = offsets_of(frame.measured)
    return learn_positions(frame.own_places, found, counting.mean(axis=1), shared)


def _left_by(frame: Teachers, positions: PositionMap) -> _Left:
    found, counting = offsets_of(frame.measured)
    left = frame.places.along_radius(found - positions.at(frame.own_places, SECOND_LOOK))
    return _Left(left, counting, frame.inv_d, frame.places)


def _pooled_scatter(parts: list[_Left], before: Scatter, everywhere: NDArray[np.float64]) -> Scatter:
    if not parts:
        return before
    left, counting, inv_d = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("left", "counting", "inv_d")
    )
    places = Places.joined([part.places for part in parts])
    return before.learn(left, counting, inv_d, places, everywhere, 1)
