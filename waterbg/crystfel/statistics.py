"""Sums over pairs of measurements that become ratios and correlations at the end.

Memory does not grow with the number of pairs. Resolution is counted in thin slices first; shells of equal volume are
put together from these when the range is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from waterbg.crystfel.printing import shell_label

# Borders in strength, see `Statistics`.
STRENGTHS = (-math.inf, 0.0, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)

# A pair is wild when I_B - k·I_A is further from zero than this many times what is usual at its strength …
WILD = 6.0
# … which is never taken for less than half a sigma: two integrations of the same photons agree on most reflections
# exactly, and the others are no accidents.
_LEAST_SPREAD = 0.5
FAIR = 3.0  # the scale is that of stronger pairs: weak ones hold little of it and most of the accidents
_STRONG = 30.0  # beyond, errors that grow with I (profiles, partiality) outweigh counting

_ENOUGH = 2000  # clear pairs from which the first scale is taken
_AT_MOST = 200_000  # pairs kept back for it

_SLICE = 0.02  # nm^-1
_SLICES = 1500  # up to 30 nm^-1 (0.33 Å)
_SUMS = ("n", "a", "b", "aa", "bb", "ab", "va", "vb", "log_sigma", "n_sigma")
_N, _A, _B, _AA, _BB, _AB, _VA, _VB, _LOG, _NSIGMA = range(len(_SUMS))


@dataclass(frozen=True)
class Bin:
    """What a group of reflections says; NaN where there is no answer.

    Attributes
    ----------
    label : str
    low, high : float
        Borders: 1/d in nm⁻¹, or strength.
    reflections : int
    ratio, ratio_error : float
        ΣI_B / ΣI_A, with its standard error from the residuals I_B − ratio·I_A. Unlike a mean or median of ratios, or
        weights made of each pair's own sigmas, it is unbiased for counts of few photons.
    cc : float
        Pearson correlation of I_A and I_B.
    sigma_ratio : float
        Geometric mean of σ_B/σ_A.
    scatter : float
        RMS of I_B − ratio·I_A over the RMS of √(σ_B² + ratio²·σ_A²): 1 when the streams' errors are independent and
        their sigmas right, less when they share their photons (before and after), more when sigmas are too small.
    """

    label: str
    low: float
    high: float
    reflections: int
    ratio: float
    ratio_error: float
    cc: float
    sigma_ratio: float
    scatter: float


class Statistics:
    """Sums of products over pairs of measurements: by slice of 1/d, by strength, and over images.

    Strength is that of both measurements together, Î/σ(Î) with Î = (I_A/σ_A² + k·I_B/σ_B²) / (1/σ_A² + k²/σ_B²) and k
    the scale of the first pairs: its error is uncorrelated with that of I_B − k·I_A, so that grouping by it does not
    bend the ratio. Grouping by one stream's own I/σ would (regression to the mean).

    Wild pairs (a cosmic ray or a hot pixel in one measurement, or in both and not scaling with the pulse) are counted
    and left out. What is usual is taken from the first pairs by medians: a number of sigmas for weak reflections, a
    fraction of I for strong ones.

    Attributes
    ----------
    wild : int
        Pairs left out.
    """

    def __init__(self) -> None:
        self.wild = 0
        self._scale: float | None = None
        self._spread = self._relative = 0.0
        self._waiting: list[np.ndarray] = []
        self._slices = np.zeros((_SLICES, len(_SUMS)))
        self._groups = np.zeros((len(STRENGTHS) - 1, len(_SUMS)))
        self._images = np.zeros(3)  # sums over images of A², B², A·B, where A is the image's sum of I_A
        self._n_images = 0

    def add_image(self, pairs: np.ndarray) -> None:
        """Take in the pairs of one image.

        Parameters
        ----------
        pairs : (n, 5) float64
            I_A, sigma_A, I_B, sigma_B, 1/d in nm⁻¹; all finite.
        """
        if self._scale is not None:
            self._add(pairs)
            return
        self._waiting.append(pairs)
        waiting = sum(map(len, self._waiting))
        if waiting >= _AT_MOST or sum(int(_clear(kept).sum()) for kept in self._waiting) >= _ENOUGH:
            self.finish()

    def finish(self) -> None:
        """Take the scale from what has come so far, and count that; to be called before the results are asked for."""
        if self._scale is not None:
            return
        pairs = np.concatenate([np.zeros((0, 5)), *self._waiting])
        clear = pairs[_clear(pairs)]
        if len(clear):
            self._scale = float(np.median(clear[:, 2] / clear[:, 0]))
        else:
            a, b = np.abs(pairs[:, 0]).sum(), np.abs(pairs[:, 2]).sum()
            self._scale = float(b / a) if a > 0 and b > 0 else 1.0
        known = pairs[(pairs[:, 1] > 0) & (pairs[:, 3] > 0)]
        if len(known):
            strength, off = _strength_and_off(known, self._scale)
            self._spread = _robust_spread(off[strength < _STRONG])
            strong = strength >= _STRONG
            self._relative = _robust_spread(off[strong] / strength[strong])
        for image in self._waiting:
            self._add(image)
        self._waiting = []

    def _add(self, pairs: np.ndarray) -> None:
        assert self._scale is not None
        known = (pairs[:, 1] > 0) & (pairs[:, 3] > 0)
        strength, off = np.full(len(pairs), -math.inf), np.zeros(len(pairs))
        strength[known], off[known] = _strength_and_off(pairs[known], self._scale)
        usual = np.maximum(max(self._spread, _LEAST_SPREAD), self._relative * np.maximum(strength, 0))
        tame = np.abs(off) <= WILD * usual
        self.wild += int((~tame).sum())
        pairs, known, strength = pairs[tame], known[tame], strength[tame]
        ia, sa, ib, sb, inv_d = pairs.T
        log_sigma = np.zeros(len(pairs))
        log_sigma[known] = np.log(sb[known]) - np.log(sa[known])
        terms = np.column_stack(
            [np.ones(len(ia)), ia, ib, ia * ia, ib * ib, ia * ib, sa * sa, sb * sb, log_sigma, known.astype(float)]
        )
        slices = np.minimum((inv_d / _SLICE).astype(np.int64), _SLICES - 1)
        groups = np.clip(np.searchsorted(STRENGTHS, strength, side="right") - 1, 0, len(STRENGTHS) - 2)
        _add_rows(self._slices, slices, terms)
        _add_rows(self._groups, groups[known], terms[known])
        fair = strength > FAIR
        a, b = ia[fair].sum(), ib[fair].sum()
        self._images += a * a, b * b, a * b
        self._n_images += 1

    def overall(self) -> Bin:
        """All reflections; but the ratio is that of strength over 3, and its error that between images.

        Images scatter more than their reflections do. Where nothing is that strong, the ratio is that of all.
        """
        whole = _bin("all", 0.0, math.inf, self._slices.sum(axis=0))
        fair = _bin("", 0.0, 0.0, self._groups[np.array(STRENGTHS[:-1]) >= FAIR].sum(axis=0))
        if math.isnan(fair.ratio):
            return whole
        ratio, error, n = fair.ratio, fair.ratio_error, self._n_images
        if n > 1:
            aa, bb, ab = self._images
            total = self._groups[np.array(STRENGTHS[:-1]) >= FAIR, _A].sum()
            error = math.sqrt(max(bb - 2 * ratio * ab + ratio**2 * aa, 0.0) * n / (n - 1)) / abs(total)
        return Bin(**{**vars(whole), "ratio": ratio, "ratio_error": error})

    def shells(self, nshells: int) -> list[Bin]:
        """Shells of about equal reciprocal volume."""
        filled = np.flatnonzero(self._slices[:, _N])
        if not len(filled):
            return []
        first, end = int(filled[0]), int(filled[-1]) + 1
        volumes = np.linspace((first * _SLICE) ** 3, (end * _SLICE) ** 3, nshells + 1)
        borders = np.unique(np.rint(np.cbrt(volumes) / _SLICE).astype(int))
        bins = []
        for i, k in zip(borders, borders[1:]):
            low, high = i * _SLICE, k * _SLICE
            bins.append(_bin(shell_label(low, high), low, high, self._slices[i:k].sum(axis=0)))
        return bins

    def strengths(self) -> list[Bin]:
        """Groups of `STRENGTHS` that have reflections; without CC, and without ratio where there is only noise."""
        bins = []
        for low, high, sums in zip(STRENGTHS, STRENGTHS[1:], self._groups):
            if sums[_N]:
                label = f"< {high:g}" if low == -math.inf else f"> {low:g}" if high == math.inf else f"{low:g}-{high:g}"
                one = _bin(label, low, high, sums)
                # among pairs chosen by their sum, a high I_A goes with a low I_B: no correlation to speak of; and
                # below a sigma the sums are next to nothing
                hidden = {"cc": math.nan} | ({} if low >= 1 else {"ratio": math.nan, "ratio_error": math.nan})
                bins.append(Bin(**{**vars(one), **hidden}))
        return bins


def _clear(pairs: np.ndarray) -> np.ndarray:
    """Pairs that are good for a first scale: strong in A, and not noise in B."""
    ia, sa, ib, sb, _ = pairs.T
    return (sa > 0) & (sb > 0) & (ia > 10 * sa) & (ib > 3 * sb)


def _strength_and_off(pairs: np.ndarray, k: float) -> tuple[np.ndarray, np.ndarray]:
    """Î/σ(Î), and how many sigmas I_B is off k·I_A."""
    ia, sa, ib, sb, _ = pairs.T
    wa, wb = 1 / sa**2, k / sb**2
    return (ia * wa + ib * wb) / np.sqrt(wa + k * wb), (ib - k * ia) / np.sqrt(sb**2 + (k * sa) ** 2)


def _robust_spread(values: np.ndarray) -> float:
    """Standard deviation about zero, from the median; 0 for too few values to tell."""
    return 1.4826 * float(np.median(np.abs(values))) if len(values) >= 20 else 0.0


def _add_rows(sums: np.ndarray, rows: np.ndarray, terms: np.ndarray) -> None:
    """``np.add.at(sums, rows, terms)``, several times faster: sorted, one reduction per row that occurs."""
    if not len(rows):
        return
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sums[ordered[starts]] += np.add.reduceat(terms[order], starts, axis=0)


def _bin(label: str, low: float, high: float, sums: np.ndarray) -> Bin:
    n, a, b = sums[_N], sums[_A], sums[_B]
    ratio = error = cc = scatter = math.nan
    if a:
        ratio = b / a
        residual = max(sums[_BB] - 2 * ratio * sums[_AB] + ratio**2 * sums[_AA], 0.0)
        if n > 1:
            error = math.sqrt(residual * n / (n - 1)) / abs(a)
        expected = sums[_VB] + ratio**2 * sums[_VA]
        if expected > 0:
            scatter = math.sqrt(residual / expected)
    if n > 2:
        spread = (sums[_AA] - a * a / n) * (sums[_BB] - b * b / n)
        if spread > 0:
            cc = min((sums[_AB] - a * b / n) / math.sqrt(spread), 1.0)
    sigma_ratio = math.exp(sums[_LOG] / sums[_NSIGMA]) if sums[_NSIGMA] else math.nan
    return Bin(label, low, high, int(n), *(float(value) for value in (ratio, error, cc, sigma_ratio, scatter)))
