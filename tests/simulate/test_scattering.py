import numpy as np
import pytest

from waterbg.simulate import Experiment, preset
from waterbg.simulate.detector import make_panels, pixel_positions
from waterbg.simulate.pulse import make_pulse
from waterbg.simulate.scattering import expected_background, polarisation, solid_angle, transmission, water

SMALL = preset("small")


def test_water_has_its_first_ring_at_three_angstrom_and_a_steep_inner_flank():
    q = np.linspace(0.5, 5, 5000)
    curve = water(q)
    assert curve.max() == pytest.approx(1, abs=1e-4)
    assert 2 * np.pi / q[curve.argmax()] == pytest.approx(3.1, abs=0.1)
    assert water(np.array([1.4]))[0] < 0.2  # 4.5 Angstrom


def test_polarisation_is_none_along_the_field_and_one_across_it():
    x, y, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(polarisation(x, y, z), [0, 1, 1])
    np.testing.assert_allclose(polarisation(x, y, z, horizontal=0.0), [1, 0, 1])
    # unpolarised: (1 + cos²(2 theta)) / 2
    two_theta = np.radians(30)
    factor = polarisation(np.sin(two_theta), np.array(0.0), np.cos(two_theta), horizontal=0.5)
    assert factor == pytest.approx((1 + np.cos(two_theta) ** 2) / 2)


def test_the_solid_angle_of_a_panel_across_the_beam_is_the_cube_of_the_cosine():
    distance = SMALL.camera_length / SMALL.pixel_size
    for panel in make_panels(SMALL):
        x, y, z = position = pixel_positions(SMALL, panel, np.zeros(2))
        cosine = z / np.sqrt(x * x + y * y + z * z)
        np.testing.assert_allclose(solid_angle(panel, position, distance), cosine**3, rtol=1e-12)


def test_the_solid_angles_of_a_tilted_panel_add_up_to_the_angle_it_covers():
    experiment = Experiment(panel_grid=(1, 1), panel_shape=(40, 60), panel_tilt=25.0, seed=3, camera_length=0.02)
    panel = make_panels(experiment)[0]
    distance = experiment.camera_length / experiment.pixel_size
    total = solid_angle(panel, pixel_positions(experiment, panel, np.zeros(2)), distance).sum() / distance**2
    # Van Oosterom and Strackee 1983: solid angle of a triangle seen from the origin
    corners = [
        panel.corner + [0, 0, distance] + f * 60 * panel.fs + s * 40 * panel.ss
        for f, s in ((0, 0), (1, 0), (1, 1), (0, 1))
    ]
    exact = sum(_triangle(corners[0], corners[i], corners[i + 1]) for i in (1, 2))
    assert total == pytest.approx(exact, rel=5e-5)  # midpoint rule in a pixel


def _triangle(a, b, c):
    la, lb, lc = (np.linalg.norm(v) for v in (a, b, c))
    tangent = abs(a @ np.cross(b, c)) / (la * lb * lc + (a @ b) * lc + (a @ c) * lb + (b @ c) * la)
    return 2 * np.arctan(tangent)


def test_the_beamstop_has_a_soft_edge_and_an_arm_and_hides_nothing_else():
    x = np.array([0.0, 16.0, 200.0, 1.5, 60.0])
    y = np.array([0.0, 0.0, 0.0, -60.0, -60.0])
    behind, edge, far, arm, beside = transmission(SMALL, x, y)
    assert behind < 1e-4
    assert edge == pytest.approx(0.5)
    assert far == pytest.approx(1)
    assert 0.1 < arm < 0.2
    assert beside == pytest.approx(1, abs=1e-6)
    assert (transmission(SMALL.replace(beamstop=0), x, y) == 1).all()


def test_without_modulation_polarisation_and_beamstop_the_background_depends_on_the_radius_alone():
    experiment = SMALL.replace(modulation=0, polarisation=0.5, beamstop=0, detector_shift=0, panel_grid=[1, 1])
    experiment = experiment.replace(panel_shape=[400, 400])
    (picture,), _ = expected_background(experiment, make_pulse(experiment, 0))
    x, y, _ = pixel_positions(experiment, make_panels(experiment)[0], np.zeros(2))
    r, azimuth = np.hypot(x, y), np.arctan2(y, x)
    ring = (r > 150) & (r < 150.5)
    # what is left is the one-sidedness of the air scatter: 2 % of less than half of the counts
    residual = picture[ring] / np.interp(r[ring], [150, 150.5], [picture[ring].mean()] * 2) - 1
    assert np.abs(residual).max() < 0.03
    assert np.corrcoef(residual, np.cos(azimuth[ring]))[0, 1] > 0.9


def test_the_background_is_proportional_to_the_photons():
    pulse = make_pulse(SMALL, 0)
    high, _ = expected_background(SMALL, pulse)
    low, _ = expected_background(SMALL.replace(photons=3e7), pulse)
    np.testing.assert_allclose(high[0], 10 * low[0], rtol=1e-12)


def test_the_ring_follows_the_thickness_of_the_jet():
    experiments = [SMALL.replace(air=0, beamstop=0, jet=[thickness, thickness]) for thickness in (1, 2)]
    thin, thick = (expected_background(e, make_pulse(e, 0))[0][0] - 0.02 for e in experiments)  # 0.02: stray light
    np.testing.assert_allclose(thick, 2 * thin, rtol=1e-12)
