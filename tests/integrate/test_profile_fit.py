"""The profile fit against known intensities: bias, scatter, sigma, places, shapes, hot pixels, acceptance."""

from dataclasses import replace

import numpy as np
import pytest

from tests.background.worlds import detector, make_world, scattering
from waterbg.background import Noise, Trust, frame_rays, make_estimator
from waterbg.integrate import Status
from waterbg.integrate.fit import likely_intensity
from waterbg.integrate.places import lab_places
from waterbg.integrate.positions import NO_MAP
from waterbg.integrate.profile import integrate_profile
from waterbg.integrate.psf import Lines, Psf
from waterbg.integrate.shapes import Spots
from waterbg.integrate.stretch import NO_STRETCH
from waterbg.model import RunModel
from waterbg.model.frame import integrate_frame
from waterbg.settings import Settings

RADII = (3.0, 5.0, 7.0)
ROUND = Spots(psf=Psf(Lines(1.1, 0, 1.1, 0), scatter=0.02), signal_error=0.0)


def flat(level):
    return lambda x, y, panel: level * scattering(x, y)


def integrate(world, run=ROUND, noise=None, **options):
    background = make_estimator("water", noise or Noise(), trust=Trust((), (1e-6,))).estimate(
        world.frame, world.scene, RADII
    )
    return integrate_profile(
        world.frame, world.scene, RADII, background, frame_rays(world.frame, world.scene, "horiz"), run=run, **options
    )


def many(n_worlds=6, **kwargs):
    """Truth, I and sigma of the kept spots of some frames."""
    rows = []
    for seed in range(n_worlds):
        world = make_world(seed=100 + seed, n_spots=110, **kwargs)
        result, _, _ = integrate(world)
        kept = result["status"] == Status.OK
        rows.append(np.stack([world.truth, result["I"], result["sigma"]], axis=1)[kept])
    return np.concatenate(rows)


@pytest.mark.parametrize("level", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("signal", [0.0, 3.0, 30.0])
def test_intensities_are_unbiased_and_sigma_means_what_it_says(level, signal):
    """``signal`` in units of the error of a spot without signal."""
    photons = signal * np.sqrt(level * 4 * np.pi * 1.1**2)
    truth, found, sigma = many(background=flat(level), intensity=photons).T
    z = (found - truth) / sigma
    standard_error = 1 / np.sqrt(len(z))
    assert abs((found - truth).mean()) < 4 * standard_error * sigma.mean() + 0.006 * photons
    # a sigma that follows its own I is small where I is low: the mean of z is below 0 for few photons
    assert -0.20 / np.sqrt(max(level, 1)) - 4 * standard_error < z.mean() < 4 * standard_error + 0.02
    assert (0.82 if level < 1 else 0.93) < z.std() < 1.12


@pytest.mark.parametrize(("measured", "sigma", "usual"), [(-3, 1, 5), (0, 1, 1), (2, 1, 0.5), (4, 2, 100), (50, 7, 30)])
def test_the_likely_intensity_is_the_mean_of_those_measured_alike(measured, sigma, usual):
    """Against the sum over all true intensities, exponentially distributed, that may have been measured so."""
    true = (np.arange(400000) + 0.5) * (measured + 20 * sigma + 20) / 400000
    weight = np.exp(-0.5 * ((measured - true) / sigma) ** 2 - true / usual)
    assert likely_intensity(measured, sigma, usual) == pytest.approx((true * weight).sum() / weight.sum(), rel=1e-4)


def test_the_likely_intensity_is_never_negative_and_follows_strong_measurements():
    measured = np.linspace(-60, 60, 2401)
    likely = np.array([likely_intensity(value, 1.0, 10.0) for value in measured])
    assert (likely > 0).all()
    assert (np.diff(likely) > 0).all()
    assert likely[-1] == pytest.approx(60 - 0.1)
    assert likely_intensity(5.0, 1.0, 0.0) == 0


def test_sigma_means_what_it_says_for_intensities_of_a_real_crystal_on_hardly_any_background():
    """Acentric reflections at 0.3 photons a pixel: the sigma of the fitted I itself would scatter by 1.05 and more."""
    intensity = np.random.default_rng(11).exponential(20.0, 110)
    truth, found, sigma = many(12, background=flat(0.3), intensity=intensity).T
    z = (found - truth) / sigma
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(z)))


def test_the_error_is_near_the_bound_of_information():
    """Cramér-Rao for known background, place and shape: 1/sum(P²/(B + I P))."""
    level, photons = 10.0, 200.0
    truth, found, _ = many(background=flat(level), intensity=photons).T
    j, i = np.mgrid[-10:11, -10:11]
    share = np.exp(-0.5 * (i * i + j * j) / 1.1**2) / (2 * np.pi * 1.1**2)
    bound = 1 / np.sqrt((share**2 / (level * 0.9 + photons * share)).sum())
    assert (found - truth).std() < 1.08 * bound


def test_summation_is_unbiased_and_worse():
    world = make_world(flat(10.0), seed=3, n_spots=110, intensity=3000.0)
    fit, fits, _ = integrate(world)
    sums, _, _ = integrate(world, summation=True)
    kept = (fit["status"] == Status.OK) & (sums["status"] == Status.OK)
    assert np.median(sums["I"][kept] / world.truth[kept]) == pytest.approx(1, abs=0.02)
    assert np.median(sums["sigma"][kept] / fit["sigma"][kept]) > 1.0
    ratio = fits["I"][kept] / fits["sum"][kept]  # a disc takes pixels by their middles, and loses more for it
    assert np.median(ratio) == pytest.approx(1, abs=0.003)


def test_a_smooth_error_of_the_predictions_is_found_and_followed():
    def offset(x, y):
        return 0.9 + 0.004 * x, -0.7 - 0.003 * y

    world = make_world(flat(8.0), seed=4, n_spots=110, intensity=np.geomspace(50, 5000, 110), offset=offset)
    result, _, shapes = integrate(world)
    assert len(shapes.positions.coefficients) >= 3
    places = lab_places(world.frame, frame_rays(world.frame, world.scene, "horiz"), world.scene.spots)
    found = shapes.positions.at(places)
    np.testing.assert_allclose(found, np.stack(offset(places.x, places.y), axis=1), atol=0.15)
    kept = result["status"] == Status.OK
    z = ((result["I"] - world.truth) / result["sigma"])[kept]
    assert abs(z.mean()) < 0.35
    assert z.std() < 1.3


def test_spots_beyond_their_discs_are_found_where_a_map_leads_there():
    def offset(x, y):
        return 1.2 + 0.016 * x, -0.01 * y

    world = make_world(flat(8.0), seed=4, n_spots=110, intensity=3000.0, offset=offset)
    result, fits, shapes = integrate(world)
    places = lab_places(world.frame, frame_rays(world.frame, world.scene, "horiz"), world.scene.spots)
    truth = np.stack(offset(places.x, places.y), axis=1)
    length = np.hypot(*truth.T)
    far = (length > 3) & (length < 4)
    assert far.sum() > 5
    assert np.isin(np.flatnonzero(far), shapes.which).mean() > 0.9
    assert shapes.positions.at(places, shapes.farthest)[length < 4] == pytest.approx(truth[length < 4], abs=0.1)
    kept = far & (result["status"] == Status.OK)
    assert result["I"][kept] / world.truth[kept] == pytest.approx(1, abs=0.1)
    assert np.median(fits["disc"][kept] / world.truth[kept]) < 0.7  # what the discs hold of them


def test_spots_that_are_all_three_pixels_off_are_found():
    world = make_world(flat(8.0), seed=4, n_spots=110, intensity=3000.0, offset=lambda x, y: (2.2, -2.0))
    result, _, shapes = integrate(world)
    assert shapes.fallbacks == []
    kept = result["status"] == Status.OK
    assert kept.mean() > 0.9
    assert result["I"][kept].mean() / world.truth[kept].mean() == pytest.approx(1, abs=0.01)
    assert ((result["I"] - world.truth) / result["sigma"])[kept].std() < 1.3


def test_a_listed_reflection_beside_the_detector_changes_nothing_for_the_others():
    def offset(x, y):
        return 2.4 + 0.004 * y, 1.2

    world = make_world(flat(10.0), seed=5, n_spots=120, intensity=np.repeat([3000.0, 300.0], 60), offset=offset)
    before, _, shapes = integrate(world)
    assert shapes.farthest > 2.5
    scene, beside = world.scene, np.zeros(1, world.scene.spots.dtype)
    beside["panel"], beside["fs"], beside["ss"], beside["inv_d"] = -1, np.nan, np.nan, 2.0
    n = len(scene.spots) + 1
    longer = replace(
        scene, spots=np.concatenate([scene.spots, beside]), crystal=np.zeros(n, np.int32),
        printed=np.arange(n, dtype=np.int32), rows=(np.arange(n, dtype=np.int32),),
    )  # fmt: skip
    after, _, again = integrate(replace(world, scene=longer))
    assert again.farthest == shapes.farthest
    np.testing.assert_allclose(after["I"][:-1], before["I"], rtol=1e-3, atol=0.1)


def test_radii_between_whole_pixels_keep_a_spot_all_of_its_pixels():
    world = make_world(flat(10.0), seed=5, n_spots=110, intensity=60.0)
    found = []
    for radii in ((3.0, 5.0, 7.0), (3.9, 5.0, 7.0)):
        background = make_estimator("water").estimate(world.frame, world.scene, radii)
        rays = frame_rays(world.frame, world.scene, "horiz")
        found.append(integrate_profile(world.frame, world.scene, radii, background, rays, run=ROUND)[0])
    np.testing.assert_array_equal(found[0]["I"], found[1]["I"])


def test_places_without_error_are_left_alone():
    world = make_world(flat(8.0), seed=5, n_spots=110, intensity=2000.0)
    _, _, shapes = integrate(world)
    assert shapes.positions == NO_MAP
    assert shapes.stretch == NO_STRETCH


def test_widths_are_learnt_from_strong_spots():
    world = make_world(flat(8.0), seed=6, n_spots=110, intensity=3000.0, sigma=1.5)
    _, _, shapes = integrate(world)
    learnt = shapes.psf.widths.at(world.scene.spots["inv_d"])
    np.testing.assert_allclose(np.median(learnt, axis=0), 1.5, rtol=0.03)


def test_without_strong_spots_the_runs_shapes_are_taken_and_it_is_said():
    world = make_world(flat(8.0), seed=7, n_spots=60, intensity=20.0)
    _, _, shapes = integrate(world)
    assert shapes.psf.widths == ROUND.psf.widths
    assert shapes.fallbacks == [
        "too few strong spots for a position map of the frame",
        "too few strong spots for spot widths of the frame: the run's are taken",
    ]


def test_an_isolated_hot_pixel_is_not_taken_for_a_spot():
    def spoil(counts, world):
        n_fs = world.detector.shapes[0][1]
        first = world.spots[:30]
        at = world.detector.offsets[first["panel"]] + (first["ss"].astype(int) + 1) * n_fs + first["fs"].astype(int)
        counts[at] += 5000

    world = make_world(flat(8.0), seed=8, n_spots=60, spoil=spoil)
    result, _, _ = integrate(world)
    z = result["I"][:30] / result["sigma"][:30]
    assert np.abs(z).max() < 5
    assert np.all(result["peak"][:30] > 5000)  # merging's --max-adu still sees it


def test_a_hot_pixel_is_not_taken_for_a_spot_that_has_a_neighbour_either():
    places = [
        (p, 20.5 + 40 * i + d, 30.5 + 40 * j) for p in (0, 1) for i in range(9) for j in range(4) for d in (0, 6.5)
    ]

    def spoil(counts, world):
        first = world.spots[::2]
        at = world.detector.offsets[first["panel"]] + (first["ss"].astype(int) + 1) * world.detector.shapes[0][1]
        counts[at + first["fs"].astype(int)] += 5000

    world = make_world(flat(8.0), seed=8, places=places, intensity=200.0, spoil=spoil)
    result, _, _ = integrate(world)
    z = (result["I"] - world.truth) / result["sigma"]
    assert np.abs(z).max() < 5
    assert abs(z[::2].mean()) < 0.5


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.45])
def test_a_true_spot_of_one_pixel_is_not_taken_for_a_hot_pixel(sigma):
    """Where the run's spots are narrow; large pixels see many a reflection in one of them."""
    places = [(p, 20.5 + 25 * i, 30.5 + 40 * j) for p in (0, 1) for i in range(15) for j in range(4)]
    world = make_world(flat(3.0), seed=9, intensity=1000.0, sigma=sigma, places=places)
    run = Spots(psf=Psf(Lines(0.42, 0, 0.42, 0), scatter=0.1))
    result, fits, _ = integrate(world, run=run)
    kept = result["status"] == Status.OK
    assert kept.all()
    assert np.median(result["I"] / world.truth) == pytest.approx(1, abs=0.06)
    assert np.median(fits["sum"] / world.truth) == pytest.approx(1, abs=0.02)


def test_acceptance_is_crystfels():
    def bad(x, y, panel):
        return (np.abs(x - 50.5 + 200) < 2.6) & (panel == 0)

    corner = detector().panels[0].corner_x
    assert corner == -200.0
    places = [(0, 50.5, 100.0), (0, 54.5, 50.0), (0, 6.9, 100.0), (0, 7.1, 140.0), (1, 300.0, 192.9), (1, 270.0, 193.1)]
    world = make_world(flat(8.0), seed=10, places=places, bad=bad)
    result, _, _ = integrate(world)
    want = [Status.BAD_PIXEL, Status.OK, Status.EDGE, Status.OK, Status.OK, Status.EDGE]
    assert [Status(s) for s in result["status"]] == want


def every_eighth_column(x, y, panel):
    return np.abs(x % 8 - 4.5) < 0.5


def test_listed_spots_are_fitted_beside_their_bad_pixels():
    z, hidden = [], 0
    for seed in range(6):
        world = make_world(
            flat(8.0), seed=60 + seed, n_spots=110, intensity=400.0, bad=every_eighth_column, spoil=spoil_bad
        )
        result, fits, _ = integrate(world)
        assert fits["marred"].mean() > 0.7
        kept = result["status"] == Status.OK
        assert set(result["status"][~kept]) <= {Status.BAD_PIXEL}
        assert (fits["sound"][kept] >= 0.5).all()
        hidden += np.count_nonzero(~kept)
        marred = kept & (fits["marred"] > 0)
        z += list((result["I"] - world.truth)[marred] / result["sigma"][marred])
    assert hidden < 0.1 * len(z)
    assert abs(np.mean(z)) < 0.15
    assert np.std(z) == pytest.approx(1, abs=0.1)


def spoil_bad(counts, world):
    counts[every_eighth_column(world.x, world.y, world.panel)] = 60000


@pytest.mark.parametrize("joint", [False, True])
def test_what_neighbours_hide_is_not_counted_as_bad(joint):
    """Of two spots that are hardly 3 px apart each hides more than half of the other."""
    columns = [30.5 + 30 * i + beside for i in range(11) for beside in (0, 2.8)]
    places = [(p, fs, 30.5 + 30 * j) for p in (0, 1) for j in range(4) for fs in columns]

    def bad(x, y, panel):  # on the outer rim of the left one of each pair
        return (np.abs((x + 200) % 30 - 27.5) < 0.6) & (np.abs((y - y.min()) % 30 - 0.5) < 0.6) & (x > -185)

    world = make_world(flat(8.0), seed=63, intensity=400.0, places=places, bad=bad)
    result, fits, _ = integrate(world, joint=joint)
    marred = fits["marred"] > 0
    assert marred[::2].any()
    assert (fits["visible"][marred] < 0.5).any()
    assert (result["status"][marred] == Status.OK).all()


def test_spots_in_no_list_are_accepted_without_bad_pixels_alone():
    world = make_world(flat(8.0), seed=61, intensity=400.0, bad=every_eighth_column)
    listed, _, _ = integrate(world)
    none = np.full(len(world.scene.spots), -1, np.int32)
    result, fits, _ = integrate(replace(world, scene=replace(world.scene, printed=none)))
    marred = fits["marred"] > 0
    assert (result["status"][marred] == Status.BAD_PIXEL).all()
    assert (listed["status"][marred] == Status.OK).mean() > 0.8


def test_spots_that_a_full_shadow_touches_are_dropped():
    """A mask knows how far a shadow reaches; where nobody knows, the pixels beside it have lost light, too."""

    def shadow(x, y, panel):
        return (np.abs(x + 100) < 15) & (panel == 0)

    def spoil(counts, world):
        counts[shadow(world.x, world.y, world.panel)] = 0

    # on its edge, with most of the spot beside it; and clear of it
    places = [(0, fs, 20.5 + 20 * i) for fs in (117.6, 140.5) for i in range(8)]
    for options, status in (({"spoil": spoil}, Status.BAD_PIXEL), ({"bad": shadow}, Status.OK)):
        result, _, _ = integrate(make_world(flat(20.0), seed=62, intensity=400.0, places=places, **options))
        assert (result["status"][:8] == status).all()
        assert (result["status"][8:] == Status.OK).all()


def test_saturated_spots_are_dropped():
    world = make_world(
        flat(8.0), seed=11, det=detector(max_adu=400.0), intensity=np.repeat([100.0, 9000.0], 20), n_spots=40
    )
    result, _, _ = integrate(world)
    assert np.all(result["status"][:20] == Status.OK)
    assert np.all(result["status"][20:] == Status.SATURATED)


def test_a_hole_in_the_frame_is_implausible_as_crystfel_says():
    def spoil(counts, world):
        n_fs = world.detector.shapes[0][1]
        j, i = np.mgrid[-3:4, -3:4]
        first = world.spots[0]
        at = world.detector.offsets[first["panel"]] + (int(first["ss"]) + j) * n_fs + int(first["fs"]) + i
        counts[at] = 0

    world = make_world(flat(30.0), seed=12, n_spots=20, spoil=spoil)
    result, _, _ = integrate(world)
    assert result["status"][0] == Status.IMPLAUSIBLE
    assert np.all(result["status"][1:] == Status.OK)


def test_numbers_are_adu_of_the_stream():
    one, ten = (make_world(flat(8.0), seed=13, intensity=500.0, det=detector(adu=adu)) for adu in (1.0, 10.0))
    photons, adu = integrate(one)[0], integrate(ten)[0]
    for name in ("I", "sigma", "peak", "background"):
        np.testing.assert_allclose(adu[name], 10 * photons[name], rtol=1e-5)


def test_the_background_written_is_the_level_under_the_spot():
    world = make_world(flat(25.0), seed=14, intensity=1000.0)
    result, _, _ = integrate(world)
    assert np.abs(result["background"] / world.under() - 1).max() < 0.03


def test_sigma_grows_with_the_signals_own_error_and_with_the_decoys_scale():
    world = make_world(flat(8.0), seed=15, intensity=5000.0)
    plain = integrate(world)[0]
    with_error = integrate(world, run=Spots(psf=ROUND.psf, signal_error=0.05))[0]
    scaled = integrate(world, sigma_scale=1.25)[0]
    np.testing.assert_allclose(with_error["sigma"], np.hypot(plain["sigma"], 0.05 * plain["I"]), rtol=1e-6)
    np.testing.assert_allclose(scaled["sigma"], 1.25 * plain["sigma"], rtol=1e-9)


def test_no_sigma_is_below_one_photon():
    world = make_world(flat(0.002), seed=16)
    result, _, _ = integrate(world)
    assert result["sigma"].min() >= 1


def test_a_frame_gives_the_same_numbers_every_time():
    world = make_world(flat(8.0), seed=17, intensity=np.geomspace(10, 5000, 60))
    once, again = integrate(world)[0], integrate(world)[0]
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("distance", [4.0, 5.5])
def test_neighbours_do_not_disturb_each_other(distance):
    places, truth = [], []
    for p in (0, 1):
        for row in range(6):
            for column in range(12):
                fs, ss = 20.3 + 31 * column, 20.7 + 31 * row
                places += [(p, fs, ss), (p, fs + distance, ss + 0.4)]
                truth += [300.0, 3000.0]
    world = make_world(flat(8.0), seed=18, places=places, intensity=truth)
    for joint in (False, True):
        result, _, _ = integrate(world, joint=joint)
        kept = result["status"] == Status.OK
        assert kept.mean() > 0.95
        z = ((result["I"] - world.truth) / np.hypot(result["sigma"], 0.01 * world.truth))[kept]
        weak = (world.truth == 300)[kept]
        # at 4 px the strong neighbour would add 2.6 sigma; what is left is the uncertainty of its width
        assert abs(z[weak].mean()) < (1.0 if distance == 4.0 else 0.3)
        assert 0.7 < z[weak].std() < 1.3


def test_a_spot_that_its_neighbour_hides_is_dropped_and_a_joint_fit_keeps_it(monkeypatch):
    pair = ((0, 0), (1.4, 0.3))
    places = [
        (p, 40.5 + 40 * i + a, 40.5 + 40 * j + b) for p in (0, 1) for i in range(5) for j in (0, 1) for a, b in pair
    ]
    world = make_world(flat(8.0), seed=20, places=places, intensity=800.0)
    alone, together = (integrate(world, joint=joint)[0].reshape(-1, 2) for joint in (False, True))
    assert (alone["status"] == [Status.OK, Status.FEW_PIXELS]).all()
    assert (together["status"] == Status.OK).all()
    monkeypatch.setattr("waterbg.integrate.profile.VISIBLE", 0.0)
    kept = integrate(world)[0].reshape(-1, 2)
    assert np.median(kept["sigma"][:, 1] / kept["sigma"][:, 0]) > 2.5  # what it would be worth


def test_a_hidden_spot_is_taken_off_its_neighbours(monkeypatch):
    group = ((0, 0, 6000.0), (1.4, 0.3, 4000.0), (6.6, 0.3, 150.0))
    rows = [(p, 40.5 + 40 * i, 40.5 + 40 * j) for p in (0, 1) for i in range(7) for j in range(4)]
    places = [(p, fs + a, ss + b) for p, fs, ss in rows for a, b, _ in group]
    photons = np.tile([each[2] for each in group], len(rows))
    world = make_world(flat(8.0), seed=21, places=places, intensity=photons)
    result = integrate(world)[0].reshape(-1, 3)
    hidden = result["status"][:, :2] == Status.FEW_PIXELS
    assert hidden.any(axis=1).all()
    monkeypatch.setattr("waterbg.integrate.profile.VISIBLE", 0.0)
    kept = integrate(world)[0].reshape(-1, 3)
    assert (kept["status"][:, :2][hidden] == Status.OK).mean() > 0.9
    third, sigma = result["I"][:, 2], result["sigma"][:, 2]
    assert np.abs((third - kept["I"][:, 2]) / sigma).max() < 0.5


def test_a_joint_fit_knows_more_of_close_neighbours():
    places = [
        (p, 20.3 + 31 * i + 3.5 * k, 20.7 + 31 * j) for p in (0, 1) for j in range(6) for i in range(12) for k in (0, 1)
    ]
    world = make_world(flat(8.0), seed=19, places=places, intensity=800.0)
    apart, together = (integrate(world, joint=joint)[0] for joint in (False, True))
    kept = (apart["status"] == Status.OK) & (together["status"] == Status.OK)
    assert np.median(together["sigma"][kept] / apart["sigma"][kept]) < 0.97
    error = [(r["I"] - world.truth)[kept].std() for r in (apart, together)]
    assert error[1] < error[0]
    z = ((together["I"] - world.truth) / together["sigma"])[kept]
    assert 0.85 < z.std() < 1.25


@pytest.mark.parametrize("integration", ["profile", "sum"])
def test_light_of_reflections_that_are_in_no_list_is_taken_off(integration):
    """Pairs 3.5 px apart, of which one is listed: what the others have is an eighth of the usual intensity or so."""
    rng = np.random.default_rng(7)
    listed = [(p, 20.4 + 28 * i, 20.6 + 28 * j) for p in (0, 1) for j in range(6) for i in range(13)]
    beside = [(p, fs + 3.5 * np.cos(3 * n), ss + 3.5 * np.sin(3 * n)) for n, (p, fs, ss) in enumerate(listed)]
    n, off = len(listed), []
    for seed in range(4):
        intensity = rng.exponential(np.repeat([500.0, 300.0], n))
        world = make_world(flat(3.0), seed=50 + seed, places=listed + beside, intensity=intensity)
        near = world.scene.spots[n:].copy()
        near["reduced"] = 2.0
        rows = np.arange(n, dtype=np.int32)
        scene = replace(
            world.scene, spots=world.scene.spots[:n], near=near, printed=rows, rows=(rows,), crystal=0 * rows
        )
        for with_them in (False, True):
            here = scene if with_them else replace(scene, near=near[:0])
            settings = Settings(int_radius=RADII, integration=integration)
            result = integrate_frame(world.frame, here, RunModel(spots=ROUND), settings).result
            off.append((result["I"] - intensity[:n]) / result["sigma"])
    without, taken_off = np.concatenate(off[::2]), np.concatenate(off[1::2])
    assert without.mean() > 4
    assert abs(taken_off.mean()) < 0.5
    assert taken_off.std() < 1.15
