"""CrystFEL's prediction once more, one lattice point and one panel after the other."""

import itertools
import math

import numpy as np

from waterbg.predict import wavenumber

ABSENT = {
    "A": lambda h, k, l: (k + l) % 2,
    "B": lambda h, k, l: (h + l) % 2,
    "C": lambda h, k, l: (h + k) % 2,
    "I": lambda h, k, l: (h + k + l) % 2,
    "F": lambda h, k, l: (h + k) % 2 or (h + l) % 2 or (k + l) % 2,
    "H": lambda h, k, l: (-h + k + l) % 3,
}


def locate(ray, detector, clen, shift):
    """First panel that a ray meets, and where."""
    for number, panel in enumerate(detector.panels):
        corner = np.array([panel.corner_x, panel.corner_y, 0.0])
        corner += np.array([shift[0] * 1e-3, shift[1] * 1e-3, clen + panel.coffset]) / panel.pixel_size
        try:
            one, fs, ss = np.linalg.solve(np.stack([corner, panel.fs, panel.ss], axis=1), ray)
        except np.linalg.LinAlgError:
            continue
        if one > 0 and 0 <= fs / one < panel.n_fs and 0 <= ss / one < panel.n_ss:
            return number, fs / one, ss / one
    return -1, math.nan, math.nan


def partiality(point, k, spread, radius):
    """Of a Gaussian spot and a Gaussian spectrum, and the wavenumber that fits best (``check_reflection``)."""
    x, y, z = point
    norm = math.sqrt(x * x + y * y + (z + k) ** 2)
    on_sphere = np.array([x, y, z + k]) / norm * k - [0, 0, k]
    across = (1 - (z + k) / norm) * spread
    w0, w1 = radius**-2, across**-2
    mean = (np.array([x, y, min(z, 0)]) * w0 + on_sphere * w1) / (w0 + w1)
    best = -(mean @ mean) / (2 * mean[2])
    width2 = radius**2 + across**2
    value = math.exp(-0.5 * ((point - on_sphere) @ (point - on_sphere)) / width2)
    return value * math.sqrt((radius**2 + spread**2) / width2), best


def predict(axes, centering, detector, clen, energy, radius, shift=(0.0, 0.0), limit=1.7, highest=12):
    """Set of (h, k, l) -> (panel, fs, ss), for indices up to ``highest``."""
    k, found = wavenumber(energy), {}
    spread = detector.bandwidth * k
    for hkl in itertools.product(range(-highest, highest + 1), repeat=3):
        if hkl == (0, 0, 0) or (centering in ABSENT and ABSENT[centering](*hkl)):
            continue
        point = np.array(hkl) @ axes
        value, best = partiality(point, k, spread, radius)
        if value >= math.exp(-0.5 * limit**2):
            panel, fs, ss = locate(point + np.array([0, 0, best]), detector, clen, shift)
            if panel >= 0:
                found[hkl] = panel, fs, ss
    return found
