"""Which panel a ray meets, however many there are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from waterbg.geometry import parse_geometry
from waterbg.predict.rays import extent, planes

from . import twin
from .worlds import CLEN, HEAD, scattered, tiles


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), shift=st.sampled_from([0.0, 0.05, 4.0, 150.0]))
@settings(deadline=None, max_examples=60)
def test_rays_meet_the_panel_that_trying_all_of_them_finds(seed, n, shift):
    detector, rng = scattered(seed, n), np.random.default_rng(seed)
    shift = (shift * rng.normal(), shift * rng.normal())
    towards = rng.integers(0, n, 60)
    fs, ss = rng.uniform(-0.2, 1.2, (2, 60)) * detector.shapes[towards, ::-1].T
    targets = np.stack(detector.lab(towards, fs, ss, CLEN, shift), axis=1) * rng.uniform(0.1, 1e3, (60, 1))
    rays = np.concatenate([targets, rng.normal(size=(30, 3))])
    panel, position = planes(detector, CLEN, shift).meet(rays)
    expected = [twin.locate(ray, detector, CLEN, shift) for ray in rays]
    # a ray that just touches an edge may be on or off
    clear = [p < 0 or min(f % 1, s % 1) > 1e-6 for p, f, s in expected]
    assert_array_equal(panel[clear], [p for (p, _, _), ok in zip(expected, clear) if ok])
    on = (panel >= 0) & clear
    assert_allclose(position[on], np.array(expected)[on, 1:], rtol=1e-6, atol=1e-6)


def test_of_overlapping_panels_the_first_is_met():
    detector = parse_geometry(
        f"{HEAD}res = 10000\n"
        + "".join(
            f"{name}/min_fs = 0\n{name}/max_fs = 99\n{name}/min_ss = {row}\n{name}/max_ss = {row + 99}\n"
            f"{name}/corner_x = {corner}\n{name}/corner_y = -50\n{name}/fs = +1.0x\n{name}/ss = +1.0y\n"
            for name, row, corner in (("second", 100, -30), ("first", 0, -50))
        )
    )
    panel, position = planes(detector, CLEN).meet(np.array([[0.0, 0.0, 1.0], [-0.004, 0.0, 0.1]]))
    assert [detector.panels[p].name for p in panel] == ["second", "first"]
    assert_allclose(position, [[30, 50], [10, 50]])


def test_rays_of_no_direction_meet_nothing():
    rays = np.array([[0.0, 0.0, 0.0], [np.nan, 0, 1], [np.inf, 0, 1], [0, 0, -1]])
    for detector in (tiles(1, 1, 100, 100), tiles(5, 5, 20, 20, gap=0)):
        panel, position = planes(detector, CLEN).meet(rays)
        assert panel.tolist() == [-1] * 4
        assert np.isnan(position).all()


def test_panel_whose_plane_runs_through_the_sample_is_never_met():
    detector = tiles(1, 1, 100, 100)
    assert (planes(detector, 0.0).meet(np.random.default_rng(0).normal(size=(100, 3)))[0] == -1).all()


def test_thousands_of_panels_are_found_by_direction():
    detector = tiles(60, 60, 16, 16, gap=1)
    one = planes(detector, CLEN, (0.3, -0.1))
    rng = np.random.default_rng(4)
    towards = rng.integers(0, 3600, 5000)
    where = rng.uniform(0.01, 15.99, (2, 5000))
    rays = np.stack(detector.lab(towards, *where, CLEN, (0.3, -0.1)), axis=1)
    panel, position = one.meet(rays)
    assert_array_equal(panel, towards)
    assert_allclose(position.T, where, atol=1e-6)
    most = np.diff(one.starts).max()
    assert most <= 16  # that many are tried, not 3600


def test_extent_is_that_of_the_farthest_corner_and_the_closest_plane():
    angle, distance = extent(tiles(1, 1, 2000, 1000), CLEN)
    assert_allclose([angle, distance], [np.arctan(np.hypot(0.10015, 0.05015) / 0.1), 0.1])
