"""What the stream has, and what it does not have, on one frame."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from waterbg.background.estimators import CROWDED, flag_pixels
from waterbg.background.masks import WIDE
from waterbg.predict import LIMIT, NEAR, build_scene, predict
from waterbg.stream import REFLECTION

from .worlds import CLEN, ENERGY, crystal_of, in_other_pixels, lattice, printed, tiles

SHIFT = (0.0213487, -0.0335791)


@pytest.fixture(scope="module")
def detector():
    return tiles(2, 2, 600, 600)


def scene_of(crystals, detector, **options):
    return build_scene(crystals, detector, CLEN, ENERGY, **options)


def test_every_printed_row_has_its_spot_and_every_spot_its_row(detector):
    crystals = [crystal_of(detector, lattice(seed), SHIFT)[0] for seed in (1, 2, 3)]
    dropped = np.arange(len(crystals[1].reflections)) % 3 == 0
    crystals[1].reflections = crystals[1].reflections[~dropped]
    scene = scene_of(crystals, detector)
    assert scene.crystals == tuple(crystals)
    assert scene.det_shift.shape == (3, 2)
    for number, crystal in enumerate(crystals):
        rows = crystal.reflections
        spots = scene.spots[scene.rows[number]]
        for name in "hkl":
            assert spots[name].tolist() == rows[name].tolist()
        assert scene.crystal[scene.rows[number]].tolist() == [number] * len(rows)
        assert scene.printed[scene.rows[number]].tolist() == list(range(len(rows)))
    assert (scene.printed < 0).sum() == dropped.sum()


def test_spots_of_a_stream_lie_where_they_were_predicted(detector):
    crystal, truth = crystal_of(detector, lattice(4), SHIFT)
    scene = scene_of([crystal], detector)
    assert in_other_pixels(scene.spots[scene.rows[0]], truth) <= 1
    assert np.abs(scene.spots["fs"][scene.rows[0]] - truth["fs"]).max() < 2e-3


def test_near_spots_lie_between_the_limits(detector):
    crystal, _ = crystal_of(detector, lattice(4), rounded=False)
    scene = scene_of([crystal], detector)
    reduced = np.abs(scene.near["excitation"]) / crystal.profile_radius
    assert len(scene.near) > 0.9 * len(scene.spots)
    assert reduced.min() >= LIMIT
    assert reduced.max() <= NEAR


@pytest.mark.parametrize(("bandwidth", "sign"), [(1e-8, 1), (0.01, 1), (0.03, 1), (1e-8, -1)])
def test_light_of_all_near_spots_is_kept_out_of_the_background(bandwidth, sign):
    """Also with a bandwidth, where spots are seen farther from the sphere, and with a profile radius below zero."""
    wide = tiles(2, 2, 600, 600, extra=f"bandwidth = {bandwidth}\n")
    crystal, _ = crystal_of(wide, lattice(4))
    crystal.profile_radius *= sign
    scene = scene_of([crystal], wide)
    assert len(scene.near) > 100
    assert scene.near["reduced"].min() >= LIMIT
    assert scene.near["reduced"].max() <= NEAR
    frame = SimpleNamespace(bad=np.zeros(wide.n_pixels, np.uint8), detector=wide, clen=CLEN, faulty=np.zeros(0, int))
    flags = flag_pixels(frame, scene, (3.0, 5.0, 7.0))
    panel, fs, ss = scene.near["panel"], scene.near["fs"].astype(int), scene.near["ss"].astype(int)
    masked = flags[wide.offsets[panel] + ss * 600 + fs] & WIDE > 0
    assert masked[scene.near["reduced"] <= CROWDED[1]].all()
    assert masked.mean() > 0.99  # the farthest from the sphere are not, near the beam, where little else would be left


def test_push_res_moves_spots_beyond_the_limit_to_the_near_ones(detector):
    crystal, _ = crystal_of(detector, lattice(4), limit=2.0)
    crystal.reflections = crystal.reflections[:0]
    everything = scene_of([crystal], detector)
    some = scene_of([crystal], detector, push_res=0.5)
    assert some.spots["inv_d"].max() <= 2.5 < everything.spots["inv_d"].max()
    assert len(some.spots) + len(some.near) == len(everything.spots) + len(everything.near)
    crystal.resolution_limit = None
    assert len(scene_of([crystal], detector, push_res=0.5).spots) == len(everything.spots)


def test_rounding_of_the_resolution_limit_does_not_cut_printed_reflections(detector):
    crystal, truth = crystal_of(detector, lattice(4), limit=2.0, max_inv_d=2.5049)
    scene = scene_of([crystal], detector, push_res=0.5)
    assert len(scene.spots) == len(truth)


def test_overpredicted_reflections_are_recognised(detector):
    _, truth = crystal_of(detector, lattice(4), radius=0.001)
    wide, _ = crystal_of(detector, lattice(4), radius=0.005)
    wide.profile_radius = 0.001
    wide.reflections = wide.reflections[::2]
    scene = scene_of([wide], detector)
    assert len(scene.spots) > 4 * len(truth)
    assert (scene.printed < 0).sum() == len(scene.spots) - len(wide.reflections)
    assert np.abs(scene.spots["excitation"]).max() == pytest.approx(8.5e-3, rel=0.01)


@pytest.mark.parametrize("bandwidth", [0.005, 0.02])
def test_overpredicted_reflections_of_a_wide_beam_are_recognised_and_lie_where_indexamajig_had_them(bandwidth):
    wide_beam = replace(tiles(2, 2, 600, 600), bandwidth=bandwidth)
    wide, truth = crystal_of(wide_beam, lattice(4), SHIFT, radius=0.02)
    wide.profile_radius = 0.004
    wide.reflections = wide.reflections[::2]
    scene = scene_of([wide], wide_beam)
    assert (scene.printed < 0).sum() == len(truth) - len(wide.reflections)
    assert in_other_pixels(scene.spots[scene.rows[0]], truth[::2]) <= 2
    plain, truth = crystal_of(wide_beam, lattice(4), radius=0.004)
    assert len(scene_of([plain], wide_beam).spots) == len(truth)


def test_printed_reflections_that_nobody_predicts_are_projected(detector):
    crystal, truth = crystal_of(detector, lattice(4), SHIFT)
    beyond = predict(crystal.axes, "P", detector, CLEN, ENERGY, 0.03, det_shift_mm=SHIFT)
    beyond = beyond[np.abs(beyond["excitation"]) > 0.045][:5]
    rows, _ = printed(detector, beyond)
    crystal.reflections = np.concatenate([crystal.reflections, rows])
    scene = scene_of([crystal], detector)
    assert len(scene.spots) == len(truth) + 5
    got = scene.spots[scene.rows[0][-5:]]
    assert np.abs(got["fs"] - beyond["fs"]).max() < 0.01
    assert scene.printed[scene.rows[0]].tolist() == list(range(len(crystal.reflections)))


def test_reflections_printed_twice_share_one_spot(detector):
    crystal, truth = crystal_of(detector, lattice(4))
    far = np.zeros(2, REFLECTION)
    far["h"] = 400  # twice, and not on the detector
    crystal.reflections = np.concatenate([crystal.reflections, crystal.reflections[:7], far])
    scene = scene_of([crystal], detector)
    assert len(scene.spots) == len(truth) + 1
    assert scene.rows[0][-9:-2].tolist() == scene.rows[0][:7].tolist()
    assert scene.rows[0][-1] == scene.rows[0][-2]
    assert scene.spots["panel"][scene.rows[0][-1]] == -1
    assert scene.printed[scene.rows[0][-1]] == len(truth) + 7
    assert sorted(scene.printed[scene.printed >= 0])[:3] == [0, 1, 2]


def test_indices_too_large_for_any_list_are_kept_apart(detector):
    crystal, truth = crystal_of(detector, lattice(4))
    crystal.reflections = crystal.reflections.copy()
    crystal.reflections["h"][:3] = [2**31 - 1, -(2**31), 2**21 + crystal.reflections["h"][2]]
    scene = scene_of([crystal], detector)
    assert len(scene.spots) == len(truth) + 3
    assert (scene.spots["panel"][scene.rows[0][:3]] == -1).all()


@pytest.mark.parametrize("lacks", ["axes", "nan axes", "profile_radius", "resolution_limit", "centering", "det_shift"])
def test_crystals_that_lack_something_keep_their_printed_reflections(detector, lacks):
    crystal, truth = crystal_of(detector, lattice(4), rounded=False)
    if lacks == "nan axes":
        crystal.axes = np.full((3, 3), np.nan)
    else:
        setattr(crystal, lacks, None)
    scene = scene_of([crystal], detector, push_res=0.5)
    spots = scene.spots[scene.rows[0]]
    assert len(spots) == len(truth)
    if "axes" in lacks:
        assert len(scene.spots) == len(truth)
        assert np.abs(spots["fs"] - truth["fs"]).max() < 0.051
        assert np.abs(spots["inv_d"] - truth["inv_d"]).max() < 0.02
    else:
        assert np.abs(spots["fs"] - truth["fs"]).max() < 1e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300, 1e300, -5.0])
@pytest.mark.parametrize("axes", [True, False])
def test_impossible_positions_and_shifts_break_nothing(detector, value, axes):
    crystal, truth = crystal_of(detector, lattice(4), rounded=False)
    crystal.reflections["fs"][::4] = value
    crystal.det_shift = (value if abs(value) > 10 or value != value else 0.0, 0.0)
    if not axes:
        crystal.axes = None
    scene = scene_of([crystal], detector)
    assert len(scene.rows[0]) == len(truth)
    off = scene.spots["panel"][scene.rows[0]] == -1
    assert off[::4].all() or axes


def test_panels_the_geometry_does_not_have_are_no_obstacle(detector):
    crystal, truth = crystal_of(detector, lattice(4), SHIFT)
    crystal.panel_names = tuple(b"other" for _ in crystal.panel_names)
    scene = scene_of([crystal], detector)
    assert np.abs(scene.spots["fs"][scene.rows[0]] - truth["fs"]).max() < 0.02
    crystal.axes = None
    assert (scene_of([crystal], detector).spots["panel"] == -1).all()


def test_chunk_without_crystals_is_an_empty_scene(detector):
    scene = scene_of([], detector)
    assert len(scene.spots) == len(scene.near) == len(scene.crystal) == len(scene.printed) == 0
    assert scene.rows == ()
    assert scene.det_shift.shape == (0, 2)
