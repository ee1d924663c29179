"""How the widths of a crystal's spots depend on direction: along and across the radius, apart from 1/d."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.places import Places
from waterbg.integrate.robust import MEDIAN_CHI2, biweight
from waterbg.integrate.solve import hold, solve
from waterbg.kernel import kernel

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
    normal, right = _robust_equations(terms, ratio, variance)
    best, gain = np.zeros(0), -np.inf
    for k in _SETS:
        factors = solve(normal, right, np.arange(k + 1))
        gained = float(factors @ right[: k + 1]) - k * np.log(len(ratio))
        if gained > gain:
            best, gain = factors[1:], gained
    return (*map(float, best), *(0.0,) * (STRETCHES - len(best)))


@kernel
def _robust_equations(terms, ratio, variance):
    """Normal equations (their lower half) about a robust fit of all ``terms`` (n, m)."""
    n, m = terms.shape
    normal, right, every = np.empty((m, m)), np.empty(m), np.arange(m)
    left, counting = ratio - np.median(ratio), np.median(variance)
    for _ in range(5):
        spread2 = max(np.median(left * left) / MEDIAN_CHI2 - counting, 1e-4)
        normal[:], right[:] = 0.0, 0.0
        for i in range(n):
            total = spread2 + variance[i]
            weight = biweight(left[i] * left[i] / total) / total
            for a in range(m):
                weighted = weight * terms[i, a]
                right[a] += weighted * ratio[i]
                for b in range(a + 1):
                    normal[a, b] += weighted * terms[i, b]
        hold(normal)
        factors = solve(normal, right, every)
        for i in range(n):
            left[i] = ratio[i]
            for a in range(m):
                left[i] -= factors[a] * terms[i, a]
    return normal, right
