"""The best an unbiased estimate of an intensity can do: the Cramér-Rao bound of a simulated reflection."""

from __future__ import annotations

import numpy as np

from waterbg.simulate.detector import dead_pixels
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame
from waterbg.simulate.render import profiles

_HALF = 12  # px, half width of the box over which the information is summed


def cramer_rao_bound(experiment: Experiment, frame: SimulatedFrame, spots: np.ndarray) -> np.ndarray:
    """Smallest standard deviation of the intensity of reflections whose background, profile and place are known.

    Parameters
    ----------
    experiment : Experiment
    frame : SimulatedFrame
    spots : (n,) TRUE_SPOT
        Any of the frame's reflections, none of them under the beamstop.

    Returns
    -------
    (n,) float64
        Photons before the panel's gain; inf where every pixel is dead.

    Notes
    -----
    Counts n ~ Poisson(B + I P) hold the Fisher information sum P²/(B + I P) about I, and no unbiased estimate has a
    variance below its inverse (Rao 1945, Bull. Calcutta Math. Soc. 37, 81; Cramér 1946). Neighbouring reflections
    belong to B, read noise adds to the variance of a pixel, dead pixels and what is off the panel hold nothing.
    """
    information = np.zeros(len(spots))
    box = np.arange(2 * _HALF + 1)
    for panel, (expected, dead) in enumerate(zip(frame.expected, dead_pixels(experiment), strict=True)):
        here = np.flatnonzero(spots["panel"] == panel)
        variance = np.where(dead, np.inf, expected + experiment.read_noise**2)
        variance = np.pad(variance, _HALF, constant_values=np.inf)
        rows, columns = spots["ss_pred"][here].astype(int), spots["fs_pred"][here].astype(int)
        local = variance[rows[:, None, None] + box[:, None], columns[:, None, None] + box]
        information[here] = (profiles(spots[here], _HALF, experiment.tail) ** 2 / local).sum(axis=(1, 2))
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(information)
