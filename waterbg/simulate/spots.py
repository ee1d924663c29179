"""Every Bragg reflection of a frame, with its truth."""

from __future__ import annotations

import numpy as np

from waterbg.simulate import draws
from waterbg.simulate.detector import largest_inverse_d, locate, make_panels, wavelength_nm
from waterbg.simulate.experiment import Experiment
from waterbg.simulate.pulse import Pulse
from waterbg.simulate.scattering import polarisation, transmission
from waterbg.simulate.structure import index_limits, present, structure_factors

TRUE_SPOT = np.dtype(
    [
        ("h", "i4"),
        ("k", "i4"),
        ("l", "i4"),
        ("panel", "i4"),
        ("fs_pred", "f8"),  # predicted place, panel-local pixels
        ("ss_pred", "f8"),
        ("fs_true", "f8"),  # where it is
        ("ss_true", "f8"),
        ("I_true", "f8"),  # photons on the detector, behind no beamstop: F2 * scale * partiality * pol * dose
        ("B_true", "f8"),  # photons under the predicted pixel
        ("F2", "f8"),
        ("partiality", "f8"),
        ("pol", "f8"),
        ("d", "f8"),  # Angstrom
        ("sig_r", "f8"),  # width along the radius, and across it, px
        ("sig_t", "f8"),
        ("cosphi", "f8"),  # direction of the radius in (fs, ss)
        ("sinphi", "f8"),
        ("crystal", "i4"),
        ("excitation", "f8"),  # nm^-1
        ("transmission", "f8"),  # of the beamstop, at the predicted place
        ("gain", "f8"),  # of the panel: I and B as measured are I_true * transmission * gain and B_true * gain
        ("intruder", "f8"),  # photons of hot pixels and zingers within five pixels of the predicted place
    ]
)

REACH = 4.0
"""Reflections are in the image up to this many profile radii of excitation error."""


def make_spots(experiment: Experiment, pulse: Pulse, frame: int) -> np.ndarray:
    """All reflections with an excitation error below four profile radii that hit a panel.

    Parameters
    ----------
    experiment : Experiment
    pulse : Pulse
    frame : int

    Returns
    -------
    (n,) TRUE_SPOT
        Crystal by crystal, sorted by h, k, l. ``B_true`` and ``intruder`` are filled in with the picture.
    """
    limit = largest_inverse_d(experiment)
    parts = [_crystal_spots(experiment, pulse, frame, number, limit) for number in range(len(pulse.crystals))]
    return np.concatenate(parts) if parts else np.zeros(0, TRUE_SPOT)


def _crystal_spots(experiment: Experiment, pulse: Pulse, frame: int, number: int, limit: float) -> np.ndarray:
    crystal = pulse.crystals[number]
    indices, g, excitation = _near_ewald(experiment, pulse, crystal.axes, limit)
    k0 = 1 / wavelength_nm(pulse.photon_energy)
    panel, fs, ss, lab = locate(experiment, g + np.array([0, 0, k0]), pulse.shift)

    # drawn for all, before the choice of those on the detector: a panel more changes nothing elsewhere
    rng = draws.generator(experiment, draws.SPOTS, frame, number)
    jitter = rng.normal(size=(len(indices), 2)) * experiment.position_jitter
    scatter = np.exp(rng.normal(size=(len(indices), 2)) * experiment.width_scatter)

    on = panel >= 0
    spots = np.zeros(int(on.sum()), TRUE_SPOT)
    indices, g, excitation, panel, fs, ss, lab, jitter, scatter = (
        a[on] for a in (indices, g, excitation, panel, fs, ss, lab, jitter, scatter)
    )
    spots["h"], spots["k"], spots["l"] = indices.T
    spots["panel"], spots["crystal"], spots["excitation"] = panel, number, excitation
    spots["fs_pred"], spots["ss_pred"] = fs, ss
    inverse_d = np.linalg.norm(g, axis=1)
    spots["d"] = 10 / inverse_d

    panels = make_panels(experiment)
    fs_axis = np.array([p.fs for p in panels])[panel]
    ss_axis = np.array([p.ss for p in panels])[panel]
    x, y, z = lab.T
    warp = _warp(experiment, pulse, x, y)
    if crystal.turns is not None:
        turned = turn_into_sphere(g, k0, crystal.turns) + np.array([0, 0, k0])
        warp = warp + turned[:, :2] * (z / turned[:, 2])[:, None] - lab[:, :2]
    spots["fs_true"] = fs + jitter[:, 0] + (warp * fs_axis[:, :2]).sum(axis=1)
    spots["ss_true"] = ss + jitter[:, 1] + (warp * ss_axis[:, :2]).sum(axis=1)

    r = np.maximum(np.hypot(x, y), 1e-9)
    c, s = (x * fs_axis[:, 0] + y * fs_axis[:, 1]) / r, (x * ss_axis[:, 0] + y * ss_axis[:, 1]) / r
    spots["cosphi"], spots["sinphi"] = c / np.hypot(c, s), s / np.hypot(c, s)
    radial = experiment.width + experiment.width_slope * 0.22 * inverse_d  # the slope is stated at 2.2 Angstrom
    double = np.stack([x * x - y * y, 2 * x * y]) / r**2  # cos and sin of 2 phi
    oval = np.clip(1 + crystal.oval @ double, 0.5, 2.0)
    spots["sig_t"] = experiment.width * pulse.width * scatter[:, 0] * oval[1]
    spots["sig_r"] = radial * pulse.width * scatter[:, 1] * oval[0]

    spots["partiality"] = partiality(excitation, experiment.profile_radius)
    spots["pol"] = polarisation(x, y, z, experiment.polarisation)
    spots["F2"] = structure_factors(experiment, indices)
    spots["I_true"] = experiment.dose * crystal.scale * spots["F2"] * spots["partiality"] * spots["pol"]
    spots["transmission"] = transmission(experiment, x - pulse.shift[0], y - pulse.shift[1])
    spots["gain"] = np.array([p.gain for p in panels])[panel]
    return spots


def turn_into_sphere(g: np.ndarray, k0: float, turns: np.ndarray) -> np.ndarray:
    """Reciprocal vectors as the blocks have them that a still shows.

    Parameters
    ----------
    g : (n, 3) float64
        Of the mean lattice, nm^-1.
    k0 : float
        1 / wavelength, nm^-1; the beam is along z.
    turns : (3, 3) float64
        Covariance of the turns of blocks (Gaussian, about 0).

    Returns
    -------
    (n, 3) float64
        Turned by the mean of the turns that, to first order, bring the vector to the Ewald sphere.
    """
    scattered = g + np.array([0, 0, k0])
    length = np.linalg.norm(scattered, axis=1)
    per_turn = np.cross(g, scattered) / length[:, None]  # change of the length, of a turn about each axis
    shared = per_turn @ turns
    along = (shared * per_turn).sum(axis=1)
    turn = shared * ((k0 - length) / np.where(along > 0, along, 1))[:, None]
    return g + np.cross(turn, g)


def partiality(excitation: np.ndarray, profile_radius: float) -> np.ndarray:
    """Recorded fraction of a reflection: exp(-(excitation error / profile radius)² / 2), 1 on the Ewald sphere."""
    return np.exp(-0.5 * (excitation / profile_radius) ** 2)


def _near_ewald(
    experiment: Experiment, pulse: Pulse, axes: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices, vectors and excitation errors of the lattice points near the Ewald sphere, sorted by h, k, l."""
    k0 = 1 / wavelength_nm(pulse.photon_energy)
    reach = REACH * experiment.profile_radius
    # axes are strained: a little more than the nominal cell allows
    h_max, k_max, l_max = index_limits(axes, limit * 1.01)
    k, m = np.mgrid[-k_max : k_max + 1, -l_max : l_max + 1].reshape(2, -1)
    plane = np.column_stack([k, m]) @ axes[1:]
    found = []
    for h in range(-h_max, h_max + 1):
        g = plane + h * axes[0]
        squared = (g * g).sum(axis=1)
        # | |g + k0| - k0 | < reach, without the root: |g|² + 2 k0 g_z is nearly 2 k0 times it
        near = (np.abs(squared + 2 * k0 * g[:, 2]) < 2.2 * k0 * reach) & (squared < limit**2) & (squared > 0)
        found.append(np.column_stack([np.full(near.sum(), h), k[near], m[near]]))
    indices = np.concatenate(found)
    g = indices @ axes
    scattered = g + np.array([0, 0, k0])
    excitation = k0 - np.linalg.norm(scattered, axis=1)
    keep = (np.abs(excitation) < reach) & (scattered[:, 2] > 0) & present(indices, experiment.centering)
    return indices[keep], g[keep], excitation[keep]


def _warp(experiment: Experiment, pulse: Pulse, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth position error in lab x and y, px: a quadratic field, with the stated spread at the edges."""
    rows, columns = experiment.panel_grid
    n_ss, n_fs = experiment.panel_shape
    half = max(rows * n_ss, columns * n_fs) / 2
    u, v = x / half, y / half
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    return terms @ pulse.warp.T / np.sqrt(6)
