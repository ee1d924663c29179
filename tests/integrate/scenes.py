"""Frames and scenes made by hand."""

import numpy as np

from waterbg.frames import Frame
from waterbg.geometry import parse_geometry
from waterbg.predict import SPOT, Scene


def make_detector(shapes, max_adu=np.inf, adu_per_photon=1.0):
    """Panels (n_ss, n_fs) stacked in a file, one above the other in the laboratory."""
    text = f"photon_energy = 9500 eV\nclen = 0.1\nres = 10000\nadu_per_photon = {adu_per_photon}\n"
    text += f"max_adu = {max_adu}\n" if np.isfinite(max_adu) else ""
    text += "data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    row = 0
    for n, (n_ss, n_fs) in enumerate(shapes):
        text += f"p{n}/min_fs = 0\np{n}/max_fs = {n_fs - 1}\np{n}/min_ss = {row}\np{n}/max_ss = {row + n_ss - 1}\n"
        text += f"p{n}/corner_x = -50\np{n}/corner_y = {row}\np{n}/fs = +1.0x\np{n}/ss = +1.0y\n"
        row += n_ss
    return parse_geometry(text)


def make_frame(detector, panels, bad=None, saturation=None):
    """Frame of 2-D arrays, one a panel."""

    def flat(arrays, dtype):
        return np.concatenate([np.asarray(array).ravel() for array in arrays]).astype(dtype)

    data = flat(panels, np.float32)
    return Frame(
        data=data,
        bad=np.zeros(data.size, np.uint8) if bad is None else flat(bad, np.uint8),
        saturation=None if saturation is None else flat(saturation, np.float32),
        detector=detector,
        clen=0.1,
        photon_energy_eV=9500.0,
        adu_per_photon=detector.adu_per_photon(9500.0),
    )


def make_scene(panel, fs, ss, printed=None):
    """Scene of one crystal with spots at given places; all of them printed unless told otherwise."""
    spots = np.zeros(len(fs), SPOT)
    spots["h"] = np.arange(len(fs))
    spots["panel"], spots["fs"], spots["ss"] = panel, fs, ss
    rows = np.arange(len(fs), dtype=np.int32)
    printed = rows if printed is None else np.asarray(printed, np.int32)
    none = np.zeros(0, SPOT)
    return Scene(spots, np.zeros(len(fs), np.int32), printed, none, (rows,), np.zeros((1, 2)), np.zeros(1), ())
