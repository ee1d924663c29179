"""What a photon of a spot adds to the variance of its pixel, where the level without light is not the same everywhere.

Integrating detectors have a dark level that drifts, as a whole or chip by chip (common mode). What pixels scatter by
shows how much light there is whatever their level, so the background's variance is right all the same; but a line of
variance over level through frames and panels of different dark levels is too flat, and with it the variance that a spot
adds. Within a panel of a frame the dark level is one number, and levels differ by light alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from waterbg.background.noise import PRIOR, SURE, TOLERANCE

if TYPE_CHECKING:
    from waterbg.background.surface import Surface

_GROUPS = 6  # of the tiles of each panel, by level
_PLENTY = 1000  # tiles of a group: more do not make its variance surer than models are (TOLERANCE)


class Photons(NamedTuple):
    """Variance that a photon adds on each panel; how far panels' levels without light stray from frame to frame."""

    variance: tuple[float, ...] = ()
    drift: float = 0.0


def panel_groups(surface: Surface, pedestal: float) -> NDArray[np.float64]:
    """Mean counts with the pedestal, variance, number of pixels, and panel, of tiles of similar level: (n, 4).

    Similar in the radial profile: a line through groups that were chosen by what is noise in their levels is too flat.
    Counts and not what is expected: a surface of factors does not know that a dark level has no slope.
    All groups of panels that have enough tiles for them, none of others; of many tiles some.
    """
    offsets = surface.grid.offsets
    used = np.flatnonzero(surface.pixels > 0)
    used = used[:: max(len(used) // (_PLENTY * _GROUPS * (len(offsets) - 1)), 1)]
    panel = np.searchsorted(offsets, used, side="right") - 1
    sums = np.stack([surface.counts[used], surface.scatter[used], surface.pixels[used]]).astype(float)
    by_profile = surface.expected[used] / surface.pixels[used] / np.maximum(surface.ratio[used], 1e-6)
    order = np.lexsort((by_profile, panel))
    tiles = np.bincount(panel, minlength=len(offsets) - 1)
    rank = np.arange(len(used)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
    panel, sums = panel[order], sums[:, order]
    group = panel * _GROUPS + rank * _GROUPS // np.maximum(tiles[panel], 1)
    counts, scatter, pixels = (np.bincount(group, each, len(tiles) * _GROUPS) for each in sums)
    full = np.repeat(tiles >= _GROUPS, _GROUPS)
    which = np.repeat(np.arange(len(tiles)), _GROUPS)[full]
    counts, scatter, pixels = counts[full], scatter[full], pixels[full]
    return np.stack([counts / pixels + pedestal, scatter / pixels, pixels, which], axis=1)


def learn_photons(frames: Sequence[NDArray[np.float64]], n_panels: int) -> Photons:
    """What a photon adds to the variance on each panel; nothing where levels without light are not certain to differ.

    The variance of groups of tiles is a line over their level. That lines of different panels, or those of a panel in
    different frames, do not meet at one level, must pay by Bayes' information criterion, and by three standard
    deviations more, against the best of what needs no such thing: panels of different gain, and pixels of unequal gain,
    which scatter by the square of the level. Then the slope is that within panels (of single frames, if these differ).
    Panels' slopes are drawn to their mean by their errors (empirical Bayes; the spread between them by DerSimonian &
    Laird 1986, Control. Clin. Trials 7, 177), and the mean to 1.

    Parameters
    ----------
    frames : sequence of (n, 4) float64
        From :func:`panel_groups`.
    n_panels : int
    """
    groups, frame = np.concatenate(frames), np.repeat(np.arange(len(frames)), [len(each) for each in frames])
    counted = groups[:, 1] > 0
    level, variance, pixels, panel = groups[counted].T
    if not len(level):
        return Photons()
    weight = 1 / (variance**2 * (2 / pixels + TOLERANCE**2) + variance / pixels)  # the last by Poisson's kurtosis
    _, panels = np.unique(panel, return_inverse=True)
    _, each = np.unique(panel + n_panels * frame[counted], return_inverse=True)
    lines = _Lines(level, variance, weight)
    fits = [lines.apart(offsets, panels) for offsets in (panels, each) if offsets.any()]
    best = min(fits, key=lambda fit: fit.criterion, default=None)
    if best is None or best.criterion > lines.meeting(panels) - SURE**2:
        return Photons()
    slope = _drawn_together(best.slope, best.variance)
    by_panel = np.full(n_panels, np.median(slope))
    by_panel[np.unique(panel).astype(int)] = slope
    return Photons(tuple(by_panel.tolist()), _drift(lines, panels, each, slope))


class _Fit(NamedTuple):
    """Bayes' information criterion; slopes of the panels and their variances."""

    criterion: float
    slope: NDArray[np.float64]
    variance: NDArray[np.float64]


class _Lines(NamedTuple):
    """Groups of tiles, through which lines of variance over level are laid."""

    level: NDArray[np.float64]
    variance: NDArray[np.float64]
    weight: NDArray[np.float64]

    def meeting(self, panels: NDArray[np.int64]) -> float:
        """Criterion of lines, or curves of one curvature, that meet at no light: with one slope, or one a panel."""
        along, criteria = self.weight * self.level, []
        for slopes in (np.zeros_like(panels), panels):
            bottom = np.maximum(np.bincount(slopes, along * self.level), 1e-12)
            no_light, square, target = (
                np.sqrt(self.weight) * (values - (np.bincount(slopes, along * values) / bottom)[slopes] * self.level)
                for values in (np.ones_like(self.level), self.level**2, self.variance)
            )
            for terms in (no_light[:, None], np.stack([no_light, square], axis=1)):
                left = target - terms @ np.linalg.lstsq(terms, target, rcond=None)[0]
                criteria.append(self._criterion(float(left @ left), len(bottom) + terms.shape[1]))
        return min(criteria)

    def apart(self, offsets: NDArray[np.int64], slopes: NDArray[np.int64]) -> _Fit:
        """Lines that do not meet: one for each of ``offsets``, with the same slope for each of ``slopes``."""
        x, y = self.level - self.means(offsets, self.level), self.variance - self.means(offsets, self.variance)
        bottom = np.maximum(np.bincount(slopes, self.weight * x * x), 1e-12)
        slope = np.bincount(slopes, self.weight * x * y) / bottom
        chi2 = float((self.weight * (y - slope[slopes] * x) ** 2).sum())
        unknown = int(offsets.max()) + 1 + len(slope)
        scatter = max(chi2 / max(len(x) - unknown, 1), 1.0)
        return _Fit(self._criterion(chi2, unknown), slope, scatter / bottom)

    def means(self, of: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of all that have the same number as each."""
        return (np.bincount(of, self.weight * values) / np.bincount(of, self.weight))[of]

    def _criterion(self, chi2: float, unknown: int) -> float:
        n = len(self.level)
        return n * float(np.log(max(chi2, 1e-12) / n)) + unknown * float(np.log(n))


def _drawn_together(slope: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes drawn to their mean, and that to 1, by their errors."""
    weight = 1 / variance
    mean = float((weight * slope).sum() / weight.sum())
    excess = float((weight * (slope - mean) ** 2).sum()) - (len(slope) - 1)
    spread2 = max(excess, 0.0) / max(float(weight.sum() - (weight**2).sum() / weight.sum()), 1e-12)
    weight = 1 / (variance + spread2)
    mean = float((weight * slope).sum() + 1 / PRIOR**2) / float(weight.sum() + 1 / PRIOR**2)
    return np.maximum(mean + spread2 * weight * (slope - mean), 1e-3)


def _drift(lines: _Lines, panels: NDArray[np.int64], each: NDArray[np.int64], slope: NDArray[np.float64]) -> float:
    """How far the level without light strays from frame to frame; between panels read noise differs as well."""
    _, first = np.unique(each, return_index=True)
    panel = panels[first]
    dark = (lines.means(each, lines.level) - lines.means(each, lines.variance) / slope[panels])[first]
    middle = np.array([np.median(dark[panel == number]) for number in range(len(slope))])
    low, high = np.quantile(dark - middle[panel], [0.16, 0.84])
    return float(high - low) / 2
