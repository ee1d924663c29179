"""All estimators against physics: one suite, known backgrounds, stated tolerances."""

import numpy as np
import pytest

from tests.background.worlds import detector, make_world, scattering, water_ring
from waterbg.background import Noise, Trust, frame_rays, make_estimator
from waterbg.background.estimators import flag_pixels, water_estimate
from waterbg.background.surface import fit_surface

RADII = (3.0, 5.0, 7.0)
NAMES = ("ring", "plane", "radial", "water")
RING_PIXELS = 72  # 5 <= r <= 7


def flat(level):
    return lambda x, y, panel: np.full(len(x), float(level))


def like_scattering(level):
    """Flat before polarisation and solid angle: what a radial profile can be flat in."""
    return lambda x, y, panel: level * scattering(x, y)


def estimate(world, name, **known):
    estimator = make_estimator(name, known.get("noise", Noise()), "horiz", Trust((), (1e-6,)))
    return estimator.estimate(world.frame, world.scene, RADII)


def rings_of(world):
    """What the spots' own rings say of the frame's surface."""
    flags = flag_pixels(world.frame, world.scene, RADII)
    surface = fit_surface(world.frame, flags, frame_rays(world.frame, world.scene, "horiz"), (1.0, 0.0))
    return water_estimate(world.frame, surface, flags, world.scene.spots, RADII, Noise(), Trust((), (0.0,)))[1]


def under_spots(world, result):
    """Estimated mean under each spot's disc."""
    half = result.half
    j, i = np.mgrid[-3:4, -3:4]
    inside = i * i + j * j <= 9
    return result.expected[:, half + j[inside], half + i[inside]].mean(axis=1)


def relative_error(world, result):
    return under_spots(world, result) / world.under() - 1


def statistical(name, level, n_spots):
    """What counting alone leaves: error of one spot, and of the mean over all."""
    one = (1 if name in ("ring", "plane") else 0.35) / np.sqrt(RING_PIXELS * level)
    return one, one / np.sqrt(n_spots) + 0.3 / np.sqrt(RING_PIXELS * level * n_spots)


@pytest.mark.parametrize("level", [0.3, 3.0, 40.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_flat_frame_returns_its_level(name, level):
    world = make_world(like_scattering(level), seed=int(10 * level))
    error = relative_error(world, estimate(world, name))
    one, mean = statistical(name, level, len(error))
    assert abs(error.mean()) < 4 * mean + 0.002
    assert error.std() < 1.6 * one + 0.003


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_of_thousands_of_adu_a_pixel_returns_its_level(name):
    world = make_world(like_scattering(300.0), seed=5, det=detector(adu=10.0))
    assert world.frame.data.mean() > 1500
    error = relative_error(world, estimate(world, name))
    assert abs(error.mean()) < 0.003
    assert error.std() < 0.012


@pytest.mark.parametrize(
    ("name", "bias", "scatter"),
    [("ring", 0.06, 0.09), ("plane", 0.06, 0.09), ("radial", 0.004, 0.012), ("water", 0.004, 0.012)],
)
def test_a_water_ring_with_poisson_noise_is_followed(name, bias, scatter):
    """Ring and plane see the curvature of the ring as background: their tolerance is what that costs."""
    world = make_world(water_ring, seed=7, n_spots=80)
    error = relative_error(world, estimate(world, name))
    assert abs(error.mean()) < bias
    assert error.std() < scatter


@pytest.mark.parametrize("name", ["radial", "water"])
def test_on_top_of_the_water_ring_no_bias_is_left(name):
    angle = np.linspace(0.1, 3.0, 25)
    places = [(1, 110 * np.cos(a) + 200, 110 * np.sin(a) - 4) for a in angle if 20 < 110 * np.sin(a) - 4 < 180]
    world = make_world(water_ring, seed=8, places=places)
    error = relative_error(world, estimate(world, name))
    rings = relative_error(world, estimate(world, "ring"))
    assert rings.mean() < -0.012  # the mean of the ring is lower than its top
    assert abs(error.mean()) < 0.004


@pytest.mark.parametrize("name", NAMES)
def test_bright_spots_leave_the_background_unmoved(name):
    dark, bright = (make_world(like_scattering(15.0), seed=9, intensity=i) for i in (0.0, 5000.0))
    moved = under_spots(bright, estimate(bright, name)) / under_spots(dark, estimate(dark, name)) - 1
    # the draws differ where spots are, not elsewhere: what is left is chance, and tails beyond 5 px
    assert abs(np.median(moved)) < (0.02 if name in ("ring", "plane") else 0.008)
    assert np.abs(moved).max() < (0.25 if name in ("ring", "plane") else 0.02)


@pytest.mark.parametrize("name", ["radial", "water"])
def test_hot_pixels_and_zingers_leave_the_background_unmoved(name):
    def spoil(counts, world):
        counts[world.rng.integers(0, counts.size, counts.size // 400)] += 300

    world = make_world(like_scattering(15.0), seed=11, spoil=spoil)
    error = relative_error(world, estimate(world, name))
    assert abs(error.mean()) < 0.004
    assert error.std() < 0.012


def with_unpredicted_spots():
    """A world in which some 60 Bragg spots are in no list."""

    def spoil(counts, world):
        n_ss, n_fs = world.detector.shapes[0]
        for fs, ss in zip(world.rng.integers(5, n_fs - 5, 60), world.rng.integers(5, n_ss - 5, 60), strict=True):
            j, i = np.mgrid[-4:5, -4:5]
            counts[(ss + j) * n_fs + fs + i] += world.rng.poisson(2000 * np.exp(-0.5 * (i * i + j * j)) / 6.3)

    return make_world(like_scattering(15.0), seed=12, spoil=spoil)


@pytest.mark.parametrize("name", ["radial", "water"])
def test_unpredicted_bragg_spots_leave_the_background_unmoved(name):
    world = with_unpredicted_spots()
    assert abs(np.median(relative_error(world, estimate(world, name)))) < 0.01


def test_stray_light_is_added_as_far_as_the_run_says():
    world = with_unpredicted_spots()
    none, half, whole = (
        make_estimator("water", trust=Trust((), (1e-6,), stray)).estimate(world.frame, world.scene, RADII)
        for stray in (0.0, 0.5, 1.0)
    )
    assert (whole.stray > 0.5).all()
    np.testing.assert_allclose(half.stray, 0.5 * whole.stray, rtol=1e-6)
    np.testing.assert_allclose(
        whole.expected - none.expected, whole.stray[:, None, None] * np.ones((1, 15, 15)), atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
def test_masked_dead_columns_and_gaps_leave_the_background_unmoved(name):
    def bad(x, y, panel):
        return (np.abs(x - 40) < 1) | (np.abs(x + 60) < 6) | (np.abs(y - 100) < 2)

    def spoil(counts, world):
        counts[bad(world.x, world.y, world.panel)] = 65535

    world = make_world(like_scattering(15.0), seed=13, bad=bad, spoil=spoil)
    result = estimate(world, name)
    error = relative_error(world, result)
    known = np.isfinite(error)
    assert known.mean() > 0.9  # a spot whose whole ring is masked has no answer
    one, mean = statistical(name, 15.0, known.sum())
    assert abs(error[known].mean()) < 4 * mean + 0.002
    assert error[known].std() < 2 * one + 0.003


@pytest.mark.parametrize("name", ["radial", "water"])
def test_an_unmasked_dead_column_leaves_the_background_unmoved(name):
    def spoil(counts, world):
        counts[np.abs(world.x - 40.5) < 0.6] = 0

    world = make_world(like_scattering(25.0), seed=14, spoil=spoil)
    assert abs(np.median(relative_error(world, estimate(world, name)))) < 0.005


def test_a_shadow_is_followed_by_water_and_moves_nothing_beside_it():
    def shadow(x, y, panel):
        return 20.0 * scattering(x, y) * np.where((np.abs(x) < 40) & (y > 20), 0.3, 1.0)

    world = make_world(shadow, seed=15, n_spots=90)
    x = np.array([world.frame.detector.panels[s["panel"]].corner_x + s["fs"] for s in world.scene.spots])
    y = np.array([world.frame.detector.panels[s["panel"]].corner_y + s["ss"] for s in world.scene.spots])
    error = relative_error(world, estimate(world, "water"))
    inside = (np.abs(x) < 24) & (y > 36)
    clear = ((np.abs(x) > 64) | (y < -4)) & (np.hypot(x, y) > 60)
    assert inside.sum() > 3
    assert np.abs(error[inside]).max() < 0.15
    assert abs(error[clear].mean()) < 0.004
    assert error[clear].std() < 0.02


def test_a_shadow_too_small_for_the_surface_is_taken_from_the_rings_in_it():
    """A dot of 24 px: the frame's surface cannot know of it where all of it is masked around a reflection."""
    det = detector(2, 1, (200, 200))
    places = [(1, 100.0, 100.0), (1, 40.0, 150.0), (1, 160.0, 50.0), (0, 90.0, 90.0)]
    x0, y0 = det.panels[1].corner_x + 100, det.panels[1].corner_y + 100

    def dot(x, y, panel):
        return 20.0 * scattering(x, y) * np.where(np.hypot(x - x0, y - y0) < 12, 0.3, 1.0)

    world = make_world(dot, seed=21, det=det, places=places)
    answer = estimate(world, "water")
    assert answer.own_ring.tolist() == [True, False, False, False]
    assert abs(relative_error(world, answer)).max() < 0.1


@pytest.mark.parametrize("wide", [8.0, 40.0])
def test_scattering_that_the_surface_does_not_follow_is_taken_from_the_rings_in_it(wide):
    """A jet's streak, say: the walks over the pixels take it for outliers, but rings lie in it with all they have."""

    def streak(x, y, panel):
        return 15.0 * scattering(x, y) + 60 * np.exp(-0.5 * ((x - 30) / wide) ** 2)

    water, ring = [], []
    for seed in range(22, 28):
        world = make_world(streak, seed=seed, n_spots=120)
        corner = np.array([panel.corner_x for panel in world.frame.detector.panels])
        inside = np.abs(corner[world.scene.spots["panel"]] + world.scene.spots["fs"] - 30) < wide
        for errors, name in ((water, "water"), (ring, "ring")):
            errors.append(relative_error(world, estimate(world, name))[inside])
    water, ring = (np.sqrt(np.mean(np.concatenate(errors) ** 2)) for errors in (water, ring))
    assert water < max(1.3 * ring, 0.03)


@pytest.mark.parametrize("what", ["tails", "zinger"])
def test_what_a_reflection_leaves_in_its_ring_does_not_make_the_surface_wrong(what):
    def spoil(counts, world):
        if what == "zinger":
            for spot in world.spots:
                p = world.detector
                counts[p.offsets[spot["panel"]] + int(spot["ss"]) * p.shapes[0][1] + int(spot["fs"]) + 6] += 400

    wide = {"intensity": 30000.0, "sigma": 2.2} if what == "tails" else {}
    world = make_world(like_scattering(20.0), seed=22, spoil=spoil, **wide)
    answer = estimate(world, "water")
    if what == "tails":  # they are there
        assert (rings_of(world).scale > 1.02).mean() > 0.5
    assert not answer.own_ring.any()


@pytest.mark.parametrize("name", ["ring", "plane", "water"])
def test_panels_of_different_gain_are_followed(name):
    gain = np.array([0.6, 1.0, 1.3, 0.9])
    world = make_world(like_scattering(20.0), seed=16, det=detector(2, 2, (200, 200)), gain=gain)
    error = relative_error(world, estimate(world, name))
    panel = world.scene.spots["panel"]
    for p in range(4):
        assert abs(error[panel == p].mean()) < (0.03 if name != "water" else 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_an_integrating_detector_with_read_noise_is_unbiased(name):
    world = make_world(like_scattering(2.0), seed=17, det=detector(adu=12.5), read_noise=0.5)
    assert (world.frame.data < 0).any()
    error = relative_error(world, estimate(world, name, noise=Noise(1.0, 0.25)))
    one, mean = statistical(name, 1.8, len(error))
    assert abs(error.mean()) < 4 * mean + 0.004
    assert error.std() < 1.8 * one + 0.004


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_variance_is_that_of_the_estimate(name):
    """The scatter of ring and plane is what their scale_variance says; radial and water claim no less."""
    level = 10.0
    world = make_world(like_scattering(level), seed=18, n_spots=110)
    result = estimate(world, name)
    error = relative_error(world, result)
    z = error / np.sqrt(result.scale_variance + 0.003**2)
    assert z.std() < 1.4
    if name == "ring":
        assert 0.75 < z.std() < 1.25


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_factor_of_counted_photons_is_one(name):
    world = make_world(like_scattering(10.0), seed=19)
    result = estimate(world, name)
    assert abs(np.median(result.factor) - 1) < 0.05
    assert result.factor.std() < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_a_blank_frame_has_an_answer_or_none_but_no_accident(name):
    world = make_world(flat(0.0), seed=20)
    result = estimate(world, name)
    known = np.isfinite(result.expected)
    assert np.all(result.expected[known] == 0)
    if name in ("water", "radial"):
        assert result.fallbacks == ["blank frame, or hardly a clean pixel: background from each reflection's own ring"]


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_that_is_all_bad_has_no_answer(name):
    world = make_world(like_scattering(10.0), seed=21, bad=lambda x, y, panel: np.ones(len(x)))
    result = estimate(world, name)
    assert not np.isfinite(result.expected).any()


@pytest.mark.parametrize("name", NAMES)
def test_boxes_at_the_edge_of_a_panel_do_not_reach_into_the_next(name):
    gain = np.array([1.0, 3.0])
    places = [(0, 200.0, 199.5), (1, 200.0, 0.5), (0, 0.2, 60.0), (1, 399.7, 60.0)]
    world = make_world(like_scattering(20.0), seed=22, gain=gain, places=places)
    result = estimate(world, name)
    middle = result.expected[:, result.half, result.half]
    ratio = middle / world.under_pixel()
    assert np.all(np.abs(ratio - 1) < (0.2 if name != "radial" else 1.2))


@pytest.mark.parametrize("name", NAMES)
def test_estimates_are_the_same_wherever_they_are_asked_for(name):
    """Asking for other targets changes nothing for the first ones: masks come from the scene."""
    world = make_world(water_ring, seed=23, intensity=500.0)
    estimator = make_estimator(name)
    alone = estimator.estimate(world.frame, world.scene, RADII)
    more = np.concatenate([world.scene.spots, world.scene.spots[:7]])
    more["fs"][-7:] += 9.5
    together = estimator.estimate(world.frame, world.scene, RADII, more)
    n = len(world.scene.spots)
    np.testing.assert_array_equal(together.expected[:n], alone.expected)
    np.testing.assert_array_equal(together.scale_variance[:n], alone.scale_variance)


def test_an_unknown_estimator_is_refused():
    from waterbg.errors import UsageError

    with pytest.raises(UsageError, match="--background=median: one of water, radial, ring, plane is needed"):
        make_estimator("median")


def test_a_trusted_surface_is_not_moved_by_the_ring_and_a_doubted_one_is():
    world = make_world(water_ring, seed=24)
    trusting, doubting = (
        make_estimator("water", trust=Trust((), (tau2,))).estimate(world.frame, world.scene, RADII)
        for tau2 in (0.0, 100.0)
    )
    middle = trusting.half
    ratio = doubting.expected[:, middle, middle] / trusting.expected[:, middle, middle]
    rings = rings_of(world)
    np.testing.assert_allclose(ratio, rings.scale, rtol=1e-3)
    assert np.all(trusting.scale_variance == 0)
    np.testing.assert_allclose(doubting.scale_variance * ratio**2, rings.variance, rtol=0.01)


@pytest.mark.parametrize("level", [0.01, 0.03, 1.0])
def test_a_ring_without_a_count_does_not_make_pixels_quiet(level):
    answer = estimate(make_world(like_scattering(level), seed=3, n_spots=90), "ring")
    assert answer.factor.min() > 0.5
    assert np.median(answer.factor) == pytest.approx(1, abs=0.05)


def test_the_scatter_about_a_level_below_zero_is_not_taken_for_that_of_light():
    def spoil(counts, world):
        counts[: counts.size // 2] -= 40

    answer = estimate(make_world(like_scattering(8.0), seed=3, n_spots=90, spoil=spoil), "ring")
    assert np.isfinite(answer.factor).all()
    assert answer.factor.max() < 3
