"""From pixels to I, sigma, peak and background: CrystFEL's own rings, and the weighted profile fit."""

from waterbg.integrate.result import INTEGRATED, Status

__all__ = ["INTEGRATED", "Status"]
