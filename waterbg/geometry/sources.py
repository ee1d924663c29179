"""Where a number of the geometry comes from: written in the file, or to be read from each image.

Units, defaults and constants are those of CrystFEL 0.12 (``im_get_length``, ``convert_to_m`` in datatemplate.c;
utils.h).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from waterbg.geometry.cnumbers import whole_float

# CrystFEL's own constants (libcrystfel/src/utils.h), so that a wavelength gives the photon energy the stream has.
ELECTRON_CHARGE = 1.6021773e-19
ELECTRON_MASS = 9.1093837015e-31
PLANCK = 6.62606896e-34
C_VACUO = 299792458.0

LENGTH_UNITS = {"mm": 1e-3, "m": 1.0}

ReadHeader = Callable[[str], float]


def photon_energy_eV(wavelength: float) -> float:
    """Photon energy in eV of a wavelength in m."""
    return PLANCK * C_VACUO / wavelength / ELECTRON_CHARGE if wavelength else math.inf


def wavelength_m(photon_energy: float) -> float:
    """Wavelength in m of a photon energy in eV."""
    return PLANCK * C_VACUO / (photon_energy * ELECTRON_CHARGE) if photon_energy else math.inf


def electron_wavelength_m(volts: float) -> float:
    """Relativistic de Broglie wavelength in m of electrons after this voltage."""
    rest = 2.0 * ELECTRON_MASS * C_VACUO * C_VACUO
    corrected = volts * (1.0 + volts * ELECTRON_CHARGE / rest)
    if not corrected > 0:
        return math.nan
    return PLANCK / math.sqrt(2.0 * ELECTRON_MASS * ELECTRON_CHARGE * corrected)


@dataclass(frozen=True)
class Length:
    """A length: a number, or a place in the image file.

    Attributes
    ----------
    text : str
        As written, with its unit.
    number : float or None
        The number written, in the unit; None when it stands in the image file.
    location : str or None
        Path in the image file (may hold ``%``); None when the number is written.
    scale : float or None
        Metres per unit; None when the unit is not one CrystFEL knows.
    line : int
    """

    text: str
    number: float | None
    location: str | None
    scale: float | None
    line: int = 0

    @classmethod
    def parse(cls, text: str, header_scale: float, line: int = 0) -> Length:
        """Split a text into value and unit.

        ``header_scale`` holds for a place in the image file without a unit: CrystFEL takes millimetres for the camera
        length and metres for detector shifts, and metres for every number that is written without a unit.
        """
        value, _, unit = text.strip().partition(" ")
        unit = unit.strip()
        number = whole_float(value)
        scale = (1.0 if number is not None else header_scale) if not unit else LENGTH_UNITS.get(unit)
        return cls(text, number, None if number is not None else value, scale, line)

    def metres(self, read: ReadHeader) -> float:
        """The length in m; ``read`` gives the value at a place of the image file. NaN when the unit is unknown."""
        if self.scale is None:
            return math.nan
        if self.number is not None:
            return self.number * self.scale
        assert self.location is not None
        return read(self.location) * self.scale


@dataclass(frozen=True)
class Wavelength:
    """The beam: a number, or a place in the image file.

    Attributes
    ----------
    value : str
        As written, without the unit; a path in the image file (may hold ``%``) where that has the number.
    unit : str
        One of m, A, kV, V, keV, eV.
    number : float or None
        The number written; None when it stands in the image file.
    line : int
    """

    value: str
    unit: str
    number: float | None
    line: int = 0

    def metres(self, read: ReadHeader) -> float:
        """The wavelength in m; ``read`` gives the value at a place of the image file."""
        value = read(self.value) if self.number is None else self.number
        if self.unit == "m":
            return value
        if self.unit == "A":
            return value * 1e-10
        if self.unit in ("V", "kV"):
            return electron_wavelength_m(value * (1e3 if self.unit == "kV" else 1.0))
        return wavelength_m(value * (1e3 if self.unit == "keV" else 1.0))

    def photon_energy_eV(self, read: ReadHeader) -> float:
        """The photon energy in eV that CrystFEL writes to the stream."""
        return photon_energy_eV(self.metres(read))
