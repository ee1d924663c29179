"""Light that the model of a frame leaves out, in discs and elsewhere, and spots that leave it hardly a pixel."""

import dataclasses

import numpy as np
import pytest

from tests.model.worlds import RADII, make_run
from waterbg.integrate import Status
from waterbg.model import learn_model, process_frame
from waterbg.model.calibrate import stray_share
from waterbg.model.decoys import DECOY
from waterbg.settings import Settings

SETTINGS = Settings(int_radius=RADII)


def test_spots_of_another_crystal_leave_intensities_right_on_average():
    """A lattice that nobody indexed: its light is in the discs of the other now and then."""
    own, other = (
        make_run(6, seed=seed, signal=signal, level=level, cell=60.0, size=500)
        for seed, signal, level in ((31, 150.0, 12.0), (32, 200.0, 0.0))
    )
    both = [
        (dataclasses.replace(frame, data=frame.data + beside.data), scene, truth)
        for (frame, scene, truth), (beside, _, _) in zip(own, other, strict=True)
    ]
    sample = [(frame, scene) for frame, scene, _ in both]
    model = learn_model(sample, SETTINGS)
    blind = dataclasses.replace(model, trust=dataclasses.replace(model.trust, stray=0.0))
    off = {}
    for name, each in (("told", model), ("blind", blind)):
        left = []
        for frame, scene, truth in both:
            result, _ = process_frame(frame, scene, each, SETTINGS)
            kept = result["status"] == Status.OK
            left.append((result["I"] - truth)[kept])
        left = np.concatenate(left)
        off[name] = left.mean(), left.std() / np.sqrt(len(left))
    assert off["blind"][0] > 4 * off["blind"][1]
    assert abs(off["told"][0]) < 2.5 * off["told"][1]
    assert 0.6 < model.trust.stray < 1.8


def test_where_discs_leave_hardly_a_pixel_their_margins_are_background():
    """A large cell: with margins about all spots 2 % of the pixels would be left, and the surface a guess."""
    run = make_run(1, seed=51, cell=110.0, signal=150.0)
    model = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)
    frame, scene, truth = run[0]
    result, _ = process_frame(frame, scene, model, SETTINGS)
    kept = result["status"] == Status.OK
    assert ((result["I"] - truth) / result["sigma"])[kept].std() == pytest.approx(1, abs=0.1)
    assert result["I"][kept].sum() / truth[kept].sum() == pytest.approx(0.98, abs=0.02)


def lit_at_its_edges(frame, rng):
    """The frame with light of spots that are just off its panels: where no disc and no decoy can be."""
    data = frame.data.copy()
    for begin, (n_ss, n_fs) in zip(frame.detector.offsets, frame.detector.shapes, strict=False):
        panel = data[begin : begin + n_ss * n_fs].reshape(n_ss, n_fs)
        for ss, fs in zip(rng.choice([0, 1, n_ss - 4], 60), rng.integers(0, n_fs - 3, 60), strict=True):
            panel[ss : ss + 3, fs : fs + 3] += rng.poisson(rng.exponential(15), (3, 3))
    return dataclasses.replace(frame, data=data)


def test_stray_light_that_is_not_in_discs_does_not_make_sigma_small():
    """On hardly any background it is most of what is expected: decoys scatter less, strong reflections do not."""
    rng = np.random.default_rng(5)
    run = [(lit_at_its_edges(frame, rng), scene, truth) for frame, scene, truth in make_run(6, 41, 45.0, 500.0, 0.05)]
    model = learn_model([(frame, scene) for frame, scene, _ in run], SETTINGS)
    assert model.trust.stray == pytest.approx(0, abs=0.1)
    assert model.sigma_scale == pytest.approx(1, abs=0.1)
    z = []
    for frame, scene, truth in run:
        result, _ = process_frame(frame, scene, model, SETTINGS)
        strong = (result["status"] == Status.OK) & (truth > 200)
        z.append(((result["I"] - truth) / result["sigma"])[strong])
    assert np.concatenate(z).std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("there", [0.0, 0.4, 1.0, 1.5])
def test_decoys_say_which_share_of_the_stray_light_is_in_discs(there):
    rng = np.random.default_rng(9)
    decoys = np.zeros(20000, DECOY)
    decoys["stray"] = rng.exponential(10, 20000)
    hit = rng.random(20000) < 0.1  # a tenth of the discs has it all
    decoys["I"] = rng.normal(0, 20, 20000) + there * 100 * hit - decoys["stray"]
    assert stray_share(decoys) == pytest.approx(there, abs=0.08)
    assert stray_share(decoys[:50]) == 0


def test_few_discs_in_glaring_light_do_not_say_how_much_is_taken_off_all():
    """Arcs of salt, say. What decoys scatter by when all of it is taken off is not what they are clipped by."""
    rng = np.random.default_rng(9)
    decoys = np.zeros(3000, DECOY)
    decoys["stray"] = rng.uniform(0, 2000, 3000)
    light = np.where(rng.random(3000) < 0.02, 50_000, 0)  # on average as much as was taken off
    decoys["I"] = rng.normal(0, 20, 3000) + light - decoys["stray"]
    assert 0 < stray_share(decoys) < 0.1  # 50 standard deviations for two in a hundred: one for each


def test_stray_light_that_decoys_cannot_tell_is_not_taken_off():
    decoys = np.zeros(3000, DECOY)
    decoys["I"] = np.random.default_rng(9).normal(0, 20, 3000)
    assert stray_share(decoys) == 0
    decoys["I"][:-100] = 0  # hardly one of them has a count
    decoys["stray"] = 1
    assert stray_share(decoys) == 0
    decoys["I"], decoys["stray"] = np.random.default_rng(9).normal(0, 20, 3000), 1e-2  # next to none
    assert stray_share(decoys) == pytest.approx(0, abs=0.05)
