"""What the recommended method must reach on each simulated set, bin by bin."""

from benchmarks.accuracy.metrics import BINS

_RING, _BESIDE = 1.06, 1.09
_NOMINAL = {"inside": _BESIDE, "flank": _RING, "top": _RING, "outside": _BESIDE}

RMSE = {
    "nominal": _NOMINAL,
    "lowbg": _NOMINAL,
    "weak": _NOMINAL,
    "misplaced": None,  # nothing was promised: shown for what a position map is worth
    "turned": None,  # and here for what knowing a crystal's blocks is
    "narrow": None,  # and here what pixels do that are larger than spots
    "pedestal": None,  # and here that dark levels do not matter
    "lattices": None,  # and here what neighbours in no list do, where discs meet: the bound is that of lonely spots
    "sharp": dict.fromkeys(BINS, 1.15),
    "rough": dict.fromkeys(BINS, 1.25),
    "crowded": dict.fromkeys(BINS, 1.10),
    "noring": dict.fromkeys(BINS, 1.05),
}
BIAS = 0.06
Z_MEAN = 0.06
Z_STD = (0.96, 1.06)
TO_TRUTH = 1.02  # RMSE relative to the same fit with the true background
