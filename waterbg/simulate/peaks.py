"""The peak list a peak search would have found, and the resolutions CrystFEL derives from it."""

from __future__ import annotations

import numpy as np

from waterbg.simulate.detector import dead_pixels, make_panels, pedestals, wavelength_nm
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.frame import SimulatedFrame

PEAK = np.dtype([("panel", "i4"), ("fs", "f8"), ("ss", "f8"), ("inv_d", "f8"), ("intensity", "f8")])

_RADIUS = 3  # px, of the disc that is summed
_MIN_SNR = 6.0
_MIN_PHOTONS = 20.0


def find_peaks(experiment: Experiment, frame: SimulatedFrame) -> np.ndarray:
    """Centroids of the reflections that stand out of the noise, panel by panel, from the first row on.

    The places to look at are taken from the truth: it is a peak list without false peaks, but with the noise of
    real ones.

    Parameters
    ----------
    experiment : Experiment
    frame : SimulatedFrame

    Returns
    -------
    (n,) PEAK
        fs, ss panel-local in pixels, 1/d in nm^-1 without shift of the detector (as CrystFEL prints it),
        intensity in ADU.
    """
    offset = np.arange(-_RADIUS, _RADIUS + 1)
    disc = offset[:, None] ** 2 + offset**2 <= _RADIUS**2
    found, levels = [], pedestals(experiment, frame.number)
    for number, panel in enumerate(make_panels(experiment)):
        net = frame.counts[number] / experiment.adu_per_photon - frame.background[number] * panel.gain - levels[number]
        noise = frame.background[number] * panel.gain + experiment.read_noise**2
        dead = dead_pixels(experiment)[number]
        spots = frame.spots[frame.spots["panel"] == number]
        taken = np.zeros(net.shape, bool)
        for spot in spots[np.argsort(-spots["I_true"], kind="stable")]:
            if spot["I_true"] * spot["transmission"] < _MIN_PHOTONS:
                break
            row, column = int(spot["ss_true"]), int(spot["fs_true"])
            rows, columns = slice(row - _RADIUS, row + _RADIUS + 1), slice(column - _RADIUS, column + _RADIUS + 1)
            if min(rows.start, columns.start) < 0 or rows.stop > net.shape[0] or columns.stop > net.shape[1]:
                continue
            if taken[row, column] or dead[rows, columns].any():
                continue
            box = net[rows, columns] * disc
            photons = box.sum()
            if photons < max(_MIN_PHOTONS, _MIN_SNR * np.sqrt((noise[rows, columns] * disc).sum())):
                continue
            taken[rows, columns] = True
            weight = np.maximum(box, 0)
            fs = column + 0.5 + (weight * offset).sum() / weight.sum()
            ss = row + 0.5 + (weight * offset[:, None]).sum() / weight.sum()
            found.append((number, fs, ss, 0.0, photons * experiment.adu_per_photon))
    peaks = np.array(found, PEAK) if found else np.zeros(0, PEAK)
    peaks = peaks[np.lexsort((peaks["fs"], np.floor(peaks["ss"]), peaks["panel"]))]
    peaks["inv_d"] = np.linalg.norm(_scattering_vectors(experiment, frame, peaks, np.zeros(2)), axis=1)
    return peaks


def peak_resolution(peaks: np.ndarray) -> float:
    """Largest 1/d of the peaks but the two most extreme in a hundred, nm^-1 (CrystFEL's estimate_peak_resolution)."""
    if not len(peaks):
        return 0.0
    cut = len(peaks) // 50
    return float(np.sort(peaks["inv_d"])[len(peaks) - 1 - (cut if cut >= 2 else 0)])


def resolution_limit(experiment: Experiment, frame: SimulatedFrame, peaks: np.ndarray, axes: np.ndarray) -> float:
    """Diffraction limit of a crystal from the peaks it explains, nm^-1 (CrystFEL's estimate_resolution).

    Parameters
    ----------
    experiment : Experiment
    frame : SimulatedFrame
    peaks : (n,) PEAK
    axes : (3, 3) float64
        Rows astar, bstar, cstar in nm^-1.

    Returns
    -------
    float
        0 with fewer than three explained peaks.
    """
    indices = _scattering_vectors(experiment, frame, peaks, frame.pulse.shift) @ np.linalg.inv(axes)
    nearest = np.rint(indices)
    explained = (np.abs(indices - nearest) < 0.25).all(axis=1)
    if explained.sum() < 3:
        return 0.0
    inv_d = np.sort(np.linalg.norm(nearest[explained] @ axes, axis=1))
    return float(inv_d[len(inv_d) - 1 - max(2, len(inv_d) // 50)])


def _scattering_vectors(
    experiment: Experiment, frame: SimulatedFrame, peaks: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """(n, 3) scattering vectors of peaks in nm^-1."""
    panels = make_panels(experiment)
    lab = np.array([p.corner for p in panels])[peaks["panel"]]
    lab = lab + np.array([shift[0], shift[1], experiment.camera_length / experiment.pixel_size])
    lab += peaks["fs"][:, None] * np.array([p.fs for p in panels])[peaks["panel"]]
    lab += peaks["ss"][:, None] * np.array([p.ss for p in panels])[peaks["panel"]]
    k0 = 1 / wavelength_nm(frame.pulse.photon_energy)
    return k0 * (lab / np.linalg.norm(lab, axis=1)[:, None] - np.array([0, 0, 1.0]))
