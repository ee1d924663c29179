"""The same reflections in two streams: scale, correlation, ratio and sigmas, by resolution and by strength.

Everything is made of sums over reflections, so that memory does not grow with the streams; the sums are combined at the
end. What is compared are single measurements (one crystal, one index), before any merging.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import waterbg
from waterbg.crystfel.solution import event_of
from waterbg.errors import UsageError

if TYPE_CHECKING:
    from waterbg.stream import Chunk, Crystal, StreamFile

MATCHES = ("image", "event", "serial", "order")
# Borders in t = (I_A/sigma_A + I_B/sigma_B) / sqrt(2), the strength of both measurements together. Binning by one
# stream's own I/sigma would select its upward fluctuations and bend the ratio (regression to the mean).
STRENGTHS = (-math.inf, 0.0, 1.0, 3.0, 10.0, 30.0, 100.0, math.inf)
# Reflections are first counted in thin slices of 1/d; shells of equal volume are put together from these at the end,
# when the range is known.
_SLICE = 0.02  # nm^-1
_SLICES = 1500  # up to 30 nm^-1 (0.33 Å)
_SUMS = ("n", "a", "b", "aa", "bb", "ab", "va", "vb", "log_sigma", "n_sigma")
_N, _A, _B, _AA, _BB, _AB, _VA, _VB, _LOG, _NSIGMA = range(len(_SUMS))
# two crystals of one image are the same if their axes differ by less than this (of the length of all nine numbers)
_SAME_CRYSTAL = 0.05


@dataclass(frozen=True)
class Bin:
    """What a group of reflections says.

    Attributes
    ----------
    label : str
    low, high : float
        Borders: 1/d in nm⁻¹, or strength.
    reflections : int
    ratio, ratio_error : float
        ΣI_B / ΣI_A and its standard error from the residuals I_B − ratio·I_A.
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


@dataclass
class Comparison:
    """What `compare_streams` found; NaN where there is no answer."""

    a: str
    b: str
    match: str
    overall: Bin
    shells: list[Bin]
    strengths: list[Bin]
    counts: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Tables for people."""
        c = self.counts
        lines = [
            f"A = {self.a}",
            f"B = {self.b}",
            f"images:      {c['images']} in both, {c['images_a']} in A only, {c['images_b']} in B only",
            f"crystals:    {c['crystals']} in both, {c['crystals_a']} in A only, {c['crystals_b']} in B only",
            f"reflections: {c['reflections']} in both, {c['reflections_a']} in A only, {c['reflections_b']} in B only",
        ]
        if c["not_finite"]:
            lines.append(f"             {c['not_finite']} of them left out: I or sigma is not a number")
        o = self.overall
        lines.append("")
        lines.append(
            f"I(B) / I(A) = {o.ratio:.5g} ± {o.ratio_error:.2g}, CC {o.cc:.5f}, sigma(B) / sigma(A) = "
            f"{o.sigma_ratio:.4g}, scatter / sigma = {o.scatter:.3g}"
        )
        lines += ["", *_table("d/Å", self.shells), "", *_table("I/sigma", self.strengths)]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """All numbers; null where there is no answer."""
        value = {
            "waterbg": waterbg.__version__,
            "a": self.a,
            "b": self.b,
            "match": self.match,
            "counts": self.counts,
            "overall": _plain(self.overall),
            "shells": [_plain(b) for b in self.shells],
            "strengths": [_plain(b) for b in self.strengths],
        }
        return json.dumps(value, indent=2, allow_nan=False)


def _plain(one: Bin) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in vars(one).items()
    }


def _table(first: str, bins: Sequence[Bin]) -> list[str]:
    rows = [[first, "refl", "I(B)/I(A)", "+-", "CC", "sigma(B)/sigma(A)", "scatter/sigma"]]
    rows += [
        [b.label, str(b.reflections), *(_number(v) for v in (b.ratio, b.ratio_error, b.cc, b.sigma_ratio, b.scatter))]
        for b in bins
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(word.rjust(width) for word, width in zip(row, widths)) for row in rows]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def compare_streams(a: str, b: str, *, match: str = "image", nshells: int = 10) -> Comparison:
    """Compare the measurements that two streams have in common.

    Parameters
    ----------
    a, b : str
        Paths.
    match : str
        What makes two chunks the same: ``image`` (file name and event), ``event`` (event alone), ``serial`` (image
        serial number) or ``order`` (the first with the first …). Crystals are paired by their axes, reflections by
        their indices.
    nshells : int
        Resolution shells, of equal reciprocal volume.

    Raises
    ------
    StreamError
    UsageError
        When nothing matches.
    """
    from waterbg.stream import StreamFile

    if match not in MATCHES:
        raise UsageError(f"--match={match}: one of {', '.join(MATCHES)} is needed")
    sums = _Sums()
    with StreamFile(a) as stream_a, StreamFile(b) as stream_b:
        for pair in _pairs(stream_a, stream_b, match, sums.counts):
            sums.add_chunks(*pair)
    if not sums.counts["images"]:
        raise UsageError(
            f"no chunk of {a} is in {b} by --match={match}; try another: {', '.join(m for m in MATCHES if m != match)}"
        )
    if not sums.counts["reflections"]:
        raise UsageError(
            f"{a} and {b} have {sums.counts['images']} images in common, but no reflection of the same crystal"
        )
    return Comparison(a, b, match, sums.overall(), sums.shells(nshells), sums.strengths(), sums.counts)


def _pairs(a: StreamFile, b: StreamFile, match: str, counts: dict[str, int]) -> Iterator[tuple[Chunk, Chunk]]:
    """Chunks of ``a`` with their partners of ``b``: side by side while both have the same order, then by an index."""
    ahead = b.chunks()
    index: dict[int, int] | None = None  # hash of the key -> where it begins: about 100 bytes a chunk
    used = 0
    for number, chunk in enumerate(a.chunks()):
        key = _key(chunk, match, number)
        partner = None
        if index is None:
            partner = next(ahead, None)
            if partner is None or _key(partner, match, used) != key:
                # the order differs from here on: note once where each chunk of b begins
                index = {hash(_key(other, match, i)): other.start for i, other in enumerate(b.chunks())}
                partner = None
        if index is not None and hash(key) in index:
            partner = next(b.chunks(index[hash(key)]))
        if partner is None:
            counts["images_a"] += 1
            continue
        used += 1
        counts["images"] += 1
        yield chunk, partner
    total = len(index) if index is not None else used + sum(1 for _ in ahead)
    counts["images_b"] = max(0, total - used)


def _key(chunk: Chunk, match: str, number: int) -> Any:
    if match == "image":
        return chunk.filename, event_of(chunk)
    if match == "event":
        return event_of(chunk)
    return chunk.serial if match == "serial" else number


def pair_crystals(a: Sequence[Crystal], b: Sequence[Crystal]) -> list[tuple[int, int]]:
    """Pair the crystals of one image by their axes, nearest first; in order where a stream has no axes."""
    distances = []
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            if one.axes is None or other.axes is None:
                distance = 0.0 if i == j else math.inf
            else:
                distance = float(np.linalg.norm(one.axes - other.axes) / np.linalg.norm(one.axes))
            if distance < _SAME_CRYSTAL:
                distances.append((distance, i, j))
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(distances):
        if all(i != k and j != m for k, m in pairs):
            pairs.append((i, j))
    return sorted(pairs)


class _Sums:
    """Sums of products over matched reflections: by slice of 1/d, by strength, and over images for the error."""

    def __init__(self) -> None:
        self.slices = np.zeros((_SLICES, len(_SUMS)))
        self.strong = np.zeros((len(STRENGTHS) - 1, len(_SUMS)))
        self.between_images = np.zeros(3)  # sums over images of A*A, B*B, A*B, where A is the image's sum of I_A
        names = ("images", "crystals", "reflections")
        self.counts = {f"{name}{which}": 0 for name in names for which in ("", "_a", "_b")} | {"not_finite": 0}

    def add_chunks(self, a: Chunk, b: Chunk) -> None:
        """Take in two chunks of one image."""
        pairs = pair_crystals(a.crystals, b.crystals)
        self.counts["crystals"] += len(pairs)
        self.counts["crystals_a"] += len(a.crystals) - len(pairs)
        self.counts["crystals_b"] += len(b.crystals) - len(pairs)
        image = np.zeros(2)
        for i, j in pairs:
            image += self._add_crystals(a.crystals[i], b.crystals[j])
        self.between_images += image[0] ** 2, image[1] ** 2, image[0] * image[1]

    def _add_crystals(self, a: Crystal, b: Crystal) -> np.ndarray:
        left, right = a.reflections, b.reflections
        _, i, j = np.intersect1d(_code(left), _code(right), return_indices=True)
        self.counts["reflections_a"] += len(left) - len(i)
        self.counts["reflections_b"] += len(right) - len(j)
        left, right = left[i], right[j]
        numbers = np.column_stack([left["I"], left["sigma"], right["I"], right["sigma"]])
        good = np.isfinite(numbers).all(axis=1)
        self.counts["not_finite"] += int((~good).sum())
        left, numbers = left[good], numbers[good]
        self.counts["reflections"] += len(left)
        ia, sa, ib, sb = numbers.T
        known = (sa > 0) & (sb > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_sigma = np.where(known, np.log(sb) - np.log(sa), 0.0)
            strength = np.where(known, (ia / sa + ib / sb) / math.sqrt(2), -math.inf)
        terms = np.column_stack(
            [np.ones(len(ia)), ia, ib, ia * ia, ib * ib, ia * ib, sa * sa, sb * sb, log_sigma, known.astype(float)]
        )
        bins = np.clip(np.searchsorted(STRENGTHS, strength, side="right") - 1, 0, len(STRENGTHS) - 2)
        np.add.at(self.strong, bins[known], terms[known])
        axes = a.axes if a.axes is not None else b.axes
        if axes is None:
            inv_d = np.zeros(len(left))
        else:
            inv_d = np.linalg.norm(np.column_stack([left["h"], left["k"], left["l"]]) @ axes, axis=1)
        slices = np.minimum((inv_d / _SLICE).astype(np.int64), _SLICES - 1)
        np.add.at(self.slices, slices, terms)
        return np.array([ia.sum(), ib.sum()])

    def overall(self) -> Bin:
        """All reflections; the error of the ratio is that between images, which scatter more than reflections do."""
        total = self.slices.sum(axis=0)
        whole = _bin("all", 0.0, math.inf, total)
        aa, bb, ab = self.between_images
        variance = (bb - 2 * whole.ratio * ab + whole.ratio**2 * aa) / total[_A] ** 2 if total[_A] else math.nan
        n = self.counts["images"]
        error = math.sqrt(max(variance, 0.0) * n / (n - 1)) if n > 1 else whole.ratio_error
        return Bin(**{**vars(whole), "ratio_error": error})

    def shells(self, nshells: int) -> list[Bin]:
        """Shells of equal reciprocal volume from the thin slices."""
        filled = np.flatnonzero(self.slices[:, _N])
        low, high = int(filled[0]), int(filled[-1]) + 1
        volumes = np.linspace((low * _SLICE) ** 3, (high * _SLICE) ** 3, nshells + 1)
        borders = np.unique(np.rint(np.cbrt(volumes) / _SLICE).astype(int))
        bins = []
        for i, k in zip(borders, borders[1:]):
            label = f"{10 / (i * _SLICE):.2f}-{10 / (k * _SLICE):.2f}" if i else f"inf-{10 / (k * _SLICE):.2f}"
            bins.append(_bin(label, i * _SLICE, k * _SLICE, self.slices[i:k].sum(axis=0)))
        return bins

    def strengths(self) -> list[Bin]:
        """Groups of `STRENGTHS` that have reflections."""
        bins = []
        for low, high, sums in zip(STRENGTHS, STRENGTHS[1:], self.strong):
            if sums[_N]:
                label = f"< {high:g}" if low == -math.inf else f"> {low:g}" if high == math.inf else f"{low:g}-{high:g}"
                bins.append(_bin(label, low, high, sums))
        return bins


def _code(reflections: np.ndarray) -> np.ndarray:
    """One whole number for each h, k, l."""
    h, k, l = (reflections[name].astype(np.int64) for name in "hkl")
    return ((h + (1 << 20)) << 42) | ((k + (1 << 20)) << 21) | (l + (1 << 20))


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
    return Bin(label, low, high, int(n), *(float(v) for v in (ratio, error, cc, sigma_ratio, scatter)))
