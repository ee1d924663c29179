"""What a run teaches before its first reflection is written, and what is done to each frame with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.background import Estimator, Noise, Trust, frame_rays, make_estimator
from waterbg.errors import OutputError, UsageError
from waterbg.integrate.profile import Shapes, integrate_profile
from waterbg.integrate.psf import DEFAULT, Psf
from waterbg.settings import SUM

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene
    from waterbg.settings import Settings

SAMPLE_FRAMES = 24
"""Frames a model is learnt from, spread evenly over the stream."""

_FORMAT = "waterbg run model 1"


@dataclass(frozen=True)
class RunModel:
    """Quantities of a whole run; they decide numbers, so they are learnt once, from a fixed sample of its frames.

    Attributes
    ----------
    psf : Psf
        Median widths of the frames' spots.
    noise : Noise
        Of the detector.
    trust : Trust
        How far the true background strays from the frame's surface.
    sigma_scale : float
        Robust standard deviation of decoys over their sigma: multiplies every sigma.
    frames : int
        Frames the model was learnt from; 0 for the defaults.
    """

    psf: Psf = DEFAULT
    noise: Noise = field(default_factory=Noise)
    trust: Trust = field(default_factory=Trust)
    sigma_scale: float = 1.0
    frames: int = 0

    def save(self, path: str | Path) -> None:
        """Write the model as JSON.

        Raises
        ------
        OutputError
        """
        try:
            Path(path).write_text(json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n")
        except OSError as err:
            raise OutputError(f"cannot be written ({err.strerror})", path=str(path)) from None

    @classmethod
    def load(cls, path: str | Path) -> RunModel:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        UsageError
            When the file cannot be read, or is no run model.
        """
        try:
            data: dict[str, Any] = json.loads(Path(path).read_text())
            if data.pop("format") != _FORMAT:
                raise ValueError
            psf, noise, trust = Psf(**data.pop("psf")), Noise(**data.pop("noise")), Trust(**data.pop("trust"))
            return cls(psf=psf, noise=noise, trust=trust, **data)
        except OSError as err:
            raise UsageError(f"--model={path}: cannot be read ({err.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(
                f"--model={path}: is not a run model; waterbg subtract writes one beside its output"
            ) from None


@dataclass
class FrameReport:
    """What became of a frame.

    Attributes
    ----------
    fallbacks : list of str
        What could not be learnt from the frame and what was taken instead.
    strong : int
        Spots that taught places and widths.
    psf : Psf
    position_rms : float
        Scatter of strong spots about the position map, pixels an axis.
    """

    fallbacks: list[str]
    strong: int
    psf: Psf
    position_rms: float


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
    result, _, shapes, fallbacks = integrate_frame(frame, scene, model, settings)
    return result, FrameReport(fallbacks, len(shapes.which), shapes.psf, shapes.positions.rms)


def integrate_frame(
    frame: Frame, scene: Scene, model: RunModel, settings: Settings
) -> tuple[NDArray[np.void], NDArray[np.void], Shapes, list[str]]:
    """Do what :func:`process_frame` does, and give the fits and shapes as well."""
    background = estimator_of(model, settings).estimate(frame, scene, settings.int_radius)
    result, fits, shapes = integrate_profile(
        frame,
        scene,
        settings.int_radius,
        background,
        frame_rays(frame, scene, settings.polarisation),
        run_psf=model.psf,
        sigma_scale=model.sigma_scale,
        summation=settings.integration == SUM,
    )
    return result, fits, shapes, [*background.fallbacks, *shapes.fallbacks]


def learn_model(sample: Iterable[tuple[Frame, Scene]], settings: Settings) -> RunModel:
    """Learn a run's model from a sample of its frames.

    Parameters
    ----------
    sample : iterable of (Frame, Scene)
        May be walked more than once, so that its frames need not be in memory together.
    settings : Settings
    """
    model = RunModel()
    psfs = []
    for frame, scene in sample:
        _, _, shapes, _ = integrate_frame(frame, scene, model, settings)
        psfs.append(shapes.psf)
    if not psfs:
        return model
    median = np.median([psf.as_array() for psf in psfs], axis=0)
    return dataclasses.replace(model, psf=Psf(*map(float, median)), frames=len(psfs))
