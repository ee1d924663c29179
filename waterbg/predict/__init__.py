"""Where reflections are: reciprocal axes + geometry + det_shift -> panel, fs, ss, excitation error.

The lattice points near the Ewald sphere, and where their rays meet the panels, as libcrystfel finds them
(``predict_to_res``, ``check_reflection`` and ``locate_peak_on_panel`` in geometry.c). The beam runs along +z with
k = 1/wavelength; a lattice point s has excitation error k - |s + k z|.
"""

from waterbg.predict.refine import refine_crystal, refine_det_shift
from waterbg.predict.scene import Scene, build_scene
from waterbg.predict.spots import LIMIT, NEAR, SPOT, columns_of, predict, project, wavenumber

__all__ = [
    "LIMIT",
    "NEAR",
    "SPOT",
    "Scene",
    "build_scene",
    "columns_of",
    "predict",
    "project",
    "refine_crystal",
    "refine_det_shift",
    "wavenumber",
]
