"""Detectors, lattices and streams' crystals for prediction, made from numbers."""

from types import SimpleNamespace

import numpy as np

from waterbg.geometry import parse_geometry
from waterbg.predict import SPOT, predict
from waterbg.stream import REFLECTION

ENERGY, CLEN = 12000.0, 0.1
HEAD = f"photon_energy = {ENERGY} eV\nclen = {CLEN}\nadu_per_photon = 1\ndata = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"


def tiles(columns, rows, n_fs, n_ss, pixel=1e-4, gap=3.0, extra=""):
    """Panels in a grid around the beam, stacked in the file."""
    text = [f"{HEAD}{extra}res = {1 / pixel}"]
    for n in range(columns * rows):
        x, y = n % columns - columns / 2, n // columns - rows / 2
        text += [f"p{n}/min_fs = 0", f"p{n}/max_fs = {n_fs - 1}"]
        text += [f"p{n}/min_ss = {n * n_ss}", f"p{n}/max_ss = {(n + 1) * n_ss - 1}"]
        text += [f"p{n}/corner_x = {x * (n_fs + gap)}", f"p{n}/corner_y = {y * (n_ss + gap)}"]
        text += [f"p{n}/fs = +1.0x", f"p{n}/ss = +1.0y"]
    return parse_geometry("\n".join(text) + "\n")


def scattered(seed, n, extra=""):
    """Panels of any size in any direction, also tilted, overlapping, or behind the sample."""
    rng = np.random.default_rng(seed)
    text = [f"{HEAD}{extra}res = 10000"]
    for i in range(n):
        fs, ss = np.linalg.qr(rng.normal(size=(3, 3)))[0][:2]
        fs, ss = (fs, ss) if rng.random() < 0.5 else ((1, 0.01, rng.normal(0, 0.2)), (-0.01, 1, rng.normal(0, 0.2)))
        text += [f"p{i}/min_fs = 0", f"p{i}/max_fs = {rng.integers(0, 300)}", f"p{i}/min_ss = 0"]
        text += [f"p{i}/max_ss = {rng.integers(0, 300)}", f"p{i}/dim0 = {i}"]
        text += [f"p{i}/corner_x = {rng.normal(0, 700)}", f"p{i}/corner_y = {rng.normal(0, 700)}"]
        text += [f"p{i}/coffset = {rng.choice([0.0, rng.normal(0, 0.1)])}"]
        text += [f"p{i}/{name} = {v[0]:+.7f}x {v[1]:+.7f}y {v[2]:+.7f}z" for name, v in (("fs", fs), ("ss", ss))]
    return parse_geometry("\n".join(text) + "\n")


def lattice(seed, length=80.0):
    """Reciprocal axes of a triclinic cell in any orientation, nm⁻¹."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    skew = np.eye(3) * rng.uniform(0.8, 1.25, (3, 1)) + np.tril(rng.uniform(-0.3, 0.3, (3, 3)), -1)
    return skew @ turn * 10 / length


def printed(detector, spots):
    """Rows, and names of panels, of a stream that holds these spots; positions pass through single precision."""
    used, number = np.unique(spots["panel"], return_inverse=True)
    rows = np.zeros(len(spots), REFLECTION)
    for name in "hkl":
        rows[name] = spots[name]
    rows["panel"] = number
    for column, name in enumerate(("fs", "ss")):
        first = detector.minima[spots["panel"], column].astype(np.float32)
        rows[name] = [float(f"{value:.1f}") for value in spots[name].astype(np.float32) + first]
    return rows, tuple(detector.panels[panel].name.encode() for panel in used)


def crystal_of(detector, axes, shift=(0.0, 0.0), radius=0.004, centering="P", limit=3.0, rounded=True, **more):
    """A stream's crystal with all its predicted reflections, and these as they truly are."""
    truth = predict(axes, centering, detector, CLEN, ENERGY, radius, det_shift_mm=shift, **more)
    rows, names = printed(detector, truth)
    crystal = SimpleNamespace(
        axes=np.round(axes, 7) if rounded else axes,
        centering=centering,
        det_shift=tuple(np.round(shift, 3)) if rounded else shift,
        profile_radius=radius,
        resolution_limit=limit,
        reflections=rows,
        panel_names=names,
    )
    return crystal, truth


def in_other_pixels(spots, truth):
    """How many spots are not in the pixel they truly are in."""
    assert spots.dtype == truth.dtype == SPOT
    same = spots["panel"] == truth["panel"]
    for name in ("fs", "ss"):
        same &= np.floor(np.nan_to_num(spots[name], nan=-1)) == np.floor(truth[name])
    return int((~same).sum())
