"""Where spots really are: a smooth map of prediction errors, and what turned blocks of the crystal and panels add."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import FARTHEST
from waterbg.integrate.places import LEANS, Places
from waterbg.integrate.robust import biweight, median

SHIFT_FROM, AFFINE_FROM = 6, 20  # strong spots
ORDERS = (
    (1, SHIFT_FROM),
    (3, AFFINE_FROM),
    (6, 60),
    (10, 150),
    (15, 300),
)  # terms up to fourth powers, spots for them
FAR2 = 4.0  # square of how many standard deviations of a spot a panel is far off
_SETTLED = 1e-3  # px


@dataclass(frozen=True)
class PositionMap:
    """Offset of spots from their predictions: a polynomial of the laboratory position, what turned blocks add, panels.

    Attributes
    ----------
    coefficients : sequence of pairs
        Of 1, x, y, x², xy, y², x³ … (x, y over ``scale``) for the offset in x and y, pixels; 15 at most.
    scale : float
        Pixels.
    leaning : LEANS floats
        Factors of a spot's ``leans``, see `Places.of`; as many for each crystal of a frame, or the same for all.
    panels : sequence of pairs
        Offset of each panel in x and y, pixels: what the geometry does not know. Empty when they have none.
    """

    coefficients: tuple[tuple[float, float], ...] = ()
    scale: float = 1000.0
    leaning: tuple[float, ...] = (0.0,) * LEANS
    panels: tuple[tuple[float, float], ...] = ()

    def at(self, places: Places, farthest: float = FARTHEST) -> NDArray[np.float64]:
        """(n, 2) offset in x and y in pixels, never more than ``farthest``."""
        offset = self._unbounded(places)
        length = np.hypot(offset[:, 0], offset[:, 1])
        return offset * np.minimum(1, farthest / np.maximum(length, 1e-9))[:, None]

    def _unbounded(self, places: Places) -> NDArray[np.float64]:
        coefficients = np.reshape(self.coefficients, (-1, 2))
        terms = _terms(places.x / self.scale, places.y / self.scale, len(coefficients))
        offset = terms @ coefficients + places.leans @ np.resize(self.leaning, places.leans.shape[2])
        return offset + np.reshape(self.panels, (-1, 2))[places.panel] if self.panels else offset

    def _plus(self, coefficients: NDArray[np.float64], leaning: NDArray[np.float64]) -> PositionMap:
        total = np.zeros((max(len(self.coefficients), len(coefficients)), 2))
        total[: len(self.coefficients)] = np.reshape(self.coefficients, (-1, 2))
        total[: len(coefficients)] += coefficients
        return replace(
            self, coefficients=_pairs(total), leaning=tuple(map(float, np.resize(self.leaning, len(leaning)) + leaning))
        )


NO_MAP = PositionMap()


def learn_positions(
    places: Places,
    offset: NDArray[np.float64],
    variance: NDArray[np.float64],
    run: PositionMap = NO_MAP,
) -> PositionMap:
    """Robust map through what the offsets of strong spots have beyond the run's.

    A single shift from 6 spots, affine from 20, quadratic from 60, cubic from 150, quartic from 300; of these the one
    whose terms pay by Bayes' information criterion (Schwarz 1978, Ann. Stat. 6, 461), else none: terms that the spots
    do not ask for only extrapolate noise into the corners. How a crystal leans, from 20 spots of its own, must pay,
    too: all five numbers, or that along the radius alone. Tukey's biweight (Beaton & Tukey 1974, Technometrics 16,
    147) about the map with most terms leaves out spots that are something else.

    Parameters
    ----------
    places : Places
        n spots.
    offset : (n, 2) float64
        Pixels.
    variance : (n,) float64
        Of an offset along one axis, from counting.
    run : PositionMap
        What all frames have in common (errors of the geometry, above all).
    """
    n = len(places)
    if n < SHIFT_FROM:
        return run
    beyond = offset - run._unbounded(places)
    orders = [m for m, needed in ORDERS if n >= needed]
    most = orders[-1]
    # spots that say how their crystal leans
    tell = np.any(places.leans[:, :, ::LEANS] != 0, axis=1).sum(axis=0)
    leaning = [(2 * most + LEANS * k, np.log(tell[k])) for k in range(len(tell)) if tell[k] >= AFFINE_FROM]
    columns = np.repeat(tell >= AFFINE_FROM, LEANS)
    terms = _terms(places.x / run.scale, places.y / run.scale, most)
    normal, right = _robust_equations(terms, places.leans * columns, beyond, variance)

    # the map with most terms has said what each spot counts; with that, fewer terms are part of its equations
    best, gain, which = 0, 0.0, np.zeros(0, np.int64)
    for m in (0, *orders):
        rows, price = np.concatenate([np.arange(m), most + np.arange(m)]), 2 * m * np.log(n)
        gained = _explained(normal, right, rows) - price
        for first, each in leaning:  # crystal by crystal; few spots may tell what is along the radius at least
            shorter, bare = rows, price
            for k in (1, LEANS):
                longer, dearer = np.append(shorter, np.arange(first, first + k)), bare + k * each
                pays = _explained(normal, right, longer) - dearer
                if pays > gained:
                    rows, price, gained = longer, dearer, pays
        if gained > gain:
            best, gain, which = m, gained, rows
    whole = np.zeros(len(right))
    whole[which] = np.linalg.solve(normal[np.ix_(which, which)], right[which])
    return run._plus(whole[: 2 * most].reshape(2, most).T[:best], whole[2 * most :])


def _explained(normal: NDArray[np.float64], right: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
    """What some of the terms take off chi²."""
    return float(np.linalg.solve(normal[np.ix_(rows, rows)], right[rows]) @ right[rows])


def learn_panels(
    places: Places, left: NDArray[np.float64], variance: NDArray[np.float64], n_panels: int
) -> tuple[tuple[float, float], ...]:
    """Learn how far panels are from where the geometry has them, in x and y, from what maps leave of offsets.

    The means of panels, shrunk by how much they differ beyond their own errors; none unless that is certain (by three
    of its standard deviations).

    Parameters
    ----------
    places : Places
        n strong spots of any frames.
    left : (n, 2) float64
        Pixels.
    variance : (n,) float64
        As of `learn_positions`.
    n_panels : int
    """
    if n_panels < 2 or len(places) < AFFINE_FROM:
        return ()
    total = _spread2(left, variance) + variance
    # of a panel that is far off all spots would be outliers, but for those about its own middle
    about = left.copy()
    for panel in np.unique(places.panel):
        here = places.panel == panel
        middle = np.median(left[here], axis=0)
        if np.count_nonzero(here) >= SHIFT_FROM and (middle**2).sum() > FAR2 * total[here].mean():
            about[here] -= middle
    total = _spread2(about, variance) + variance
    weights = biweight((about**2).sum(axis=1) / total) / total
    sums = np.bincount(places.panel, weights, n_panels)
    seen = sums > 0
    error2 = 1 / sums[seen, None]
    means = (
        np.stack([np.bincount(places.panel, weights * column, n_panels) for column in left.T], axis=1)[seen] * error2
    )
    # panels of few spots say little about what panels differ by
    beyond = ((means**2 - error2) / error2**2).sum() / (2 / error2**2).sum()
    doubt = 1 / np.sqrt((1 / error2**2).sum())
    if beyond < 3 * doubt:
        return ()
    offsets = np.zeros((n_panels, 2))
    offsets[seen] = beyond / (beyond + error2) * means
    return _pairs(offsets)


def _robust_equations(
    terms: NDArray[np.float64], leans: NDArray[np.float64], offset: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normal equations, weighted so that a residual's square is its chi², 0 for spots that are something else.

    Unknown are the factors of (n, m) ``terms`` for x, those for y, and those of (n, 2, k) ``leans``.
    """
    (n, m), k = terms.shape, leans.shape[2]
    left = offset - [median(column) for column in offset.T]
    fitted = np.zeros_like(offset)
    normal, right = np.empty((2 * m + k, 2 * m + k)), np.empty(2 * m + k)
    for _ in range(5):
        total = _spread2(left, variance) + variance
        weights = (biweight((left**2).sum(axis=1) / total) / total)[:, None]
        weighted, leaning = weights * terms, weights[:, None] * leans
        normal[:m, :m] = normal[m : 2 * m, m : 2 * m] = weighted.T @ terms
        normal[:m, m : 2 * m] = normal[m : 2 * m, :m] = 0
        for axis in (0, 1):
            normal[axis * m : (axis + 1) * m, 2 * m :] = weighted.T @ leans[:, axis]
        normal[2 * m :, : 2 * m] = normal[: 2 * m, 2 * m :].T
        normal[2 * m :, 2 * m :] = leaning.reshape(2 * n, k).T @ leans.reshape(2 * n, k)
        normal.flat[:: 2 * m + k + 1] += 1e-9 * np.diag(normal) + 1e-12
        right[: 2 * m], right[2 * m :] = (weighted.T @ offset).T.ravel(), leaning.reshape(2 * n, k).T @ offset.ravel()
        factors = np.linalg.solve(normal, right)
        before, fitted = fitted, terms @ factors[: 2 * m].reshape(2, m).T + leans @ factors[2 * m :]
        left = offset - fitted
        if np.abs(fitted - before).max() < _SETTLED:
            break
    return normal, right


def _spread2(left: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Scatter of the places themselves along an axis: what the median has beyond counting (1.39 is chi² of two's)."""
    return max(median((left**2).sum(axis=1) / 1.386 - variance), 1e-3)


def _pairs(values: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    return tuple((float(a), float(b)) for a, b in values)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    """(n, n_terms) 1, x, y, x², xy, y² … by multiplication, which powers take ten times as long as."""
    terms = [np.ones_like(x)]
    for order in range(1, 5):
        if len(terms) < n_terms:
            highest = terms[-order:]
            terms += [x * term for term in highest] + [y * highest[-1]]
    return np.stack(terms[:n_terms], axis=1) if n_terms else np.zeros((len(x), 0))
