"""All reflections CrystFEL would predict, and no others, where it would put them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from waterbg.predict import predict, project, wavenumber

from . import twin
from .worlds import CLEN, ENERGY, lattice, scattered, tiles


def as_dict(spots):
    return {tuple(row.item()[:3]): row.item()[3:6] for row in spots}


def assert_same(got, expected):
    assert set(got) == set(expected)
    for hkl, (panel, fs, ss) in expected.items():
        assert got[hkl][0] == panel
        assert_allclose(got[hkl][1:], (fs, ss), rtol=0, atol=1e-4)


@pytest.mark.parametrize("centering", "PABCIFHR")
def test_prediction_agrees_with_its_slow_twin_for_every_centring(centering):
    detector = tiles(2, 2, 150, 150)
    axes = lattice(3, 30)
    got = predict(axes, centering, detector, CLEN, ENERGY, 0.05, det_shift_mm=(0.3, -0.2))
    expected = twin.predict(axes, centering, detector, CLEN, ENERGY, 0.05, (0.3, -0.2))
    assert len(expected) > 3
    assert_same(as_dict(got), expected)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), bandwidth=st.sampled_from([1e-8, 0.003, 0.05]))
@settings(deadline=None, max_examples=15)
def test_prediction_agrees_with_its_slow_twin_on_panels_of_any_kind(seed, n, bandwidth):
    detector = scattered(seed, n, f"bandwidth = {bandwidth}\n")
    axes = lattice(seed, 12)
    got = predict(axes, "P", detector, CLEN, ENERGY, 0.1, max_inv_d=np.inf)
    inside = np.abs(np.stack([got[name] for name in "hkl"])).max(axis=0, initial=0) <= 4
    expected = twin.predict(axes, "P", detector, CLEN, ENERGY, 0.1, highest=4)
    assert_same(as_dict(got[inside]), expected)


def test_resolution_and_excitation_limits_cut_what_lies_beyond():
    detector, axes = tiles(1, 1, 800, 800), lattice(5, 60)
    everything = predict(axes, "P", detector, CLEN, ENERGY, 0.01, limit=4)
    assert np.abs(everything["excitation"]).max() <= 0.04
    few = predict(axes, "P", detector, CLEN, ENERGY, 0.01, max_inv_d=2.0)
    expected = everything[(np.abs(everything["excitation"]) <= 0.017) & (everything["inv_d"] <= 2.0)]
    assert 0 < len(few) < len(everything) / 2
    assert few.tobytes() == expected.tobytes()


def test_spots_are_ordered_by_index_and_carry_their_geometry():
    detector, axes = tiles(1, 1, 800, 800), lattice(6, 60)
    spots = predict(axes, "P", detector, CLEN, ENERGY, 0.01)
    hkl = np.stack([spots[name] for name in "hkl"], axis=1)
    assert hkl.tolist() == sorted(hkl.tolist())
    points = hkl @ axes
    rays = points + np.array([0, 0, wavenumber(ENERGY)])
    assert_allclose(spots["inv_d"], np.linalg.norm(points, axis=1))
    assert_allclose(spots["excitation"], wavenumber(ENERGY) - np.linalg.norm(rays, axis=1), atol=1e-12)
    # the place on the detector lies in the direction of the ray
    place = np.stack(detector.lab(spots["panel"], spots["fs"], spots["ss"], CLEN), axis=1)
    across = np.cross(place, rays)
    assert_allclose(across, 0, atol=1e-12)


def test_shift_of_the_detector_moves_spots_the_other_way():
    detector, axes = tiles(1, 1, 800, 800), lattice(6, 60)
    spots = predict(axes, "P", detector, CLEN, ENERGY, 0.01)
    hkl = np.stack([spots[name] for name in "hkl"], axis=1)
    moved = project(hkl, axes, detector, CLEN, ENERGY, (0.1, -0.2))  # one and two pixels
    on = moved["panel"] >= 0
    assert on.sum() > 0.98 * len(on)
    assert_allclose(moved["fs"][on], spots["fs"][on] - 1, atol=1e-9)
    assert_allclose(moved["ss"][on], spots["ss"][on] + 2, atol=1e-9)


def test_half_indices_are_projected_and_rounded_down():
    detector, axes = tiles(1, 1, 800, 800), lattice(6, 60)
    spots = project([[1.5, -2.5, 0.5], [300, 0, 0]], axes, detector, CLEN, ENERGY)
    assert spots[["h", "k", "l"]][0].item() == (1, -3, 0)
    assert spots["inv_d"][0] == pytest.approx(np.linalg.norm([1.5, -2.5, 0.5] @ axes))
    assert spots["panel"].tolist() == [0, -1]
    assert np.isnan([spots["fs"][1], spots["ss"][1]]).all()


def test_wavelength_is_crystfels():
    # 0.96859 A stands in a stream of CrystFEL 0.12 as 12800.475395 eV
    assert wavenumber(12800.475395) == pytest.approx(10 / 0.96859, rel=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": np.full((3, 3), np.nan)},
        {"axes": np.zeros((3, 3))},
        {"axes": np.ones((3, 3))},
        {"axes": np.diag([1e-9, 1, 1])},
        {"axes": np.diag([1e300, 1, 1])},
        {"axes": np.full((3, 3), 1e300)},
        {"photon_energy_eV": 0.0},
        {"photon_energy_eV": -5.0},
        {"photon_energy_eV": math.inf},
        {"photon_energy_eV": math.nan},
        {"profile_radius": 0.0},
        {"profile_radius": math.nan},
        {"clen": math.nan},
        {"clen": 0.0},
        {"max_inv_d": 0.0},
        {"det_shift_mm": (math.nan, 0.0)},
        {"det_shift_mm": (1e12, 0.0)},
        {"bandwidth": 1e300},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_meant_predict_little_or_nothing_in_no_time(changes):
    call = {"axes": lattice(1), "centering": "P", "bandwidth": 1e-8, "clen": CLEN}
    call |= {"photon_energy_eV": ENERGY, "profile_radius": 0.004} | changes
    detector = tiles(2, 2, 100, 100, extra=f"bandwidth = {call.pop('bandwidth')}\n")
    assert len(predict(detector=detector, **call)) <= 1


def test_more_points_than_any_crystal_has_are_not_listed_at_all():
    detector = tiles(1, 1, 100, 100)
    assert len(predict(lattice(1), "P", detector, CLEN, ENERGY, 1e9)) > 500  # everything, as CrystFEL would
    assert len(predict(lattice(1, 3000), "P", detector, CLEN, ENERGY, 1e9)) == 0  # that would be 10^8


def test_virus_sized_cells_stop_at_the_highest_index_of_crystfel():
    spots = predict(lattice(2, 2000), "P", tiles(1, 1, 800, 800), CLEN, ENERGY, 0.0002)
    assert np.abs([spots[name] for name in "hkl"]).max() == 511


def test_unknown_centring_leaves_nothing_out():
    detector, axes = tiles(1, 1, 300, 300), lattice(6, 60)
    primitive = predict(axes, "P", detector, CLEN, ENERGY, 0.01)
    for centering in ("", "R", "x", "ß"):
        assert len(predict(axes, centering, detector, CLEN, ENERGY, 0.01)) == len(primitive)


def test_a_lattice_with_more_points_than_there_was_room_for_is_listed_whole(monkeypatch):
    world = lattice(3, 30), "P", tiles(2, 2, 150, 150), CLEN, ENERGY, 0.05
    expected = predict(*world)
    assert len(expected) > 3
    monkeypatch.setattr("waterbg.predict.lattice.ROOM", 2)
    assert predict(*world).tobytes() == expected.tobytes()
    monkeypatch.setattr("waterbg.predict.lattice.MOST_POINTS", len(expected) - 1)
    assert len(predict(*world)) == 0
