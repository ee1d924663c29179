"""Rings that are not round about the beam: their centre, ellipse and tilt are learnt where rings are narrow enough."""

import numpy as np
import pytest

from tests.background.test_pieces import surface_of
from tests.background.worlds import CLEN, LENGTH, detector, make_world, middles, scattering, water_ring
from waterbg.background.centre import centred
from waterbg.background.masks import Pixels
from waterbg.background.rays import make_rays

NOISE = (1.0, 0.0)


def narrow(x, y, r=None):
    """Water with two rings of 1.5 px on it, as high as the water's."""
    r = np.hypot(x, y) if r is None else r
    rings = sum(np.exp(-0.5 * ((r - radius) / 1.5) ** 2) for radius in (105.0, 140.0))
    air = 20.0 * (1 + 2.5 * np.exp(-0.5 * ((r - 110) / 18) ** 2) + 2.5 * rings)
    return air * scattering(x, y)


def shifted(x, y, panel=None):
    return narrow(x, y, np.hypot(x - 6, y + 4))


def drawn_out(x, y, panel=None):
    return narrow(x, y, np.hypot(x * 0.98, y * 1.02))


def tilted(x, y, panel=None):
    return narrow(x, y, np.hypot(x, y) / (1 + 0.03 * x / LENGTH - 0.02 * y / LENGTH))


def worst(background, world):
    """RMS error of the surface relative to the mean, where the narrow rings are."""
    surface, _ = surface_of(world)
    x, y, _ = middles(world.frame.detector)
    here = np.abs(np.hypot(x, y) - 122) < 35
    off = surface.everywhere(world.frame.detector.shapes)[here] / world.mean[here] - 1
    return float(np.sqrt(np.mean(off**2)))


def moved(world):
    """Whether the rays of a world's frame are others than the geometry's."""
    rays = make_rays(world.frame.detector, CLEN)
    return centred(Pixels.of(world.frame, world.frame.bad), rays, NOISE)[0] is not rays


@pytest.mark.parametrize("background", [shifted, drawn_out, tilted], ids=lambda one: one.__name__)
def test_narrow_rings_that_are_not_round_about_the_beam_are_followed(background):
    """As if they were, their own model is off by more than a tenth."""
    world = make_world(background, seed=81, n_spots=0)
    assert moved(world)
    assert worst(background, world) < 0.04


def test_where_rings_are_is_found_to_a_tenth_of_a_pixel():
    world = make_world(shifted, seed=82, n_spots=0)
    surface, _ = surface_of(world)
    x, y, panel = middles(world.frame.detector)
    here = np.abs(np.hypot(x - 6, y + 4) - 140) < 2
    ray, det = surface.rays.panel[panel[here]], world.frame.detector
    at = np.flatnonzero(here) - det.offsets[panel[here]]
    ss, fs = at // det.shapes[panel[here], 1] + 0.5, at % det.shapes[panel[here], 1] + 0.5
    sx, sy, sz = (ray[:, i] + fs * ray[:, 3 + i] + ss * ray[:, 6 + i] for i in range(3))
    r = surface.rays.length * np.hypot(sx, sy) / sz
    off = r - np.hypot(x[here] - 6, y[here] + 4)
    assert np.ptp(off - off.mean()) < 0.4
    assert off.std() < 0.1


@pytest.mark.parametrize("adu", [1.0, 12.5])
def test_rings_that_are_round_stay_where_the_geometry_has_them(adu):
    det = detector(adu=adu)
    assert not moved(make_world(lambda x, y, p: narrow(x, y), seed=83, n_spots=0, det=det))
    assert not moved(make_world(water_ring, seed=84, n_spots=0, det=det))


def test_shadows_streaks_halos_and_blank_frames_move_nothing():
    def shaded(x, y, panel):
        return water_ring(x, y) * np.where((np.abs(x + 0.3 * y) < 40) & (y > 20), 0.3, 1.0)

    def streaked(x, y, panel):
        return water_ring(x, y) + 2000 / (np.hypot(x, y) + 20) / (1 + ((x + 0.1 * y) / 3) ** 2)

    def halo(x, y, panel):
        return water_ring(x, y) + 600 * (50 / (np.hypot(x, y) + 10)) ** 3 * (1 + 0.8 * np.cos(2 * np.arctan2(y, x)))

    def covered(x, y, panel):
        return water_ring(x, y) * np.where(x > 60.5, 0.25, 1.0)

    for n, background in enumerate((shaded, streaked, halo, covered, lambda x, y, p: 0 * x)):
        assert not moved(make_world(background, seed=85 + n, n_spots=0))


@pytest.mark.parametrize("value", [0.0, 65535.0, None], ids=["nothing", "always the same", "noise"])
def test_dead_modules_move_nothing(value):
    def spoil(counts, w):
        dead = np.zeros((2, 200, 400), bool)
        dead[1, 35:98, 130:255] = True
        counts[dead.ravel()] = w.rng.normal(0, 0.3, dead.sum()) if value is None else value

    assert not moved(make_world(water_ring, seed=90, n_spots=0, read_noise=0.3, spoil=spoil))


def test_narrow_rings_are_followed_beside_a_shadow():
    def background(x, y, panel=None):
        return shifted(x, y) * np.where((np.abs(x + 0.3 * y) < 25) & (y > 20), 0.3, 1.0)

    assert moved(make_world(background, seed=93, n_spots=0))


def test_a_detector_that_sees_a_part_of_the_rings_follows_them_there():
    det = detector(rows=1, columns=1, shape=(300, 300), gap=-20.0)
    world = make_world(shifted, seed=91, det=det, n_spots=0)
    assert worst(shifted, world) < 0.06


def test_panels_smaller_than_a_step_of_rows_are_seen():
    det = detector(rows=20, columns=20, shape=(22, 22), gap=2.0)
    world = make_world(shifted, seed=92, det=det, n_spots=0)
    assert moved(world)
