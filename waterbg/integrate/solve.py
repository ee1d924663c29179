"""Small normal equations, by Cholesky's factors: NumPy's ways to LAPACK take longer than a few unknowns themselves, and
numba takes LAPACK from SciPy, which is not needed for anything else.

Of a symmetric and positive matrix the lower half is read.
"""

from __future__ import annotations

import numpy as np

from waterbg.kernel import kernel


@kernel
def hold(normal):
    """Add a trace to the diagonal: what nothing is known about becomes 0."""
    for a in range(len(normal)):
        normal[a, a] += 1e-9 * normal[a, a] + 1e-12


@kernel
def solve(normal, right, which):
    """Solution of the equations of some unknowns alone, which are ascending; NaN where there is none.

    ``normal`` (n, n), ``right`` (n,), ``which`` (m,).
    """
    lower = _factors(normal, which)
    x = right[which]
    _substitute(lower, x)
    return x


@kernel
def invert(matrix, inverse):
    """Inverse of a matrix (n, n); False when it has none."""
    n = matrix.shape[0]
    lower = _factors(matrix, np.arange(n))
    for i in range(n):
        if not lower[i, i] ** 2 > 1e-12 * matrix[i, i]:
            return False
    inverse[:] = 0.0
    for column in range(n):
        inverse[column, column] = 1.0
        _substitute(lower, inverse[:, column])
    return True


@kernel
def _factors(matrix, which):
    """Lower half of the factors, of some rows and columns alone; NaN where there are none."""
    m = which.size
    lower = np.empty((m, m))
    for i in range(m):
        for j in range(i + 1):
            total = matrix[which[i], which[j]]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = (np.sqrt(total) if total > 0 else np.nan) if i == j else total / lower[j, j]
    return lower


@kernel
def _substitute(lower, x):
    """Turn the right side ``x`` into the solution."""
    for i in range(x.size):
        for k in range(i):
            x[i] -= lower[i, k] * x[k]
        x[i] /= lower[i, i]
    for i in range(x.size - 1, -1, -1):
        for k in range(i + 1, x.size):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
