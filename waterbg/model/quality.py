"""What decoys and strong spots of a run say about its numbers."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.model.decoys import Shell, equal_edges, robust_std, shells

RATIO = (0.95, 1.08)  # profile fit over summation of strong spots: beyond, the profile is not that of the spots


@dataclass(frozen=True)
class Quality:
    """Decoys by resolution, for our method and for CrystFEL's rings, and the check on the profile.

    Attributes
    ----------
    half, half_rings : tuple of Shell
        Decoys at half indices; sigma as it was before decoys calibrated it.
    displaced, displaced_rings : tuple of Shell
        Decoys beside reflections.
    strong : int
        Unsaturated spots above 20 sigma.
    ratio, ratio_scatter : float
        Median of profile fit over summation of those, and the robust standard deviation.
    """

    half: tuple[Shell, ...] = ()
    half_rings: tuple[Shell, ...] = ()
    displaced: tuple[Shell, ...] = ()
    displaced_rings: tuple[Shell, ...] = ()
    strong: int = 0
    ratio: float = math.nan
    ratio_scatter: float = math.nan

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Quality:
        """Inverse of ``dataclasses.asdict``."""
        tables = {
            name: tuple(Shell(**row) for row in data[name])
            for name in ("half", "half_rings", "displaced", "displaced_rings")
        }
        return cls(**{**data, **tables})

    @property
    def decoys(self) -> int:
        """Decoys of both kinds."""
        return sum(shell.n for shell in (*self.half, *self.displaced))

    def lines(self) -> list[str]:
        """The verdict in words."""
        out = []
        ours, rings = self.half or self.displaced, self.half_rings or self.displaced_rings
        whole, whole_rings = _pooled(ours), _pooled(rings)
        if whole.n:
            out.append(
                f"decoys (true I = 0): {whole.n}; I/sigma has mean {whole.z_mean:+.2f} and scatter {whole.z_std:.2f} "
                f"(CrystFEL's rings: {whole_rings.z_mean:+.2f} and {whole_rings.z_std:.2f}; 0 and 1 are right)"
            )
            out.append(
                f"error of a reflection without signal: {whole.rms / whole_rings.rms:.2f} of that of CrystFEL's rings"
            )
        if self.strong:
            verdict = "" if RATIO[0] <= self.ratio <= RATIO[1] else ": the profile does not fit these spots"
            out.append(
                f"profile fit over summation of {self.strong} strong spots: {self.ratio:.3f}, "
                f"scatter {self.ratio_scatter:.3f}{verdict}"
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
    tables = [tuple(table) for decoys in (half, displaced) for table in shells(decoys, edges)]
    if not len(ratios):
        return Quality(*tables)
    return Quality(*tables, len(ratios), float(np.median(ratios)), robust_std(ratios))


def _pooled(table: tuple[Shell, ...]) -> Shell:
    """All shells as one, weighted by their numbers."""
    rows = [shell for shell in table if shell.n and math.isfinite(shell.rms) and math.isfinite(shell.z_std)]
    n = sum(shell.n for shell in rows)
    if not n:
        return Shell(0.0, math.inf, 0, math.nan, math.nan, math.nan)
    return Shell(
        0.0,
        math.inf,
        n,
        sum(shell.n * shell.z_mean for shell in rows) / n,
        sum(shell.n * shell.z_std for shell in rows) / n,
        math.sqrt(sum(shell.n * shell.rms**2 for shell in rows) / n),
    )
