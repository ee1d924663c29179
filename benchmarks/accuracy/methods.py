"""The methods that are compared: each turns a simulated run into intensities."""

import dataclasses

import numpy as np

from benchmarks.accuracy.metrics import keys
from waterbg.background import Noise, frame_rays
from waterbg.background.estimate import box_half, least_variance, without_surface
from waterbg.background.estimators import flag_pixels
from waterbg.integrate import Status
from waterbg.integrate.profile import integrate_profile, near_spots
from waterbg.model import SAMPLE_FRAMES, learn_model
from waterbg.run import resolve_job, run_subtract
from waterbg.run.sample import Sample
from waterbg.run.worker import Worker
from waterbg.settings import Settings
from waterbg.simulate import true_background
from waterbg.simulate.dataset import INT_RADIUS
from waterbg.simulate.detector import pedestals
from waterbg.stream import StreamFile

SETTINGS = {  # method -> what `waterbg subtract` is asked for
    "CrystFEL rings": {"integration": "rings-nocen-nosat-nograd"},
    "ring": {"background": "ring"},
    "plane": {"background": "plane"},
    "radial": {"background": "radial"},
    "water": {"background": "water"},
}
TRUE_BACKGROUND = "true background"
ALL = (*SETTINGS, TRUE_BACKGROUND)


def run(method, dataset, experiment, folder):
    """Run one method on a run, as a user would, and read what it wrote.

    Returns
    -------
    dict of arrays
        ``key``, ``I``, ``sigma`` in photons.
    """
    if method == TRUE_BACKGROUND:
        return with_true_background(dataset, experiment)
    output = folder / f"{method.replace(' ', '_')}.stream"
    job = resolve_job(str(dataset.stream), settings=SETTINGS[method])
    run_subtract(job, str(output), force=True, verify=False)
    return read(output, experiment)


def read(path, experiment):
    """Read the intensities of a stream of a simulated run, in photons."""
    parts = []
    with StreamFile(str(path)) as stream:
        for chunk in stream.chunks():
            frame = int(chunk.event.rpartition("/")[2])
            for number, crystal in enumerate(chunk.crystals):
                r = crystal.reflections
                parts.append((keys(frame, number, r["h"], r["k"], r["l"]), r["I"], r["sigma"]))
    return _in_photons(parts, experiment)


def _in_photons(parts, experiment):
    """Put together what frames have: keys, I and sigma in ADU."""
    key, intensity, sigma = (np.concatenate(part) for part in zip(*parts, strict=True))
    return {"key": key, "I": intensity / experiment.adu_per_photon, "sigma": sigma / experiment.adu_per_photon}


def with_true_background(dataset, experiment):
    """The same profile fit, with what the water run learnt of spots, over the background that was simulated."""
    settings = Settings(integration="profile", int_radius=INT_RADIUS)
    worker = Worker(resolve_job(str(dataset.stream), settings={"background": "water"}))
    model = learn_model(Sample(worker, SAMPLE_FRAMES), settings)
    parts = []
    try:
        for chunk in worker.stream.chunks():
            frame, scene = worker.subtractor.load(chunk)
            number = int(chunk.event.rpartition("/")[2])
            frame = without_pedestals(frame, experiment, number)
            truth, noise = true_background(experiment, number), Noise(1.0, experiment.read_noise**2)
            unlisted = near_spots(frame, scene, int(settings.int_radius[0]))
            every = np.concatenate([scene.spots, unlisted])
            background = known_background(frame, scene, every, settings.int_radius, truth, noise)
            result, _, _ = integrate_profile(
                frame, scene, settings.int_radius, background, frame_rays(frame, scene, settings.polarisation),
                targets=every, unlisted=len(unlisted), run=model.spots,
            )  # fmt: skip
            result = result[: len(scene.spots)]
            kept = (result["status"] == Status.OK) & (scene.printed >= 0)
            spots = scene.spots[kept]
            key = keys(number, scene.crystal[kept], spots["h"], spots["k"], spots["l"])
            parts.append((key, result["I"][kept], result["sigma"][kept]))
    finally:
        worker.close()
    return _in_photons(parts, experiment)


def without_pedestals(frame, experiment, number):
    """The frame as it would be without what the simulated detector adds to every pixel."""
    sizes = np.diff(frame.detector.offsets)
    added = np.repeat(pedestals(experiment, number) * frame.adu_per_photon, sizes)
    return dataclasses.replace(frame, data=(frame.data - added).astype(np.float32))


def known_background(frame, scene, spots, radii, panels, noise):
    """The simulated background under spots as an estimator would give it, without error."""
    half = box_half(radii)
    size = 2 * half + 1
    expected = np.full((len(spots), size, size), np.nan, np.float32)
    for panel, picture in enumerate(panels):
        here = np.flatnonzero(spots["panel"] == panel)
        padded = np.pad(picture.astype(np.float32), half, constant_values=np.nan)
        rows, columns = spots["ss"][here].astype(int), spots["fs"][here].astype(int)
        box = np.arange(size)
        expected[here] = padded[rows[:, None, None] + box[:, None], columns[:, None, None] + box]
    factor = np.ones(len(spots))
    least = least_variance(expected, factor, noise)
    flags = flag_pixels(frame, scene, radii)
    return without_surface(expected, np.zeros(len(spots)), factor, least, noise, flags, spots["panel"])
