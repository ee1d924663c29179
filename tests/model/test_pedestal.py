"""What a detector adds to every pixel, or has lost of it, must not matter."""

import dataclasses

import numpy as np
import pytest

from tests.model.worlds import RADII, make_run
from waterbg.background.noise import learn_noise, lowest_level
from waterbg.integrate import Status
from waterbg.model import learn_model, process_frame
from waterbg.settings import Settings

SETTINGS = Settings(int_radius=RADII)
READ_NOISE = 0.3


@pytest.fixture(scope="module")
def run():
    """An integrating detector: faint light, read noise."""
    rng = np.random.default_rng(5)
    return [
        (with_data(frame, frame.data + rng.normal(0, READ_NOISE, frame.data.size)), scene, truth)
        for frame, scene, truth in make_run(5, seed=21, level=1.0, signal=120.0)
    ]


def with_data(frame, data):
    return dataclasses.replace(frame, data=np.asarray(data, np.float32))


def integrate(run, offset=0.0, by_chip=0.0, by_panel=0.0, by_frame=0.0):
    """Results of all frames, and the model, when all pixels have ``offset`` more, and quarters of panels scatter.

    Or whole panels, or frames.
    """
    rng = np.random.default_rng(9)
    drifts = np.random.default_rng(11)
    frames = []
    for frame, scene, _ in run:
        data = frame.data + np.float32(offset + by_frame * drifts.normal())
        data += np.repeat(by_panel * drifts.normal(size=2), np.diff(frame.detector.offsets)).astype(np.float32)
        for number in range(2):
            begin, end = frame.detector.offsets[number : number + 2]
            panel = data[begin:end].reshape(frame.detector.shapes[number])
            for columns in np.array_split(np.arange(panel.shape[1]), 4):
                panel[:, columns] += by_chip * rng.normal()
        frames.append((with_data(frame, data), scene))
    model = learn_model(frames, SETTINGS)
    return [process_frame(frame, scene, model, SETTINGS)[0] for frame, scene in frames], model


def deviations(run, results):
    parts = []
    for (_, scene, truth), result in zip(run, results, strict=True):
        kept = (result["status"] == Status.OK) & (scene.printed >= 0)
        parts.append(((result["I"] - truth) / result["sigma"])[kept])
    return np.concatenate(parts)


@pytest.mark.parametrize("offset", [-40.0, -3.0, -1.5, 2.0, 40.0])
def test_an_offset_of_all_pixels_moves_peak_and_background_and_nothing_else(run, offset):
    as_it_is, plain = integrate(run)
    moved, model = integrate(run, offset)
    assert plain.noise.pedestal == 0
    assert model.noise.pedestal == pytest.approx(offset, abs=0.4)
    for before, after in zip(as_it_is, moved, strict=True):
        np.testing.assert_array_equal(before["status"], after["status"])
        kept = before["status"] == Status.OK
        before, after = before[kept], after[kept]
        change = (after["I"] - before["I"]) / before["sigma"]
        assert abs(change.mean()) < 0.02
        assert change.std() < 0.05
        np.testing.assert_allclose(after["sigma"], before["sigma"], rtol=0.12)
        assert np.mean(after["sigma"] / before["sigma"]) == pytest.approx(1, abs=0.04)
        np.testing.assert_allclose(after["background"], before["background"] + offset, atol=0.15)
        np.testing.assert_allclose(after["peak"], before["peak"] + offset, atol=1e-3)


def test_chips_that_lost_more_than_others_do_no_harm(run):
    z = deviations(run, integrate(run, -0.4, by_chip=0.3)[0])
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.25


@pytest.mark.parametrize("drift", [{"by_frame": 1.3}, {"by_frame": 3.0}, {"by_panel": 1.3}])
def test_sigma_of_strong_reflections_is_right_where_the_level_without_light_drifts(run, drift):
    """A line of variance over level through all frames is too flat by far, and its gain not that of a photon."""
    results, model = integrate(run, **drift)
    assert model.noise.gain < 0.7
    assert model.noise.per_photon == pytest.approx((1.0, 1.0), abs=0.06)
    assert model.noise.drift == pytest.approx(next(iter(drift.values())), rel=0.6)
    plain, _ = integrate(run)
    strong = np.concatenate([result["I"] > 8 * result["sigma"] for result in plain])
    sigma, usual = (np.concatenate([each["sigma"] for each in some]) for some in (results, plain))
    kept = np.concatenate([(a["status"] == Status.OK) & (b["status"] == Status.OK) for a, b in zip(results, plain)])
    assert np.median((sigma / usual)[strong & kept]) == pytest.approx(1, abs=0.04)
    assert deviations(run, results).std() == pytest.approx(deviations(run, plain).std(), abs=0.05)


def test_frames_of_one_level_without_light_have_no_drift(run):
    _, model = integrate(run)
    assert (model.noise.per_photon, model.noise.drift) == ((), 0.0)


def test_levels_below_zero_are_found_only_where_they_are_certain(run):
    frame = run[0][0]
    flags = np.zeros_like(frame.bad)
    assert lowest_level(frame, flags) == 0
    assert -3 < lowest_level(with_data(frame, frame.data - 3), flags) < -2
    dark = np.random.default_rng(1).normal(0, READ_NOISE, frame.data.size)
    assert lowest_level(with_data(frame, dark), flags) == 0
    assert lowest_level(with_data(frame, dark - 1), np.ones_like(flags)) == 0


def test_a_code_for_no_pixel_is_no_level(run):
    """Detectors write -1 where there is a gap, which a geometry may not mask."""
    frame = run[0][0]
    data = frame.data.copy()
    data[: data.size // 3] = -1
    assert lowest_level(with_data(frame, data), np.zeros_like(frame.bad)) == 0


def test_a_chip_that_does_not_work_decides_nothing(run):
    frame = run[0][0]
    data = frame.data.copy().reshape(-1, 360)
    data[:40, :60] -= 500
    assert lowest_level(with_data(frame, data.ravel()), np.zeros_like(frame.bad)) == 0


def test_counted_photons_have_no_pedestal():
    levels = np.linspace(0.05, 20, 24)
    rng = np.random.default_rng(2)
    for _ in range(20):
        variance = levels * (1 + 0.02 * rng.normal(size=24))
        noise = learn_noise(np.stack([levels, variance, np.full(24, 5000.0)], axis=1))
        assert noise.pedestal == 0
        assert noise.gain == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("level", "spread"), [(30, 0.05), (100, 0.03), (100, 0.05), (300, 0.02)])
def test_pixels_of_unequal_gain_have_no_pedestal(level, spread):
    """They scatter by the square of the level, too, and a line through that ends above zero."""
    rng = np.random.default_rng(8)
    frames = [
        (with_data(frame, frame.data * (1 + spread * rng.normal(size=frame.data.size))), scene)
        for frame, scene, _ in make_run(3, seed=31, level=level)
    ]
    assert learn_model(frames, SETTINGS).noise.pedestal < 0.03 * level


def test_read_noise_is_not_taken_for_light_without_end():
    levels = np.linspace(-2, 8, 24)
    noise = learn_noise(np.stack([levels, levels + 400, np.full(24, 5000.0)], axis=1), lowest=-2.0)
    assert -10 < noise.pedestal <= -2
    assert noise.variance(3.0) == pytest.approx(403, rel=0.02)


def test_where_scatter_ends_above_zero_counts_is_the_pedestal():
    levels = np.linspace(11, 40, 24)
    noise = learn_noise(np.stack([levels, 0.9 * (levels - 10), np.full(24, 5000.0)], axis=1))
    assert (noise.gain, noise.read2, noise.pedestal) == pytest.approx((0.9, 0.0, 10.0), abs=0.03)
    assert noise.variance(20) == pytest.approx(9, rel=0.01)


def test_a_frame_gives_back_what_was_taken_off(run):
    frame = run[0][0]
    assert frame.without(0.0) is frame
    less = dataclasses.replace(frame, saturation=np.full(frame.data.size, 100, np.float32)).without(2.5)
    np.testing.assert_allclose(less.data, frame.data - 2.5, rtol=1e-6)
    np.testing.assert_allclose(less.saturation, 97.5)
    np.testing.assert_allclose(less.max_adu, frame.max_adu - 2.5)
    np.testing.assert_allclose(less.without(-2.5).data, frame.data, atol=1e-5)


@pytest.mark.parametrize("pedestal", [-3.3, -0.61, 2.17, 10.03])
def test_a_pixel_that_is_just_saturated_stays_so(run, pedestal):
    frame = run[0][0]
    panels = [dataclasses.replace(panel, max_adu=1234.5) for panel in frame.detector.panels]
    full = dataclasses.replace(
        frame,
        data=np.full(frame.data.size, 1234.5, np.float32),
        detector=dataclasses.replace(frame.detector, panels=panels),
        adu_per_photon=np.array([17.3, 20.0]),
    ).without(pedestal)
    for number in range(2):
        assert (full.panel(number)[0] == np.float32(full.max_adu[number])).all()
        assert not (full.panel(number)[0] > full.max_adu[number]).any()
