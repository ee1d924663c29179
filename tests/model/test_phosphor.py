"""Where a phosphor spreads the light of each photon, pixels say less than they seem to: sigma must know."""

import dataclasses

import numpy as np

from tests.model.worlds import RADII, make_run
from waterbg.integrate import Status
from waterbg.model import learn_model, process_frame
from waterbg.settings import Settings

SETTINGS = Settings(int_radius=RADII)
SHARE = np.array([0.1065, 0.787, 0.1065])  # a Gaussian of half a pixel
COMMON = 1 / ((SHARE**2).sum() ** 2)  # variance of a sum over many pixels, over what theirs add up to


def spread(frame):
    """The frame as a phosphor shows it."""
    parts = []
    for number, shape in enumerate(frame.detector.shapes):
        begin, end = frame.detector.offsets[number : number + 2]
        picture = frame.data[begin:end].reshape(shape)
        for axis in (0, 1):
            picture = np.apply_along_axis(np.convolve, axis, picture, SHARE, mode="same")
        parts.append(picture.ravel())
    return dataclasses.replace(frame, data=np.concatenate(parts).astype(np.float32))


def test_sigma_knows_that_pixels_share_light():
    run = [(spread(frame), scene, truth) for frame, scene, truth in make_run(6, seed=31, signal=200.0)]
    model = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)
    assert model.noise.gain * COMMON > 0.9
    assert 1.2 < model.sigma_scale**2 < COMMON  # a spot does not see all of it
    z, strength = [], []
    for frame, scene, truth in run:
        result, _ = process_frame(frame, scene, model, SETTINGS)
        kept = (result["status"] == Status.OK) & (scene.printed >= 0)
        z.append(((result["I"] - truth) / result["sigma"])[kept])
        strength.append((truth / result["sigma"])[kept])
    z, strength = np.concatenate(z), np.concatenate(strength)
    for low, high in ((0, 3), (3, 10), (10, np.inf)):
        some = z[(strength >= low) & (strength < high)]
        assert len(some) > 100
        assert 0.9 < np.std(some) < 1.2, (low, high)
