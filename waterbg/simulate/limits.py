"""What each quantity of an experiment may be, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterbg.crystfel.solution import LATTICE_LETTER
from waterbg.errors import UsageError
from waterbg.simulate.detector import largest_inverse_d
from waterbg.simulate.structure import CENTERINGS, GENERATORS, WITH_UNIQUE_AXIS
from waterbg.stream.grammar import LARGEST_INDEX

if TYPE_CHECKING:
    from waterbg.simulate.experiment import Experiment

# lowest, highest, and what for: of a number, or of each of several
_RANGES: dict[str, tuple[float, float, str]] = {
    "seed": (0, 2**63, "any number"),
    "photons": (1e-3, 1e15, "photons; the brightest pulses have 1e13"),
    "photon_energy": (1e3, 1e5, "eV: wavelengths from 12 down to 0.1 Angstrom"),
    "energy_spread": (0, 0.05, "relative: no pulse may be without energy"),
    "camera_length": (1e-3, 100, "m"),
    "pixel_size": (1e-6, 1e-2, "m"),
    "panel_grid": (1, 32, "rows and columns"),
    "panel_shape": (1, 10_000, "pixels in ss and fs"),
    "gap": (0, 10_000, "px: panels do not overlap"),
    "panel_turn": (0, 30, "degrees"),
    "panel_tilt": (0, 30, "degrees: a panel shows its front"),
    "detector_shift": (0, 1000, "px"),
    "adu_per_photon": (1e-3, 1e5, "ADU"),
    "panel_gain": (0, 1, "relative, of the logarithm"),
    "read_noise": (0, 1e4, "photons"),
    "light_spread": (0, 3, "px: more is no picture"),
    "pedestal": (-1e4, 1e4, "photons"),
    "pedestal_scatter": (0, 1e4, "photons"),
    "saturation": (0, 1e9, "photons; 0 is never"),
    "max_adu": (0, 1e9, "ADU"),
    "dead_pixels": (0, 1_000_000, "per panel"),
    "hot_pixels": (0, 10_000, "per panel"),
    "zingers": (0, 10_000, "per panel"),
    "water": (0, 1e6, "photons per pixel"),
    "jet": (1e-3, 1e3, "times the nominal thickness"),
    "air": (0, 1e6, "photons per pixel"),
    "modulation": (0, 1, "relative: a ring is nowhere darker than nothing"),
    "sharp_rings": (0, 1e3, "relative to the water ring"),
    "polarisation": (0, 1, "a fraction"),
    "beamstop": (0, 10_000, "px"),
    "cell_spread": (0, 0.05, "relative: no axis may vanish"),
    "crystals": (0, 100, "in a frame"),
    "profile_radius": (1e-4, 0.5, "nm^-1: less than from one reflection to the next"),
    "scattering": (0, 1e9, "photons"),
    "scale_spread": (0, 3, "of the logarithm"),
    "wilson_b": (0, 1e3, "Angstrom^2: atoms do not scatter more at high angles"),
    "width": (0.3, 5, "px: less falls between the pixels, more is no spot"),
    "width_slope": (0, 2, "px: more is no spot"),
    "width_range": (0.3, 3, "times the nominal width"),
    "width_scatter": (0, 0.3, "of the logarithm: more makes spots that fall between the pixels"),
    "tail": (0, 1, "a fraction"),
    "position_smooth": (0, 3, "px: farther away is another spot"),
    "position_jitter": (0, 3, "px: farther away is another spot"),
    "block_turns": (0, 10, "where 1 is as unequal as usual"),
    "width_direction": (0, 0.5, "relative"),
}
_LENGTHS = (1.0, 2000.0)  # Angstrom: from atoms to viruses
_ANGLES = (10.0, 170.0)  # degrees

_WORDS = {
    "layout": ("stacked", "modules"),
    "lattice_type": tuple(LATTICE_LETTER),
    "centering": tuple(CENTERINGS),
    "unique_axis": ("a", "b", "c", "?", "*"),
    "point_group": tuple(GENERATORS),
}
_RISING = ("jet", "width_range", "crystals")  # (low, high)

_MOST_PIXELS = 1 << 25  # the largest detectors have 2**24; a pixel takes a hundred bytes while a frame is made
_MOST_REFLECTIONS = 100_000  # in a frame: more than the pixels of a detector can tell apart


def check_limits(experiment: Experiment) -> None:
    """Refuse what no experiment can be.

    Raises
    ------
    UsageError
        Names the quantity, its value, and what is allowed.
    """
    for name, (low, high, of) in _RANGES.items():
        _check_range(name, getattr(experiment, name), low, high, of)
    _check_range("cell", experiment.cell[:3], *_LENGTHS, "Angstrom")
    _check_range("cell", experiment.cell[3:], *_ANGLES, "degrees")
    for name, words in _WORDS.items():
        if getattr(experiment, name) not in words:
            raise UsageError(f"{name}: {getattr(experiment, name)!r} is none of {', '.join(words)}")
    for name in _RISING:
        low, high = getattr(experiment, name)
        if low > high:
            raise UsageError(f"{name}: from {low:g} to {high:g} is no range; the lower number comes first")
    _check_together(experiment)


def _check_range(name: str, value: Any, low: float, high: float, of: str) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if not low <= number <= high:  # nor is NaN
            raise UsageError(f"{name}: need {low:g} to {high:g} ({of}), not {number}")


def _check_together(experiment: Experiment) -> None:
    """Refuse quantities that go by themselves and not with each other."""
    pixels = experiment.n_panels * int(np.prod(experiment.panel_shape))
    if pixels > _MOST_PIXELS:
        raise UsageError(f"panel_grid, panel_shape: {pixels} pixels are more than {_MOST_PIXELS}")
    if experiment.lattice_type in WITH_UNIQUE_AXIS and experiment.unique_axis not in ("a", "b", "c"):
        raise UsageError(
            f"unique_axis: {experiment.unique_axis!r} is none of a, b, c, one of which a {experiment.lattice_type} "
            "lattice_type has"
        )
    ca, cb, cg = np.cos(np.radians(experiment.cell[3:]))
    if 1 - ca * ca - cb * cb - cg * cg + 2 * ca * cb * cg < 1e-3:
        raise UsageError(f"cell: axes at {experiment.cell[3:]} degrees lie in a plane, or cannot be")
    limit = largest_inverse_d(experiment)
    index = max(experiment.cell[:3]) / 10 * limit
    if index > LARGEST_INDEX:
        raise UsageError(
            f"cell, photon_energy, camera_length: reflections up to index {index:.0f} would be on the detector; need "
            f"{LARGEST_INDEX} at most, as CrystFEL"
        )
    # a crystal has its volume times a cap of the Ewald sphere, which is pi / d², as thick as a reflection reaches
    thick = 2 * 4 * experiment.profile_radius
    reflections = experiment.crystals[1] * np.prod(experiment.cell[:3]) / 1000 * np.pi * limit**2 * thick
    if reflections > _MOST_REFLECTIONS:
        raise UsageError(
            f"cell, profile_radius, crystals, photon_energy: {reflections:.0f} reflections in a frame are more than "
            f"{_MOST_REFLECTIONS}"
        )
