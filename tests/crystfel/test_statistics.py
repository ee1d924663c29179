import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from waterbg.crystfel.statistics import STRENGTHS, Statistics


def measure(rng, true, background, photons=1.0):
    """I and sigma of spots of ``true`` photons over ``background``, at ``photons`` times the pulse."""
    i = rng.poisson((true + background) * photons) - background * photons
    # sigma as integration estimates it: from what was counted
    return i.astype(float), np.sqrt(np.maximum(i + background * photons, 1) + background * photons * 0.3)


def pairs(rng, n, k, background=200.0):
    true = rng.exponential(300, n)
    a, sa = measure(rng, true, background)
    b, sb = measure(rng, true, background, k)
    return np.column_stack([a, sa, b, sb, rng.uniform(1, 5, n)])


def collect(images):
    statistics = Statistics()
    for image in images:
        statistics.add_image(image)
    statistics.finish()
    return statistics


def test_the_photon_ratio_is_found_within_its_error():
    rng = np.random.default_rng(20240601)
    off = []
    for _ in range(40):
        statistics = collect([pairs(rng, 400, 0.1) for _ in range(20)])
        whole = statistics.overall()
        assert whole.ratio_error < 0.003
        assert whole.scatter == pytest.approx(1, abs=0.1)
        assert statistics.wild == 0
        off.append((whole.ratio - 0.1) / whole.ratio_error)
    # forty repeats: mean within 4 standard errors, spread as errors spread
    assert abs(np.mean(off)) < 4 / math.sqrt(40)
    assert 0.7 < np.std(off) < 1.4


def test_wild_pairs_are_left_out_and_counted():
    rng = np.random.default_rng(7)
    images = [pairs(rng, 400, 0.1) for _ in range(20)]
    for image in images:
        image[:4, [0, 2]] += 20000  # a cosmic ray is as bright at any pulse
    statistics = collect(images)
    whole = statistics.overall()
    assert statistics.wild == 80
    assert whole.reflections == 20 * 396
    assert abs(whole.ratio - 0.1) < 4 * whole.ratio_error


def test_errors_that_grow_with_the_intensity_are_not_wild():
    rng = np.random.default_rng(7)
    images = [pairs(rng, 400, 1.0, background=5) for _ in range(20)]
    for image in images:
        image[:, :4] *= 100  # sigmas of 1 % or less
        image[:, [1, 3]] /= 10
        image[:, 2] *= rng.normal(1, 0.1, len(image))
    assert collect(images).wild < 80  # 1 % of all


def test_a_few_different_integrations_among_equal_ones_are_not_wild():
    rng = np.random.default_rng(7)
    image = pairs(rng, 4000, 1.0)
    image[:, 2:4] = image[:, :2]
    image[:200, 2] += image[:200, 3] * rng.normal(0, 0.5, 200)
    assert collect([image]).wild == 0


def test_no_group_by_strength_is_bent_by_its_choice():
    rng = np.random.default_rng(8)
    statistics = collect([pairs(rng, 400, 0.1) for _ in range(200)])
    for one in statistics.strengths():
        if one.low >= 1:
            assert abs(one.ratio - 0.1) < max(5 * one.ratio_error, 0.002), one
    for one in statistics.shells(5):
        assert abs(one.ratio - 0.1) < 5 * one.ratio_error


def test_the_sums_agree_with_numpy():
    rng = np.random.default_rng(9)
    images = [pairs(rng, 300, 1.7) for _ in range(10)]
    statistics = collect(images)
    whole = statistics.overall()
    a, sa, b, sb, _ = np.concatenate(images).T
    k = statistics._scale
    assert k == pytest.approx(1.7, rel=0.02)
    strength = (a / sa**2 + k * b / sb**2) / np.sqrt(1 / sa**2 + k**2 / sb**2)
    assert whole.reflections == 3000
    assert_allclose(whole.ratio, b[strength > 3].sum() / a[strength > 3].sum(), rtol=1e-12)
    assert_allclose(whole.cc, np.corrcoef(a, b)[0, 1], rtol=1e-9)
    assert_allclose(whole.sigma_ratio, np.exp(np.mean(np.log(sb / sa))), rtol=1e-12)
    ratio = b.sum() / a.sum()
    residual = b - ratio * a
    expected = sb**2 + ratio**2 * sa**2
    assert_allclose(whole.scatter, np.sqrt((residual**2).sum() / expected.sum()), rtol=1e-9)


def test_shells_and_strengths_hold_every_reflection_once():
    rng = np.random.default_rng(10)
    statistics = collect([pairs(rng, 300, 1.0) for _ in range(5)])
    shells = statistics.shells(7)
    assert len(shells) == 7
    assert sum(one.reflections for one in shells) == 1500
    assert sum(one.reflections for one in statistics.strengths()) == 1500
    assert all(one.high == after.low for one, after in zip(shells, shells[1:]))
    volumes = [one.high**3 - one.low**3 for one in shells]
    assert max(volumes) / min(volumes) < 1.2


def test_equal_measurements_differ_in_nothing():
    rng = np.random.default_rng(11)
    image = pairs(rng, 3000, 1.0)
    image[:, 2:4] = image[:, 0:2]
    whole = collect([image, image]).overall()
    assert whole.ratio == 1
    assert whole.cc == pytest.approx(1, abs=1e-12)
    assert whole.sigma_ratio == 1
    assert whole.scatter == pytest.approx(0, abs=1e-6)


def test_the_order_of_images_and_where_the_scale_was_taken_hardly_matter():
    rng = np.random.default_rng(12)
    images = [pairs(rng, 400, 0.1) for _ in range(30)]
    one, other = collect(images).overall(), collect(images[::-1]).overall()
    assert one.ratio == pytest.approx(other.ratio, rel=1e-12)
    assert one.cc == pytest.approx(other.cc, rel=1e-9)


def test_memory_does_not_grow_with_the_number_of_pairs():
    rng = np.random.default_rng(13)
    statistics = Statistics()
    for _ in range(50):
        statistics.add_image(pairs(rng, 1000, 1.0))
    assert not statistics._waiting
    held = {name: value.nbytes for name, value in vars(statistics).items() if isinstance(value, np.ndarray)}
    for _ in range(50):
        statistics.add_image(pairs(rng, 1000, 1.0))
    assert held == {name: value.nbytes for name, value in vars(statistics).items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((0, 5)),
        np.array([[100.0, 5, 50, 4, 2.0]]),
        np.array([[0.0, 5, 0, 4, 2.0]] * 3),
        np.array([[-100.0, 5, 50, 4, 2.0]] * 20),
        np.array([[100.0, 0, 50, 0, 2.0]] * 20),
        np.array([[1e7, 1e3, -5e6, 1e3, 0.0]] * 20),
        np.array([[1e7, 1e3, 5e6, 1e3, 99.0]] * 20),
    ],
)
def test_few_or_strange_measurements_give_no_answer_and_no_warning(rows):
    statistics = collect([rows])
    assert statistics.overall().reflections == len(rows)
    assert sum(one.reflections for one in statistics.shells(10)) == len(rows)
    assert len(statistics.strengths()) <= len(STRENGTHS)


def test_without_sigma_there_are_still_ratio_and_cc():
    rng = np.random.default_rng(14)
    image = pairs(rng, 100, 2.0)
    image[:, [1, 3]] = 0
    statistics = collect([image])
    assert statistics.overall().ratio == pytest.approx(2, rel=0.1)
    assert math.isnan(statistics.overall().sigma_ratio)
    assert statistics.strengths() == []
