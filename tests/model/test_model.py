"""The run's model: what is learnt, that it is always the same, and what a frame makes of it."""

import dataclasses
import json

import numpy as np
import pytest

from tests.model.worlds import RADII, make_run
from waterbg.background import Noise, Trust
from waterbg.background.faulty import pixels_of
from waterbg.errors import OutputError, UsageError
from waterbg.integrate import Status
from waterbg.integrate.positions import PositionMap
from waterbg.integrate.psf import Lines, Psf
from waterbg.integrate.robust import robust_std
from waterbg.integrate.scatter import Scatter
from waterbg.integrate.shapes import Spots
from waterbg.model import Quality, RunModel, check_model, learn_model, process_frame
from waterbg.model.calibrate import _try_frame, sigma_scale
from waterbg.model.decoys import DECOY, DecoyShell
from waterbg.model.learn import NO_TAIL, TAILS, best_tail
from waterbg.model.quality import judge
from waterbg.settings import Settings

SETTINGS = Settings(int_radius=RADII)


@pytest.fixture(scope="module")
def run():
    return make_run(5, seed=11)


@pytest.fixture(scope="module")
def model(run):
    return learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)


def test_a_model_learns_what_the_run_is_made_of(model):
    assert model.frames == 5
    assert model.noise.gain == pytest.approx(1, abs=0.05)
    assert model.noise.read2 < 0.4
    assert model.spots.psf.widths.at(np.array([2.0]))[0] == pytest.approx([1.13, 1.13], rel=0.05)
    assert model.spots.psf.tail < 0.04
    assert max(model.trust.tau2) < 0.03**2
    assert model.sigma_scale == pytest.approx(1, abs=0.08)
    assert model.quality.decoys > 200
    assert model.quality.ratio == pytest.approx(1, abs=0.03)


def test_a_tail_is_learnt():
    run = make_run(3, seed=12, tail=0.25, signal=900.0)
    learnt = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)
    assert learnt.spots.psf.tail == pytest.approx(0.25, abs=0.06)


def test_the_light_of_neighbours_is_no_tail():
    run = make_run(3, seed=23, cell=110.0, signal=400.0)
    assert learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS).spots.psf.tail == 0


def hot_at_high_resolution(frame, scene, rng):
    """The frame with four hot pixels in discs of its forty spots of highest resolution."""
    spots = scene.spots[scene.spots["panel"] >= 0]
    chosen = rng.choice(spots[np.argsort(spots["inv_d"])[-40:]], 4, replace=False)
    at = frame.detector.offsets[chosen["panel"]] + chosen["ss"].astype(int) * frame.detector.shapes[chosen["panel"], 1]
    data = frame.data.copy()
    data[at + chosen["fs"].astype(int)] += 300
    return dataclasses.replace(frame, data=data)


def test_hot_pixels_do_not_teach_widths_where_few_spots_are_strong():
    rng = np.random.default_rng(0)
    run = [(frame, scene) for frame, scene, _ in make_run(6, seed=21, signal=80.0)]
    hot = [(hot_at_high_resolution(frame, scene, rng), scene) for frame, scene in run]
    widths = [learn_model(sample, SETTINGS).spots.psf.widths.at(np.array([1.5, 3.5])) for sample in (run, hot)]
    np.testing.assert_allclose(widths[1], widths[0], rtol=0.04)


def test_spots_of_one_pixel_are_learnt_where_all_are_so():
    run = make_run(4, seed=22, sigma=0.25, signal=600.0)
    learnt = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)
    assert learnt.spots.psf.widths.at(np.array([2.0, 3.0])).max() < 0.45


def test_blank_frames_do_not_make_sigma_small():
    rng = np.random.default_rng(3)
    run = []
    for frame, scene, _ in make_run(4, seed=14):
        noisy = frame.data + rng.normal(0, 2, frame.data.size).astype(np.float32)
        run.append((dataclasses.replace(frame, data=noisy), scene))
    blank = (dataclasses.replace(run[1][0], data=np.zeros_like(run[1][0].data)), run[1][1])
    found = learn_model([run[0], blank, *run[1:]], SETTINGS)
    assert found.sigma_scale == pytest.approx(learn_model(run, SETTINGS).sigma_scale, abs=0.03)


def test_spots_that_are_wider_than_the_disc_are_counted():
    for sigma, cut in ((1.1, False), (1.8, True)):
        frame, scene, _ = make_run(1, seed=5, sigma=sigma, signal=900.0)[0]
        _, report = process_frame(frame, scene, learn_model([(frame, scene)], SETTINGS), SETTINGS)
        assert report.cut == (np.count_nonzero(scene.printed >= 0) if cut else 0)


def test_spots_that_are_what_the_fit_takes_them_for_have_a_small_error():
    run = [(frame, scene) for frame, scene, _ in make_run(3, seed=12, signal=900.0)]
    assert 0.01 <= learn_model(run, SETTINGS).spots.signal_error < 0.02
    few = learn_model([(frame, scene) for frame, scene, _ in make_run(1, seed=12)], SETTINGS)
    assert few.quality.strong < 40
    assert few.spots.signal_error == Spots().signal_error


def test_a_few_spots_with_something_beside_them_make_no_tail_for_all():
    """A tail of 3 % that is not there takes all intensities 1 % up."""
    rng, tails = np.random.default_rng(1), np.array(TAILS)
    deviance = 900 * tails[:, None] ** 2 / 40 + rng.normal(0, 1, 400) * tails[:, None]
    assert best_tail(deviance) == 0
    strange = deviance.copy()
    strange[:, :3] -= 4000 * tails[:, None] * (0.15 - tails[:, None])
    assert strange.sum(axis=1).min() < -NO_TAIL
    assert best_tail(strange) == 0
    assert best_tail(900 * (tails[:, None] - 0.2) ** 2 + deviance / 100) == pytest.approx(0.2, abs=0.01)


def test_intensities_are_right_with_the_model(run, model):
    z = []
    for frame, scene, truth in run:
        result, _ = process_frame(frame, scene, model, SETTINGS)
        kept = (result["status"] == Status.OK) & (scene.printed >= 0)
        z.append(((result["I"] - truth) / result["sigma"])[kept])
    z = np.concatenate(z)
    assert len(z) > 300
    assert abs(z.mean()) < 0.12
    assert 0.9 < z.std() < 1.15


def test_a_frame_is_a_pure_function_of_its_arguments(run, model):
    frame, scene, _ = run[0]
    data, bad = frame.data.copy(), frame.bad.copy()
    once, _ = process_frame(frame, scene, model, SETTINGS)
    process_frame(*run[1][:2], model, SETTINGS)
    again, _ = process_frame(frame, scene, model, SETTINGS)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(frame.data, data)
    np.testing.assert_array_equal(frame.bad, bad)


def test_learning_twice_is_learning_once(run, model):
    assert learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS) == model


def test_a_sample_is_walked_lazily_and_frames_may_share_one_buffer(run, model):
    class Sample:
        buffer = np.empty_like(run[0][0].data)

        def __iter__(self):
            for frame, scene, _ in run:
                self.buffer[:] = frame.data
                yield dataclasses.replace(frame, data=self.buffer), scene

    assert learn_model(Sample(), SETTINGS) == model


def test_without_frames_the_defaults_are_taken():
    assert learn_model([], SETTINGS) == RunModel()


@pytest.mark.parametrize("background", ["ring", "plane", "radial", "water"])
@pytest.mark.parametrize("integration", ["profile", "sum"])
def test_every_choice_gives_numbers(run, model, background, integration):
    frame, scene, truth = run[0]
    settings = SETTINGS.replace(background=background, integration=integration)
    result, _ = process_frame(frame, scene, model, settings)
    kept = result["status"] == Status.OK
    assert kept.sum() > 60
    assert np.isfinite(result["I"][kept]).all()
    assert (result["sigma"][kept] > 0).all()
    assert np.corrcoef(result["I"][kept], truth[kept])[0, 1] > 0.97


def test_decoys_can_be_left_out_of_sigma(run):
    plain = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS.replace(decoys=False))
    assert plain.sigma_scale == 1.0
    assert plain.quality.decoys > 200


def test_each_decoy_is_put_beside_the_rings_at_the_same_place(run, model):
    for frame, scene, _ in run[:2]:
        trial = _try_frame(frame, scene, model, SETTINGS)
        for decoys in (trial.half, trial.displaced):
            known = np.isfinite(decoys["I"]) & np.isfinite(decoys["rings"])
            assert known.sum() > 50
            assert np.corrcoef(decoys["I"][known], decoys["rings"][known])[0, 1] > 0.4


@pytest.mark.parametrize("integration", ["profile", "sum"])
def test_the_decoys_scale_is_that_of_the_numbers_that_are_written(integration):
    run = make_run(4, seed=3, signal=60.0, size=480)
    settings = dataclasses.replace(SETTINGS, integration=integration)
    model = learn_model([(frame, scene) for frame, scene, _ in run], settings)
    assert model.sigma_scale == pytest.approx(1, abs=0.06)
    z = []
    for frame, scene, truth in run:
        result, _ = process_frame(frame, scene, model, settings)
        kept = (result["status"] == Status.OK) & (truth < 200)
        z.append(((result["I"] - truth) / result["sigma"])[kept])
    assert robust_std(np.concatenate(z)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("level", [0.05, 0.03, 0.01])
def test_frames_with_hardly_a_count_do_not_make_sigma_small(level):
    rng = np.random.default_rng(6)
    counts = rng.poisson(level * 18, 4000)  # what a profile gathers
    decoys = np.zeros(4000, DECOY)
    decoys["I"], decoys["sigma_zero"] = counts - level * 18, np.sqrt(level * 18)
    assert sigma_scale(decoys, 1.0) == 1


def pooled_scatter(quality):
    return np.mean([shell.z_std for shell in quality.half if shell.z_std is not None])


def test_a_noise_that_is_told_wrong_is_put_right_by_the_frames_own_scatter(run):
    """Counts are Poisson; sigmas of a model that is told half the variance are almost as large as they should be."""
    frame_scenes = [(frame, scene) for frame, scene, _ in run]
    good = learn_model(frame_scenes, SETTINGS)
    told = dataclasses.replace(good, noise=dataclasses.replace(good.noise, gain=0.5 * good.noise.gain))
    assert pooled_scatter(check_model(frame_scenes, good, SETTINGS)) == pytest.approx(1, abs=0.1)
    assert pooled_scatter(check_model(frame_scenes, told, SETTINGS)) == pytest.approx(1, abs=0.12)


def test_a_sigma_that_is_too_small_shows_in_the_decoys(run):
    frame_scenes = [(frame, scene) for frame, scene, _ in run]
    good = learn_model(frame_scenes, SETTINGS)
    bold = check_model(frame_scenes, dataclasses.replace(good, sigma_scale=0.6 * good.sigma_scale), SETTINGS)
    assert pooled_scatter(bold) == pytest.approx(1 / 0.6, abs=0.2)


def test_blank_frames_and_frames_without_spots_fall_back_and_say_so(run, model):
    frame, scene, _ = run[0]
    blank = dataclasses.replace(frame, data=np.zeros_like(frame.data))
    result, report = process_frame(blank, scene, model, SETTINGS)
    assert report.fallbacks == [
        "blank frame, or hardly a clean pixel: background from each reflection's own ring",
        "too few strong spots for a position map of the frame",
        "too few strong spots for spot widths of the frame: the run's are taken",
    ]
    kept = result["status"] == Status.OK
    assert np.all(result["I"][kept] == 0)
    empty = dataclasses.replace(
        scene, spots=scene.spots[:0], near=scene.near[:0], crystal=scene.crystal[:0], printed=scene.printed[:0]
    )
    result, _ = process_frame(frame, empty, model, SETTINGS)
    assert len(result) == 0
    learnt = learn_model([(blank, scene)], SETTINGS)
    assert learnt.spots == Spots()
    assert np.isfinite(learnt.sigma_scale)


def test_a_frame_of_bad_pixels_keeps_nothing(run, model):
    frame, scene, _ = run[0]
    result, _ = process_frame(dataclasses.replace(frame, bad=np.ones_like(frame.bad)), scene, model, SETTINGS)
    assert not (result["status"] == Status.OK).any()


def test_saved_models_come_back_as_they_were(model, tmp_path):
    path = tmp_path / "model.json"
    model.save(path)
    assert RunModel.load(path) == model
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_model_without_anything_learnt_can_be_saved(tmp_path):
    RunModel().save(tmp_path / "m")
    assert RunModel.load(tmp_path / "m") == RunModel()


def test_a_model_holds_every_number(tmp_path):
    odd = RunModel(
        noise=Noise(0.7, 0.2, -0.3, (1.1, 0.9), 0.4),
        trust=Trust((1.0, 2.0), (1e-4, 2e-4, 3e-4)),
        spots=Spots(
            psf=Psf(Lines(1, 2, 3, 4), 0.1, 0.2),
            map=PositionMap(((0.1, 0.2),) * 6, 77.0, (1.0, 2.0, 3.0, 4.0, 5.0), ((0.1, 0.2), (0.3, 0.4))),
            signal_error=0.04,
            about_map=Scatter(Lines(5, 6, 7, 8), 0.1, 0.2),
            about_run=Scatter(Lines(9, 10, 11, 12), 0.3, 0.4),
        ),
        sigma_scale=1.3,
        faulty="3 5-7",
        frames=7,
        detector="1 panel of 20 x 30 pixels",
        options="--integration=sum --background=ring --polarisation=none --int-radius=3,4,5 --joint",
        quality=Quality(half=(DecoyShell(0, 1, 3, None, None, None),), strong=2, ratio=1.01, ratio_scatter=0.02),
    )
    odd.save(tmp_path / "m")
    assert RunModel.load(tmp_path / "m") == odd


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": "another run model 1"}', '{"format": "waterbg run model 7"}']
)
def test_what_is_no_model_is_refused(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"model.json: is not a run model"):
        RunModel.load(path)


def test_a_model_of_another_detector_is_refused(run, model):
    frame, scene, _ = run[0]
    assert model.detector == frame.detector.sizes
    other = dataclasses.replace(model, detector="1 panel of 2527 x 2463 pixels")
    with pytest.raises(UsageError, match=r"another detector \(1 panel of 2527 x 2463 pixels; .*leave out --model"):
        process_frame(frame, scene, other, SETTINGS)


def test_a_model_of_another_number_of_panels_is_refused(run, model):
    frame, scene, _ = run[0]
    other = dataclasses.replace(model, noise=dataclasses.replace(model.noise, per_photon=(1.0, 1.0, 1.0)))
    with pytest.raises(UsageError, match="another detector"):
        process_frame(frame, scene, other, SETTINGS)


def test_pixels_beyond_the_detector_are_refused(run, model):
    frame, scene, _ = run[0]
    with pytest.raises(UsageError, match="names pixels beyond the detector"):
        process_frame(frame, scene, dataclasses.replace(model, faulty="3 7-99999999999999"), SETTINGS)


@pytest.mark.parametrize("text", ["5-3", "nothing", "99999999999999999999"])
def test_a_model_with_pixels_that_are_no_numbers_is_refused(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_bytes(RunModel(faulty=text).text())
    with pytest.raises(UsageError, match=r"model.json: is not a run model"):
        RunModel.load(path)


@pytest.mark.parametrize("options", ["--background=mud", "--int-radius=9,8,7"])
def test_a_model_with_options_that_are_none_is_refused(tmp_path, options):
    path = tmp_path / "model.json"
    path.write_bytes(RunModel(options=options).text())
    with pytest.raises(UsageError, match=r"model.json: is not a run model"):
        RunModel.load(path)


@pytest.mark.parametrize(("integration", "background"), [("profile", "water"), ("sum", "water"), ("profile", "ring")])
def test_columns_that_are_wrong_in_all_frames_leave_intensities_right(integration, background):
    settings = dataclasses.replace(SETTINGS, integration=integration, background=background)
    rng = np.random.default_rng(31)
    run = make_run(6, seed=31, cell=40.0)
    dead, bright = rng.choice(360, (2, 12), replace=False)
    for frame, _, _ in run:
        image = frame.data.reshape(360, 360)
        image[:, dead] = 0
        image[:, bright] += rng.poisson(40, (360, 12))
    model = learn_model([(frame, scene) for frame, scene, _ in run], settings)
    found = np.zeros(360 * 360, bool)
    found[pixels_of(model.faulty)] = True
    found = found.reshape(360, 360)
    assert found[:, dead].mean() > 0.98
    assert found[:, bright].mean() > 0.98
    assert found.sum() < 24 * 360 + 100
    z = []
    for frame, scene, truth in run:
        result, _ = process_frame(frame, scene, model, settings)
        columns = np.abs(scene.spots["fs"].astype(int)[:, None] - np.concatenate([dead, bright])).min(axis=1) <= 3
        ok = (result["status"] == Status.OK) & columns
        z.append((result["I"] - truth)[ok] / result["sigma"][ok])
    z = np.concatenate(z)
    assert len(z) > 200
    assert abs(z.mean()) < 0.25
    assert robust_std(z) < 1.25
    assert np.mean(np.abs(z) > 5) < 0.01


@pytest.mark.parametrize(
    "wrong", [{"coefficients": [[0, 0]] * 20}, {"leaning": []}, {"panels": [[1, 2, 3]] * 2}, {"panels": [1, 2]}]
)
def test_a_model_of_the_wrong_shape_is_refused(tmp_path, wrong):
    path = tmp_path / "model.json"
    RunModel().save(path)
    data = json.loads(path.read_text())
    data["spots"]["map"].update(wrong)
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"model.json: is not a run model"):
        RunModel.load(path)


def test_a_model_of_another_version_is_named_as_such(tmp_path):
    path = tmp_path / "model.json"
    path.write_text('{"format": "waterbg run model 1"}')
    with pytest.raises(UsageError, match="is of another version of waterbg; leave it out to learn one"):
        RunModel.load(path)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_model_of_any_number_of_strong_spots_can_be_saved(tmp_path, n):
    none = np.zeros(0, DECOY)
    model = RunModel(quality=judge(none, none, np.linspace(1.0, 1.02, n)))
    model.save(tmp_path / "m")
    assert RunModel.load(tmp_path / "m") == model
    assert len(model.quality.lines()) == (n > 1)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read \(No such file"):
        RunModel.load(tmp_path / "none")


def test_a_model_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        RunModel().save(tmp_path / "no" / "model.json")


def test_the_verdict_is_in_words(model):
    lines = model.quality.lines()
    assert len(lines) == 3
    assert "0 and 1 are right" in lines[0]
    assert "of that of CrystFEL's rings" in lines[1]
    table = model.quality.table()
    assert table[0] == "decoys at half indices:"
    assert Quality().lines() == Quality().table() == []


def test_decoys_beside_reflections_speak_where_there_are_no_others():
    rng = np.random.default_rng(4)
    beside = np.zeros(4000, DECOY)
    beside["inv_d"], beside["I"], beside["rings"] = rng.uniform(1, 5, 4000), *rng.normal(size=(2, 4000))
    beside["sigma"] = beside["sigma_zero"] = beside["rings_sigma"] = 1
    for half in (beside[:0], beside[:2]):
        assert "decoys (true I = 0): 4000;" in judge(half, beside, np.ones(1)).lines()[0]


def test_a_profile_that_does_not_fit_is_told():
    said = Quality(strong=50, ratio=1.2, ratio_scatter=0.03).lines()
    assert said == [
        "profile fit over summation of 50 strong spots: 1.200, scatter 0.030: the profile does not fit these spots"
    ]


@pytest.mark.parametrize("gain", [0.3, 8.0])
def test_wrong_adu_per_photon_is_found_and_does_no_harm(run, gain):
    """What the geometry calls a photon may be anything: I scales with it, and sigma stays right."""
    changed = [(dataclasses.replace(f, data=f.data * np.float32(gain)), s, t) for f, s, t in run]
    learnt = learn_model([(frame, scene) for frame, scene, _ in changed], SETTINGS)
    assert learnt.noise.gain == pytest.approx(gain, rel=0.12)
    z = []
    for frame, scene, truth in changed:
        result, _ = process_frame(frame, scene, learnt, SETTINGS)
        kept = (result["status"] == Status.OK) & (scene.printed >= 0)
        z.append(((result["I"] - gain * truth) / result["sigma"])[kept])
    z = np.concatenate(z)
    assert abs(z.mean()) < 0.15
    assert 0.88 < z.std() < 1.18
