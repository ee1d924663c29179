"""What lies between a spot's disc and its ring, where CrystFEL never looks, must not touch the spot."""

import dataclasses

import numpy as np
import pytest

from tests.background.worlds import make_world
from tests.integrate.test_profile_fit import RADII, ROUND, flat, integrate
from waterbg.background import Noise, frame_rays, make_estimator
from waterbg.background.estimate import least_variance
from waterbg.background.masks import FAULTY
from waterbg.integrate import Status
from waterbg.integrate.profile import integrate_profile
from waterbg.integrate.psf import Lines, Psf

BESIDE = [(-3, 2), (0, -4), (3, 2)]  # beyond a disc of three pixels, within the reach of the fit


def beside(world, added):
    """The world's frame with photons added to a pixel, or more, beside every seventh spot."""
    data = world.frame.data.copy()
    detector, spots = world.frame.detector, world.scene.spots[::7]
    for j, i, photons in added:
        row, column = spots["ss"].astype(int) + j, spots["fs"].astype(int) + i
        data[detector.offsets[spots["panel"]] + row * detector.shapes[spots["panel"], 1] + column] += photons
    return dataclasses.replace(world, frame=dataclasses.replace(world.frame, data=data))


@pytest.fixture(scope="module", params=[0.0, 400.0])
def world(request):
    return make_world(flat(5.0), seed=41, n_spots=60, intensity=request.param)


@pytest.mark.parametrize("at", BESIDE)
@pytest.mark.parametrize("height", [300.0, 60000.0])
def test_a_hot_pixel_beside_the_disc_changes_nothing(world, at, height):
    before, _, _ = integrate(world)
    after, _, _ = integrate(beside(world, [(*at, height)]))
    kept = (before["status"] == Status.OK) & (after["status"] == Status.OK)
    assert kept.sum() > 50
    assert np.abs((after["I"] - before["I"])[kept] / before["sigma"][kept]).max() < 0.6


def test_two_hot_pixels_side_by_side_change_nothing_either(world):
    before, _, _ = integrate(world)
    after, _, _ = integrate(beside(world, [(-3, 2, 5000.0), (-3, 3, 7000.0)]))
    kept = (before["status"] == Status.OK) & (after["status"] == Status.OK)
    assert np.abs((after["I"] - before["I"])[kept] / before["sigma"][kept]).max() < 0.8


@pytest.mark.parametrize("wide", [0.6, 1.1, 1.3])
def test_a_spot_that_lies_beside_its_prediction_or_is_wide_is_no_intruder(wide):
    """Where a disc ends on one side, the spot itself is what stands out."""
    world = make_world(
        flat(5.0), seed=42, n_spots=60, intensity=4000.0, sigma=wide, offset=lambda x, y: (1.7 + 0 * x, 0.9 + 0 * y)
    )
    run = dataclasses.replace(ROUND, psf=Psf(Lines(wide, 0, wide, 0), scatter=0.02))
    result, _, shapes = integrate(world, run=run)
    kept = result["status"] == Status.OK
    assert shapes.positions.coefficients
    assert np.median(result["I"][kept]) == pytest.approx(4000, rel=0.05)
    assert (result["I"][kept] > 3200).all()


def test_a_plane_through_a_faint_ring_does_not_let_single_pixels_decide():
    """It may expect less than no counts in a corner of the disc."""
    scatter = {}
    for name in ("ring", "plane"):
        deviations = []
        for seed in range(4):
            world = make_world(flat(0.15), seed=60 + seed, n_spots=110, intensity=6.0)
            background = make_estimator(name, Noise()).estimate(world.frame, world.scene, RADII)
            rays = frame_rays(world.frame, world.scene, "horiz")
            result, _, _ = integrate_profile(world.frame, world.scene, RADII, background, rays, run=ROUND)
            deviations.append((result["I"] - world.truth)[result["status"] == Status.OK])
        scatter[name] = np.concatenate(deviations).std()
    assert scatter["plane"] < 1.2 * scatter["ring"]


def test_no_variance_is_far_below_that_under_the_middle_of_the_spot():
    level = np.full((3, 5, 5), np.array([10.0, -10.0, np.nan])[:, None, None], np.float32)
    least = least_variance(level, np.full(3, 2.0), Noise(1.0, 0.5))
    assert least == pytest.approx([0.05 * 21, 0.05, 0.05])
    assert least_variance(level, np.ones(3), Noise())[1] == pytest.approx(1e-6)


@pytest.mark.parametrize("level", [0.01, 0.03])
def test_single_photons_on_hardly_any_background_are_no_intruders(level):
    worlds = [make_world(flat(level), seed=70 + seed, n_spots=100, intensity=30.0) for seed in range(6)]
    for name in ("ring", "water"):
        flagged = 0
        for world in worlds:
            background = make_estimator(name, Noise()).estimate(world.frame, world.scene, RADII)
            rays = frame_rays(world.frame, world.scene, "horiz")
            integrate_profile(world.frame, world.scene, RADII, background, rays, run=ROUND)
            flagged += int(np.count_nonzero(background.flags & FAULTY))
        assert flagged < 6
