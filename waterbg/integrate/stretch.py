"""How the widths of a crystal's spots depend on direction: along and across the radius, apart from 1/d."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.places import Places
from waterbg.integrate.robust import MEDIAN_CHI2, biweight, median

STRETCHES = 4
FROM = 20  # strong spots
_SETS = (0, 2, 4)  # terms that are tried: none, by direction, by side as well
_LEAST, _MOST = 0.5, 2.0


@dataclass(frozen=True)
class Stretch:
    """Factors on the widths, 1 plus a sum of terms.

    A beam, a crystal and its mosaic spread are not round: spots are wider in some directions than in others, and on one
    side of the Ewald sphere than on the other.

    Attributes
    ----------
    radial, tangential : STRETCHES floats
        Of a spot's ``stretches``, see `waterbg.integrate.places.Places`.
    """

    radial: tuple[float, ...] = (0.0,) * STRETCHES
    tangential: tuple[float, ...] = (0.0,) * STRETCHES

    def at(self, places: Places) -> NDArray[np.float64]:
        """(n, 2) factors on the radial and tangential width, between a half and two."""
        return np.clip(1 + places.stretches @ np.transpose([self.radial, self.tangential]), _LEAST, _MOST)


NO_STRETCH = Stretch()


def learn_stretch(places: Places, ratio: NDArray[np.float64], variance: NDArray[np.float64]) -> Stretch:
    """Learn from strong spots what pays by Bayes' information criterion, as `learn_positions` does.

    Parameters
    ----------
    places : Places
        n spots.
    ratio : (n, 2) float64
        Radial and tangential width over what 1/d alone says.
    variance : (n, 2) float64
        Of the ratio, from counting.
    """
    if len(places) < FROM:
        return NO_STRETCH
    terms = np.concatenate([np.ones((len(places), 1)), places.stretches], axis=1)
    return Stretch(*(_learn_factors(terms, ratio[:, axis], variance[:, axis]) for axis in (0, 1)))


def _learn_factors(
    terms: NDArray[np.float64], ratio: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[float, ...]:
    left, counting = ratio - median(ratio), median(variance)
    for _ in range(5):
        spread2 = max(median(left**2) / MEDIAN_CHI2 - counting, 1e-4)
        total = spread2 + variance
        weights = biweight(left**2 / total) / total
        weighted = terms * weights[:, None]
        normal, right = weighted.T @ terms, weighted.T @ ratio
        normal.flat[:: len(right) + 1] += 1e-9 * np.diag(normal) + 1e-12
        left = ratio - terms @ np.linalg.solve(normal, right)
    best, gain = np.zeros(0), -np.inf
    for k in _SETS:
        factors = np.linalg.solve(normal[: k + 1, : k + 1], right[: k + 1])
        gained = float(factors @ right[: k + 1]) - k * np.log(len(ratio))
        if gained > gain:
            best, gain = factors[1:], gained
    return (*map(float, best), *(0.0,) * (STRETCHES - len(best)))
