"""A plane through the background of a box, solved as CrystFEL solves it: ``fit_gradient_bg`` and ``solve_svd``."""

from __future__ import annotations

import math

import numpy as np

from waterbg.kernel import kernel

_LARGEST_CONDITION = 1e6  # singular values below the largest divided by this count as nothing (check_eigen in utils.c)


@kernel
def fit_plane(data, columns, start, box, kind):
    """Least-squares plane a x + b y + c over the pixels of one kind.

    Parameters
    ----------
    data : (n_pixels,) float32
        A flat frame.
    columns : int
        Length of a row of the panel.
    start : int
        First pixel of the box.
    box : (n, n) uint8
        What each pixel counts as; [y, x].
    kind : int

    Returns
    -------
    a, b, c : float
        x and y count columns and rows from the first pixel of the box. Where the pixels lie on one line, the smallest
        of the solutions in scaled unknowns, as a pseudo-inverse gives it.
    """
    matrix, right = np.zeros((3, 3)), np.zeros(3)
    for x in range(box.shape[1]):
        for y in range(box.shape[0]):
            if box[y, x] == kind:
                value = np.float64(data[start + y * columns + x])
                right[0] += value * x
                right[1] += value * y
                right[2] += value
                matrix[0, 0] += x * x
                matrix[0, 1] += x * y
                matrix[0, 2] += x
                matrix[1, 1] += y * y
                matrix[1, 2] += y
                matrix[2, 2] += 1.0
    if not (matrix[0, 0] > 0.0 and matrix[1, 1] > 0.0):  # not with four pixels of a ring
        return np.nan, np.nan, np.nan
    scale = np.empty(3)
    for i in range(3):
        scale[i] = 1.0 / math.sqrt(matrix[i, i])
    for i in range(3):
        right[i] *= scale[i]
        for j in range(i, 3):
            matrix[i, j] *= scale[i] * scale[j]
            matrix[j, i] = matrix[i, j]
    vectors = np.eye(3)
    _diagonalise(matrix, vectors)
    largest = max(matrix[0, 0], matrix[1, 1], matrix[2, 2])
    a = b = c = 0.0
    for k in range(3):
        if matrix[k, k] < largest / _LARGEST_CONDITION:
            continue
        along = vectors[0, k] * right[0] + vectors[1, k] * right[1] + vectors[2, k] * right[2]
        a += vectors[0, k] * along / matrix[k, k]
        b += vectors[1, k] * along / matrix[k, k]
        c += vectors[2, k] * along / matrix[k, k]
    return a * scale[0], b * scale[1], c * scale[2]


@kernel
def _diagonalise(matrix, vectors):
    """Jacobi's rotations: eigenvalues on the diagonal of the symmetric matrix, eigenvectors in columns; in place.

    The diagonal is 1 at first, so that all else can be compared with 1.
    """
    for _ in range(50):
        if max(abs(matrix[0, 1]), abs(matrix[0, 2]), abs(matrix[1, 2])) < 1e-30:
            return
        for i in range(2):
            for j in range(i + 1, 3):
                if abs(matrix[i, j]) < 1e-30:
                    continue
                theta = (matrix[j, j] - matrix[i, i]) / (2.0 * matrix[i, j])
                t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    t = -t
                cosine = 1.0 / math.sqrt(t * t + 1.0)
                sine = t * cosine
                for k in range(3):
                    left, right = matrix[k, i], matrix[k, j]
                    matrix[k, i], matrix[k, j] = cosine * left - sine * right, sine * left + cosine * right
                for k in range(3):
                    left, right = matrix[i, k], matrix[j, k]
                    matrix[i, k], matrix[j, k] = cosine * left - sine * right, sine * left + cosine * right
                    left, right = vectors[k, i], vectors[k, j]
                    vectors[k, i], vectors[k, j] = cosine * left - sine * right, sine * left + cosine * right
                matrix[i, j] = matrix[j, i] = 0.0
