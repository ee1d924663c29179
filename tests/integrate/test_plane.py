"""The background plane, also where pixels cannot tell it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from waterbg.integrate.plane import fit_plane

from .twin import solve


def fit_both(values, box):
    """Our plane, and NumPy's by singular values."""
    y, x = np.nonzero(box)
    terms = np.stack([x, y, np.ones_like(x)], axis=1).astype(float)
    expected = solve(terms.T @ terms, terms.T @ values[y, x].astype(float))
    return np.array(fit_plane(values.ravel(), values.shape[1], 0, box.astype(np.uint8), 1)), expected


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(2, 30), share=st.floats(0.05, 1))
@settings(deadline=None)
def test_plane_agrees_with_singular_values(seed, size, share):
    rng = np.random.default_rng(seed)
    box = rng.random((size, size)) < share
    box[0, 0] = box[1, 0] = box[-1, -1] = box[1, 1] = True
    values = rng.normal(10, 5, (size, size)).astype(np.float32)
    got, expected = fit_both(values, box)
    assert_allclose(got, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("line", ["row", "column", "diagonal"])
def test_pixels_on_one_line_give_the_smallest_solution(line):
    box = np.zeros((15, 15), bool)
    box[{"row": np.s_[4, 2:9], "column": np.s_[3:11, 6], "diagonal": (np.arange(2, 9), np.arange(4, 11))}[line]] = True
    values = np.random.default_rng(1).normal(10, 5, (15, 15)).astype(np.float32)
    got, expected = fit_both(values, box)
    assert np.isfinite(got).all()
    assert_allclose(got, expected, rtol=1e-8)
    y, x = np.nonzero(box)  # along the line it is the best straight line all the same
    left = values[y, x] - (got[0] * x + got[1] * y + got[2])
    assert abs(left.sum()) < 1e-4


def test_plane_returns_a_plane():
    y, x = np.mgrid[:15, :15]
    values = (3 + 0.5 * x - 2 * y).astype(np.float32)
    assert_allclose(fit_plane(values.ravel(), 15, 0, np.ones((15, 15), np.uint8), 1), [0.5, -2, 3], atol=1e-9)


def test_fewer_unknowns_than_pixels_tell_is_no_number():
    box = np.zeros((15, 15), np.uint8)
    box[3:9, 0] = 1
    assert np.isnan(fit_plane(np.ones(225, np.float32), 15, 0, box, 1)).all()
