"""Where crowded spots leave few clean pixels at some radii, masks are tighter there, and nowhere else."""

import numpy as np
from numpy.testing import assert_array_equal

from tests.background.worlds import detector, make_world, middles, water_ring
from waterbg.background import frame_rays
from waterbg.background.estimators import CROWDED, flag_pixels
from waterbg.background.masks import BAD, NOT_CLEAN
from waterbg.background.surface import fit_surface
from waterbg.background.zones import FEW, LEAST_CLEAN, ZONE, starved_zones, zones_of

RADII = (3.0, 5.0, 7.0)
NEAR = 90.0  # px from the beam: within, spots are ten pixels apart; a detector of two panels has few elsewhere


def crowded_world(seed):
    """Spots in rows and columns of ten pixels about the beam, and a few farther out."""
    det = detector()
    places = []
    for number, panel in enumerate(det.panels):
        for fs in np.arange(14.3, panel.n_fs - 14, 10):
            for ss in np.arange(14.8, panel.n_ss - 14, 10):
                r = np.hypot(panel.corner_x + fs, panel.corner_y + ss)
                if r < NEAR or (r > NEAR + 2 * ZONE and round(fs + ss) % 70 == 9):
                    places.append((number, fs, ss))
    return make_world(water_ring, seed=seed, det=det, places=places)


def test_the_background_among_crowded_spots_is_learnt_from_what_is_between_them():
    errors = []
    for seed in range(6):
        world = crowded_world(seed)
        flags = flag_pixels(world.frame, world.scene, RADII)
        surface = fit_surface(world.frame, flags, frame_rays(world.frame, world.scene, "horiz"), (1.0, 0.0))
        r = np.hypot(*middles(world.frame.detector)[:2])
        inside = (r > 30) & (r < NEAR - 15)
        assert (flags & NOT_CLEAN == 0)[inside].mean() > 0.25
        expected = surface.everywhere(world.frame.detector.shapes)
        rings = np.digitize(r[inside], np.arange(30, NEAR, 5))
        true = world.mean[inside]
        errors.append(np.bincount(rings, expected[inside])[1:] / np.bincount(rings, true)[1:] - 1)
    assert np.sqrt(np.mean(np.square(errors))) < 0.012  # 0.016 from the eighth that is 6.5 px from any of them


def test_spots_that_leave_enough_of_their_zone_keep_the_ample_margin():
    world = crowded_world(7)
    det, scene = world.frame.detector, world.scene
    rays = frame_rays(world.frame, scene, "horiz")
    flags = flag_pixels(world.frame, scene, RADII)
    spots = scene.spots
    zone = zones_of(rays, spots["panel"], spots["fs"], spots["ss"])
    at = det.offsets[spots["panel"]] + spots["ss"].astype(int) * 400 + spots["fs"].astype(int)
    beyond = int(RADII[0] + CROWDED[0]) + 1  # px along fs, where only the ample margin reaches
    far = zone > (NEAR + ZONE) // ZONE
    assert far.sum() > 20
    assert (flags[at[far] + beyond] & NOT_CLEAN > 0).all()
    assert (flags[at[zone <= 1] + beyond] & NOT_CLEAN == 0).any()


def test_starved_zones_are_those_that_a_histogram_of_all_pixels_shows():
    world = make_world(water_ring, n_spots=0, bad=lambda x, y, p: np.abs(x) < 3)
    det = world.frame.detector
    rays = frame_rays(world.frame, world.scene, "horiz")
    x, y, _ = middles(det)
    zone = (np.hypot(x, y) / ZONE).astype(int)
    rng = np.random.default_rng(3)
    flags = world.frame.bad | (rng.random(x.size) < np.linspace(0.5, 1, 9)[np.minimum(zone, 8)]) * np.uint8(2)
    usable, clean = np.bincount(zone, flags & BAD == 0), np.bincount(zone, flags & NOT_CLEAN == 0)
    expected = (clean < LEAST_CLEAN * usable) & (clean < FEW * ZONE)
    found = starved_zones(flags, det, rays)
    clear = np.abs(clean / usable - LEAST_CLEAN) > 0.03  # the kernel looks at a share of them only
    assert expected.any()
    assert not expected.all()
    assert_array_equal(found[: len(expected)][clear], expected[clear])


def test_positions_beside_the_detector_are_in_some_zone():
    world = make_world(water_ring, n_spots=0)
    rays = frame_rays(world.frame, world.scene, "horiz")
    nowhere = zones_of(rays, np.array([-1, 0], np.int32), np.array([np.nan, 1e9]), np.array([np.nan, 0.0]))
    assert ((nowhere >= 0) & (nowhere <= rays.n_bins // ZONE)).all()
