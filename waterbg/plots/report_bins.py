"""Sums that two long streams are read into, in memory that does not grow: by resolution, and in the stream's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURED = np.dtype([(name, "f8") for name in ("inv_d", "I0", "s0", "b0", "I1", "s1", "b1")])
"""A reflection in both streams: 1/d in nm⁻¹; I and sigma in ADU; background in photons a pixel; 0 before, 1 after."""

STEP, FINE = 0.02, 1000  # nm⁻¹ and number: to 0.5 Å; what is beyond counts in the last
RATIO_STEP, RATIOS = 0.01, 800  # of the binary logarithm, about 0: from 1/16 to 16
MAP_STEP, MAP_FIRST, MAP_CELLS = 0.1, -8.0, 240  # of asinh(I / scale): from -1500 to 4e6 times the scale
Z_STEP, Z_CELLS = 0.01, 2800  # of asinh(I/sigma), about 0: to 6e5
STRONG = 5.0  # I/sigma before, from which a ratio of intensities means something
SHELLS, FEWEST = 20, 20  # most shells shown, and least reflections in one
BATCH = 50_000  # reflections put into bins at once
SUMS = ("b0", "b1", "I0", "I1", "z0", "z1")


@dataclass(frozen=True)
class Shell:
    """What is known of a resolution shell; NaN where nothing is.

    Attributes
    ----------
    low, high : float
        1/d in nm⁻¹.
    listed, dropped, n : int
        Reflections in the first stream, those not in the second, and those compared.
    b0, b1 : float
        Mean background before and after, photons a pixel.
    I0, I1 : float
        Mean intensity, ADU.
    z0, z1 : float
        Mean I/sigma.
    sigma : 3 floats
        16 %, 50 % and 84 % quantile of sigma after / before.
    strong : float
        Median of I after / before where I/sigma was at least STRONG; ``n_strong`` of them.
    n_strong : int
    """

    low: float
    high: float
    listed: int
    dropped: int
    n: int
    b0: float
    b1: float
    I0: float
    I1: float
    z0: float
    z1: float
    sigma: tuple[float, float, float]
    strong: float
    n_strong: int

    @property
    def middle(self) -> float:
        """1/d in nm⁻¹."""
        return (self.low + self.high) / 2


class Resolution:
    """Sums over reflections in fine bins of 1/d, histograms of ratios, and a map of I after over I before.

    Attributes
    ----------
    listed, dropped : (FINE,) int64
    odd : int
        Reflections not compared: a number that is not finite, sigma not positive, or no cell.
    scale : float
        ADU; the map's axes are asinh(I / scale): median sigma of the first reflections. 0 until there are any.
    map : (MAP_CELLS, MAP_CELLS) int64
        Row after, column before.
    """

    def __init__(self) -> None:
        self.listed, self.dropped = np.zeros(FINE, np.int64), np.zeros(FINE, np.int64)
        self.odd, self.scale = 0, 0.0
        self.map = np.zeros((MAP_CELLS, MAP_CELLS), np.int64)
        self._n, self._known = np.zeros(FINE, np.int64), np.zeros(FINE, np.int64)
        self._sums = np.zeros((len(SUMS), FINE))
        self._z = np.zeros((2, Z_CELLS), np.int64)
        self._sigma, self._strong = (np.zeros((FINE, RATIOS), np.int64) for _ in range(2))
        self._waiting: list[NDArray[np.void]] = []
        self._size = 0

    def add(self, rows: NDArray[np.void], dropped: NDArray[np.float64]) -> None:
        """Count a crystal.

        Parameters
        ----------
        rows : (n,) MEASURED
        dropped : (m,) float64
            1/d of the reflections that the second stream lacks.
        """
        for at, counts in ((rows["inv_d"], [self.listed]), (dropped, [self.listed, self.dropped])):
            found = np.bincount(_fine(at[np.isfinite(at)]), minlength=FINE)
            for count in counts:
                count += found
        self._waiting.append(rows)
        self._size += len(rows)
        if self._size >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Put what waits into the bins."""
        rows = np.concatenate([np.zeros(0, MEASURED), *self._waiting])
        self._waiting, self._size = [], 0
        good = (rows["s0"] > 0) & (rows["s1"] > 0)
        for name in ("inv_d", "I0", "s0", "I1", "s1"):
            good &= np.isfinite(rows[name])
        self.odd += int(len(rows) - good.sum())
        rows = rows[good]
        if not len(rows):
            return
        with np.errstate(over="ignore"):  # what no detector counts, a damaged stream may
            self._put(rows)

    def _put(self, rows: NDArray[np.void]) -> None:
        at = _fine(rows["inv_d"])
        known = np.isfinite(rows["b0"]) & np.isfinite(rows["b1"])
        self._n += np.bincount(at, minlength=FINE)
        self._known += np.bincount(at[known], minlength=FINE)
        values = {name: np.where(known, rows[name], 0.0) for name in ("b0", "b1")}
        for i in (0, 1):
            values |= {f"I{i}": rows[f"I{i}"], f"z{i}": rows[f"I{i}"] / rows[f"s{i}"]}
        for total, name in zip(self._sums, SUMS, strict=True):
            total += np.bincount(at, values[name], FINE)
        _count(self._sigma, at, rows["s1"] / rows["s0"])
        for i, name in enumerate(("z0", "z1")):
            cell = np.clip(np.arcsinh(values[name]) / Z_STEP + Z_CELLS / 2, 0, Z_CELLS - 1).astype(np.int64)
            self._z[i] += np.bincount(cell, minlength=Z_CELLS)
        strong = rows["I0"] >= STRONG * rows["s0"]
        _count(self._strong, at[strong], rows["I1"][strong] / rows["I0"][strong])
        if not self.scale:
            self.scale = float(np.median(rows["s0"]))
        column, row = (_cell(rows[name] / self.scale) for name in ("I0", "I1"))
        self.map += np.bincount(row * MAP_CELLS + column, minlength=MAP_CELLS**2).reshape(MAP_CELLS, MAP_CELLS)

    def edges(self) -> list[int]:
        """Fine bins at which the shells to be shown begin, and the end: of like width, none nearly empty."""
        self.flush()
        filled = np.flatnonzero(self.listed)
        if not len(filled):
            return []
        first, end = int(filled[0]), int(filled[-1]) + 1
        width = max(1, -(-(end - first) // SHELLS))
        edges, begun = [first], first
        for at in range(first + 1, end):
            if at - begun >= width and self.listed[begun:at].sum() >= FEWEST:
                edges.append(at)
                begun = at
        if len(edges) > 1 and self.listed[begun:end].sum() < FEWEST:
            edges.pop()
        return [*edges, end]

    def shells(self) -> list[Shell]:
        """Shells to be shown, by ascending 1/d."""
        edges = self.edges()
        return [self._shell(begin, end) for begin, end in zip(edges[:-1], edges[1:], strict=True)]

    def whole(self) -> Shell:
        """All of them as one."""
        self.flush()
        return self._shell(0, FINE)

    def median_snr(self) -> tuple[float, float]:
        """Median of I/sigma before and after, of all reflections; NaN without any."""
        self.flush()
        before, after = (float(np.sinh((_place(counts, 0.5) - Z_CELLS / 2) * Z_STEP)) for counts in self._z)
        return before, after

    def _shell(self, begin: int, end: int) -> Shell:
        here = slice(begin, end)
        n, known = int(self._n[here].sum()), int(self._known[here].sum())
        totals = dict(zip(SUMS, self._sums[:, here].sum(axis=1).tolist(), strict=True))
        means = {name: _over(total, known if name in ("b0", "b1") else n) for name, total in totals.items()}
        sigma, strong = self._sigma[here].sum(axis=0), self._strong[here].sum(axis=0)
        return Shell(
            low=begin * STEP,
            high=end * STEP,
            listed=int(self.listed[here].sum()),
            dropped=int(self.dropped[here].sum()),
            n=n,
            sigma=(_quantile(sigma, 0.1587), _quantile(sigma, 0.5), _quantile(sigma, 0.8413)),
            strong=_quantile(strong, 0.5),
            n_strong=int(strong.sum()),
            **means,
        )


def _over(total: float, n: int) -> float:
    return total / n if n else float("nan")


def _fine(inv_d: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip(inv_d / STEP, 0, FINE - 1).astype(np.int64)


def _cell(value: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.clip((np.arcsinh(value) - MAP_FIRST) / MAP_STEP, 0, MAP_CELLS - 1).astype(np.int64)


def _count(table: NDArray[np.int64], at: NDArray[np.int64], ratio: NDArray[np.float64]) -> None:
    """Count ratios in a histogram of their logarithms, one a fine bin."""
    place = np.log2(np.maximum(ratio, 1e-9)) / RATIO_STEP + RATIOS / 2 + 0.5  # 1 in the middle of a cell
    cell = np.clip(place, 0, RATIOS - 1).astype(np.int64)
    np.add.at(table, (at, cell), 1)


def _quantile(counts: NDArray[np.int64], share: float) -> float:
    """Quantile of a histogram of ratios."""
    return float(2.0 ** ((_place(counts, share) - RATIOS / 2 - 0.5) * RATIO_STEP))


def _place(counts: NDArray[np.int64], share: float) -> float:
    """Quantile of a histogram, in cells from its beginning; values are taken to be spread evenly within a cell."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    reached = np.cumsum(counts)
    cell = int(np.searchsorted(reached, share * total))
    return float(cell + (share * total - (reached[cell] - counts[cell])) / counts[cell])


FRAME = ("frames", "crystals", "listed", "kept", "measured", "b0", "b1", "z0", "z1")
"""Of each frame: 1, its crystals, reflections before and after, 1 when it has any in both; and, of these, mean
background (photons a pixel) and median I/sigma before and after."""


class TimeLine:
    """Frames in the order of the stream, added up to at most ``most`` bins of equal numbers of frames."""

    def __init__(self, most: int = 240) -> None:
        self.most, self.stride, self.frames = most, 1, 0
        self._bins = np.zeros((2 * most, len(FRAME)))

    def add(self, frame: Sequence[float]) -> None:
        """Count a frame: FRAME."""
        if self.frames == len(self._bins) * self.stride:
            halves = self._bins.reshape(-1, 2, len(FRAME)).sum(axis=1)
            self._bins[: self.most], self._bins[self.most :] = halves, 0
            self.stride *= 2
        self._bins[self.frames // self.stride] += frame
        self.frames += 1

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """(n,) sums of each bin by name; the last bin may have fewer frames."""
        used = self._bins[: -(-self.frames // self.stride)]
        return dict(zip(FRAME, used.T, strict=True))

    @property
    def at(self) -> NDArray[np.float64]:
        """(n,) middle of each bin: frame number from 1 on."""
        start = np.arange(len(self.columns["frames"])) * self.stride
        return start + (self.columns["frames"] + 1) / 2
