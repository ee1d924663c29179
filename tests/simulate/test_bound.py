import dataclasses

import numpy as np
import pytest

from waterbg.simulate import cramer_rao_bound, preset, simulate_frame
from waterbg.simulate.render import profiles

SMALL = preset("small").replace(dead_pixels=0, beamstop=0)


def test_on_a_flat_background_much_above_the_spot_the_bound_is_that_of_a_gaussian_filter():
    # sum P² of a Gaussian is 1/(4 pi sr st), a little less for what the pixel blurs
    frame = simulate_frame(SMALL, 0)
    flat = dataclasses.replace(frame, expected=[np.full_like(e, 1e4) for e in frame.expected])
    inner = frame.spots[(np.abs(frame.spots["fs_pred"] - 256) < 230) & (np.abs(frame.spots["ss_pred"] - 126) < 100)]
    bound = cramer_rao_bound(SMALL, flat, inner)
    pixel = 1 / 12
    blurred = np.sqrt(inner["sig_r"] ** 2 + pixel) * np.sqrt(inner["sig_t"] ** 2 + pixel)
    np.testing.assert_allclose(bound, np.sqrt(4 * np.pi * blurred * 1e4), rtol=2e-3)


def test_without_background_the_bound_is_the_root_of_the_intensity():
    frame = simulate_frame(SMALL, 0)
    spot = frame.spots[np.argmax(frame.spots["I_true"])][None]
    alone = [np.full(e.shape, 1e-9) for e in frame.expected]
    row, column = int(spot["ss_pred"][0]), int(spot["fs_pred"][0])
    alone[spot["panel"][0]][row - 12 : row + 13, column - 12 : column + 13] += spot["I_true"][0] * profiles(spot, 12)[0]
    bound = cramer_rao_bound(SMALL, dataclasses.replace(frame, expected=alone), spot)
    assert bound[0] == pytest.approx(np.sqrt(spot["I_true"][0]), rel=1e-3)


def test_dead_pixels_and_read_noise_leave_less_information():
    frame = simulate_frame(SMALL, 0)
    best = cramer_rao_bound(SMALL, frame, frame.spots)
    assert (cramer_rao_bound(SMALL.replace(read_noise=2.0), frame, frame.spots) > best).all()
    dead = cramer_rao_bound(SMALL.replace(dead_pixels=3000), frame, frame.spots)
    assert (dead >= best).all()
    assert (dead / best).mean() > 1.01


def test_an_efficient_estimate_reaches_the_bound():
    # one strong reflection drawn again and again, fitted with everything known and the true variances as weights
    frame = simulate_frame(SMALL.replace(position_jitter=0), 0)
    inner = (np.abs(frame.spots["fs_pred"] - 256) < 200) & (np.abs(frame.spots["ss_pred"] - 126) < 100)
    spot = frame.spots[inner][[np.argmax(frame.spots["I_true"][inner])]]
    row, column, panel = int(spot["ss_pred"][0]), int(spot["fs_pred"][0]), spot["panel"][0]
    here = np.s_[row - 12 : row + 13, column - 12 : column + 13]
    expected = frame.expected[panel][here]
    profile = profiles(spot, 12)[0]
    rest = expected - spot["I_true"][0] * profile
    counts = np.random.default_rng(3).poisson(expected, (4000, *expected.shape))
    estimates = (profile * (counts - rest) / expected).sum(axis=(1, 2)) / (profile**2 / expected).sum()
    bound = cramer_rao_bound(SMALL, frame, spot)[0]
    assert estimates.mean() == pytest.approx(spot["I_true"][0], abs=4 * bound / np.sqrt(4000))
    assert estimates.std() == pytest.approx(bound, rel=0.05)
