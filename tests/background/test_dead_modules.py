"""Modules that are dead, and full shadows, that no mask knows: their pixels must not pass for counts."""

import numpy as np
import pytest

from tests.background.test_pieces import surface_of
from tests.background.worlds import detector, make_world, middles, water_ring
from waterbg.background import Noise, make_estimator
from waterbg.background.masks import BAD, DEAD

RADII = (3.0, 5.0, 7.0)
MODULE = (slice(35, 98), slice(130, 255))  # rows and columns of panel 1, not at the borders of tiles


def is_dead():
    """(n_pixels,) which belong to the module."""
    dead = np.zeros((2, 200, 400), bool)
    dead[1][MODULE] = True
    return dead.ravel()


def spoilt(value):
    def spoil(counts, w):
        dead = is_dead()
        counts[dead] = value(w.rng, dead.sum()) if callable(value) else value

    return spoil


@pytest.mark.parametrize("value", [0.0, 5000.0, 65535.0])
def test_a_module_that_shows_nothing_or_always_the_same_is_taken_for_bad(value):
    world = make_world(water_ring, seed=51, n_spots=0, spoil=spoilt(value))
    surface, flags = surface_of(world)
    assert ((flags & BAD) > 0)[is_dead()].mean() > 0.985  # all but what is in the corners beyond its whole tiles
    assert not (flags & BAD)[~is_dead()].any()
    assert surface.dead == np.count_nonzero(flags & BAD)


def test_pixels_of_a_dead_module_that_a_mask_knows_are_not_among_those_that_none_knew():
    """A gap beside it is no shadow: spots on its other side have lost no light but what is in the gap."""
    gap = np.zeros((2, 200, 400), bool)
    gap[1, MODULE[0], 236:255] = True  # from within a tile on
    gap = gap.ravel()
    world = make_world(water_ring, seed=51, n_spots=0, bad=lambda x, y, panel: gap, spoil=spoilt(0.0))
    surface, flags = surface_of(world)
    assert (flags & BAD)[gap].all()
    assert not (flags & DEAD)[gap].any()
    assert ((flags & DEAD) > 0)[is_dead() & ~gap].mean() > 0.98
    assert surface.dead == np.count_nonzero(flags & DEAD)


def test_a_module_without_light_but_with_noise_is_taken_for_bad():
    world = make_world(
        water_ring, seed=52, n_spots=0, read_noise=0.3, spoil=spoilt(lambda rng, n: rng.normal(0, 0.3, n))
    )
    _, flags = surface_of(world, (1.0, 0.09))
    assert ((flags & BAD) > 0)[is_dead()].mean() > 0.98
    assert not ((flags & BAD) > 0)[~is_dead()].any()


def test_the_background_beside_a_dead_module_is_as_right_as_without():
    whole = make_world(water_ring, seed=53, n_spots=0)
    world = make_world(water_ring, seed=53, n_spots=0, spoil=spoilt(0.0))
    at = np.random.default_rng(1).integers(0, 80000, 2000)
    beside = ~is_dead()[80000 + at] & (np.hypot(*middles(world.frame.detector)[:2])[80000 + at] > 15)
    panel, fs, ss = np.ones(beside.sum(), np.int32), at[beside] % 400 + 0.5, at[beside] // 400 + 0.5
    errors = []
    for each in (whole, world):
        expected, _ = surface_of(each)[0].boxes(panel, fs, ss, 0, each.frame.detector.shapes)
        errors.append(expected[:, 0, 0] / each.mean[80000 + at[beside]] - 1)
    assert errors[1].std() < 1.3 * errors[0].std()
    assert abs(errors[1].mean()) < 0.003


@pytest.mark.parametrize("transparent", [0.1, 0.5])
def test_a_half_shadow_is_not_dead(transparent):
    def shadow(x, y, panel):
        return water_ring(x, y) * np.where(is_dead(), transparent, 1)

    surface, flags = surface_of(make_world(shadow, seed=54, n_spots=0))
    assert surface.dead == 0
    assert not (flags & BAD).any()


@pytest.mark.parametrize("level", [0.003, 0.03, 0.3])
def test_a_frame_of_single_photons_has_no_dead_pixels(level):
    world = make_world(lambda x, y, p: water_ring(x, y, level=level), seed=55, n_spots=0)
    assert surface_of(world)[0].dead == 0


@pytest.mark.parametrize("pedestal", [-0.003, 0.0003])
def test_reflections_without_a_photon_are_not_dead_where_a_pedestal_was_taken_off(pedestal):
    def shift(counts, w):
        counts -= pedestal

    places = [(0, 40.5 + 9 * i, 60.5 + 9 * j) for i in range(12) for j in range(8)]  # no clean tile between them
    world = make_world(
        lambda x, y, p: water_ring(x, y, level=0.01), seed=59, places=places, intensity=0.0, spoil=shift
    )  # fmt: skip
    assert make_estimator("water", Noise()).estimate(world.frame, world.scene, RADII).dead == 0


def test_levels_below_zero_are_a_pedestal_and_not_dead():
    world = make_world(
        lambda x, y, p: water_ring(x, y, level=1.0), seed=56, n_spots=0, read_noise=0.2,
        spoil=spoilt(lambda rng, n: rng.normal(-1, 0.2, n)),
    )  # fmt: skip
    assert surface_of(world, (1.0, 0.04))[0].dead == 0


def test_a_hot_ring_says_nothing_of_pixels_at_other_radii():
    def hot(counts, w):
        at = (np.hypot(w.x, w.y) > 60) & (np.hypot(w.x, w.y) < 90)
        counts[at] *= np.where(np.arctan2(w.y, w.x)[at] > 0.8, 1, 1000)

    world = make_world(water_ring, seed=57, n_spots=0, spoil=hot)
    _, flags = surface_of(world)
    r = np.hypot(*middles(world.frame.detector)[:2])
    assert not (flags & BAD)[(r < 48) | (r > 102)].any()


@pytest.mark.parametrize("name", ["water", "radial"])
def test_reflections_on_a_dead_module_stand_on_bad_pixels_and_others_do_not(name):
    places = [(1, 150.0, 60.0), (1, 256.5, 60.0), (1, 300.0, 60.0), (0, 150.0, 60.0)]
    world = make_world(water_ring, seed=58, det=detector(), places=places, intensity=300.0, spoil=spoilt(0.0))
    found = make_estimator(name, Noise()).estimate(world.frame, world.scene, RADII)
    assert found.dead > 7000
    is_bad = [bool(found.flags[80000 * p + int(ss) * 400 + int(fs)] & BAD) for p, fs, ss in places]
    assert is_bad == [True, False, False, False]
