"""The parts of the profile fit by themselves, beside slow twins where there are any."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.background.worlds import CLEN, detector, gaussian_share, make_world, scattering
from waterbg.background import Noise, Trust, make_estimator
from waterbg.background.masks import Pixels
from waterbg.background.rays import make_rays
from waterbg.integrate.expected import shape_error
from waterbg.integrate.measure import FARTHEST, MEASURED, measure_spots
from waterbg.integrate.overlaps import find_neighbours
from waterbg.integrate.psf import Lines, add_row_shares, capture, gaussian, learn_lines, scaled_lines
from waterbg.integrate.solve import hold, invert, solve
from waterbg.predict import columns_of

# -- shapes ----------------------------------------------------------------------------------------------------------


def pixel_share(shape, x, y):
    """Share of a Gaussian in one pixel, its middle (x, y) from the centre: Gauss-Legendre points one by one."""
    a, b, c, height = shape
    points, weights = np.polynomial.legendre.leggauss(3 if max(a, c) > 4 else 2)
    u, v = x + points[:, None] / 2, y + points / 2
    return height * weights @ np.exp(-0.5 * (a * u * u + 2 * b * u * v + c * v * v)) @ weights / 4


@pytest.mark.parametrize(
    ("sigma", "error"),
    [(0.25, 0.05), (0.3, 0.02), (0.4, 0.005), (0.49, 0.003), (0.51, 0.02), (0.8, 0.006), (1.1, 0.003), (2.0, 0.003)],
)
def test_a_pixels_share_is_the_integral_over_it(sigma, error):
    ray = make_rays(detector(), CLEN).panel[1]
    shape = gaussian(ray, 120.3, 60.8, np.array([sigma, sigma]), np.zeros(2), 1.0, 1.0)
    found = np.zeros((21, 21))
    for j, row in enumerate(found):
        add_row_shares(shape, 0.5 - 10.3, j + 0.5 - 10.8, row)
    exact = gaussian_share(10.3, 10.8, sigma, 0, 0, 21)
    assert np.abs(found - exact).max() < error * exact.max()
    assert found.sum() == pytest.approx(1, abs=max(0.005, error))


@pytest.mark.parametrize(("radial", "tangential"), [(0.3, 0.45), (0.4, 0.4), (0.8, 3.0), (2.0, 1.1)])
def test_a_row_of_shares_is_that_of_its_pixels(radial, tangential):
    ray = make_rays(detector(), CLEN).panel[1]
    shape = gaussian(ray, 120.3, 60.8, np.array([radial, tangential]), np.zeros(2), 1.0, 0.7)
    for y in (-5.3, 0.2, 4.7):
        row = np.ones(13)
        add_row_shares(shape, -6.4, y, row)
        one_by_one = [1 + pixel_share(shape, i - 6.4, y) for i in range(13)]
        np.testing.assert_allclose(row, one_by_one, rtol=1e-7)


@pytest.mark.parametrize("sigma", [0.4, 0.8])
def test_a_row_of_shares_may_begin_far_from_its_spot(sigma):
    shape = gaussian(make_rays(detector(), CLEN).panel[1], 120.3, 60.8, np.full(2, sigma), np.full(2, 0.02), 1.0, 1.0)
    row = np.zeros(131)
    add_row_shares(shape, -64.8, 0.3, row)
    assert row[60:70] == pytest.approx([pixel_share(shape, i - 64.8, 0.3) for i in range(60, 70)], rel=1e-5)


def test_a_spot_is_long_along_the_radius_on_a_turned_panel():
    text = "photon_energy = 9500 eV\nclen = 0.08\nres = 5000\nadu_per_photon = 1\n"
    text += "data = /d\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    text += "p/min_fs = 0\np/max_fs = 99\np/min_ss = 0\np/max_ss = 99\np/corner_x = 300\np/corner_y = -50\n"
    text += "p/fs = +0.6x +0.8y\np/ss = -0.8x +0.6y\n"
    from waterbg.geometry import parse_geometry

    ray = make_rays(parse_geometry(text), CLEN).panel[0]
    fs, ss = 50.0, 50.0
    x, y = 300 + 0.6 * fs - 0.8 * ss, -50 + 0.8 * fs + 0.6 * ss
    radial = np.array([x, y]) / np.hypot(x, y)
    along = np.array([radial @ [0.6, 0.8], radial @ [-0.8, 0.6]])  # in fs, ss
    shape = gaussian(ray, fs, ss, np.array([2.0, 1.0]), np.zeros(2), 1.0, 1.0)
    across = np.array([-along[1], along[0]])
    assert pixel_share(shape, *(3 * along)) > 20 * pixel_share(shape, *(3 * across))


@settings(deadline=None, max_examples=30)
@given(r=st.floats(0.6, 3), t=st.floats(0.6, 3), radius=st.floats(1, 8), tail=st.sampled_from([0.0, 0.2]))
def test_capture_is_the_integral_over_the_circle(r, t, radius, tail):
    step = 0.02
    v, u = np.mgrid[-radius:radius:step, -radius:radius:step] + step / 2
    inside = u * u + v * v <= radius**2
    exact = 0.0
    for wider, weight in ((1, 1 - tail), (2, tail)):
        g = np.exp(-0.5 * ((u / r / wider) ** 2 + (v / t / wider) ** 2)) / (2 * np.pi * r * t * wider**2)
        exact += weight * g[inside].sum() * step**2
    found = capture(np.array([[r, t]]), np.zeros((1, 2)), tail, radius)
    assert found[0] == pytest.approx(exact, abs=0.01)


def test_lines_follow_many_spots_and_hold_to_the_run_with_few():
    rng = np.random.default_rng(1)
    run, everywhere = Lines(1.0, 0.05, 1.0, 0.0), np.linspace(1, 6, 100)
    for n, tolerance_truth, tolerance_run in ((600, 0.03, 9), (2, 9, 0.08)):
        d = rng.uniform(1, 5, n)
        truth = np.stack([1.3 + 0.08 * d, 1.2 + 0.02 * d], axis=1)
        values = truth * rng.normal(1, 0.05, truth.shape)
        values[: n // 20] *= 3  # other things than spots
        lines = learn_lines(values, np.full_like(values, 0.03**2), d, run, everywhere, 0.05)
        found = lines.at(everywhere)
        assert (
            np.abs(found - np.stack([1.3 + 0.08 * everywhere, 1.2 + 0.02 * everywhere], axis=1)).max()
            < tolerance_truth * 3
        )
        assert np.abs(found - run.at(everywhere)).max() < tolerance_run
    assert learn_lines(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), run, everywhere, 0.05) == run


def measured_widths(rng, truth, photons):
    """Widths as counted spots have them, and the variance that each of them claims: that of its own width."""
    values = truth * rng.normal(1, 1 / np.sqrt(2 * photons)[:, None], truth.shape)
    return values, values**2 / (2 * photons)[:, None]


def test_a_spot_that_came_out_narrow_counts_no_more_than_one_that_came_out_wide():
    """Weights from a spot's own width would make all widths too small, by 2 % at a hundred photons."""
    rng = np.random.default_rng(3)
    d, photons = rng.uniform(1, 5, 4000), rng.uniform(60, 150, 4000)
    truth = Lines(1.1, 0.06, 1.05, 0.0)
    values, variance = measured_widths(rng, truth.at(d), photons)
    lines = learn_lines(values, variance, d, Lines(1.2, 0.0, 1.2, 0.0), d, 0.01, run_weight=1)
    np.testing.assert_allclose(lines.at(d), truth.at(d), rtol=0.006)
    scaled = scaled_lines(values, variance, d, truth, 0.01)
    assert scaled.radial / truth.radial == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("sigma", [0.4, 0.45, 0.6])
def test_widths_of_half_a_pixel_are_learnt_as_they_are(sigma):
    """Of narrow spots those are known best that came out wide: by their own errors widths would be 5 % too large."""
    world = make_world(
        lambda x, y, p: scattering(x, y),
        seed=31,
        n_spots=400,
        intensity=300.0,
        sigma=sigma,
        det=detector(shape=(400, 500)),
    )
    found = measured(world, start=0.7)
    found = found[(found["ok"] > 0) & (found["var_u"] + found["var_v"] < 2 * 0.2**2)]
    assert len(found) > 350
    values = np.stack([found["radial"], found["tangential"]], axis=1)
    variance = np.stack([found["var_radial"], found["var_tangential"]], axis=1)
    d = np.linspace(1, 5, len(found))
    lines = learn_lines(values, variance, d, Lines(0.7, 0.0, 0.7, 0.0), d, 0.01, run_weight=1)
    assert lines.at(d).mean(axis=0) == pytest.approx([sigma, sigma], rel=0.025)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_spots_of_one_resolution_move_the_lines_between_the_run_and_themselves(n):
    rng = np.random.default_rng(n)
    for _ in range(300):
        d = np.full(n, rng.uniform(0.5, 6))
        run = Lines(rng.uniform(0.8, 1.5), rng.uniform(-0.05, 0.1), 1.0, 0.0)
        width = rng.uniform(0.7, 1.8)
        values = np.full((n, 2), width)
        lines = learn_lines(values, np.full((n, 2), 0.05**2), d, run, d[:1], 0.1)
        for found, before in zip(lines.at(d)[0], run.at(d)[0]):
            assert min(before, width) - 1e-6 <= found <= max(before, width) + 1e-6


def test_hot_pixels_among_the_spots_do_not_narrow_them():
    rng = np.random.default_rng(4)
    d, photons = rng.uniform(1, 5, 300), rng.uniform(150, 400, 300)
    truth = Lines(1.1, 0.06, 1.05, 0.0)
    values, variance = measured_widths(rng, truth.at(d), photons)
    d[:25] = rng.uniform(4, 5, 25)  # where spots are few
    values[:25], variance[:25] = 0.45, 0.45**2 / 800
    for start in (truth, Lines(1.8, 0.0, 1.8, 0.0)):
        lines = learn_lines(values, variance, d, start, d, 0.05, run_weight=1)
        np.testing.assert_allclose(lines.at(d), truth.at(d), rtol=0.02)


def test_one_factor_on_all_widths_is_found_from_few_spots():
    rng = np.random.default_rng(2)
    run, d = Lines(1.0, 0.05, 1.1, 0.0), rng.uniform(1, 3, 25)
    values = 1.1 * run.at(d) * rng.normal(1, 0.03, (25, 2))
    scaled = scaled_lines(values, np.full((25, 2), 0.03**2), d, run, 0.02)
    assert scaled.radial == pytest.approx(1.1, abs=0.025)
    assert scaled.radial_slope / scaled.radial == pytest.approx(0.05)
    assert scaled_lines(values[:0], values[:0], d[:0], run, 0.02) == run


@pytest.mark.parametrize(
    ("width", "blur", "doubt"), [(1.1, 0.35, 0.0), (0.8, 0.6, 0.0), (1.2, 0.0, 0.08), (1.0, 0.3, 0.06)]
)
def test_the_error_of_an_unknown_shape_is_what_spots_that_scatter_show(width, blur, doubt):
    rng = np.random.default_rng(6)
    grid = np.arange(-12, 12.01, 0.2)
    profile = np.exp(-0.5 * grid**2 / (width**2 + blur**2))
    factors = []
    for _ in range(6000):  # along one axis after the other, as a Gaussian is
        factor = 1.0
        for _ in range(2):
            w, s = width * (1 + doubt * rng.normal()), blur * rng.normal()
            spot = np.exp(-0.5 * (grid - s) ** 2 / w**2) / w
            factor *= (profile @ spot) / (profile @ profile) * np.hypot(width, blur)
        factors.append(factor)
    found = shape_error(np.full((1, 2), width), np.full((1, 2), blur**2), np.full((1, 2), doubt))[0]
    assert np.mean(factors) == pytest.approx(1, abs=0.01)
    assert found == pytest.approx(np.std(factors), rel=0.1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6))
def test_inverse_of_a_positive_matrix(seed, n):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n + 2))
    matrix, inverse = half @ half.T, np.zeros((n, n))
    assert invert(matrix, inverse)
    np.testing.assert_allclose(inverse @ matrix, np.eye(n), atol=1e-6 * np.linalg.cond(matrix))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30))
def test_equations_of_some_unknowns_alone_have_the_solution_that_numpy_finds(seed, n):
    rng = np.random.default_rng(seed)
    half, right = rng.normal(size=(n, n + 5)), rng.normal(size=n)
    normal = half @ half.T
    which = np.flatnonzero(rng.random(n) < 0.7)
    wanted = np.linalg.solve(normal[np.ix_(which, which)], right[which])
    normal[np.triu_indices(n, 1)] = np.nan  # nobody reads that
    scale = np.linalg.cond(half) ** 2 * np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(solve(normal, right, which), wanted, atol=1e-13 * scale, rtol=1e-9)


def test_what_nothing_is_known_about_becomes_nothing():
    normal, right = np.diag([4.0, 0.0]), np.array([2.0, 0.0])
    hold(normal)
    assert solve(normal, right, np.arange(2)) == pytest.approx([0.5, 0.0], abs=1e-8)


def test_a_matrix_without_inverse_is_told():
    assert not invert(np.ones((3, 3)), np.zeros((3, 3)))
    assert not invert(np.full((2, 2), np.nan), np.zeros((2, 2)))


def measured(world, start=1.1, tail=0.0, before=None):
    background = make_estimator("water", Noise(), trust=Trust((), (1e-6,))).estimate(
        world.frame, world.scene, (3.0, 5.0, 7.0)
    )
    spots = world.scene.spots
    out = np.zeros(len(spots), MEASURED)
    before = out[:0] if before is None else before
    measure_spots(
        Pixels.of(world.frame, background.flags), make_rays(world.frame.detector, CLEN), *columns_of(spots),
        np.arange(len(spots)), 3, 4.0, background.arrays, np.full((len(spots), 2), start), tail, FARTHEST,
        before.view(np.recarray), out.view(np.recarray),
    )  # fmt: skip
    return out


def test_places_and_widths_of_strong_spots_are_measured_with_the_error_they_state():
    world = make_world(
        lambda x, y, p: 5 * scattering(x, y),
        seed=21,
        n_spots=110,
        intensity=1500.0,
        sigma=1.3,
        offset=lambda x, y: (0.8, -0.6),
    )
    found = measured(world)
    assert found["ok"].mean() > 0.97
    found = found[found["ok"] > 0]
    for name, truth, variance in (
        ("dx", 0.8, 0.5 * (found["var_u"] + found["var_v"])),
        ("dy", -0.6, 0.5 * (found["var_u"] + found["var_v"])),
        ("radial", 1.3, found["var_radial"]),
        ("tangential", 1.3, found["var_tangential"]),
    ):
        z = (found[name] - truth) / np.sqrt(variance)
        assert abs(z.mean()) < 0.5, name
        assert 0.75 < z.std() < 1.3, name


def test_going_on_from_another_tail_ends_where_a_fresh_start_does():
    world = make_world(lambda x, y, p: 5 * scattering(x, y), seed=23, n_spots=80, intensity=1500.0, sigma=1.3)
    without, fresh = measured(world), measured(world, tail=0.1)
    without["ok"][::7] = False
    on = measured(world, tail=0.1, before=without)
    assert not on["ok"][::7].any()
    both = (on["ok"] > 0) & (fresh["ok"] > 0)
    assert both.mean() > 0.8
    on, fresh = on[both], fresh[both]
    for name, error in (("dx", "var_u"), ("dy", "var_v"), ("radial", "var_radial"), ("tangential", "var_tangential")):
        assert np.abs(on[name] - fresh[name]).max() < 0.2 * np.sqrt(fresh[error]).min(), name
    np.testing.assert_allclose(on["I"], fresh["I"], rtol=2e-3)
    # a pixel at the edge of the fit may be in one and not in the other
    assert np.median(np.abs(on["deviance"] - fresh["deviance"])) < 0.1


def test_the_deviance_tells_a_tail_from_none():
    world = make_world(lambda x, y, p: 5 * scattering(x, y), seed=22, n_spots=80, intensity=4000.0)
    tails = [measured(world, tail=tail) for tail in (0.0, 0.2)]
    good = (tails[0]["ok"] > 0) & (tails[1]["ok"] > 0)
    assert tails[0]["deviance"][good].sum() < tails[1]["deviance"][good].sum() - 50


def test_what_is_not_there_is_not_measured():
    found = measured(make_world(lambda x, y, p: 5 * scattering(x, y), seed=23, n_spots=60))
    strong = (found["ok"] > 0) & (found["var_u"] + found["var_v"] < 2 * 0.2**2)
    assert strong.mean() < 0.05


# -- neighbours ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60))
def test_neighbours_are_those_a_plain_search_finds(seed, n):
    rng = np.random.default_rng(seed)
    spots = SimpleNamespace(
        panel=rng.integers(-1, 3, n).astype(np.int32), fs=rng.uniform(0, 60, n), ss=rng.uniform(0, 60, n)
    )
    usable = (spots.panel >= 0) & (rng.random(n) < 0.8)
    start, others = find_neighbours(spots.panel, spots.fs, spots.ss, usable, 7.0)
    for k in range(n):
        near = [
            q
            for q in range(n)
            if q != k
            and usable[k]
            and usable[q]
            and spots.panel[q] == spots.panel[k]
            and (spots.fs[q] - spots.fs[k]) ** 2 + (spots.ss[q] - spots.ss[k]) ** 2 < 49
        ]
        assert others[start[k] : start[k + 1]].tolist() == near
