"""What spots scatter about the places a map gives them: over 1/d, and by their distance from the Ewald sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.places import Places
from waterbg.integrate.psf import RUN_WEIGHT, Lines, learn_lines

_SWEEPS = 3
_CLIP2 = 9.0  # square of the deviation, in standard deviations, from which on it is cut
_LEAST2 = 0.0025  # px²


@dataclass(frozen=True)
class Scatter:
    """Standard deviation of places along and across the radius, pixels.

    Attributes
    ----------
    lines : Lines
        Of spots on the Ewald sphere.
    radial, tangential : float
        What each pixel of distance from the sphere adds, in quadrature: blocks that are turned farther have more ways
        to be.
    """

    lines: Lines
    radial: float = 0.0
    tangential: float = 0.0

    def variance(self, inv_d: NDArray[np.float64], places: Places, floor: float = 0.0) -> NDArray[np.float64]:
        """(n, 2) pixels²."""
        return self.lines.at(inv_d, floor) ** 2 + self._farther2(places)

    def _farther2(self, places: Places) -> NDArray[np.float64]:
        return (places.beside[:, None] * np.array([self.radial, self.tangential])) ** 2

    def learn(
        self,
        left: NDArray[np.float64],
        counting: NDArray[np.float64],
        inv_d: NDArray[np.float64],
        places: Places,
        everywhere: NDArray[np.float64],
        run_weight: float = RUN_WEIGHT,
    ) -> Scatter:
        """Let strong spots say it, shrunk to this one by n/(n + run_weight).

        Parameters
        ----------
        left, counting : (n, 2) float64
            What a map leaves of offsets along and across the radius, pixels, and its variance from counting.
        inv_d : (n,) float64
            nm⁻¹.
        places : Places
        everywhere : (m,) float64
            1/d of all spots.
        run_weight : float
            Spots.
        """
        if not len(inv_d):
            return self
        before2 = np.array([self.radial, self.tangential]) ** 2
        x2 = places.beside[:, None] ** 2
        found = self
        for _ in range(_SWEEPS):
            # each spot is an estimate, which scatters by three quarters: the mean of |x| is 0.80 sigma
            values = np.sqrt(np.maximum((left / 0.80) ** 2 - counting - found._farther2(places), _LEAST2))
            lines = learn_lines(values, np.zeros_like(values), inv_d, self.lines, everywhere, 0.75, 3.0, run_weight)
            on_sphere = lines.at(inv_d) ** 2
            expected = on_sphere + found._farther2(places) + counting
            beyond = np.minimum(left**2, _CLIP2 * expected) - counting - on_sphere
            weight = x2 / expected**2  # the standard deviation of a square is in proportion to its mean
            information = (weight * x2).sum(axis=0)
            held = run_weight / len(inv_d) * information
            slope2 = ((weight * beyond).sum(axis=0) + held * before2) / np.maximum(information + held, 1e-12)
            radial, tangential = np.sqrt(np.maximum(slope2, 0))
            found = Scatter(lines, float(radial), float(tangential))
        return found
