import numpy as np
import pytest

from waterbg.simulate import Experiment, preset
from waterbg.simulate.detector import (
    assemble,
    geometry_text,
    largest_inverse_d,
    locate,
    make_panels,
    panel_offset,
    pixel_positions,
    wavelength_nm,
)

ALL = ["nominal", "small", "gain", "multi"]


@pytest.mark.parametrize("name", ALL)
def test_a_ray_to_a_pixel_centre_is_located_at_that_centre(name):
    experiment = preset(name)
    shift = np.array([0.37, -0.21])
    for number, panel in enumerate(make_panels(experiment)):
        position = pixel_positions(experiment, panel, shift)
        rows, columns = [0, 17, panel.shape[0] - 1], [0, 101, panel.shape[1] - 1]
        rays = 0.01 * position[:, rows, columns].T
        hit, fs, ss, lab = locate(experiment, rays, shift)
        assert (hit == number).all()
        np.testing.assert_allclose(fs, np.array(columns) + 0.5, atol=1e-9)
        np.testing.assert_allclose(ss, np.array(rows) + 0.5, atol=1e-9)
        np.testing.assert_allclose(lab, 100 * rays, rtol=1e-9)


def test_rays_into_gaps_and_backwards_hit_nothing():
    experiment = preset("small")
    gap_y, z = make_panels(experiment)[1].corner[1], experiment.camera_length / experiment.pixel_size
    hit, fs, _, _ = locate(
        experiment, np.array([[0, gap_y - 4, z], [0, gap_y + 4, z], [0, -gap_y - 4, -z]]), np.zeros(2)
    )
    assert list(hit) == [-1, 1, -1]
    assert np.isnan(fs[[0, 2]]).all()


def test_panels_do_not_overlap():
    experiment = preset("multi")
    places = np.concatenate(
        [pixel_positions(experiment, p, np.zeros(2))[:2].reshape(2, -1).T for p in make_panels(experiment)]
    )
    _, counts = np.unique(np.floor(places / 3).astype(int), axis=0, return_counts=True)
    assert counts.max() <= 16  # nine pixels, and what rounding at turned edges adds; twice that where two overlap


def test_turned_and_tilted_panels_keep_square_pixels():
    for p in make_panels(Experiment(panel_grid=(3, 3), panel_turn=5.0, panel_tilt=5.0)):
        assert np.linalg.norm(p.fs) == pytest.approx(1, abs=1e-8)
        assert np.linalg.norm(p.ss) == pytest.approx(1, abs=1e-8)
        assert p.fs @ p.ss == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["gain", "multi"])
def test_the_stored_picture_has_each_panel_where_the_geometry_says(name):
    experiment = preset(name)
    panels = make_panels(experiment)
    picture = assemble(experiment, [np.full(p.shape, number) for number, p in enumerate(panels)])
    for number, p in enumerate(panels):
        fs, ss = panel_offset(experiment, p)
        part = picture[number] if picture.ndim == 3 else picture
        assert (part[ss : ss + p.shape[0], fs : fs + p.shape[1]] == number).all()
    text = geometry_text(experiment)
    assert ("p3/dim1 = 3" in text) == (name == "multi")


def test_no_pixel_sees_beyond_the_largest_inverse_d():
    experiment = preset("small")
    largest = 0.0
    for panel in make_panels(experiment):
        x, y, z = pixel_positions(experiment, panel, np.zeros(2))
        theta = 0.5 * np.arctan2(np.hypot(x, y), z)
        largest = max(largest, float((2 * np.sin(theta)).max() / wavelength_nm(experiment.photon_energy)))
    assert largest < largest_inverse_d(experiment) < 1.02 * largest
