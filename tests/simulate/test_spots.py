import numpy as np
import pytest

from waterbg.simulate import preset
from waterbg.simulate.detector import make_panels, wavelength_nm
from waterbg.simulate.pulse import make_pulse
from waterbg.simulate.spots import make_spots, partiality
from waterbg.simulate.structure import structure_factors

SMALL = preset("small").replace(position_jitter=0.0)
PRESETS_OF_ALL_KINDS = ["small", "gain", "multi", "triclinic"]


def test_a_reflection_on_the_ewald_sphere_is_whole_and_one_radius_off_is_a_gaussian_sigma_off():
    np.testing.assert_allclose(
        partiality(np.array([0.0, 0.02, -0.02, 0.04]), 0.02), np.exp([0, -0.5, -0.5, -2]), rtol=1e-12
    )


@pytest.mark.parametrize("name", PRESETS_OF_ALL_KINDS)
def test_the_ray_through_the_predicted_place_has_the_wavelength_the_direction_and_the_d_of_its_reflection(name):
    experiment = preset(name)
    pulse = make_pulse(experiment, 1)
    spots = make_spots(experiment, pulse, 1)
    assert len(spots) > 100
    panels = make_panels(experiment)
    distance = experiment.camera_length / experiment.pixel_size
    k0 = pulse.photon_energy / 1239.84198433
    for spot in spots[:: max(1, len(spots) // 50)]:
        axes = pulse.crystals[spot["crystal"]].axes
        g = spot["h"] * axes[0] + spot["k"] * axes[1] + spot["l"] * axes[2]
        panel = panels[spot["panel"]]
        lab = panel.corner + spot["fs_pred"] * panel.fs + spot["ss_pred"] * panel.ss
        lab = lab + np.array([*pulse.shift, distance])
        ray = g + np.array([0, 0, k0])
        assert np.linalg.norm(np.cross(ray, lab)) / np.linalg.norm(ray) / np.linalg.norm(lab) < 1e-9
        assert spot["d"] == pytest.approx(10 / np.linalg.norm(g))
        assert spot["excitation"] == pytest.approx(k0 - np.linalg.norm(ray), abs=1e-9)


def test_every_lattice_point_within_four_radii_on_the_detector_is_there_once():
    pulse = make_pulse(SMALL, 0)
    spots = make_spots(SMALL, pulse, 0)
    k0 = 1 / wavelength_nm(pulse.photon_energy)
    # brute force over the whole box of indices
    h, k, m = np.mgrid[-45:46, -45:46, -22:23].reshape(3, -1)
    hkl = np.column_stack([h, k, m])
    ray = hkl @ pulse.crystals[0].axes + [0, 0, k0]
    near = (np.abs(k0 - np.linalg.norm(ray, axis=1)) < 4 * SMALL.profile_radius) & (ray[:, 2] > 0) & hkl.any(axis=1)
    hkl, ray = hkl[near], ray[near]
    x, y = ray[:, :2].T / ray[:, 2] * SMALL.camera_length / SMALL.pixel_size - pulse.shift[:, None]
    expected = []
    for panel in make_panels(SMALL):
        fs, ss = x - panel.corner[0], y - panel.corner[1]
        expected.append(hkl[(fs >= 0) & (fs < 512) & (ss >= 0) & (ss < 252)])
    found = np.column_stack([spots["h"], spots["k"], spots["l"]])
    assert np.array_equal(np.unique(np.concatenate(expected), axis=0), np.unique(found, axis=0))
    assert len(np.unique(found, axis=0)) == len(found)


def test_intensity_is_the_product_of_its_factors():
    pulse = make_pulse(SMALL, 0)
    spots = make_spots(SMALL.replace(photons=3e7), pulse, 0)
    indices = np.column_stack([spots["h"], spots["k"], spots["l"]])
    product = 0.1 * pulse.crystals[0].scale * structure_factors(SMALL, indices) * spots["pol"]
    product *= np.exp(-0.5 * (spots["excitation"] / 0.02) ** 2)
    np.testing.assert_allclose(spots["I_true"], product, rtol=1e-12)


def test_without_position_errors_spots_are_where_they_are_predicted():
    spots = make_spots(SMALL, make_pulse(SMALL, 0), 0)
    assert np.array_equal(spots["fs_pred"], spots["fs_true"])
    assert np.array_equal(spots["ss_pred"], spots["ss_true"])


def test_the_random_position_error_has_the_stated_spread_and_no_memory():
    experiment = SMALL.replace(position_jitter=0.3)
    spots = make_spots(experiment, make_pulse(experiment, 0), 0)
    error = np.concatenate([spots["fs_true"] - spots["fs_pred"], spots["ss_true"] - spots["ss_pred"]])
    assert error.std() == pytest.approx(0.3, rel=0.06)
    assert abs(np.corrcoef(error[:-1], error[1:])[0, 1]) < 0.06


def test_the_smooth_position_error_is_a_quadratic_field_of_the_stated_size():
    experiment = SMALL.replace(position_smooth=0.8)
    sizes = []
    for frame in range(12):
        spots = make_spots(experiment, make_pulse(experiment, frame), frame)
        lab = spots["fs_pred"], spots["ss_pred"] + 260 * spots["panel"]
        u, v = (lab[0] - 256) / 256, (lab[1] - 256) / 256
        terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
        error = spots["fs_true"] - spots["fs_pred"]
        fit = terms @ np.linalg.lstsq(terms, error, rcond=None)[0]
        assert np.abs(error - fit).max() < 1e-6
        sizes.append((error**2).mean())
    assert 0.2 < np.sqrt(np.mean(sizes)) < 0.8  # the full size is reached at the edges


def test_the_spot_is_long_along_the_radius_and_longer_at_high_resolution():
    experiment = SMALL.replace(width_range=[1.0, 1.0])
    spots = make_spots(experiment, make_pulse(experiment, 0), 0)
    assert (spots["sig_t"] == 1.05).all()
    np.testing.assert_allclose(spots["sig_r"], 1.05 + 0.30 * 2.2 / spots["d"])
    x = spots["fs_pred"] - 256
    y = spots["ss_pred"] + 260 * spots["panel"] - 256
    assert (np.abs(spots["cosphi"] - x / np.hypot(x, y)) < 0.1)[np.hypot(x, y) > 60].all()


def test_another_dose_leaves_the_crystals_and_all_places_alone():
    low = SMALL.replace(photons=3e7)
    for frame in range(3):
        a, b = (make_spots(e, make_pulse(e, frame), frame) for e in (SMALL, low))
        assert all(np.array_equal(a[name], b[name]) for name in a.dtype.names if name != "I_true")


def test_a_frame_may_have_no_crystal_and_several():
    experiment = preset("multi").replace(crystals=[0, 3])
    numbers = {len(make_pulse(experiment, frame).crystals) for frame in range(20)}
    assert numbers == {0, 1, 2, 3}
    empty = next(f for f in range(20) if not make_pulse(experiment, f).crystals)
    assert len(make_spots(experiment, make_pulse(experiment, empty), empty)) == 0


def test_crystals_of_one_lattice_differ_in_size_as_the_lattice_allows():
    pulse = make_pulse(SMALL, 0)
    a, b, c = 1 / np.linalg.norm(pulse.crystals[0].axes, axis=1)
    assert a == pytest.approx(b, rel=1e-6)
    assert a != pytest.approx(7.91, rel=1e-5)
    assert c == pytest.approx(3.84, rel=0.01)
