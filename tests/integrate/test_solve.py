"""waterbg.integrate.solve against NumPy."""

import numpy as np
import pytest

from waterbg.integrate.solve import factorise, invert_factorised, solve_factorised


@pytest.mark.parametrize("seed", range(20))
def test_solution_and_inverse_equal_numpys(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    root = rng.normal(size=(n, n + 2)) * 10.0 ** rng.uniform(-3, 3, (n, 1))
    matrix, vector = root @ root.T, rng.normal(size=n)
    lower = matrix.copy()
    assert factorise(lower)
    np.testing.assert_allclose(matrix @ solve_factorised(lower, vector), vector, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(matrix @ invert_factorised(lower), np.eye(n), atol=1e-6)


def test_a_singular_matrix_is_refused():
    assert not factorise(np.ones((3, 3)))
    assert not factorise(np.full((2, 2), np.nan))
    assert not factorise(-np.eye(2))
