"""What must not change the background under a spot, for every estimator.

Differences are in standard deviations of one ring's mean, the error of a background known from the spot's ring alone.
Ring and plane look at pixels around a spot and nothing else: they give the same whatever is done to the rest. Radial
and water learn from the whole frame by tiles and by rows: other tiles are other estimates of the same background, and
agree to a small part of that error.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.background import turns
from tests.background.test_estimators import NAMES, RADII, RING_PIXELS, under_spots
from tests.background.worlds import make_world, water_ring
from waterbg.background import Noise, Trust, make_estimator

LOCAL = ("ring", "plane")
FRAME = ("radial", "water")
both = pytest.mark.parametrize("name", NAMES)
few = settings(deadline=None, max_examples=8, derandomize=True)


def bad(x, y, panel):
    """A column, a row, and one pixel in a hundred."""
    return (np.abs(x - 40) < 1) | (np.abs(y - 90) < 2) | ((x * 7919.3 + y * 31.7) % 97 < 1)


@pytest.fixture(scope="module")
def world():
    return make_world(water_ring, seed=31, n_spots=80, bad=bad, intensity=np.geomspace(5, 3000, 80))


def estimate(world, name, polarisation="horiz", noise=None):
    return make_estimator(name, noise or Noise(), polarisation, Trust((), (1e-4,))).estimate(
        world.frame, world.scene, RADII
    )


def moved(world, before, after):
    """(n,) how far the level under each spot is from where it was, in errors of one ring."""
    level = under_spots(world, before)
    return (under_spots(world, after) / level - 1) * np.sqrt(RING_PIXELS * level)


def assert_same(before, after, rtol=1e-6):
    np.testing.assert_allclose(after.expected, before.expected, rtol=max(rtol, 2e-6))
    np.testing.assert_allclose(after.scale_variance, before.scale_variance, rtol=20 * rtol)
    np.testing.assert_allclose(after.factor, before.factor, rtol=20 * rtol)


@both
def test_other_units_of_a_panel_change_nothing(world, name):
    assert_same(estimate(world, name), estimate(turns.in_other_units(world, (3.7, 12.5)), name))


@both
@pytest.mark.parametrize("gain", [0.25, 3.0])
def test_a_gain_multiplies_the_background(world, name, gain):
    """What is learnt from 50 photons or more is learnt from another number of counts, hence the small change."""
    counts = dataclasses.replace(world, frame=dataclasses.replace(world.frame, data=world.frame.data * gain))
    found = estimate(counts, name, noise=Noise(gain, 0.0))
    found.expected /= gain
    before = estimate(world, name)
    if name in LOCAL:
        assert_same(before, found)
    change = moved(world, before, found)
    assert np.sqrt(np.mean(change**2)) < 0.06
    assert np.abs(change).max() < 0.25
    np.testing.assert_allclose(found.factor, before.factor, rtol=0.05)


@both
@given(columns=st.integers(0, 70), rows=st.integers(0, 70))
@few
def test_where_in_the_file_a_panel_lies_is_of_no_importance(world, name, columns, rows):
    before, after = estimate(world, name), estimate(turns.shifted(world, columns, rows), name)
    if name in LOCAL:
        assert_same(before, after)
    # rows are sampled, and what radial leaves out of the level is a matter of which
    change = moved(world, before, after)
    assert np.sqrt(np.mean(change**2)) < (0.25 if name == "radial" else 0.06)
    assert np.abs(change).max() < 0.5


@both
def test_how_a_panel_is_stored_is_of_no_importance(world, name):
    before, once = estimate(world, name), turns.stored_turned(world)
    four_times = turns.stored_turned(turns.stored_turned(turns.stored_turned(once)))
    assert_same(before, estimate(four_times, name))
    after = estimate(once, name)
    # fs of the new panel is ss of the old, ss runs against its fs
    back = after.expected.transpose(0, 2, 1)[:, :, ::-1]
    if name in LOCAL:
        np.testing.assert_allclose(back, before.expected, rtol=2e-6)
    change = moved(world, before, after)
    assert np.sqrt(np.mean(change**2)) < 0.06
    assert np.abs(change).max() < 0.2


@both
@given(degrees=st.integers(0, 359))
@few
def test_a_detector_turned_about_the_beam_with_its_polarisation_gives_the_same(world, name, degrees):
    before, after = estimate(world, name), estimate(turns.turned(world, degrees), name, f"{degrees}deg")
    assert_same(before, after, rtol=1e-6 if name in LOCAL else 1e-4)


@both
@given(seed=st.integers(0, 1000))
@few
def test_the_order_of_reflections_is_of_no_importance(world, name, seed):
    order = np.random.default_rng(seed).permutation(len(world.truth))
    before, after = estimate(world, name), estimate(turns.reordered(world, order), name)
    np.testing.assert_array_equal(after.expected, before.expected[order])
    np.testing.assert_array_equal(after.scale_variance, before.scale_variance[order])
    np.testing.assert_array_equal(after.factor, before.factor[order])


@both
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e30, 3e38, 65535.0])
def test_what_masked_pixels_hold_is_of_no_importance(world, name, value):
    before, after = (estimate(turns.under_mask(world, v), name) for v in (0.0, value))
    np.testing.assert_array_equal(after.expected, before.expected)
    np.testing.assert_array_equal(after.scale_variance, before.scale_variance)
    np.testing.assert_array_equal(after.factor, before.factor)


@both
@pytest.mark.parametrize(("columns", "rows", "rms", "most"), [(2, 2, 0.2, 0.4), (5, 3, 0.25, 0.6)])
def test_a_panel_told_as_several_gives_the_same_away_from_the_new_edges(world, name, columns, rows, rms, most):
    """Maps are made panel by panel: panels of 80 x 66 pixels know less of their surroundings."""
    parts = turns.split(world, columns, rows)
    inside = turns.from_edges(parts) > RADII[2] + 2
    assert inside.sum() >= 50
    before, after = estimate(world, name), estimate(parts, name)
    if name in LOCAL:
        np.testing.assert_array_equal(after.expected[inside], before.expected[inside])
    change = moved(world, before, after)[inside]
    assert np.sqrt(np.mean(change**2)) < rms
    assert np.abs(change).max() < most
