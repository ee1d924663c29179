"""One simulated frame: expected counts, counts, and the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waterbg.simulate import draws
from waterbg.simulate.detector import dead_pixels, hot_pixels, make_panels, pedestals
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.pulse import Pulse, make_pulse
from waterbg.simulate.render import add_spots
from waterbg.simulate.scattering import expected_background
from waterbg.simulate.spots import make_spots

_HOT_PHOTONS = 150  # mean of a hot pixel, in every frame; independent of the beam
_ZINGER_PHOTONS = (40, 400)  # range of a zinger
_MOST_PHOTONS = 1e12  # in a pixel: far above all that is stored, and below what NumPy cannot draw
_DEAD_ADU = 60000  # what half of the dead pixels say; the others say 0


@dataclass(frozen=True)
class SimulatedFrame:
    """A frame and its truth; pictures are lists of (n_ss, n_fs) arrays, one per panel.

    Attributes
    ----------
    number : int
        Of the frame.
    pulse : Pulse
    spots : (n,) TRUE_SPOT
    background : list of float64
        Expected photons per pixel without Bragg, before the panel's gain.
    expected : list of float64
        The same with Bragg.
    shadow : list of float64
        What the beamstop lets through, 0 to 1.
    counts : list of int32
        The picture in ADU, as stored.
    """

    number: int
    pulse: Pulse
    spots: np.ndarray
    background: list[np.ndarray]
    expected: list[np.ndarray]
    shadow: list[np.ndarray]
    counts: list[np.ndarray]


def simulate_frame(experiment: Experiment, number: int) -> SimulatedFrame:
    """Make one frame.

    Parameters
    ----------
    experiment : Experiment
    number : int
        Of the frame, from 0. It does not matter which others are made.

    Returns
    -------
    SimulatedFrame
    """
    pulse = make_pulse(experiment, number)
    spots = make_spots(experiment, pulse, number)
    background, shadow = expected_background(experiment, pulse)
    bragg = [np.zeros(b.shape) for b in background]
    add_spots(bragg, spots, experiment.tail)
    expected = [b + t * s for b, t, s in zip(background, shadow, bragg, strict=True)]
    counts, intruders = _count(experiment, number, expected)

    columns, rows = spots["fs_pred"].astype(int), spots["ss_pred"].astype(int)
    for panel in range(experiment.n_panels):
        here = np.flatnonzero(spots["panel"] == panel)
        spots["B_true"][here] = background[panel][rows[here], columns[here]]
        for row, column, photons in intruders[panel]:
            distance = np.hypot(spots["fs_pred"][here] - column - 0.5, spots["ss_pred"][here] - row - 0.5)
            spots["intruder"][here[distance < 5]] += photons
    return SimulatedFrame(number, pulse, spots, background, expected, shadow, counts)


def true_background(experiment: Experiment, number: int) -> list[np.ndarray]:
    """Noise-free background of a frame, without making its spots and counts.

    Parameters
    ----------
    experiment : Experiment
        As kept in ``truth.h5``.
    number : int

    Returns
    -------
    list of (n_ss, n_fs) float64
        Photons per pixel, one array per panel, before the panel's gain.
    """
    return expected_background(experiment, make_pulse(experiment, number))[0]


def _count(
    experiment: Experiment, number: int, expected: list[np.ndarray]
) -> tuple[list[np.ndarray], list[list[tuple[int, int, float]]]]:
    """Draw the counts in ADU; also where hot pixels and zingers added how many photons: (ss, fs, photons)."""
    # of the dose as well: the same crystals at another dose are hit by other photons
    rng = draws.generator(experiment, draws.COUNTS, number, round(experiment.photons))
    pictures, intruders = [], []
    parts = make_panels(experiment), expected, dead_pixels(experiment), hot_pixels(experiment)
    for panel, mean, dead, hot, pedestal in zip(*parts, pedestals(experiment, number), strict=True):
        photons = rng.poisson(np.minimum(mean, _MOST_PHOTONS)).astype(np.float64)
        if experiment.light_spread:
            photons = _spread(photons, experiment.light_spread)
        places = np.concatenate([hot, rng.integers(0, panel.shape, (experiment.zingers, 2))])
        extra = np.concatenate(
            [rng.poisson(_HOT_PHOTONS, len(hot)), rng.integers(*_ZINGER_PHOTONS, experiment.zingers)]
        )
        np.add.at(photons, (places[:, 0], places[:, 1]), extra)
        intruders.append([(int(s), int(f), float(e)) for (s, f), e in zip(places, extra, strict=True)])
        if experiment.saturation:
            photons = np.minimum(photons, experiment.saturation)
        adu = photons * panel.gain + pedestal
        if experiment.read_noise:
            adu += experiment.read_noise * rng.normal(size=adu.shape)
        adu = np.rint(experiment.adu_per_photon * adu)
        adu[dead > 0] = np.where(rng.random(int((dead > 0).sum())) < 0.5, 0, _DEAD_ADU)
        pictures.append(np.clip(adu, -30000, 65535).astype(np.int32))
    return pictures, intruders


def _spread(photons: np.ndarray, sigma: float) -> np.ndarray:
    """Spread the light of each photon over the pixels around its own; what is beyond the panel's edge is lost."""
    reach = int(np.ceil(4 * sigma))
    with np.errstate(over="ignore"):  # a width of next to nothing leaves all in the pixel
        share = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    share /= share.sum()
    for axis in (0, 1):
        photons = np.apply_along_axis(np.convolve, axis, photons, share, mode="same")
    return photons
