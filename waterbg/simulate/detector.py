"""The simulated detector: where its pixels are, which are dead, and the geometry file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from waterbg.simulate import draws

if TYPE_CHECKING:
    from waterbg.simulate.experiment import Experiment


@dataclass(frozen=True)
class SimulatedPanel:
    """One panel: position in pixels from the beam, and its place in the stored picture.

    Attributes
    ----------
    corner : (3,) float64
        Lab position of the corner of the first pixel: x, y in pixels, z in pixels beyond the camera length.
    fs, ss : (3,) float64
        Lab vectors, in pixels, from one pixel to the next.
    shape : (int, int)
        Pixels in ss and fs.
    row, column : int
        Place in the grid of panels, from the bottom left.
    gain : float
        True counts per stated count.
    """

    name: str
    corner: np.ndarray
    fs: np.ndarray
    ss: np.ndarray
    shape: tuple[int, int]
    row: int
    column: int
    gain: float


@lru_cache(maxsize=16)
def make_panels(experiment: Experiment) -> tuple[SimulatedPanel, ...]:
    """Lay out the panels of an experiment, row by row from -y, each row from -x."""
    rng = draws.generator(experiment, draws.DETECTOR)
    n_ss, n_fs = experiment.panel_shape
    rows, columns = experiment.panel_grid
    panels = []
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        # a little off the symmetric place, so that no pixel boundary falls on the beam
        centre = np.array(
            [
                (column - (columns - 1) / 2) * (n_fs + experiment.gap) + 3.3,
                (row - (rows - 1) / 2) * (n_ss + experiment.gap) + 1.7,
                0.0,
            ]
        )
        turn, tilt_x, tilt_y = np.radians(
            rng.normal(size=3) * [experiment.panel_turn, experiment.panel_tilt, experiment.panel_tilt]
        )
        # rounded as the geometry file prints them: the file is the truth, not an approximation of it
        fs, ss, _ = np.round(_rotation(turn, tilt_x, tilt_y).T, 9)
        corner = np.round(centre - fs * n_fs / 2 - ss * n_ss / 2, 4)
        gain = float(np.exp(rng.normal() * experiment.panel_gain))
        panels.append(SimulatedPanel(f"p{number}", corner, fs, ss, (n_ss, n_fs), row, column, gain))
    return tuple(panels)


def _rotation(about_z: float, about_x: float, about_y: float) -> np.ndarray:
    cz, sz, cx, sx, cy, sy = (f(a) for a in (about_z, about_x, about_y) for f in (np.cos, np.sin))
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1.0]])
    x = np.array([[1.0, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1.0, 0], [-sy, 0, cy]])
    return y @ x @ z


def pixel_positions(experiment: Experiment, panel: SimulatedPanel, shift: np.ndarray) -> np.ndarray:
    """Lab positions of the pixel centres of a panel.

    Parameters
    ----------
    experiment : Experiment
    panel : SimulatedPanel
    shift : (2,) float64
        Shift of the detector in x and y, pixels.

    Returns
    -------
    (3, n_ss, n_fs) float64
        x, y, z in pixels; z includes the camera length.
    """
    n_ss, n_fs = panel.shape
    origin = _origin(experiment, panel, shift)
    fs, ss = np.arange(n_fs) + 0.5, np.arange(n_ss) + 0.5
    return origin[:, None, None] + panel.fs[:, None, None] * fs + panel.ss[:, None, None] * ss[:, None]


def _origin(experiment: Experiment, panel: SimulatedPanel, shift: np.ndarray) -> np.ndarray:
    return panel.corner + np.array([shift[0], shift[1], experiment.camera_length / experiment.pixel_size])


def locate(experiment: Experiment, directions: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
    """Find where scattered rays hit the detector.

    Parameters
    ----------
    experiment : Experiment
    directions : (n, 3) float64
        Directions of the rays, any length.
    shift : (2,) float64
        Shift of the detector in x and y, pixels.

    Returns
    -------
    panel : (n,) int32
        Number of the first panel hit; -1 if none.
    fs, ss : (n,) float64
        Panel-local position in pixels.
    lab : (n, 3) float64
        Lab position in pixels.
    """
    n = len(directions)
    panel, position, lab = np.full(n, -1, np.int32), np.full((n, 2), np.nan), np.full((n, 3), np.nan)
    for number, p in enumerate(make_panels(experiment)):
        origin = _origin(experiment, p, shift)
        # ray = (origin + fs * FS + ss * SS) / t, solved for 1/t, fs/t, ss/t
        inverse, fs, ss = np.linalg.solve(np.column_stack([origin, p.fs, p.ss]), directions.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            fs, ss = fs / inverse, ss / inverse
            hit = (inverse > 0) & (fs >= 0) & (fs < p.shape[1]) & (ss >= 0) & (ss < p.shape[0]) & (panel < 0)
        panel[hit] = number
        position[hit] = np.column_stack([fs[hit], ss[hit]])
        lab[hit] = origin + fs[hit, None] * p.fs + ss[hit, None] * p.ss
    return panel, position[:, 0], position[:, 1], lab


def largest_inverse_d(experiment: Experiment) -> float:
    """Return 1/d (nm^-1) that no pixel of the detector exceeds, whatever the pulse and the shift."""
    distance = experiment.camera_length / experiment.pixel_size
    margin = 6 * experiment.detector_shift
    largest = 0.0
    for p in make_panels(experiment):
        for fs in (0, p.shape[1]):
            for ss in (0, p.shape[0]):
                x, y, z = p.corner + fs * p.fs + ss * p.ss
                two_theta = np.arctan2(np.hypot(x, y) + margin, distance + z)
                largest = max(largest, 2 * np.sin(two_theta / 2))
    return largest / wavelength_nm(experiment.photon_energy * (1 + 6 * experiment.energy_spread))


def wavelength_nm(photon_energy: float) -> float:
    """Return the wavelength in nm of photons of that energy in eV (CODATA 2018)."""
    return 1239.8419843320026 / photon_energy


@lru_cache(maxsize=16)
def dead_pixels(experiment: Experiment) -> tuple[np.ndarray, ...]:
    """Masks of the dead pixels, one per panel: (n_ss, n_fs) uint8, 1 = dead; on the first panel a whole column."""
    rng = draws.generator(experiment, draws.DEAD)
    masks = []
    for number in range(experiment.n_panels):
        n_ss, n_fs = experiment.panel_shape
        mask = np.zeros((n_ss, n_fs), np.uint8)
        mask[rng.integers(0, n_ss, experiment.dead_pixels), rng.integers(0, n_fs, experiment.dead_pixels)] = 1
        if number == 0 and experiment.dead_pixels:
            mask[:, n_fs // 3] = 1
        masks.append(mask)
    return tuple(masks)


@lru_cache(maxsize=16)
def hot_pixels(experiment: Experiment) -> tuple[np.ndarray, ...]:
    """Places of the hot pixels, one array per panel: (n, 2) int64 of ss, fs."""
    rng = draws.generator(experiment, draws.HOT)
    n_ss, n_fs = experiment.panel_shape
    n = experiment.hot_pixels
    return tuple(
        np.column_stack([rng.integers(0, n_ss, n), rng.integers(0, n_fs, n)]) for _ in range(experiment.n_panels)
    )


def pedestals(experiment: Experiment, number: int) -> np.ndarray:
    """Photons that every pixel of each panel shows too many on frame ``number``: (n_panels,) float64."""
    rng = draws.generator(experiment, draws.PEDESTAL, number)
    return experiment.pedestal + experiment.pedestal_scatter * rng.normal(size=experiment.n_panels)


def assemble(experiment: Experiment, panels: list[np.ndarray] | tuple[np.ndarray, ...]) -> np.ndarray:
    """Put the panels into the picture that is stored.

    Returns
    -------
    (rows * n_ss, columns * n_fs) or (n_panels, n_ss, n_fs) array
        By the experiment's layout.
    """
    if experiment.layout == "modules":
        return np.stack(panels)
    _, columns = experiment.panel_grid
    return np.block([list(panels[i : i + columns]) for i in range(0, len(panels), columns)])


def geometry_text(experiment: Experiment) -> str:
    """Write the geometry file of the experiment, in CrystFEL's own language."""
    energy = "/entry/photon_energy eV" if experiment.energy_spread else f"{experiment.photon_energy:.6f} eV"
    head = [
        f"; simulated detector, seed {experiment.seed}",
        f"photon_energy = {energy}",
        f"clen = {experiment.camera_length:.9g} m",
        f"res = {1 / experiment.pixel_size:.10g}",
        f"adu_per_photon = {experiment.adu_per_photon:.9g}",
        f"max_adu = {experiment.max_adu:.9g}",
        "data = /entry/data/data",
        "dim0 = %",
    ]
    if experiment.layout == "stacked":
        head += ["dim1 = ss", "dim2 = fs"]
    else:
        head += ["dim2 = ss", "dim3 = fs"]
    head += ["mask = /entry/data/mask", "mask_good = 0x0", "mask_bad = 0x1", ""]
    if experiment.beamstop:
        for edge, sign in (("min_x", "-"), ("max_x", ""), ("min_y", "-"), ("max_y", "")):
            head.append(f"bad_beamstop/{edge} = {sign}{experiment.beamstop * 1.15:.1f}")
        head.append("")
    lines = []
    for number, p in enumerate(make_panels(experiment)):
        fs0, ss0 = panel_offset(experiment, p)
        if experiment.layout == "modules":
            lines.append(f"{p.name}/dim1 = {number}")
        lines += [
            f"{p.name}/min_fs = {fs0}",
            f"{p.name}/max_fs = {fs0 + p.shape[1] - 1}",
            f"{p.name}/min_ss = {ss0}",
            f"{p.name}/max_ss = {ss0 + p.shape[0] - 1}",
            f"{p.name}/corner_x = {p.corner[0]:.4f}",
            f"{p.name}/corner_y = {p.corner[1]:.4f}",
        ]
        if p.corner[2]:
            lines.append(f"{p.name}/coffset = {p.corner[2] * experiment.pixel_size:.12f}")
        lines += [f"{p.name}/fs = {_vector(p.fs)}", f"{p.name}/ss = {_vector(p.ss)}", ""]
    return "\n".join(head + lines)


def panel_offset(experiment: Experiment, panel: SimulatedPanel) -> tuple[int, int]:
    """Where a panel starts in the stored picture: (min_fs, min_ss)."""
    if experiment.layout == "modules":
        return 0, 0
    return panel.column * panel.shape[1], panel.row * panel.shape[0]


def _vector(v: np.ndarray) -> str:
    parts = f"{v[0]:+.9f}x {v[1]:+.9f}y"
    return f"{parts} {v[2]:+.9f}z" if v[2] else parts
