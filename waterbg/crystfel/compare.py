"""Compare the measurements that two streams have in common: before and after, or a strong and a weak pulse.

What is compared are single measurements (one crystal, one index), before any merging. See
:mod:`waterbg.crystfel.statistics` for what is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import waterbg
from waterbg.crystfel.pairing import PAIRS, pair_chunks, pair_crystals, pair_reflections
from waterbg.crystfel.printing import in_columns, number, to_json
from waterbg.crystfel.statistics import FAIR, WILD, Bin, Statistics
from waterbg.errors import UsageError, WaterbgError
from waterbg.stream.lacking import has_reflections, no_reflections

if TYPE_CHECKING:
    from waterbg.stream import Chunk, Crystal


@dataclass
class Comparison:
    """What `compare_streams` found.

    Attributes
    ----------
    a, b : str
        Paths.
    match : str
    overall : Bin
    shells, strengths : list of Bin
        By resolution, and by I/σ of both measurements together.
    counts : dict
        Images, crystals, reflections in both streams and (``_a``, ``_b``) in one only; ``not_finite`` and ``wild``
        pairs, which are left out.
    """

    a: str
    b: str
    match: str
    overall: Bin
    shells: list[Bin]
    strengths: list[Bin]
    counts: dict[str, int]

    def text(self) -> str:
        """Tables for people."""
        c, o = self.counts, self.overall
        lines = [f"A = {self.a}", f"B = {self.b}"]
        lines += [
            f"{name}: {c[name]} in both, {c[name + '_a']} in A only, {c[name + '_b']} in B only"
            for name in ("images", "crystals", "reflections")
        ]
        if c["not_finite"]:
            lines.append(f"{c['not_finite']} pairs left out: I or sigma is not a number")
        if c["wild"]:
            lines.append(f"{c['wild']} wild pairs left out: off by more than {WILD:g} times what is usual")
        strong = any(one.low >= FAIR for one in self.strengths)
        of = f"I/sigma > {FAIR:g}" if strong else f"of all: none has I/sigma > {FAIR:g}"
        lines += [
            "",
            f"I(B) / I(A)         = {number(o.ratio, '.5g')} +- {number(o.ratio_error, '.2g')}  ({of})",
            f"CC                  = {number(o.cc, '.5f')}",
            f"sigma(B) / sigma(A) = {number(o.sigma_ratio, '.4g')}",
            f"scatter / sigma     = {number(o.scatter, '.3g')}",
        ]
        for title, bins in (("d/Å", self.shells), ("I/sigma", self.strengths)):
            lines += ["", *_table(title, bins)] if bins else []
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """All numbers; null where there is no answer."""
        value = {
            "waterbg": waterbg.__version__,
            "a": self.a,
            "b": self.b,
            "match": self.match,
            "counts": self.counts,
            "overall": vars(self.overall),
            "shells": [vars(one) for one in self.shells],
            "strengths": [vars(one) for one in self.strengths],
        }
        return to_json(value)


def _table(first: str, bins: Sequence[Bin]) -> list[str]:
    rows = [[first, "refl", "I(B)/I(A)", "+-", "CC", "sigma(B)/sigma(A)", "scatter/sigma"]]
    for one in bins:
        numbers = (one.ratio, one.ratio_error, one.cc, one.sigma_ratio, one.scatter)
        formats = ("#.4g", ".2g", ".4f", "#.4g", "#.3g")
        rows.append([one.label, str(one.reflections), *map(number, numbers, formats)])
    filled = [i for i in range(len(rows[0])) if any(row[i] != "-" for row in rows[1:])]
    return in_columns([[row[i] for i in filled] for row in rows])


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
    WaterbgError
        When a stream cannot be read, or nothing matches.
    """
    from waterbg.stream import StreamFile

    if match not in PAIRS:
        raise UsageError(f"--match={match}: one of {', '.join(PAIRS)} is needed")
    statistics = Statistics()
    names = ("images", "crystals", "reflections")
    counts = {f"{name}{which}": 0 for name in names for which in ("", "_a", "_b")} | {"not_finite": 0, "wild": 0}
    with StreamFile(a) as stream_a, StreamFile(b) as stream_b:
        for chunk_a, chunk_b in pair_chunks(stream_a, stream_b, match, counts):
            statistics.add_image(_measurements(chunk_a, chunk_b, counts))
    if not counts["reflections"]:
        for path in (a, b):
            if not has_reflections(path):
                raise no_reflections(path)
    if not counts["images"]:
        others = ", ".join(other for other in PAIRS if other != match)
        raise WaterbgError(f"no chunk of {a} is in {b} by --match={match}; try another: {others}")
    if not counts["reflections"]:
        common = f"{counts['images']} image{'s' * (counts['images'] != 1)} in common"
        raise WaterbgError(f"{a} and {b} have {common}, but no reflection of the same crystal")
    statistics.finish()
    counts["wild"] = statistics.wild
    return Comparison(a, b, match, statistics.overall(), statistics.shells(nshells), statistics.strengths(), counts)


def _measurements(a: Chunk, b: Chunk, counts: dict[str, int]) -> np.ndarray:
    """Pairs of one image: I_A, sigma_A, I_B, sigma_B, 1/d in nm⁻¹."""
    pairs = pair_crystals([one.axes for one in a.crystals], [one.axes for one in b.crystals])
    counts["crystals"] += len(pairs)
    counts["crystals_a"] += len(a.crystals) - len(pairs)
    counts["crystals_b"] += len(b.crystals) - len(pairs)
    found = [_crystal_measurements(a.crystals[i], b.crystals[j], counts) for i, j in pairs]
    return np.concatenate([np.zeros((0, 5)), *found])


def _crystal_measurements(a: Crystal, b: Crystal, counts: dict[str, int]) -> np.ndarray:
    left, right = a.reflections, b.reflections
    i, j = pair_reflections(left, right)
    counts["reflections_a"] += len(left) - len(i)
    counts["reflections_b"] += len(right) - len(j)
    left, right = left[i], right[j]
    axes = a.axes if a.axes is not None else b.axes
    indices = np.column_stack([left["h"], left["k"], left["l"]])
    inv_d = np.linalg.norm(indices @ axes, axis=1) if axes is not None else np.zeros(len(left))
    found = np.column_stack([left["I"], left["sigma"], right["I"], right["sigma"], inv_d])
    good = np.isfinite(found).all(axis=1)
    counts["not_finite"] += int((~good).sum())
    counts["reflections"] += int(good.sum())
    return found[good]
