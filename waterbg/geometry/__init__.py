"""What a geometry file says: ``parse_geometry(text) -> Detector`` of ``Panel``s (see docs/architecture.md)."""

from waterbg.geometry.detector import BadRegion, Detector, Mask, Panel
from waterbg.geometry.parser import parse_geometry
from waterbg.geometry.sources import Length, Wavelength, photon_energy_eV, wavelength_m

__all__ = [
    "BadRegion",
    "Detector",
    "Length",
    "Mask",
    "Panel",
    "Wavelength",
    "parse_geometry",
    "photon_energy_eV",
    "wavelength_m",
]
