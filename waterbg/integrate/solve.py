"""Small symmetric systems inside kernels, by Cholesky: numba's own linear algebra would need SciPy."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def factorise(matrix):
    """Lower triangle L of L·Lᵀ = ``matrix`` (its lower half is read), written into it.

    Returns False, with the matrix spoilt, when it is not positive definite.
    """
    n = matrix.shape[0]
    for j in range(n):
        left = matrix[j, j]
        for k in range(j):
            left -= matrix[j, k] * matrix[j, k]
        if not left > 1e-12 * abs(matrix[j, j]):
            return False
        root = math.sqrt(left)
        matrix[j, j] = root
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = value / root
    return True


@njit(cache=True, nogil=True)
def solve_factorised(lower, vector):
    """Solution of L·Lᵀ·x = ``vector``, a new array."""
    n = vector.size
    x = vector.copy()
    for i in range(n):
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    return x


@njit(cache=True, nogil=True)
def invert_factorised(lower):
    """Inverse of L·Lᵀ."""
    n = lower.shape[0]
    inverse = np.empty((n, n))
    unit = np.zeros(n)
    for j in range(n):
        unit[:] = 0.0
        unit[j] = 1.0
        inverse[:, j] = solve_factorised(lower, unit)
    return inverse
