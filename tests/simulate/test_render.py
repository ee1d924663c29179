import numpy as np
import pytest

from waterbg.simulate.render import add_spots, profiles
from waterbg.simulate.spots import TRUE_SPOT


def make_spot(fs=20.3, ss=24.8, *, shift=(0.0, 0.0), sig_r=1.6, sig_t=1.1, angle=0.7, photons=1.0):
    spot = np.zeros(1, TRUE_SPOT)
    spot["fs_pred"], spot["ss_pred"] = fs, ss
    spot["fs_true"], spot["ss_true"] = fs + shift[0], ss + shift[1]
    spot["sig_r"], spot["sig_t"], spot["I_true"] = sig_r, sig_t, photons
    spot["cosphi"], spot["sinphi"] = np.cos(angle), np.sin(angle)
    return spot


@pytest.mark.parametrize("tail", [0.0, 0.2])
def test_a_profile_sums_to_one_around_its_place_with_the_moments_of_its_gaussian(tail):
    half = 17
    spot = make_spot(shift=(0.4, -0.2))
    (box,) = profiles(spot, half, tail)
    assert box.sum() == pytest.approx(1, abs=1e-6)
    offset = np.arange(-half, half + 1) + 0.5
    fs, ss = (box.sum(axis=0) * offset).sum() + 20, (box.sum(axis=1) * offset).sum() + 24
    assert (fs, ss) == pytest.approx((20.7, 24.6), abs=1e-5)
    # covariance: rotated ellipse, tails of twice the width, and 1/12 for the pixel
    c, s = np.cos(0.7), np.sin(0.7)
    variance = (c * 1.6) ** 2 + (s * 1.1) ** 2
    covariance = c * s * (1.6**2 - 1.1**2)
    wide = 1 + 3 * tail
    dx, dy = offset - (fs - 20), offset - (ss - 24)
    assert (box.sum(axis=0) * dx**2).sum() == pytest.approx(wide * variance + 1 / 12, abs=2e-3)
    assert (box * dx * dy[:, None]).sum() == pytest.approx(wide * covariance, abs=2e-3)


def test_a_profile_is_the_integral_over_each_pixel_even_for_a_sharp_spot():
    spot = make_spot(sig_r=0.6, sig_t=0.5, angle=0.3)
    (box,) = profiles(spot, 3)
    n = 400  # brute force: midpoints of a fine grid
    fine = (np.arange(7 * n) + 0.5) / n - 3
    dx, dy = fine[None, :] - 0.3, fine[:, None] - 0.8
    u, v = dx * np.cos(0.3) + dy * np.sin(0.3), dy * np.cos(0.3) - dx * np.sin(0.3)
    density = np.exp(-0.5 * ((u / 0.6) ** 2 + (v / 0.5) ** 2)) / (2 * np.pi * 0.3)
    brute = density.reshape(7, n, 7, n).sum(axis=(1, 3)) / n**2
    np.testing.assert_allclose(box, brute, atol=1e-4)


@pytest.mark.parametrize("tail", [0.0, 0.2])
def test_rendered_counts_are_the_sum_of_the_intensities_and_what_falls_off_the_panel_is_lost(tail):
    panels = [np.zeros((60, 70)), np.zeros((60, 70))]
    inside, other = make_spot(photons=500.0), make_spot(30, 40, photons=40.0)
    other["panel"] = 1
    at_edge = make_spot(0.0, 30.0, photons=100.0)
    add_spots(panels, np.concatenate([inside, other]), tail)
    assert [p.sum() for p in panels] == pytest.approx([500, 40], rel=1e-6)
    add_spots(panels, at_edge, tail)
    assert panels[0].sum() == pytest.approx(550, rel=1e-6)  # half of it is off the panel


def test_spots_are_put_where_the_profile_says():
    panels = [np.zeros((50, 50))]
    spot = make_spot(photons=7.0, shift=(0.3, 0.4))
    add_spots(panels, spot, 0.0)
    np.testing.assert_allclose(panels[0][24 - 8 : 24 + 9, 20 - 8 : 20 + 9], 7 * profiles(spot, 8)[0], rtol=1e-12)


def test_no_spots_leave_the_picture_alone():
    panels = [np.zeros((5, 5))]
    add_spots(panels, np.zeros(0, TRUE_SPOT), 0.0)
    assert not panels[0].any()
