"""Light that the frame's model leaves out: how much there is of it, and what must not pass for it."""

import numpy as np
import pytest

from tests.background.test_pieces import surface_of
from tests.background.worlds import gaussian_share, make_world, middles, water_ring
from waterbg.background import Noise, Trust, make_estimator
from waterbg.background.stray import stray_light
from waterbg.predict import SPOT


def with_spots(number, photons, seed=61):
    """A frame with unpredicted spots of so many photons each, everywhere."""

    def spoil(counts, w):
        images = counts.reshape(2, 200, 400)
        places = zip(w.rng.integers(0, 2, number), w.rng.uniform(12, 388, number), w.rng.uniform(12, 188, number))
        for panel, fs, ss in places:
            left, top = int(fs) - 10, int(ss) - 10
            share = gaussian_share(fs, ss, 1.1, left, top, 21)
            images[panel, top : top + 21, left : left + 21] += w.rng.poisson(photons * share)

    return make_world(water_ring, seed=seed, n_spots=0, spoil=spoil)


def stray_of(world):
    surface, flags = surface_of(world)
    return stray_light(world.frame, flags, surface)


def mean_stray(world):
    """Over all pixels of the detector."""
    stray, r = stray_of(world), np.hypot(*middles(world.frame.detector)[:2])
    return stray[np.minimum(r.astype(int) // 8, len(stray) - 1)].mean()


@pytest.mark.parametrize(("number", "photons", "part"), [(60, 3000, 0.8), (300, 1000, 0.7), (300, 300, 0.35)])
def test_light_of_unpredicted_spots_is_measured(number, photons, part):
    """But for what does not stand out of the noise, and is in the background already."""
    world = with_spots(number, photons)
    expected = number * photons / world.frame.detector.n_pixels
    assert part * expected < mean_stray(world) < 1.1 * expected


def test_it_is_found_where_it_is():
    def ice(counts, w):
        r, phi = np.hypot(w.x, w.y), np.arctan2(w.y, w.x)
        counts += w.rng.poisson(np.where((np.abs(r - 150) < 2) & (np.sin(40 * phi) > 0.95), 60.0, 0.0))

    stray = stray_of(make_world(water_ring, seed=62, n_spots=0, spoil=ice))
    assert stray[150 // 8] > 5 * stray[40 // 8]


def test_a_frame_without_has_none():
    assert stray_of(make_world(water_ring, seed=63, n_spots=0)).max() < 0.02
    assert not stray_of(make_world(lambda x, y, p: 0 * x, seed=64, n_spots=0)).any()


def test_hot_pixels_are_none():
    def hot(counts, w):
        counts[w.rng.integers(0, counts.size, 400)] += 5000

    assert stray_of(make_world(water_ring, seed=65, n_spots=0, spoil=hot)).max() < 0.1


def test_one_very_bright_spot_is_not_taken_off_all_others():
    usual = with_spots(100, 1000)
    before = mean_stray(usual)
    usual.frame.data.reshape(2, 200, 400)[0, 60:66, 100:106] += 10000  # all of it 2 photons a pixel
    assert mean_stray(usual) < 1.4 * before


@pytest.mark.parametrize("per_photon", [(), (1.0, 1.0)])
def test_its_share_of_the_variance_is_what_the_variance_is_less_without_it(per_photon):
    """Decoys are told by it what their sigma is when less of it is taken off."""
    world = with_spots(300, 1000)
    targets = np.zeros(40, SPOT)
    rng = np.random.default_rng(66)
    targets["panel"], targets["fs"], targets["ss"] = rng.uniform([[0], [12], [12]], [[2], [388], [188]], (3, 40))
    noise = Noise(0.5, 0.1, per_photon=per_photon)
    whole, none = (
        make_estimator("water", noise, trust=Trust(stray=stray)).estimate(world.frame, world.scene, (3, 5, 7), targets)
        for stray in (1.0, 0.0)
    )
    assert (whole.lit > 0.05).sum() > 20
    before, after = (
        each.factor * (noise.gain * each.expected[:, each.half, each.half] + noise.read2) for each in (whole, none)
    )
    np.testing.assert_allclose(before * (1 - whole.lit), after, rtol=1e-4)
