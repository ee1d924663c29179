"""Normal equations solved: NumPy's ways to LAPACK take longer than a few unknowns themselves."""

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
    """Solution of the equations of some unknowns alone, which are ascending, by Cholesky's factors.

    ``normal`` (n, n): symmetric and positive, of which the lower half is read. ``right`` (n,). ``which`` (m,).
    """
    m = which.size
    lower, x = np.empty((m, m)), np.empty(m)
    for i in range(m):
        for j in range(i + 1):
            total = normal[which[i], which[j]]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
        total = right[which[i]]
        for k in range(i):
            total -= lower[i, k] * x[k]
        x[i] = total / lower[i, i]
    for i in range(m - 1, -1, -1):
        for k in range(i + 1, m):
            x[i] -= lower[k, i] * x[k]
        x[i] /= lower[i, i]
    return x
