"""Where spots really are: a smooth map of prediction errors over the detector, from the strong spots of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import FARTHEST

AFFINE_FROM, QUADRATIC_FROM = 20, 60  # strong spots


@dataclass(frozen=True)
class PositionMap:
    """Polynomial of the laboratory position that gives the offset of spots from their predictions.

    Attributes
    ----------
    coefficients : (n_terms, 2) float64
        Of 1, x, y, x², xy, y² (x, y over ``scale``) for the offset in x and y, pixels; empty for no map.
    scale : float
        Pixels.
    spots : int
        Strong spots it was learnt from.
    rms : float
        What is left of their offsets, pixels an axis, without the part from counting.
    """

    coefficients: NDArray[np.float64]
    scale: float = 1.0
    spots: int = 0
    rms: float = 0.0

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) offset in x and y in pixels, never more than FARTHEST."""
        if not len(self.coefficients):
            return np.zeros((len(x), 2))
        offset = _terms(x / self.scale, y / self.scale, len(self.coefficients)) @ self.coefficients
        length = np.hypot(offset[:, 0], offset[:, 1])
        return offset * np.minimum(1, FARTHEST / np.maximum(length, 1e-9))[:, None]


NO_MAP = PositionMap(np.zeros((0, 2)))


def learn_positions(
    x: NDArray[np.float64], y: NDArray[np.float64], offset: NDArray[np.float64], variance: NDArray[np.float64]
) -> PositionMap:
    """Robust polynomial through the offsets of strong spots.

    Affine from AFFINE_FROM spots, quadratic from QUADRATIC_FROM, else no map. Tukey's biweight (Beaton & Tukey 1974,
    Technometrics 16, 147) leaves out spots that are something else.

    Parameters
    ----------
    x, y : (n,) float64
        Laboratory positions, pixels.
    offset : (n, 2) float64
        Pixels.
    variance : (n,) float64
        Of an offset along one axis, from counting.
    """
    n = len(x)
    if n < AFFINE_FROM:
        return NO_MAP
    n_terms = 6 if n >= QUADRATIC_FROM else 3
    scale = max(float(np.max(np.hypot(x, y))), 1.0)
    terms = _terms(x / scale, y / scale, n_terms)
    weight = np.ones(n)
    spread2 = 0.3**2
    coefficients = np.zeros((n_terms, 2))
    coefficients[0] = np.median(offset, axis=0)
    for _ in range(8):
        left = offset - terms @ coefficients
        distance2 = (left**2).sum(axis=1) / 2
        # scatter of the spots themselves: what the median residual has beyond counting (median of chi² of 2 / 2: 0.69)
        spread2 = max(float(np.median(distance2 / 0.69 - variance)), 1e-4)
        u2 = distance2 * 2 / (spread2 + variance) / 25
        weight = np.where(u2 < 1, (1 - np.minimum(u2, 1)) ** 2, 0) / (spread2 + variance)
        normal = (terms * weight[:, None]).T @ terms
        normal[np.diag_indices(n_terms)] += 1e-9 * np.trace(normal)
        coefficients = np.linalg.solve(normal, (terms * weight[:, None]).T @ offset)
    return PositionMap(coefficients, scale, n, float(np.sqrt(spread2)))


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y][:n_terms], axis=1)
