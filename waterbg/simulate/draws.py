"""Random numbers: one generator per purpose and frame, so that no draw depends on how many others were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from waterbg.simulate.experiment import Experiment

# purposes; the numbers are part of what a seed means
DETECTOR, DEAD, HOT, PULSE, CRYSTAL, SPOTS, COUNTS, PEDESTAL = range(8)


def generator(experiment: Experiment, purpose: int, *which: int) -> np.random.Generator:
    """Return the generator for one purpose, and for one frame (and crystal) where ``which`` names them."""
    return np.random.default_rng([experiment.seed, purpose, *which])


def uniform_of_indices(seed: int, indices: np.ndarray, stream: int) -> np.ndarray:
    """Uniform numbers in (0, 1) that depend on seed and indices alone: no table, no order.

    Parameters
    ----------
    seed : int
    indices : (n, 3) int
        Between -512 and 511, as everywhere in CrystFEL.
    stream : int
        Another number gives independent draws for the same indices.

    Returns
    -------
    (n,) float64

    Notes
    -----
    Finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), applied to a counter made of the indices.
    """
    h, k, m = (indices[:, i].astype(np.int64).astype(np.uint64) & np.uint64(0x3FF) for i in range(3))
    counter = (h << np.uint64(20)) | (k << np.uint64(10)) | m
    start = (seed * 0xD1342543DE82EF95 + stream * 0x9E3779B97F4A7C15) % 2**64
    x = counter * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    # twice: one round leaves correlations between neighbouring counters with a small seed
    for _ in range(2):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
