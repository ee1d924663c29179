"""Where spots are: maps of prediction errors, turned blocks of a crystal, panels, and the scatter about all that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.integrate.places import Places
from waterbg.integrate.positions import NO_MAP, PositionMap, learn_panels, learn_positions
from waterbg.integrate.psf import Lines
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.stretch import NO_STRETCH, Stretch, learn_stretch

LENGTH, K = 900.0, 7.66  # px, nm⁻¹


def on_detector(g):
    """Laboratory position, pixels, at which the ray of a reciprocal vector meets a detector that stands upright."""
    ray = g + np.array([0, 0, K])
    return ray / ray[:, 2:] * LENGTH


def lattice_points(n, seed, error=0.02):
    """Reciprocal vectors near the Ewald sphere, and their excitation errors."""
    rng = np.random.default_rng(seed)
    two_theta, phi = rng.uniform(0.05, 0.6, n), rng.uniform(-np.pi, np.pi, n)
    e = rng.uniform(-error, error, n)
    ray = np.stack([np.sin(two_theta) * np.cos(phi), np.sin(two_theta) * np.sin(phi), np.cos(two_theta)], axis=1)
    return ray * (K - e)[:, None] - np.array([0, 0, K]), e


def places_at(x, y, excitation=None, panel=None):
    n = len(x)
    position = np.stack([x, y, np.full(n, LENGTH)], axis=1)
    panel = np.zeros(n, np.int32) if panel is None else panel
    return Places.of(panel, position, np.zeros(n) if excitation is None else excitation, K)


def random_places(n, seed, panel=None):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-600, 600, (2, n))
    return places_at(x, y, rng.uniform(-0.03, 0.03, n), panel), rng


# -- turned blocks ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0, 0.1))
def test_a_spot_leans_to_where_the_blocks_are_that_a_still_shows(seed, size):
    """Against the mean of the turns that take the excitation error away, done to the vector and followed to the
    detector, to first order in how unequal turns about different axes are."""
    rng = np.random.default_rng(seed)
    g, e = lattice_points(50, seed, 0.004)
    a, b, c23, c13 = size * rng.uniform(-1, 1, 4)
    turns = np.array([[1 + a, b, c13], [b, 1 - a, c23], [c13, c23, 1.0]])
    ray = g + np.array([0, 0, K])
    per_turn = -np.cross(g, ray) / np.linalg.norm(ray, axis=1)[:, None]  # of the excitation error
    shared = per_turn @ turns
    turn = -shared * (e / (shared * per_turn).sum(axis=1))[:, None]
    turned = g + np.cross(turn, g)
    assert K - np.linalg.norm(turned + np.array([0, 0, K]), axis=1) == pytest.approx(0, abs=1e-4)
    truth = (on_detector(turned) - on_detector(g))[:, :2]
    places = Places.of(np.zeros(50, np.int32), on_detector(g), e, K)
    found = PositionMap(leaning=(-1.0, -c23, c13, -b, a)).at(places)
    assert found == pytest.approx(truth, abs=0.01 + 0.03 * np.abs(truth).max() + 3 * size**2)


def test_a_reflection_on_the_sphere_does_not_lean():
    places = places_at(np.array([3.0, -200.0]), np.array([4.0, 100.0]))
    assert np.abs(PositionMap(leaning=(1.0,) * 5).at(places)).max() == 0


def test_how_a_crystal_leans_is_learnt_from_its_strong_spots():
    places, rng = random_places(200, 1)
    truth = PositionMap(leaning=(-0.7, 0.4, -0.2, 0.5, 0.1))
    offset = truth.at(places) + rng.normal(0, 0.1, (200, 2))
    offset[:10] += 2
    found = learn_positions(places, offset, np.full(200, 1e-3))
    assert found.coefficients == ()
    assert found.leaning == pytest.approx(truth.leaning, abs=0.15)
    assert np.abs(found.at(places) - truth.at(places)).max() < 0.1


def test_each_crystal_of_a_frame_leans_its_own_way():
    places, rng = random_places(400, 11)
    crystal = (np.arange(400) % 2).astype(np.int32)
    both = places.by_crystal(crystal)
    one, other = (-0.7, 0.4, 0.0, 0.2, 0.0), (-0.6, -0.4, 0.3, 0.0, 0.1)
    offset = PositionMap(leaning=(*one, *other)).at(both)
    for number, leaning in enumerate((one, other)):
        mine = np.flatnonzero(crystal == number)
        assert offset[mine] == pytest.approx(PositionMap(leaning=leaning).at(places[mine]))
    found = learn_positions(both, offset + rng.normal(0, 0.1, (400, 2)), np.full(400, 1e-3), PositionMap())
    assert np.abs(found.at(both) - offset).max() < 0.1
    alone = places.by_crystal(np.zeros(400, np.int32))
    assert alone is places
    run = PositionMap(leaning=one)
    assert run.at(both) == pytest.approx(run.at(places))  # what the run says holds for all crystals
    assert learn_positions(both, run.at(both), np.full(400, 1e-3), run).at(both) == pytest.approx(run.at(places))


@pytest.mark.parametrize("few", [0, 1, 5, 19])
def test_a_crystal_with_few_strong_spots_is_not_led_astray_by_another(few):
    places, rng = random_places(220, 12)
    crystal = np.repeat(np.arange(3), [200, few, 20 - few]).astype(np.int32)
    both = places.by_crystal(crystal)
    truth = PositionMap(leaning=(-0.7, 0.4, -0.2, 0.5, 0.1) * 3)
    found = learn_positions(both, truth.at(both) + rng.normal(0, 0.15, (220, 2)), np.full(220, 1e-3))
    assert np.abs(found.at(both) - truth.at(both))[crystal == 0].max() < 0.15
    assert (np.reshape(found.leaning, (-1, 5))[1] == 0).all()


def test_a_panel_behind_the_sample_leans_the_other_way():
    x, y, e = np.array([100.0, -50.0]), np.array([30.0, 80.0]), np.full(2, 0.01)
    places = [Places.of(np.zeros(2, np.int32), np.stack([x, y, np.full(2, z)], axis=1), e, K) for z in (300.0, -300.0)]
    ahead, behind = (PositionMap(leaning=(-1.0, 0, 0, 0, 0)).at(each) for each in places)
    outward = np.stack([x, y], axis=1)
    assert ((ahead * outward).sum(axis=1) < 0).all()
    assert ((behind * outward).sum(axis=1) > 0).all()


def test_a_crystal_that_does_not_lean_is_left_alone():
    places, rng = random_places(300, 2)
    assert learn_positions(places, rng.normal(0, 0.3, (300, 2)), np.full(300, 1e-3)) == NO_MAP


# -- smooth maps -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "most"), [(10, 1), (40, 3), (100, 6), (200, 10), (400, 15)])
def test_a_map_has_no_more_terms_than_its_spots_allow(n, most):
    rng = np.random.default_rng(n)
    x, y = rng.uniform(-600, 600, (2, n))
    u, v = x / 1000, y / 1000
    along_x = [0.5, u, 1.5 * u * u, 3 * u**3, 5 * v**4]
    along_y = [-0.4, 0.8 * v, 2 * u * v, -3 * u * v * v, 5 * u**4]
    orders = [1, 3, 6, 10, 15].index(most) + 1
    truth = np.stack([sum(along_x[:orders]) + 0 * u, sum(along_y[:orders]) + 0 * v], axis=1)
    offset = truth + rng.normal(0, 0.06, truth.shape)
    offset[: n // 15] += 3
    positions = learn_positions(places_at(x, y), offset, np.full(n, 0.02**2))
    assert len(positions.coefficients) == most
    if most == 15:
        assert np.abs(positions.at(places_at(x, y)) - truth)[np.hypot(*truth.T) < 2.4].max() < 0.1


def test_a_map_is_added_to_the_runs():
    places, rng = random_places(100, 3)
    run = PositionMap(((1.0, -1.0), (0.5, 0.0), (0.0, 0.5)), leaning=(0.3, 0.0, 0.0, 0.0, 0.0))
    offset = run.at(places) + rng.normal(0, 0.1, (100, 2))
    assert learn_positions(places, offset, np.full(100, 1e-4), run) == run
    none = np.zeros(0, np.int64)
    assert learn_positions(places[none], offset[none], np.zeros(0), run) == run
    further = learn_positions(places, offset + np.array([0.5, 0]), np.full(100, 1e-4), run)
    assert further.coefficients[1:] == run.coefficients[1:]
    assert np.mean(further.at(places) - run.at(places), axis=0) == pytest.approx([0.5, 0], abs=0.05)


def test_no_spot_is_moved_farther_than_it_can_be_found():
    far = PositionMap(((5.0, 0.0),))
    assert far.at(places_at(np.zeros(1), np.zeros(1))).tolist() == [[2.5, 0.0]]
    assert NO_MAP.at(places_at(np.array([3.0]), np.array([4.0]))).tolist() == [[0.0, 0.0]]


# -- panels ----------------------------------------------------------------------------------------------------------


def test_panels_that_are_elsewhere_are_found_and_those_without_spots_are_left():
    panel = (np.arange(600) % 20).astype(np.int32)
    places, rng = random_places(600, 4, panel)
    truth = rng.normal(0, 0.4, (22, 2))
    found = np.array(learn_panels(places, truth[panel] + rng.normal(0, 0.3, (600, 2)), np.full(600, 1e-3), 22))
    assert np.abs(found[:20] - truth[:20]).max() < 0.2
    assert (found[20:] == 0).all()
    moved = PositionMap(panels=tuple(map(tuple, found)))
    assert moved.at(places) == pytest.approx(found[panel])


@pytest.mark.parametrize("seed", range(10))
def test_panels_in_their_places_are_not_moved(seed):
    panel = (np.arange(300) % 30).astype(np.int32)
    places, rng = random_places(300, seed, panel)
    assert learn_panels(places, rng.normal(0, 0.3, (300, 2)), np.full(300, 1e-3), 30) == ()


def test_one_panel_that_is_far_off_is_not_taken_for_outliers():
    panel = (np.arange(400) % 8).astype(np.int32)
    places, rng = random_places(400, 5, panel)
    truth = np.zeros((8, 2))
    truth[5] = 1.2, -0.9
    offset = truth[panel] + rng.normal(0, 0.12, (400, 2))
    offset[::25] = rng.uniform(-2.5, 2.5, (16, 2))  # something else
    found = np.array(learn_panels(places, offset, np.full(400, 1e-4), 8))
    assert found == pytest.approx(truth, abs=0.06)


def test_panels_of_few_spots_are_moved_less():
    panel = np.repeat(np.arange(10), [2, 60, 60, 60, 60, 60, 60, 60, 60, 60]).astype(np.int32)
    places, rng = random_places(len(panel), 5, panel)
    truth = np.full((10, 2), 0.5) * np.array([1, -1])[np.arange(10) % 2, None]
    found = np.array(learn_panels(places, truth[panel] + rng.normal(0, 0.5, (len(panel), 2)), np.zeros(len(panel)), 10))
    assert np.abs(found[1:] - truth[1:]).max() < 0.25
    bare = np.abs((truth[panel] + 0)[:2]).mean()
    assert np.abs(found[0]).mean() < bare


# -- widths by direction ---------------------------------------------------------------------------------------------


def test_widths_that_depend_on_direction_and_side_are_learnt():
    places, rng = random_places(300, 6)
    truth = Stretch((0.3, 0.0, 0.0, 0.0), (-0.2, 0.1, 0.03, -0.02))
    ratio = truth.at(places) * rng.lognormal(0, 0.1, (300, 2))
    ratio[:15] = 0.3  # hot pixels
    found = learn_stretch(places, ratio, np.full((300, 2), 1e-3))
    assert found.radial[:2] == pytest.approx(truth.radial[:2], abs=0.05)
    assert np.abs(found.at(places) / truth.at(places) - 1).std() < 0.03


def test_round_spots_stay_round():
    places, rng = random_places(300, 7)
    assert learn_stretch(places, rng.lognormal(0, 0.2, (300, 2)), np.full((300, 2), 1e-3)) == NO_STRETCH
    few = np.arange(10)
    assert learn_stretch(places[few], np.ones((10, 2)), np.full((10, 2), 1e-3)) == NO_STRETCH


def test_a_stretch_stays_within_bounds():
    places = places_at(np.array([100.0, 0.0]), np.array([0.0, 100.0]))
    assert Stretch((5.0, 0, 0, 0), (0.0,) * 4).at(places).tolist() == [[2.0, 1.0], [0.5, 1.0]]


# -- scatter ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("radial", "tangential"), [(0.0, 0.0), (0.1, 0.05)])
def test_scatter_that_grows_away_from_the_sphere_is_learnt(radial, tangential):
    places, rng = random_places(4000, 8)
    inv_d = rng.uniform(1, 6, 4000)
    truth = Scatter(Lines(0.2, 0.02, 0.3, 0.0), radial, tangential)
    left = rng.normal(0, np.sqrt(truth.variance(inv_d, places) + 1e-4))
    before = Scatter(Lines(0.3, 0.0, 0.3, 0.0))
    found = before.learn(left, np.full((4000, 2), 1e-4), inv_d, places, inv_d, 1)
    ratio = np.sqrt(found.variance(inv_d, places) / truth.variance(inv_d, places))
    assert ratio.mean(axis=0) == pytest.approx([1, 1], abs=0.08)
    assert found.radial == pytest.approx(radial, abs=0.03)
    assert found.tangential == pytest.approx(tangential, abs=0.03)


def test_without_spots_the_scatter_is_what_it_was():
    places, none = random_places(5, 9)[0], np.zeros(0, np.int64)
    before = Scatter(Lines(0.3, 0.0, 0.3, 0.0), 0.1, 0.2)
    nothing = np.zeros((0, 2))
    assert before.learn(nothing, nothing, np.zeros(0), places[none], np.ones(3)) == before


def test_offsets_turn_along_the_radius_and_back():
    places, rng = random_places(40, 10)
    offset = rng.normal(size=(40, 2))
    assert places.off_radius(places.along_radius(offset)) == pytest.approx(offset)
    outward = np.stack([places.x, places.y], axis=1)
    assert places.along_radius(outward)[:, 1] == pytest.approx(0, abs=1e-9)
    assert (places.along_radius(outward)[:, 0] > 0).all()
