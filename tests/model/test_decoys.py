"""Decoys: where they may be, what they must show, and what the numbers made of them mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.worlds import RADII, make_run
from waterbg.integrate import INTEGRATED, Status
from waterbg.integrate.robust import robust_std, spread_beyond
from waterbg.model.decoys import (
    CLEAR,
    DECOY,
    displaced_decoys,
    equal_edges,
    half_index_decoys,
    paired,
    rings_on_decoys,
    shells,
    with_stray,
)
from waterbg.model.quality import judge
from waterbg.predict import project


@pytest.fixture(scope="module")
def frame_and_scene():
    return make_run(1)[0][:2]


@pytest.mark.parametrize("kind", [half_index_decoys, displaced_decoys])
def test_decoys_stay_clear_of_all_that_may_scatter_and_of_each_other(frame_and_scene, kind):
    frame, scene = frame_and_scene
    decoys = kind(frame, scene, RADII)
    assert len(decoys) > 30
    there = np.concatenate([scene.spots, scene.near])
    for k, decoy in enumerate(decoys):
        same = there[there["panel"] == decoy["panel"]]
        assert np.hypot(same["fs"] - decoy["fs"], same["ss"] - decoy["ss"]).min() > RADII[0] + CLEAR - 1
        others = np.delete(decoys, k)
        others = others[others["panel"] == decoy["panel"]]
        if len(others):
            assert np.hypot(others["fs"] - decoy["fs"], others["ss"] - decoy["ss"]).min() > RADII[0] + RADII[2] - 2


def test_half_index_decoys_are_where_half_indices_project(frame_and_scene):
    frame, scene = frame_and_scene
    decoys = half_index_decoys(frame, scene, RADII)
    indices = np.stack([decoys[name] + 0.5 for name in "hkl"], axis=1)
    shift = tuple(scene.det_shift[0])
    again = project(indices, scene.crystals[0].axes, frame.detector, frame.clen, frame.photon_energy_eV, shift)
    np.testing.assert_allclose(again["fs"], decoys["fs"], atol=1e-6)
    np.testing.assert_array_equal(again["panel"], decoys["panel"])
    assert decoys["inv_d"].max() <= scene.spots["inv_d"].max()


def test_displaced_decoys_are_one_and_a_half_to_two_outer_radii_away(frame_and_scene):
    frame, scene = frame_and_scene
    for decoy in displaced_decoys(frame, scene, RADII):
        at = [spot for spot in scene.spots if all(spot[name] == decoy[name] for name in "hkl")]
        distance = np.hypot(decoy["fs"] - at[0]["fs"], decoy["ss"] - at[0]["ss"])
        assert 1.5 * RADII[2] - 1e-6 <= distance <= 2 * RADII[2] + 1e-6


def test_a_scene_without_crystals_has_no_decoys(frame_and_scene):
    frame, scene = frame_and_scene
    from dataclasses import replace

    empty = replace(
        scene, spots=scene.spots[:0], near=scene.near[:0], crystals=(), det_shift=np.zeros((0, 2)),
        crystal=scene.crystal[:0], printed=scene.printed[:0], rows=(),
    )  # fmt: skip
    assert len(half_index_decoys(frame, empty, RADII)) == len(displaced_decoys(frame, empty, RADII)) == 0


def test_rings_on_decoys_find_nothing_on_average(frame_and_scene):
    frame, scene = frame_and_scene
    decoys = half_index_decoys(frame, scene, RADII)
    rings = rings_on_decoys(frame, scene, decoys, RADII)
    kept = rings["status"] == 0
    z = rings["I"][kept] / rings["sigma"][kept]
    assert len(rings) == len(decoys)
    assert abs(np.median(z)) < 5 / np.sqrt(kept.sum())


def test_shells_state_mean_scatter_and_rms():
    rng = np.random.default_rng(1)
    decoys = np.zeros(4000, DECOY)
    decoys["inv_d"] = rng.uniform(1, 5, 4000)
    decoys["I"], decoys["sigma"] = rng.normal(0.5, 2, 4000), 2.0
    decoys["rings"], decoys["rings_sigma"] = rng.normal(0, 4, 4000), 3.0
    decoys["I"][:40] = 1e4  # a hot pixel in one in a hundred
    decoys["I"][40:60] = np.nan
    ours, rings = shells(decoys, [1, 3, 5])
    assert sum(shell.n for shell in ours) == 3980
    for mine, theirs in zip(ours, rings, strict=True):
        assert mine.z_mean == pytest.approx(0.25, abs=0.06)
        assert mine.z_std == pytest.approx(1, abs=0.06)
        assert mine.rms == pytest.approx(np.hypot(2, 0.5), rel=0.05)
        assert theirs.z_std == pytest.approx(4 / 3, abs=0.08)
        assert theirs.rms == pytest.approx(4, rel=0.05)


def test_what_is_taken_off_for_few_discs_does_not_make_the_mean_of_all_others_wrong():
    rng = np.random.default_rng(2)
    decoys = np.zeros(4000, DECOY)
    decoys["inv_d"], decoys["sigma"], decoys["rings_sigma"], decoys["stray"] = 0.5, 2, 3, 1
    decoys["I"] = rng.normal(0, 2, 4000) - 1
    decoys["I"][:80] += 50  # whose light it is
    decoys["rings"] = rng.normal(0, 3, 4000)
    ours, _ = shells(decoys, [0, 1])
    assert ours[0].z_mean == pytest.approx(0, abs=0.05)
    assert ours[0].z_std == pytest.approx(1, abs=0.05)


def test_a_shell_of_decoys_with_hardly_a_count_says_nothing():
    """Where two thirds and more of the rings' intensities are 0, nothing tells what is an outlier."""
    rng = np.random.default_rng(8)
    decoys = np.zeros(400, DECOY)
    decoys["inv_d"], decoys["I"], decoys["sigma"], decoys["rings_sigma"] = 0.5, rng.normal(0, 1, 400), 1, 1
    decoys["rings"][:80] = rng.normal(0, 3, 80)
    for shell in (*shells(decoys, [0, 1])[0], *shells(decoys, [0, 1])[1]):
        assert (shell.n, shell.z_mean, shell.z_std, shell.rms) == (400, None, None, None)
    verdict = judge(decoys, decoys[:0], np.zeros(0))
    assert verdict.lines() == ["decoys (true I = 0): 400: too few, or too few counts in them, to say anything"]
    assert verdict.table()[-1].endswith("too few")


def test_a_shell_without_decoys_says_nothing():
    ours, rings = shells(np.zeros(0, DECOY), [0, 1])
    assert (ours[0].n, ours[0].rms, rings[0].z_std) == (0, None, None)


def test_shells_of_equal_numbers_cover_all_decoys():
    inv_d = np.random.default_rng(2).uniform(0.5, 6, 1000)
    edges = equal_edges(inv_d)
    assert len(edges) == 6
    counts = np.histogram(inv_d, edges)[0]
    assert counts.sum() == 1000
    assert counts.min() >= 195
    assert equal_edges(np.zeros(0)) == [0.0, 1e3]


@settings(deadline=None, max_examples=20)
@given(spread=st.sampled_from([0.0, 0.01, 0.05, 0.2]), seed=st.integers(0, 2**31))
def test_spread_beyond_counting_is_found_but_not_invented(spread, seed):
    rng = np.random.default_rng(seed)
    variance = rng.uniform(0.02, 0.06, 1500) ** 2
    values = rng.normal(1, np.sqrt(variance + spread**2))
    values[:15] += 5
    found = np.sqrt(spread_beyond(values, variance))
    assert found == pytest.approx(spread, abs=0.018)


def test_few_values_have_no_spread():
    assert spread_beyond(np.arange(10.0), np.ones(10)) == 0.0
    assert np.isnan(robust_std(np.zeros(1)))


def test_decoys_that_are_implausibly_low_are_decoys_all_the_same(frame_and_scene):
    """They are where all stray light is taken off and none was there: without them decoys say that there is more."""
    frame, scene = frame_and_scene
    decoys = half_index_decoys(frame, scene, RADII)[:2]
    ours, rings = np.zeros(2, INTEGRATED), np.zeros(2, INTEGRATED)
    ours["I"], ours["sigma"], ours["status"] = [-60, 0], 10, [Status.IMPLAUSIBLE, Status.OK]
    pairs = paired(frame, decoys, ours, np.ones(2), np.ones(2), np.zeros(2), rings)
    assert pairs["I"][0] < 0


def test_pairs_are_photons_and_dropped_decoys_are_nan(frame_and_scene):
    frame, scene = frame_and_scene
    decoys = half_index_decoys(frame, scene, RADII)[:3]
    ours, rings = np.zeros(3, INTEGRATED), np.zeros(3, INTEGRATED)
    ours["I"], ours["sigma"], rings["I"] = 10, 2, 20
    ours["status"][1] = rings["status"][2] = 3
    ten = type("F", (), {"adu_per_photon": np.array([10.0, 10.0])})()
    pairs = paired(ten, decoys, ours, np.full(3, 1.5), np.full(3, 0.5), np.full(3, 0.75), rings)
    np.testing.assert_array_equal(pairs["I"], [1, np.nan, 1])
    np.testing.assert_array_equal(pairs["rings"], [2, 2, np.nan])
    assert pairs["sigma"].tolist() == [0.2] * 3
    assert pairs["sigma_zero"].tolist() == [1.5] * 3
    assert pairs["stray"].tolist() == [0.5] * 3
    with_stray(pairs, 0.0, 0.15)  # nothing of it is taken off after all
    np.testing.assert_array_equal(pairs["I"], [1.5, np.nan, 1.5])
    assert pairs["sigma_zero"].tolist() == [0.75] * 3
    assert pairs["sigma"].tolist() == [0.15] * 3
    assert pairs["stray"].tolist() == [0] * 3
