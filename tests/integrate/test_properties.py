"""What must not change an intensity: units, where and how panels are stored, the order of reflections, masked pixels.

CrystFEL's rings see the pixels around a spot alone, and give the same to the last bits. The profile fit learns the
background by tiles and shapes from strong spots: told otherwise, an intensity moves by a small part of its sigma.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.background import turns
from tests.background.worlds import make_world, water_ring
from tests.integrate.test_profile_fit import RADII, ROUND
from waterbg.background import Noise, Trust, frame_rays, make_estimator
from waterbg.integrate.profile import integrate_profile
from waterbg.integrate.result import Status
from waterbg.integrate.rings import integrate_rings

METHODS = ("fit", "sum", "rings", "rings-grad")
each = pytest.mark.parametrize("method", METHODS)
few = settings(deadline=None, max_examples=6, derandomize=True)


def bad(x, y, panel):
    """A column, a row, and one pixel in a thousand."""
    return (np.abs(x - 40) < 1) | (np.abs(y - 90) < 2) | ((x * 7919.3 + y * 31.7) % 997 < 1)


def offset(x, y):
    """Error of the predictions, which the position map has to find in any orientation."""
    return 0.3 + 0.002 * x, -0.2 - 0.001 * y


@pytest.fixture(scope="module")
def world():
    intensity = np.random.default_rng(3).permutation(np.geomspace(5, 5000, 100))
    return make_world(water_ring, seed=32, n_spots=100, bad=bad, intensity=intensity, offset=offset)


def integrate(world, method, polarisation="horiz", noise=None, joint=False):
    if method.startswith("rings"):
        return integrate_rings(world.frame, world.scene, (3, 5, 7), gradient=method == "rings-grad")
    background = make_estimator("water", noise or Noise(), polarisation, Trust((), (1e-4,))).estimate(
        world.frame, world.scene, RADII
    )
    rays = frame_rays(world.frame, world.scene, polarisation)
    return integrate_profile(
        world.frame, world.scene, RADII, background, rays, run=ROUND, summation=method == "sum", joint=joint
    )[0]


def assert_close(before, after, most, rms=None, keep=True, units=1.0):
    """Intensities within ``most`` sigma, sigmas within a sixth of that, the same spots kept, the same peaks."""
    units = np.broadcast_to(units, len(before))
    keep = np.broadcast_to(keep, len(before))
    np.testing.assert_array_equal(after["status"][keep], before["status"][keep])
    ok = keep & (before["status"] == Status.OK)
    assert ok.sum() > 50
    sigma = before["sigma"][ok]
    moved = (after["I"] / units - before["I"])[ok] / sigma
    assert np.abs(moved).max() <= most
    assert np.sqrt(np.mean(moved**2)) <= (most if rms is None else rms)
    np.testing.assert_allclose((after["sigma"] / units)[ok], sigma, rtol=max(most / 6, 1e-6))
    np.testing.assert_allclose((after["peak"] / units)[ok], before["peak"][ok], rtol=1e-6)
    np.testing.assert_allclose((after["background"] / units)[ok], before["background"][ok], rtol=max(most / 6, 1e-6))


@each
def test_other_units_of_a_panel_multiply_all_numbers(world, method):
    factors = np.array([3.7, 12.5])
    after = integrate(turns.in_other_units(world, factors), method)
    assert_close(integrate(world, method), after, most=3e-5, units=factors[world.scene.spots["panel"]])


@pytest.mark.parametrize("method", ["fit", "sum"])
@pytest.mark.parametrize("gain", [0.25, 3.0])
def test_a_gain_multiplies_all_numbers(world, method, gain):
    counts = dataclasses.replace(world, frame=dataclasses.replace(world.frame, data=world.frame.data * gain))
    after = integrate(counts, method, noise=Noise(gain, 0.0))
    assert_close(integrate(world, method), after, most=0.12, rms=0.04, units=gain)


@each
@given(columns=st.integers(0, 70), rows=st.integers(0, 70))
@few
def test_where_in_the_file_a_panel_lies_is_of_no_importance(world, method, columns, rows):
    after = integrate(turns.shifted(world, columns, rows), method)
    limits = {"fit": (0.12, 0.03), "sum": (0.3, 0.06)}.get(method, (1e-9, 1e-9))
    assert_close(integrate(world, method), after, *limits)


@each
def test_how_a_panel_is_stored_is_of_no_importance(world, method):
    limits = (1e-9, 1e-9) if method.startswith("rings") else (0.1, 0.025)
    assert_close(integrate(world, method), integrate(turns.stored_turned(world), method), *limits)


@each
@given(degrees=st.integers(0, 359))
@few
def test_a_detector_turned_about_the_beam_with_its_polarisation_gives_the_same(world, method, degrees):
    after = integrate(turns.turned(world, degrees), method, f"{degrees}deg")
    assert_close(integrate(world, method), after, 1e-9 if method.startswith("rings") else 2e-3)


@each
@given(seed=st.integers(0, 1000))
@few
def test_the_order_of_reflections_is_of_no_importance(world, method, seed):
    order = np.random.default_rng(seed).permutation(len(world.truth))
    assert_close(integrate(world, method)[order], integrate(turns.reordered(world, order), method), most=1e-9)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_overlapping_neighbours_is_of_hardly_any_importance(joint, seed):
    """They are fitted in turn, six times around: what the last turn still changes depends on whose turn is first."""
    places = [
        (p, 20.3 + 31 * i + dx, 20.7 + 31 * j + dy)
        for p in (0, 1)
        for j in range(5)
        for i in range(12)
        for dx, dy in ((0, 0), (4.1, 0.3), (1.7, 4.4))
    ]
    rng = np.random.default_rng(seed)
    world = make_world(water_ring, seed=33, places=places, intensity=rng.exponential(800.0, len(places)))
    order = rng.permutation(len(places))
    before, after = (integrate(w, "fit", joint=joint) for w in (world, turns.reordered(world, order)))
    assert_close(before[order], after, most=0.02)


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e30, 3e38, 65535.0])
def test_what_masked_pixels_hold_is_of_no_importance(world, method, value):
    before, after = (integrate(turns.under_mask(world, v), method) for v in (0.0, value))
    for name in before.dtype.names:
        np.testing.assert_array_equal(after[name], before[name])


@each
@pytest.mark.parametrize(("columns", "rows", "most", "rms"), [(2, 2, 0.4, 0.08), (5, 3, 0.6, 0.15)])
def test_a_panel_told_as_several_gives_the_same_away_from_the_new_edges(world, method, columns, rows, most, rms):
    parts = turns.split(world, columns, rows)
    inside = turns.from_edges(parts) > RADII[2] + 3
    limits = (1e-9, 1e-9) if method.startswith("rings") else (most, rms)
    assert_close(integrate(world, method), integrate(parts, method), *limits, keep=inside)
