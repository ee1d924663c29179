"""What is done to one frame, given the run's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background import BackgroundEstimate, Estimator, frame_rays, make_estimator
from waterbg.integrate.profile import integrate_profile, near_spots
from waterbg.integrate.shapes import Shapes
from waterbg.model.run_model import RunModel
from waterbg.settings import SUM

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.settings import Settings


HELD = 7 / 8  # of the core of the frame's mean spot; a disc that holds less loses more than may be added


@dataclass
class FrameReport:
    """What became of a frame.

    Attributes
    ----------
    fallbacks : list of str
        What could not be learnt from the frame and what was taken instead.
    own_rings : int
        Listed reflections whose background is their own ring's, for the frame's model does not hold there.
    cut : int
        Listed reflections of whose spots the peak disc holds less than HELD, tails aside.
    marred : int
        Integrated reflections with bad pixels in the peak disc.
    """

    fallbacks: list[str]
    own_rings: int
    cut: int
    marred: int


def estimator_of(model: RunModel, settings: Settings) -> Estimator:
    """Make the background estimator that settings and model ask for."""
    return make_estimator(settings.background, model.noise, settings.polarisation, model.trust)


def process_frame(
    frame: Frame, scene: Scene, model: RunModel, settings: Settings
) -> tuple[NDArray[np.void], FrameReport]:
    """Integrate all spots of a frame: a pure function of its arguments.

    Parameters
    ----------
    frame : Frame
    scene : Scene
    model : RunModel
    settings : Settings
        ``integration`` is ``profile`` or ``sum``.

    Returns
    -------
    result : (n,) INTEGRATED
        ADU, aligned with ``scene.spots``.
    report : FrameReport
    """
    frame_result = integrate_frame(frame, scene, model, settings)
    fallbacks = [*frame_result.background.fallbacks, *frame_result.shapes.fallbacks]
    if frame_result.background.dead:
        fallbacks.append("pixels without light, or all the same, were taken for bad: a mask should say so")
    listed = scene.printed >= 0
    own_rings = int(np.count_nonzero(frame_result.background.own_ring[listed]))
    cut = int(np.count_nonzero(frame_result.fits["held"][listed] < HELD))
    marred = int(np.count_nonzero((frame_result.fits["marred"] > 0) & (frame_result.result["status"] == 0)))
    return frame_result.result, FrameReport(fallbacks, own_rings, cut, marred)


@dataclass
class FrameResult:
    """Everything that is found on a frame; arrays are aligned with the targets.

    Photons in ``fits`` and ``background`` are those of light, without the detector's pedestal.

    Attributes
    ----------
    result : (n,) INTEGRATED
    fits : (n,) FIT
    shapes : Shapes
    background : BackgroundEstimate
    """

    result: NDArray[np.void]
    fits: NDArray[np.void]
    shapes: Shapes
    background: BackgroundEstimate


def integrate_frame(
    frame: Frame, scene: Scene, model: RunModel, settings: Settings, targets: NDArray[np.void] | None = None
) -> FrameResult:
    """Do what :func:`process_frame` does, at any targets, and give everything that was found.

    Parameters
    ----------
    targets : (n,) SPOT, optional
        What to integrate; begins with ``scene.spots``. Default: these.

    Raises
    ------
    UsageError
        When the model is one of another detector.
    """
    frame = model.applied(frame)
    wanted = scene.spots if targets is None else targets
    unlisted = near_spots(frame, scene, int(settings.int_radius[0]))
    every = np.concatenate([wanted, unlisted])
    background = estimator_of(model, settings).estimate(frame, scene, settings.int_radius, every)
    rays = frame_rays(frame, scene, settings.polarisation)
    result, fits, shapes = integrate_profile(
        frame, scene, settings.int_radius, background, rays,
        targets=every, unlisted=len(unlisted), run=model.spots, sigma_scale=model.sigma_scale,
        summation=settings.integration == SUM, joint=settings.joint,
    )  # fmt: skip
    result, fits, background = result[: len(wanted)], fits[: len(wanted)], background.first(len(wanted))
    if frame.pedestal:  # the stream's numbers are of pixels as they are in the file
        panel = wanted["panel"]
        off = frame.pedestal * frame.adu_per_photon[np.maximum(panel, 0)]
        result["peak"] += off
        result["background"] += off
    return FrameResult(result, fits, shapes, background)
