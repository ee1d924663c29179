import numpy as np
import pytest

from waterbg.simulate import preset, simulate_frame, true_background
from waterbg.simulate.detector import dead_pixels, hot_pixels, make_panels, pedestals

CLEAN = preset("small").replace(hot_pixels=0, zingers=0, dead_pixels=0)


def test_a_frame_is_the_same_every_time_and_whatever_other_frames_are_made():
    first = simulate_frame(CLEAN, 3)
    for other in (0, 7):
        simulate_frame(CLEAN, other)
    again = simulate_frame(CLEAN, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first.counts, again.counts, strict=True))
    assert np.array_equal(first.spots, again.spots)


@pytest.mark.parametrize("change", [{"seed": 5}, {"photons": 2.9e8}])
def test_another_seed_or_dose_gives_other_counts(change):
    ours, other = simulate_frame(CLEAN, 0), simulate_frame(CLEAN.replace(**change), 0)
    assert (ours.counts[0] != other.counts[0]).mean() > 0.5


def test_counts_are_poisson_around_the_expected_ones():
    frame = simulate_frame(CLEAN, 0)
    z = np.concatenate([((n - mu) / np.sqrt(mu)).ravel() for n, mu in zip(frame.counts, frame.expected, strict=True)])
    assert z.mean() == pytest.approx(0, abs=4 / np.sqrt(z.size))
    assert z.var() == pytest.approx(1, abs=4 * np.sqrt(2.1 / z.size))


def test_the_counts_above_the_background_are_those_of_the_reflections():
    experiment = CLEAN.replace(beamstop=0)
    frame = simulate_frame(experiment, 0)
    n_ss, n_fs = experiment.panel_shape
    inner = frame.spots[
        (np.minimum(frame.spots["fs_pred"], n_fs - frame.spots["fs_pred"]) > 12)
        & (np.minimum(frame.spots["ss_pred"], n_ss - frame.spots["ss_pred"]) > 12)
    ]
    rendered = sum((mu - b).sum() for mu, b in zip(frame.expected, frame.background, strict=True))
    all_spots = frame.spots["I_true"].sum()
    assert rendered <= all_spots
    assert rendered >= inner["I_true"].sum()
    assert rendered == pytest.approx(all_spots, rel=0.02)


def test_the_true_background_needs_neither_spots_nor_counts():
    frame = simulate_frame(CLEAN, 2)
    for a, b in zip(frame.background, true_background(CLEAN, 2), strict=True):
        assert np.array_equal(a, b)


def test_the_truth_table_holds_the_background_under_the_predicted_pixel():
    frame = simulate_frame(CLEAN, 0)
    spot = frame.spots[100]
    assert spot["B_true"] == frame.background[spot["panel"]][int(spot["ss_pred"]), int(spot["fs_pred"])]


def test_the_two_doses_of_one_seed_differ_by_their_ratio_in_everything_but_noise():
    high, low = simulate_frame(CLEAN, 0), simulate_frame(CLEAN.replace(photons=3e7), 0)
    for a, b in zip(high.expected, low.expected, strict=True):
        np.testing.assert_allclose(a, 10 * b, rtol=1e-9)


def test_panels_show_their_pedestals_without_light():
    experiment = preset("pedestal").replace(water=0, air=0, crystals=[0, 0], dead_pixels=0, hot_pixels=0, zingers=0)
    levels = [
        [counts.mean() / experiment.adu_per_photon for counts in simulate_frame(experiment, number).counts]
        for number in range(2)
    ]
    np.testing.assert_allclose(levels, [pedestals(experiment, number) for number in range(2)], atol=0.03)  # stray light
    assert np.ptp(levels[0]) > 0.3
    assert levels[0] != pytest.approx(levels[1], abs=0.01)


def test_an_integrating_detector_gives_adu_with_gain_and_read_noise():
    experiment = preset("gain").replace(hot_pixels=0, zingers=0, dead_pixels=0, saturation=0, air=0.0, water=0.0)
    frame = simulate_frame(experiment.replace(scattering=1e-9), 0)  # next to nothing: 0.02 photons of stray light
    quiet = np.concatenate([(n / 12.5).ravel() for n in frame.counts])
    quiet = quiet[quiet < 0.7]  # no photon, mostly
    assert np.median(quiet) == pytest.approx(0, abs=0.05)
    assert np.percentile(quiet, 16) == pytest.approx(-0.4, abs=0.08)

    gains = [p.gain for p in make_panels(experiment)]
    assert np.std(np.log(gains)) > 0.02
    bright = simulate_frame(experiment.replace(water=300.0), 0)
    for counts, expected, gain in zip(bright.counts, bright.expected, gains, strict=True):
        assert counts.sum() / 12.5 / expected.sum() == pytest.approx(gain, rel=2e-3)


def test_a_phosphor_spreads_light_and_loses_none_of_it():
    experiment = preset("small").replace(hot_pixels=0, zingers=0, dead_pixels=0, adu_per_photon=100.0, max_adu=1e6)
    sharp, spread = (simulate_frame(experiment.replace(light_spread=px), 0).counts[0] / 100 for px in (0.0, 0.5))
    inner = np.s_[100:200, 100:400]
    assert spread[inner].sum() / sharp[inner].sum() == pytest.approx(1, abs=2e-3)
    expected = simulate_frame(experiment, 0).expected[0][inner]
    share = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    squares = ((share / share.sum()) ** 2).sum() ** 2  # what is left of the variance of a pixel
    level = expected < np.quantile(expected, 0.9)  # away from spots
    assert np.var((spread[inner] - expected)[level]) / expected[level].mean() == pytest.approx(squares, rel=0.1)


def test_a_pixel_stops_counting_at_saturation_and_the_geometry_calls_it_saturated_before():
    experiment = preset("gain").replace(dead_pixels=0, scattering=1e5, read_noise=0, panel_gain=0)
    frame = simulate_frame(experiment, 0)
    assert max(n.max() for n in frame.counts) == 300 * 12.5
    assert experiment.max_adu < 300 * 12.5


def test_dead_pixels_lie_and_hot_pixels_shine_in_every_frame():
    experiment = preset("small")
    frames = [simulate_frame(experiment, i) for i in range(2)]
    dead, hot = dead_pixels(experiment)[0], hot_pixels(experiment)[0]
    assert dead[:, 512 // 3].all()
    assert (dead.sum() > 252) & (dead.sum() <= 252 + 60)
    for frame in frames:
        assert set(np.unique(frame.counts[0][dead > 0])) == {0, 60000}
        alive = hot[dead[hot[:, 0], hot[:, 1]] == 0]
        excess = frame.counts[0] - frame.expected[0]
        assert (excess[alive[:, 0], alive[:, 1]] > 80).all()


def test_the_truth_table_knows_which_reflections_an_intruder_hits():
    experiment = preset("small").replace(dead_pixels=0)
    frame = simulate_frame(experiment, 0)
    hit = np.flatnonzero(frame.spots["intruder"] > 0)
    assert 0 < len(hit) < len(frame.spots) / 10
    for spot in frame.spots[hit]:
        row, column = int(spot["ss_pred"]), int(spot["fs_pred"])
        rows, columns = slice(max(row - 6, 0), row + 7), slice(max(column - 6, 0), column + 7)
        expected = frame.expected[spot["panel"]][rows, columns]
        excess = (frame.counts[spot["panel"]][rows, columns] - expected) / np.sqrt(expected)
        assert excess.max() > 4
