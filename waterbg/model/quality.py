"""What decoys and strong spots of a run say about its numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.integrate.robust import robust_std
from waterbg.model.decoys import DecoyShell, equal_edges, shells

RATIO = (0.95, 1.08)  # profile fit over summation of strong spots: beyond, the profile is not that of the spots


@dataclass(frozen=True)
class Quality:
    """Decoys by resolution, for our method and for CrystFEL's rings, and the check on the profile.

    Attributes
    ----------
    half, half_rings : tuple of DecoyShell
        Decoys at half indices; sigma as it is written, calibrated by these very decoys (unless that was switched off).
    displaced, displaced_rings : tuple of DecoyShell
        Decoys beside reflections.
    strong : int
        Unsaturated spots above 20 sigma.
    ratio, ratio_scatter : float
        Median of profile fit over summation of those, and the robust standard deviation; None without them.
    """

    half: tuple[DecoyShell, ...] = ()
    half_rings: tuple[DecoyShell, ...] = ()
    displaced: tuple[DecoyShell, ...] = ()
    displaced_rings: tuple[DecoyShell, ...] = ()
    strong: int = 0
    ratio: float | None = None
    ratio_scatter: float | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Quality:
        """Inverse of ``dataclasses.asdict``."""
        tables = {
            name: tuple(DecoyShell(**row) for row in data[name])
            for name in ("half", "half_rings", "displaced", "displaced_rings")
        }
        return cls(**{**data, **tables})

    @property
    def decoys(self) -> int:
        """Decoys of both kinds."""
        return sum(shell.n for shell in (*self.half, *self.displaced))

    @property
    def pooled(self) -> tuple[DecoyShell, DecoyShell] | None:
        """All decoys at half indices as one shell, ours and CrystFEL's rings; without enough of them those beside."""
        for ours, rings in ((self.half, self.half_rings), (self.displaced, self.displaced_rings)):
            whole, whole_rings = _pooled(ours), _pooled(rings)
            if whole is not None and whole_rings is not None:
                return whole, whole_rings
        return None

    def lines(self) -> list[str]:
        """The verdict in words."""
        out = []
        pooled = self.pooled
        if pooled is not None:
            whole, whole_rings = pooled
            out.append(
                f"decoys (true I = 0): {whole.n}; I/sigma has mean {whole.z_mean:+.2f} and scatter {whole.z_std:.2f} "
                f"(CrystFEL's rings: {whole_rings.z_mean:+.2f} and {whole_rings.z_std:.2f}; 0 and 1 are right)"
            )
            gain = (whole.rms or 0) / (whole_rings.rms or 1)
            out.append(f"error of a reflection without signal: {gain:.2f} of that of CrystFEL's rings")
        elif self.decoys:
            out.append(f"decoys (true I = 0): {self.decoys}: too few, or too few counts in them, to say anything")
        if self.ratio is not None:
            verdict = "" if RATIO[0] <= self.ratio <= RATIO[1] else ": the profile does not fit these spots"
            out.append(
                f"profile fit over summation of {self.strong} strong spots: {self.ratio:.3f}, "
                f"scatter {self.ratio_scatter:.3f}{verdict}"
            )
        return out

    def table(self) -> list[str]:
        """Decoys by resolution, for a terminal."""
        out = []
        for title, ours, rings in (
            ("decoys at half indices", self.half, self.half_rings),
            ("decoys beside reflections", self.displaced, self.displaced_rings),
        ):
            if not any(shell.n for shell in ours):
                continue
            out += [
                f"{title}:",
                "                       I/sigma: mean         scatter          RMS of I, photons",
                "      d / Å       n    waterbg   rings   waterbg   rings   waterbg    rings   ratio",
            ]
            for mine, theirs in zip(ours, rings, strict=True):
                if mine.rms is None or theirs.rms is None:
                    out.append(f"  {_range(mine)} {mine.n:7d}   too few")
                    continue
                out.append(
                    f"  {_range(mine)} {mine.n:7d}    {mine.z_mean:+7.3f} {theirs.z_mean:+7.3f}"
                    f"   {mine.z_std:7.3f} {theirs.z_std:7.3f}   {mine.rms:7.2f} {theirs.rms:8.2f}"
                    f"   {mine.rms / theirs.rms:5.2f}"
                )
        return out

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for a program."""
        return dataclasses.asdict(self)


def judge(half: NDArray[np.void], displaced: NDArray[np.void], ratios: NDArray[np.float64]) -> Quality:
    """Make the tables.

    Parameters
    ----------
    half, displaced : (n,) DECOY
    ratios : (m,) float64
        Profile fit over summation of strong spots.
    """
    edges = equal_edges(np.concatenate([half["inv_d"], displaced["inv_d"]]))
    (ours_half, rings_half), (ours_beside, rings_beside) = (shells(decoys, edges) for decoys in (half, displaced))
    some = len(ratios) > 1  # one has no scatter
    return Quality(
        half=tuple(ours_half),
        half_rings=tuple(rings_half),
        displaced=tuple(ours_beside),
        displaced_rings=tuple(rings_beside),
        strong=len(ratios),
        ratio=float(np.median(ratios)) if some else None,
        ratio_scatter=robust_std(ratios) if some else None,
    )


def _pooled(table: Sequence[DecoyShell]) -> DecoyShell | None:
    """All shells as one, weighted by their numbers; None when no shell has enough decoys."""
    rows = [shell for shell in table if shell.rms is not None]
    n = sum(shell.n for shell in rows)
    if not n:
        return None
    mean, std, square = (
        sum(shell.n * value for shell, value in zip(rows, values, strict=True)) / n
        for values in (
            [shell.z_mean or 0.0 for shell in rows],
            [shell.z_std or 0.0 for shell in rows],
            [(shell.rms or 0.0) ** 2 for shell in rows],
        )
    )
    return DecoyShell(rows[0].low, rows[-1].high, n, mean, std, math.sqrt(square))


def _range(shell: DecoyShell) -> str:
    """Resolution in Å, ten characters or so."""
    low = f"{10 / shell.low:.2f}" if shell.low > 0 else "inf"
    return f"{low:>6}-{10 / shell.high:<5.2f}"
