"""Where spots really are: a smooth map of prediction errors over the detector, and what spots scatter about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import FARTHEST

SHIFT_FROM, AFFINE_FROM, QUADRATIC_FROM = 6, 20, 60  # strong spots
_SHIFT_PRIOR = 10  # spots: how many a single shift needs until it counts by half


@dataclass(frozen=True)
class PositionMap:
    """Polynomial of the laboratory position that gives the offset of spots from their predictions.

    Attributes
    ----------
    coefficients : sequence of 6 pairs
        Of 1, x, y, x², xy, y² (x, y over ``scale``) for the offset in x and y, pixels.
    scale : float
        Pixels.
    """

    coefficients: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 6
    scale: float = 1000.0

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) offset in x and y in pixels, never more than FARTHEST."""
        offset = _terms(x / self.scale, y / self.scale, 6) @ np.asarray(self.coefficients)
        length = np.hypot(offset[:, 0], offset[:, 1])
        return offset * np.minimum(1, FARTHEST / np.maximum(length, 1e-9))[:, None]


NO_MAP = PositionMap()


def learn_positions(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    offset: NDArray[np.float64],
    variance: NDArray[np.float64],
    run: PositionMap = NO_MAP,
) -> tuple[PositionMap, int]:
    """Robust polynomial through what the offsets of strong spots have beyond the run's map.

    A single shift from SHIFT_FROM spots, held back by n/(n + 10); affine from AFFINE_FROM; quadratic from
    QUADRATIC_FROM. Tukey's biweight (Beaton & Tukey 1974, Technometrics 16, 147) leaves out spots that are something
    else.

    Parameters
    ----------
    x, y : (n,) float64
        Laboratory positions, pixels.
    offset : (n, 2) float64
        Pixels.
    variance : (n,) float64
        Of an offset along one axis, from counting.
    run : PositionMap
        What all frames have in common (errors of the geometry).

    Returns
    -------
    positions : PositionMap
    n_terms : int
        Terms that the frame itself decided: 0, 1, 3 or 6.
    """
    n = len(x)
    n_terms = 6 if n >= QUADRATIC_FROM else 3 if n >= AFFINE_FROM else 1 if n >= SHIFT_FROM else 0
    if not n_terms:
        return run, 0
    terms = _terms(x / run.scale, y / run.scale, n_terms)
    beyond = offset - _terms(x / run.scale, y / run.scale, 6) @ np.asarray(run.coefficients)
    coefficients = np.zeros((n_terms, 2))
    coefficients[0] = np.median(beyond, axis=0)
    for _ in range(8):
        left = beyond - terms @ coefficients
        distance2 = (left**2).sum(axis=1)
        # scatter of the spots themselves: what the median residual has beyond counting (median of chi² of two: 1.39)
        spread2 = max(float(np.median(distance2 / 1.386 - variance)), 1e-3)
        u2 = distance2 / (spread2 + variance) / 25
        weight = np.where(u2 < 1, (1 - np.minimum(u2, 1)) ** 2, 0) / (spread2 + variance)
        normal = (terms * weight[:, None]).T @ terms
        normal[np.diag_indices(n_terms)] += 1e-9 * np.trace(normal) + 1e-12
        coefficients = np.linalg.solve(normal, (terms * weight[:, None]).T @ beyond)
    if n_terms == 1:
        coefficients *= n / (n + _SHIFT_PRIOR)
    total = np.array(run.coefficients, float)
    total[:n_terms] += coefficients
    return PositionMap(tuple((float(a), float(b)) for a, b in total), run.scale), n_terms


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y][:n_terms], axis=1)
