"""Runs for the model: frames of a simulated experiment with their scenes, as the main job would read them."""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from tests.background.worlds import scattering
from waterbg.frames import Frame
from waterbg.geometry import parse_geometry
from waterbg.predict import build_scene, predict
from waterbg.stream import REFLECTION

ENERGY, CLEN, PIXEL, RADIUS = 9500.0, 0.08, 2e-4, 0.012
RADII = (3.0, 5.0, 7.0)


@lru_cache(maxsize=4)
def detector(size=360):
    """Two panels across the beam."""
    half = size // 2
    text = f"photon_energy = {ENERGY} eV\nclen = {CLEN}\nres = {1 / PIXEL}\nadu_per_photon = 1\n"
    text += "data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
    for n in range(2):
        text += f"p{n}/min_fs = 0\np{n}/max_fs = {size - 1}\n"
        text += f"p{n}/min_ss = {n * half}\np{n}/max_ss = {(n + 1) * half - 1}\n"
        text += f"p{n}/corner_x = {-half}\np{n}/corner_y = {(n - 1) * half + (6 if n else -6)}\n"
        text += f"p{n}/fs = +1.0x\np{n}/ss = +1.0y\n"
    return parse_geometry(text)


def make_run(n_frames=3, seed=1, cell=45.0, signal=300.0, level=12.0, sigma=1.1, tail=0.0, jitter=0.1, size=360):
    """List of (Frame, Scene, truth): a crystal in another orientation each time, a water ring, Poisson noise."""
    det = detector(size)
    rng = np.random.default_rng(seed)
    ss, fs = np.mgrid[0 : size // 2, 0:size] + 0.5
    out = []
    for _ in range(n_frames):
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 10 / cell
        spots = predict(axes, "P", det, CLEN, ENERGY, RADIUS, limit=4.0)
        truth = rng.exponential(signal, len(spots)) * np.exp(-0.5 * (spots["excitation"] / RADIUS) ** 2)
        images = []
        for n, panel in enumerate(det.panels):
            x, y = panel.corner_x + fs, panel.corner_y + ss
            mean = level * (1 + 1.5 * np.exp(-0.5 * ((np.hypot(x, y) - 110) / 15) ** 2)) * scattering(x, y)
            for spot, photons in zip(spots[spots["panel"] == n], truth[spots["panel"] == n], strict=True):
                dx, dy = rng.normal(0, jitter, 2)
                left, top = int(spot["fs"]) - 8, int(spot["ss"]) - 8
                a, b = slice(max(top, 0), top + 17), slice(max(left, 0), left + 17)
                r2 = (fs[a, b] - spot["fs"] - dx) ** 2 + (ss[a, b] - spot["ss"] - dy) ** 2
                for wide, share in ((1, 1 - tail), (2, tail)):
                    width2 = (wide * sigma) ** 2 + 1 / 12
                    mean[a, b] += photons * share * np.exp(-0.5 * r2 / width2) / (2 * np.pi * width2)
            images.append(rng.poisson(mean).ravel())
        frame = Frame(
            data=np.concatenate(images).astype(np.float32),
            bad=np.zeros(det.n_pixels, np.uint8),
            saturation=None,
            detector=det,
            clen=CLEN,
            photon_energy_eV=ENERGY,
            adu_per_photon=det.adu_per_photon(ENERGY),
        )
        near = np.abs(spots["excitation"]) <= 1.7 * RADIUS
        listed = np.zeros(int(near.sum()), REFLECTION)
        for name in "hkl":
            listed[name] = spots[near][name]
        listed["panel"] = spots[near]["panel"]
        listed["fs"] = np.round(spots[near]["fs"], 1)
        listed["ss"] = np.round(spots[near]["ss"] + det.minima[spots[near]["panel"], 1], 1)
        crystal = SimpleNamespace(
            axes=axes, centering="P", profile_radius=RADIUS, resolution_limit=None, det_shift=(0.0, 0.0),
            reflections=listed, panel_names=(b"p0", b"p1"),
        )  # fmt: skip
        scene = build_scene([crystal], det, CLEN, ENERGY)
        order = {tuple(int(s[name]) for name in "hkl"): photons for s, photons in zip(spots, truth, strict=True)}
        in_scene = np.array([order[tuple(int(s[name]) for name in "hkl")] for s in scene.spots])
        out.append((frame, scene, in_scene))
    return out
