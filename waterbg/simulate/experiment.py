"""The experiment that is simulated: every physical quantity, with its unit, in one place."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from waterbg.errors import UsageError
from waterbg.simulate.limits import check_limits

PHOTONS_PER_PULSE = 3e8
"""Pulse energy at which ``water``, ``air`` and ``scattering`` are stated; they grow in proportion to ``photons``."""


@dataclass(frozen=True)
class Experiment:
    """Detector, beam, water jet and crystals of a simulated run; immutable, written into every truth file.

    Lengths called "px" are pixels of the detector; rates are photons at 3e8 photons per pulse. Spreads are
    standard deviations from frame to frame unless a range (low, high) is given.

    Raises
    ------
    UsageError
        For a quantity that no experiment can have (:mod:`waterbg.simulate.limits`).
    """

    seed: int = 1
    photons: float = PHOTONS_PER_PULSE  # photons per pulse: what high and low streams differ by
    photon_energy: float = 9500.0  # eV
    energy_spread: float = 0.0  # relative, pulse to pulse; when not 0, the energy is stored per event in the image file

    # Detector: a grid of panels around the beam
    camera_length: float = 0.1117  # m
    pixel_size: float = 150e-6  # m
    panel_grid: tuple[int, int] = (2, 1)  # rows (y), columns (x)
    panel_shape: tuple[int, int] = (504, 1024)  # pixels in ss and fs
    gap: float = 16.0  # px between neighbouring panels
    panel_turn: float = 0.0  # degrees, in the plane, panel to panel
    panel_tilt: float = 0.0  # degrees, out of the plane, panel to panel
    layout: str = "stacked"  # one picture for all panels ("stacked"), or a third dimension ("modules")
    detector_shift: float = 0.4  # px per axis, frame to frame; known to the stream as det_shift
    adu_per_photon: float = 1.0
    panel_gain: float = 0.0  # relative, panel to panel: what adu_per_photon of the geometry does not know
    read_noise: float = 0.0  # photons
    light_spread: float = 0.0  # px: a phosphor spreads the light of every photon over pixels, by that Gaussian sigma
    pedestal: float = 0.0  # photons that every pixel shows too many, or too few
    pedestal_scatter: float = 0.0  # photons, panel to panel and frame to frame
    saturation: float = 0.0  # photons at which a pixel stops counting; 0: never
    max_adu: float = 250.0  # ADU above which the geometry calls a pixel saturated
    dead_pixels: int = 300  # masked ones per panel, beside a dead column on the first panel
    hot_pixels: int = 20  # per panel, in every frame, not masked
    zingers: int = 12  # per panel and frame, not masked

    # What is not Bragg
    water: float = 34.5  # photons per pixel at the top of the ring, for jet = 1
    jet: tuple[float, float] = (0.3, 3.0)  # range of the thickness of the jet, frame to frame, log-uniform
    air: float = 25.0  # photons per pixel, divided by (q + 0.25)^1.6, q in 1/Angstrom
    modulation: float = 0.03  # largest relative deviation of the water ring from a circle, per harmonic
    sharp_rings: float = 0.0  # height of ice-like rings, relative to 1.5 times the water ring
    polarisation: float = 1.0  # horizontal fraction
    beamstop: float = 28.0  # px, radius; 0: none

    # Crystals
    cell: tuple[float, float, float, float, float, float] = (79.1, 79.1, 38.4, 90.0, 90.0, 90.0)  # Angstrom, degrees
    cell_spread: float = 0.001  # relative, per axis (axes that the lattice makes equal stay equal)
    lattice_type: str = "tetragonal"
    centering: str = "P"
    unique_axis: str = "c"
    point_group: str = "4/mmm"  # Laue group of |F|^2, as CrystFEL writes it
    crystals: tuple[int, int] = (1, 1)  # fewest and most in a frame
    profile_radius: float = 0.02  # nm^-1: Gaussian sigma of the partiality in the excitation error
    scattering: float = 900.0  # photons of a whole reflection at low angle, mean
    scale_spread: float = 0.35  # of the logarithm of a crystal's scale
    wilson_b: float = 22.0  # Angstrom^2

    # Spots
    width: float = 1.05  # px, tangential sigma of the spot
    width_slope: float = 0.30  # px added to the radial sigma at d = 2.2 Angstrom, growing with 1/d
    width_range: tuple[float, float] = (0.93, 1.10)  # factor on both, frame to frame
    width_scatter: float = 0.0  # of the logarithm of a width, spot to spot
    tail: float = 0.0  # fraction of a spot in a second Gaussian of twice the width
    position_smooth: float = 0.0  # px per axis: error that varies slowly over the detector (a quadratic field)
    position_jitter: float = 0.12  # px per axis: error of every spot by itself
    block_turns: float = 0.0  # how unequal a crystal's blocks are turned about different axes; 0: they are not turned
    width_direction: float = 0.0  # relative, crystal to crystal: widths are not the same in all directions

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def n_panels(self) -> int:
        """Number of panels."""
        return self.panel_grid[0] * self.panel_grid[1]

    @property
    def dose(self) -> float:
        """Photons per pulse, relative to the pulse at which the rates are stated."""
        return self.photons / PHOTONS_PER_PULSE

    def replace(self, **changes: Any) -> Experiment:
        """Copy with some quantities changed.

        Parameters
        ----------
        **changes
            Field names and values; numbers for ranges may be lists.

        Returns
        -------
        Experiment

        Raises
        ------
        UsageError
            For a quantity that does not exist or a value of the wrong kind.
        """
        fields = {field.name: field for field in dataclasses.fields(self)}
        checked = {}
        for name, value in changes.items():
            if name not in fields:
                raise UsageError(f"an experiment has no {name!r}; it has: {', '.join(fields)}")
            checked[name] = _like(fields[name].default, value, name)
        return dataclasses.replace(self, **checked)

    def to_json(self) -> str:
        """All quantities as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """Inverse of :meth:`to_json`."""
        return cls().replace(**json.loads(text))


def _like(default: Any, value: Any, name: str) -> Any:
    """Return ``value`` as the kind of thing ``default`` is."""
    try:
        if isinstance(default, tuple):
            if len(value) != len(default):
                raise ValueError
            return tuple(_like(d, v, name) for d, v in zip(default, value, strict=True))
        if isinstance(default, str) != isinstance(value, str) or isinstance(value, bool):
            raise ValueError
        if isinstance(default, int) and int(value) != value:
            raise ValueError
        return type(default)(value)
    except (TypeError, ValueError, OverflowError):  # the last of infinity and of integers beyond a float
        example = list(default) if isinstance(default, tuple) else default
        raise UsageError(f"{name}: {value!r} is not of the kind of {example!r}") from None
