"""Where spots really are: a smooth map of prediction errors, and what turned blocks of the crystal and panels add."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.measure import FARTHEST
from waterbg.integrate.places import LEANS, Places
from waterbg.integrate.robust import biweight
from waterbg.integrate.solve import hold, solve
from waterbg.kernel import kernel

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
    whole[which] = solve(normal, right, which)
    return run._plus(whole[: 2 * most].reshape(2, most).T[:best], whole[2 * most :])


@kernel
def _explained(normal, right, rows):
    """What some of the terms take off chi²."""
    factors, total = solve(normal, right, rows), 0.0
    for a in range(rows.size):
        total += factors[a] * right[rows[a]]
    return total


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


@kernel
def _robust_equations(terms, leans, offset, variance):
    """Normal equations (their lower half), weighted so that a residual's square is its chi², 0 for spots that are
    something else.

    Unknown are the factors of (n, m) ``terms`` for x, those for y, and those of (n, 2, k) ``leans``.
    """
    (n, m), k = terms.shape, leans.shape[2]
    normal, right, every = np.empty((2 * m + k, 2 * m + k)), np.empty(2 * m + k), np.arange(2 * m + k)
    left, fitted = offset.copy(), np.zeros((n, 2))
    for axis in range(2):
        left[:, axis] -= np.median(offset[:, axis].copy())
    for _ in range(5):
        spread2 = _spread2(left, variance)
        normal[:], right[:] = 0.0, 0.0
        for i in range(n):
            total = spread2 + variance[i]
            weight = biweight((left[i, 0] * left[i, 0] + left[i, 1] * left[i, 1]) / total) / total
            for axis in range(2):
                own, value = axis * m, offset[i, axis]
                for a in range(m):
                    weighted = weight * terms[i, a]
                    right[own + a] += weighted * value
                    for b in range(a + 1):
                        normal[own + a, own + b] += weighted * terms[i, b]
                for a in range(k):
                    weighted = weight * leans[i, axis, a]
                    right[2 * m + a] += weighted * value
                    for b in range(m):
                        normal[2 * m + a, own + b] += weighted * terms[i, b]
                    for b in range(a + 1):
                        normal[2 * m + a, 2 * m + b] += weighted * leans[i, axis, b]
        hold(normal)
        factors = solve(normal, right, every)
        moved = 0.0
        for i in range(n):
            for axis in range(2):
                before, fitted[i, axis] = fitted[i, axis], 0.0
                for a in range(m):
                    fitted[i, axis] += terms[i, a] * factors[axis * m + a]
                for a in range(k):
                    fitted[i, axis] += leans[i, axis, a] * factors[2 * m + a]
                left[i, axis] = offset[i, axis] - fitted[i, axis]
                moved = max(moved, abs(fitted[i, axis] - before))
        if moved < _SETTLED:
            break
    return normal, right


@kernel
def _spread2(left, variance):
    """Scatter of the places themselves along an axis: what the median has beyond counting (1.39 is chi² of two's)."""
    return max(np.median((left[:, 0] ** 2 + left[:, 1] ** 2) / 1.386 - variance), 1e-3)


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
