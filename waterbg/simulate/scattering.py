"""Expected counts that are not Bragg: water ring, air, sharp rings, polarisation, solid angle, beamstop."""

from __future__ import annotations

import numpy as np

from waterbg.simulate.detector import SimulatedPanel, make_panels, pixel_positions, wavelength_nm
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.pulse import Pulse

SHARP_RINGS = ((3.90, 0.9, 0.010), (3.67, 1.0, 0.010), (3.44, 0.7, 0.010), (2.67, 0.5, 0.012))
"""Place d (Angstrom), height, and width in q (1/Angstrom) of the sharp rings: those of hexagonal ice."""


def water(q: np.ndarray) -> np.ndarray:
    """Double ring of liquid water at room temperature, 1 at its top.

    Parameters
    ----------
    q : float64 array
        4 pi sin(theta) / wavelength in 1/Angstrom.

    Returns
    -------
    float64 array
        First ring at 3.1 Angstrom with its steep inner flank, second at 2.3 Angstrom. Gaussians made to look like
        measured curves (Clark et al. 2010, PNAS 107, 14003, give one), not a fit to any.
    """
    y = 0.80 * np.exp(-0.5 * ((q - 1.93) / np.where(q < 1.93, 0.17, 0.22)) ** 2)
    y += 0.42 * np.exp(-0.5 * ((q - 2.12) / 0.16) ** 2)
    y += 0.38 * np.exp(-0.5 * ((q - 2.75) / 0.38) ** 2)
    y += 0.10 / (1 + np.exp(-(q - 1.5) / 0.15)) + 0.06
    return y / 1.3006


def polarisation(x: np.ndarray, y: np.ndarray, z: np.ndarray, horizontal: float = 1.0) -> np.ndarray:
    """Polarisation factor of scattering into a direction.

    Parameters
    ----------
    x, y, z : float64 arrays
        Lab direction, any length; the beam is +z, the electric field of horizontal polarisation along x.
    horizontal : float
        Fraction of the beam polarised horizontally.

    Returns
    -------
    float64 array
        1 - (p x² + (1-p) y²) / r²: sin² of the angle between the ray and the field, averaged over both fields.
    """
    return 1 - (horizontal * x * x + (1 - horizontal) * y * y) / (x * x + y * y + z * z)


def solid_angle(panel: SimulatedPanel, position: np.ndarray, distance: float) -> np.ndarray:
    """Solid angle of pixels, relative to one on the beam at ``distance`` facing it.

    For a panel across the beam this is cos³(2 theta).
    """
    normal = np.cross(panel.fs, panel.ss)
    r = np.sqrt((position**2).sum(axis=0))
    return np.abs(np.tensordot(normal, position, axes=1)) * distance**2 / r**3


def transmission(experiment: Experiment, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What the beamstop lets through: an opaque disc with a soft edge, and a half-transparent arm towards -y.

    Parameters
    ----------
    experiment : Experiment
    x, y : float64 arrays
        Position in pixels in the frame of the detector: the beamstop does not follow the beam.
    """
    radius = experiment.beamstop
    if not radius:
        return np.ones_like(x)
    r = np.hypot(x, y)
    disc = _soft_step((r - radius) / 1.2)
    beside_arm = _soft_step(np.abs(x - 1.5) - 0.25 * radius)
    return np.where((y < 0) & (r < 6 * radius), disc * (0.15 + 0.85 * beside_arm), disc)


def _soft_step(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))  # the logistic function; tanh does not overflow


def expected_background(experiment: Experiment, pulse: Pulse) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Expected photons per pixel of all that is not Bragg, and what the beamstop lets through.

    Parameters
    ----------
    experiment : Experiment
    pulse : Pulse

    Returns
    -------
    background, shadow : lists of (n_ss, n_fs) float64
        One array per panel; photons before the gain of the panel, behind the beamstop; and its transmission.
    """
    distance = experiment.camera_length / experiment.pixel_size
    wavelength = 10 * wavelength_nm(pulse.photon_energy)
    # the radial curves are tabulated: a picture needs them a million times
    q_table = np.linspace(0, 4 * np.pi / wavelength, 20001)
    rings = pulse.jet * experiment.water * water(q_table)
    ice = np.zeros_like(q_table)
    for d, height, width in SHARP_RINGS:
        ice += height * np.exp(-0.5 * ((q_table - 2 * np.pi / d) / width) ** 2)
    rings += 1.5 * experiment.sharp_rings * pulse.ice * experiment.water * ice
    air = experiment.air * pulse.air / (0.25 + q_table) ** 1.6

    first, first_phase, second, second_phase = pulse.modulation
    background, shadow = [], []
    for panel in make_panels(experiment):
        position = pixel_positions(experiment, panel, pulse.shift)
        x, y, z = position
        two_theta = np.arctan2(np.hypot(x, y), z)
        q = 4 * np.pi / wavelength * np.sin(two_theta / 2)
        azimuth = np.arctan2(y, x)
        uneven = 1 + first * np.cos(azimuth - first_phase) * (q / 2) + second * np.cos(2 * (azimuth - second_phase))
        # where the harmonics are larger than the ring itself, as behind a right angle, there is none
        b = np.interp(q, q_table, rings) * np.maximum(uneven, 0) + np.interp(q, q_table, air) * (
            1 + 0.02 * np.cos(azimuth)
        )
        b *= polarisation(x, y, z, experiment.polarisation) * solid_angle(panel, position, distance)
        b += 0.02  # fluorescence and stray light
        shadow.append(transmission(experiment, x - pulse.shift[0], y - pulse.shift[1]))
        background.append(experiment.dose * b * shadow[-1])
    return background, shadow
