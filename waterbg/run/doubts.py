"""What a run finds wrong with its geometry, its masks and its model: notes of its summary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry

if TYPE_CHECKING:
    from waterbg.geometry import Detector
    from waterbg.model import RunModel
    from waterbg.run.job import Job
    from waterbg.settings import Settings
    from waterbg.subtract import Tally

SHIFTED = 1.0  # px from where the geometry has the detector: what is less is usual
MOVED = 0.5  # px from where the geometry has it: a panel that is named in the summary
NAMED = 3  # such panels, the farthest ones first; statements without effect
WORTH_A_MASK = 1e-4  # share of the pixels that are faulty: a few hot ones do no harm
DRIFT = 0.1  # photons of the level without light that are worth a word
GAIN = 0.5, 2.0  # variance of a pixel's counts over their mean: between is what calibrations are off by


def doubt_geometry(job: Job, detector: Detector) -> list[str]:
    """What in the geometry has no effect, and whether only an older CrystFEL opens it."""
    without_effect = [said for said in detector.warnings if "ignored" in said]  # a misspelt mask, say
    masks = {mask.data for panel in detector.panels for mask in panel.masks if not (mask.good_bits or mask.bad_bits)}
    without_effect += [f"the mask {name} marks nothing: it has no good and no bad bits" for name in sorted(masks)]
    more = [f"and {len(without_effect) - NAMED} more of the geometry"] if len(without_effect) > NAMED else []
    return without_effect[:NAMED] + more + _doubt_age(job)


def _doubt_age(job: Job) -> list[str]:
    """Say when the stream's own geometry is one that only an older CrystFEL opens: so is the output's."""
    if not job.lenient:
        return []
    try:
        parse_geometry(job.geometry)
    except GeometryError as err:
        where = f"line {job.geometry_line + max(err.line - 1, 0)}: {err.reason}"
        return [f"CrystFEL 0.12 opens neither this stream nor the output, for the geometry in it ({where})"]
    return []


def conclusions(model: RunModel, is_given: bool, settings: Settings, tally: Tally, detector: Detector) -> list[str]:
    """What there is to say once all reflections are written; ``is_given``: the model is that of another run."""
    return verdict(model, is_given, settings) + doubt_learning(model, tally) + doubts(model, detector)


def doubts(model: RunModel, detector: Detector) -> list[str]:
    """What a run's frames say against its geometry and masks."""
    from waterbg.background.faulty import pixels_of

    said = []
    if model.noise.drift > DRIFT:
        said.append(
            f"the level without light drifts from frame to frame by {model.noise.drift:.1f} photons: a common-mode "
            "correction should take that off (sigma allows for it)"
        )
    if model.frames and not GAIN[0] <= model.noise.light <= GAIN[1]:
        said.append(
            f"the variance of pixels is {model.noise.light:.2f} of what adu_per_photon says: it is wrong, or pixels "
            "share light (a phosphor's do; sigma of strong reflections is then up to a fifth too small)"
        )
    faulty = len(pixels_of(model.faulty))
    if faulty > WORTH_A_MASK * detector.n_pixels:
        said.append(f"{faulty} pixels are wrong in all frames, and are left out: a mask should say so")
    return said + _shifted_detector(model) + _moved_panels(model, detector)


def _shifted_detector(model: RunModel) -> list[str]:
    """Say when spots near the beam are, in all frames, elsewhere by more than is usual; farther out they stray more."""
    at_beam = model.spots.map.coefficients[:1]  # empty where no map was found
    shift = math.hypot(*at_beam[0]) if at_beam else 0.0
    if shift <= SHIFTED:
        return []
    return [f"the detector is {shift:.1f} px from where the geometry has it (followed here; refine the geometry)"]


def _moved_panels(model: RunModel, detector: Detector) -> list[str]:
    """Name the panels whose spots are, in all frames, not where the geometry has them."""
    apart = [math.hypot(*offset) for offset in model.spots.map.panels]  # empty where none is known to be off
    names = [panel.name for panel in detector.panels]
    far = sorted((pair for pair in zip(apart, names, strict=False) if pair[0] > MOVED), reverse=True)
    if not far:
        return []
    named = ", ".join(f"{name} by {distance:.1f} px" for distance, name in far[:NAMED])
    more = f" and {len(far) - NAMED} more" if len(far) > NAMED else ""
    return [f"panels are not where the geometry has them: {named}{more} (followed here; refine the geometry)"]


def doubt_learning(model: RunModel, tally: Tally) -> list[str]:
    """Say when reflections were integrated by what no frame of the run has shown."""
    if model.frames or not tally.integrated:
        return []
    return ["the run's model was learnt from no frame: spot widths, noise and the scale of sigma are the defaults"]


def verdict(model: RunModel, is_given: bool, settings: Settings) -> list[str]:
    """What decoys and strong spots said, and of which run and options, where the model is not this one's."""
    if not settings.decoys:
        return []
    lines = model.quality.lines()
    if not is_given:
        return lines
    lines = [f"{line} (in the run that the model is of)" for line in lines]
    if model.learnt_otherwise(settings):
        lines.append(
            f"the model's decoys and scale of sigma are those of {model.options}: leave out --model to learn this run's"
        )
    return lines
