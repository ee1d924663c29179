"""Where spots really are: a smooth map of prediction errors over the detector, and what spots scatter about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import FARTHEST

SHIFT_FROM, AFFINE_FROM, QUADRATIC_FROM = 6, 20, 60  # strong spots
_SETTLED = 1e-3  # px
_CUT2 = 25.0  # square of the deviation, in standard deviations, beyond which a spot has no weight


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

    A single shift from SHIFT_FROM spots, affine from AFFINE_FROM, quadratic from QUADRATIC_FROM; of these the one
    whose terms pay by Bayes' information criterion (Schwarz 1978, Ann. Stat. 6, 461), else none: terms that the spots
    do not ask for only extrapolate noise into the corners. Tukey's biweight (Beaton & Tukey 1974, Technometrics 16,
    147) leaves out spots that are something else.

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
    if n < SHIFT_FROM:
        return run, 0
    beyond = offset - _terms(x / run.scale, y / run.scale, 6) @ np.asarray(run.coefficients)
    fits = [(0, np.zeros((0, 2)), beyond)]
    for n_terms, needed in ((1, SHIFT_FROM), (3, AFFINE_FROM), (6, QUADRATIC_FROM)):
        if n >= needed:
            terms = _terms(x / run.scale, y / run.scale, n_terms)
            coefficients = _robust_fit(terms, beyond, variance)
            fits.append((n_terms, coefficients, beyond - terms @ coefficients))
    spread2 = _spread2(fits[-1][2], variance)
    cost = [float(_loss(left, spread2 + variance).sum()) + 2 * n_terms * np.log(max(n, 2)) for n_terms, _, left in fits]
    n_terms, coefficients, _ = fits[int(np.argmin(cost))]
    total = np.array(run.coefficients, float)
    total[:n_terms] += coefficients
    return PositionMap(tuple((float(a), float(b)) for a, b in total), run.scale), n_terms


def _robust_fit(
    terms: NDArray[np.float64], offset: NDArray[np.float64], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    n_terms = terms.shape[1]
    coefficients = np.zeros((n_terms, 2))
    coefficients[0] = np.median(offset, axis=0)
    for _ in range(5):
        left = offset - terms @ coefficients
        total = _spread2(left, variance) + variance
        u2 = (left**2).sum(axis=1) / total / _CUT2
        weighted = terms * ((1 - np.minimum(u2, 1)) ** 2 / total)[:, None]
        normal = weighted.T @ terms
        normal.flat[:: n_terms + 1] += 1e-9 * np.trace(normal) + 1e-12
        before, coefficients = coefficients, np.linalg.solve(normal, weighted.T @ offset)
        if np.abs(coefficients - before).max() < _SETTLED:
            break
    return coefficients


def _spread2(left: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Scatter of the places themselves along an axis: what the median has beyond counting (1.39 is chi² of two's)."""
    return max(float(np.median((left**2).sum(axis=1) / 1.386 - variance)), 1e-3)


def _loss(left: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tukey's, chi² of two for small deviations."""
    u2 = np.minimum((left**2).sum(axis=1) / variance / _CUT2, 1)
    return _CUT2 / 3 * (1 - (1 - u2) ** 3)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    return np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y][:n_terms], axis=1)
