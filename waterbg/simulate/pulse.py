"""What changes from pulse to pulse: the jet, the beam, the shift of the detector, the crystals in the beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterbg.simulate import draws

if TYPE_CHECKING:
    from waterbg.simulate.experiment import Experiment


@dataclass(frozen=True)
class Crystal:
    """One crystal of a frame.

    Attributes
    ----------
    axes : (3, 3) float64
        Rows astar, bstar, cstar in nm^-1, rounded as streams and solution files print them.
    scale : float
        Factor on all its intensities.
    turns : (3, 3) float64 or None
        Covariance of the turns of its blocks about x, y and z, in any unit; None when they are not turned.
    oval : (2, 2) float64
        Relative change of the radial (first row) and tangential width with cos and sin of 2φ.
    """

    axes: np.ndarray
    scale: float
    turns: np.ndarray | None
    oval: np.ndarray


@dataclass(frozen=True)
class Pulse:
    """Everything about one frame that is not a count.

    Attributes
    ----------
    photon_energy : float
        eV.
    jet, air : float
        Factors on the water ring and on the air scatter.
    ice : float
        Factor on the sharp rings.
    modulation : (4,) float64
        Amplitude and phase of the first and of the second harmonic of the water ring.
    shift : (2,) float64
        Shift of the detector in pixels (a multiple of 1e-6 mm).
    width : float
        Factor on the spots' widths.
    warp : (2, 6) float64
        Coefficients, in pixels, of the smooth position error in x and y.
    crystals : tuple of Crystal
    """

    photon_energy: float
    jet: float
    air: float
    ice: float
    modulation: np.ndarray
    shift: np.ndarray
    width: float
    warp: np.ndarray
    crystals: tuple[Crystal, ...]

    def det_shift_mm(self, experiment: Experiment) -> np.ndarray:
        """Shift in mm, as solution files state it."""
        return np.round(self.shift * experiment.pixel_size * 1e3, 6)


def make_pulse(experiment: Experiment, frame: int) -> Pulse:
    """Draw the pulse of a frame; the same whatever the number of frames and of photons."""
    rng = draws.generator(experiment, draws.PULSE, frame)

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    energy = experiment.photon_energy * (1 + experiment.energy_spread * rng.normal())
    jet, ice = log_uniform(*experiment.jet), log_uniform(*experiment.jet)
    modulation = np.array(
        [
            rng.uniform(0.3, 1.0) * experiment.modulation,
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.3, 1.0) * experiment.modulation,
            rng.uniform(0, 2 * np.pi),
        ]
    )
    step = 1e-6 / (experiment.pixel_size * 1e3)
    shift = np.round(rng.normal(size=2) * experiment.detector_shift / step) * step
    warp = rng.normal(size=(2, 6)) * experiment.position_smooth
    low, high = experiment.crystals
    return Pulse(
        photon_energy=round(energy, 6),  # as the stream prints it
        jet=jet,
        air=float(rng.uniform(0.8, 1.25)),
        ice=ice,
        modulation=modulation,
        shift=shift,
        width=float(rng.uniform(*experiment.width_range)),
        warp=warp,
        crystals=tuple(_crystal(experiment, frame, i) for i in range(int(rng.integers(low, high + 1)))),
    )


def _crystal(experiment: Experiment, frame: int, number: int) -> Crystal:
    rng = draws.generator(experiment, draws.CRYSTAL, frame, number)
    quaternion = rng.normal(size=4)
    strain = 1 + experiment.cell_spread * rng.normal(size=3)
    scale = float(np.exp(rng.normal() * experiment.scale_spread))
    lengths = np.array(experiment.cell[:3])
    for i, j in ((1, 0), (2, 0), (2, 1)):
        if lengths[i] == lengths[j]:  # axes that symmetry makes equal stay equal
            strain[i] = strain[j]
    cell = (*(lengths * strain), *experiment.cell[3:])
    axes = reciprocal_axes(cell) @ _rotation(quaternion / np.linalg.norm(quaternion)).T
    return Crystal(
        np.round(axes * 10, 7) + 0.0,
        scale,
        turns=_turns(experiment, rng.normal(size=(3, 3))) if experiment.block_turns else None,
        oval=experiment.width_direction * rng.normal(size=(2, 2)),
    )


def _turns(experiment: Experiment, drawn: np.ndarray) -> np.ndarray:
    """Draw a covariance: the same about all axes, but for ``block_turns``."""
    root = np.eye(3) + 0.5 * experiment.block_turns * drawn
    return root @ root.T


def reciprocal_axes(cell: tuple[float, ...]) -> np.ndarray:
    """Reciprocal axes of a cell: a along x, b in the xy plane.

    Parameters
    ----------
    cell : 6 floats
        a, b, c in Angstrom and alpha, beta, gamma in degrees.

    Returns
    -------
    (3, 3) float64
        Rows astar, bstar, cstar in 1/Angstrom.
    """
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    sg = np.sqrt(1 - cg * cg)
    direct = np.array(
        [
            [a, 0, 0],
            [b * cg, b * sg, 0],
            [c * cb, c * (ca - cb * cg) / sg, c * np.sqrt(1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg) / sg],
        ]
    )
    return np.linalg.inv(direct).T


def _rotation(q: np.ndarray) -> np.ndarray:
    """Rotation matrix of a unit quaternion (w, x, y, z); uniform if the quaternion is."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
