"""How far an intensity is from the truth, in units of what is possible."""

from dataclasses import dataclass

import numpy as np

from waterbg.simulate import Experiment, SimulatedFrame, cramer_rao_bound
from waterbg.simulate.text import predicted_spots

BINS = {  # name -> d in Å, from (excluded) to (included), seen from the top of the water ring at 3.1 Å
    "inside": (4.3, np.inf),
    "flank": (3.5, 4.3),
    "top": (3.0, 3.5),
    "outside": (0.0, 3.0),
}

REACH = 5  # px about a spot within which nothing may be wrong with the frame itself
JUDGED = np.dtype([("key", "i8"), ("d", "f8"), ("truth", "f8"), ("bound", "f8")])


def keys(frame, crystal, h, k, l):
    """One int64 for each reflection of a run."""
    key = np.asarray(frame, np.int64) * 64 + crystal
    for index in (h, k, l):
        key = key * 1024 + np.asarray(index, np.int64) + 512
    return key


def judged(experiment: Experiment, frame: SimulatedFrame) -> np.ndarray:
    """The predicted reflections of a frame by which methods are judged, with truth and bound as measured.

    Left out, for every method alike: what the beamstop shades within five pixels, and what a zinger or an unmasked hot
    pixel hits there, where no method can be right (such pixels in the background ring stay).
    """
    spots = predicted_spots(experiment, frame.spots)
    spots = spots[(least_transmission(frame, spots) > 0.99) & (spots["intruder"] == 0)]
    out = np.zeros(len(spots), JUDGED)
    out["key"] = keys(frame.number, spots["crystal"], spots["h"], spots["k"], spots["l"])
    out["d"] = spots["d"]
    out["truth"] = spots["I_true"] * spots["transmission"] * spots["gain"]
    out["bound"] = cramer_rao_bound(experiment, frame, spots) * spots["gain"]
    return out


def least_transmission(frame: SimulatedFrame, spots: np.ndarray) -> np.ndarray:
    """What the beamstop lets through at the darkest pixel within five pixels of each spot's predicted place."""
    least = np.ones(len(spots))
    for panel, shadow in enumerate(frame.shadow):
        here = np.flatnonzero(spots["panel"] == panel)
        rows, columns = spots["ss_pred"][here].astype(int), spots["fs_pred"][here].astype(int)
        box = np.arange(2 * REACH + 1)
        near = np.pad(shadow, REACH, mode="edge")[rows[:, None, None] + box[:, None], columns[:, None, None] + box]
        least[here] = near.min(axis=(1, 2))
    return least


@dataclass(frozen=True)
class Score:
    """How a method does in one bin; rates are relative to the bound."""

    n: int
    kept: float
    rmse: float
    bias: float
    z_mean: float
    z_std: float


def score(truth, result, common=None):
    """Score a method bin by bin.

    Parameters
    ----------
    truth : (n,) JUDGED
    result : dict of arrays
        ``key``, ``I``, ``sigma`` in photons; reflections that were dropped are not there.
    common : (m,) int64, optional
        Judge by these reflections only: those that every method kept.

    Returns
    -------
    dict of Score
    """
    order = np.argsort(result["key"])
    at = np.searchsorted(result["key"][order], truth["key"])
    at = order[np.minimum(at, len(order) - 1)]
    found = result["key"][at] == truth["key"]
    used = found if common is None else found & np.isin(truth["key"], common)
    scores = {}
    for name, (low, high) in BINS.items():
        here = (truth["d"] > low) & (truth["d"] <= high)
        mine = here & used
        error = result["I"][at][mine] - truth["truth"][mine]
        e, z = error / truth["bound"][mine], error / result["sigma"][at][mine]
        n = int(mine.sum())
        if n < 2:
            scores[name] = Score(n, np.nan, np.nan, np.nan, np.nan, np.nan)
            continue
        kept = found[here].mean()
        scores[name] = Score(n, kept, np.sqrt((e**2).mean()), e.mean(), z.mean(), z.std())
    return scores
