"""Scatter of numbers of which some are something else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from waterbg.kernel import kernel

MEDIAN_CHI2 = 0.455  # of chi² of one degree of freedom
_CUT2 = 25.0  # chi² from which on there is no weight


@kernel
def biweight(chi2):
    """Tukey's weight (Beaton & Tukey 1974, Technometrics 16, 147): none for what is something else."""
    return (1 - np.minimum(chi2 / _CUT2, 1)) ** 2


def median(values: NDArray[np.float64]) -> float:
    """Median of one row of numbers without NaN: as NumPy's, which looks after so much else that it takes far longer."""
    half = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    low, high = np.partition(values, (half - 1, half))[half - 1 : half + 1]
    return float((low + high) / 2)


def robust_std(values: NDArray[np.float64]) -> float:
    """Half the distance between the 15.87 % and the 84.13 % quantile."""
    if len(values) < 2:
        return math.nan
    ordered = np.sort(values)
    return (_quantile(ordered, 0.841345) - _quantile(ordered, 0.158655)) / 2


def _quantile(ordered: NDArray[np.float64], share: float) -> float:
    """Linear between two of sorted numbers, rounded as NumPy's."""
    below, rest = divmod(share * (len(ordered) - 1), 1)
    low, high = float(ordered[int(below)]), float(ordered[min(int(below) + 1, len(ordered) - 1)])
    return low + (high - low) * rest if rest < 0.5 else high - (high - low) * (1 - rest)


def spread_beyond(values: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """Variance of ``values`` beyond what their own variances explain, less its own standard error: 0 or more, robust.

    The number x for which (values - median)/sqrt(variance + x) has a robust standard deviation of 1; x is known to
    1.36 (variance + x) sqrt(2/n) or so.
    """
    if len(values) < 20:
        return 0.0
    left = values - median(values)
    low, high = -0.9 * float(variance.min()), float(robust_std(left) ** 2 * 4 + 1e-12)
    for _ in range(40):
        middle = (low + high) / 2
        if robust_std(left / np.sqrt(variance + middle)) > 1:
            low = middle
        else:
            high = middle
    beyond = (low + high) / 2
    error = 1.36 * math.sqrt(2 / len(values)) * (median(variance) + max(beyond, 0))
    return max(beyond - error, 0.0)
