"""Frames of known background: a detector of panels, a mean for every pixel, counts drawn from it, spots where asked."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from waterbg.frames import Frame
from waterbg.geometry import parse_geometry
from waterbg.predict import SPOT, Scene

ENERGY, CLEN, PIXEL = 9500.0, 0.08, 2e-4
LENGTH = CLEN / PIXEL


def detector(rows=2, columns=1, shape=(200, 400), gap=8.0, adu=1.0, max_adu=np.inf):
    """Panels in a grid around the beam."""
    n_ss, n_fs = shape
    text = [f"photon_energy = {ENERGY} eV\nclen = {CLEN}\nres = {1 / PIXEL}\nadu_per_photon = {adu}"]
    text += [f"max_adu = {max_adu}"] if np.isfinite(max_adu) else []
    text += ["data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs"]
    for n in range(rows * columns):
        x, y = n % columns - columns / 2, n // columns - rows / 2
        text += [
            f"p{n}/min_fs = 0\np{n}/max_fs = {n_fs - 1}\np{n}/min_ss = {n * n_ss}\np{n}/max_ss = {(n + 1) * n_ss - 1}"
        ]
        text += [f"p{n}/corner_x = {x * (n_fs + gap) + gap / 2}\np{n}/corner_y = {y * (n_ss + gap) + gap / 2}"]
        text += [f"p{n}/fs = +1.0x\np{n}/ss = +1.0y"]
    return parse_geometry("\n".join(text) + "\n")


def middles(det):
    """x, y in pixels of every pixel's middle, and its panel; flat."""
    x, y, panel = [], [], []
    for n, p in enumerate(det.panels):
        ss, fs = np.mgrid[0 : p.n_ss, 0 : p.n_fs]
        x.append((p.corner_x + fs + 0.5).ravel())
        y.append((p.corner_y + ss + 0.5).ravel())
        panel.append(np.full(p.n_ss * p.n_fs, n))
    return np.concatenate(x), np.concatenate(y), np.concatenate(panel)


def scattering(x, y):
    """Factor of horizontally polarised light times solid angle."""
    s2 = x * x + y * y + LENGTH**2
    return (1 - x * x / s2) * (LENGTH**2 / s2) ** 1.5


@dataclass
class World:
    """A frame, the spots on it, and what is true.

    ``mean`` is the expected background of every pixel in photons, flat; ``truth`` (n,) the spots' intensities.
    """

    frame: Frame
    scene: Scene
    mean: np.ndarray
    truth: np.ndarray

    def under_pixel(self):
        """Mean background of the pixel each spot falls into."""
        det, spots = self.frame.detector, self.scene.spots
        n_fs = det.shapes[spots["panel"], 1]
        return self.mean[det.offsets[spots["panel"]] + spots["ss"].astype(int) * n_fs + spots["fs"].astype(int)]

    def under(self):
        """Mean background under each spot's disc of three pixels."""
        det, spots = self.frame.detector, self.scene.spots
        out = np.empty(len(spots))
        for k, spot in enumerate(spots):
            n_fs = det.shapes[spot["panel"]][1]
            j, i = np.mgrid[-3:4, -3:4]
            inside = i * i + j * j <= 9
            at = det.offsets[spot["panel"]] + (int(spot["ss"]) + j[inside]) * n_fs + int(spot["fs"]) + i[inside]
            out[k] = self.mean[at].mean()
        return out


def gaussian_share(fs, ss, sigma, left, top, size):
    """Share of a round Gaussian in each pixel of a box, by the error function's rational approximation in the mean of
    eight by eight points."""
    step = (np.arange(8) + 0.5) / 8
    u = (left + np.arange(size)[:, None] + step - fs).ravel()
    v = (top + np.arange(size)[:, None] + step - ss).ravel()
    ex = np.exp(-0.5 * (u / sigma) ** 2).reshape(size, 8).mean(axis=1)
    ey = np.exp(-0.5 * (v / sigma) ** 2).reshape(size, 8).mean(axis=1)
    return np.outer(ey, ex) / (2 * np.pi * sigma**2)


def make_world(
    background,
    seed=1,
    det=None,
    n_spots=60,
    intensity=0.0,
    sigma=1.1,
    offset=None,
    gain=None,
    read_noise=0.0,
    bad=None,
    spoil=None,
    places=None,
    noise=True,
):
    """Draw a frame.

    Parameters
    ----------
    background : callable (x, y, panel) -> photons per pixel
    intensity : float or array
        Photons in each spot; spots are Gaussians of width sigma, moved by offset(x, y) from the prediction.
    gain : (n_panels,) array
        What the panels really give, relative to adu_per_photon.
    bad : callable (x, y, panel) -> bool
    spoil : callable (counts, world) -> None
        Last change to the counts (hot pixels, shadows ...), flat.
    places : (n, 3) array
        Panel, fs, ss of the spots; default: random, clear of each other and of the edges.
    """
    rng = np.random.default_rng(seed)
    det = det or detector()
    x, y, panel = middles(det)
    mean = np.broadcast_to(np.asarray(background(x, y, panel), float), x.shape).copy()
    if places is None:
        places = _places(rng, det, n_spots)
    places = np.asarray(places, float).reshape(-1, 3)
    n = len(places)
    truth = np.broadcast_to(np.asarray(intensity, float), n).copy()
    total = mean.copy()
    spots = np.zeros(n, SPOT)
    spots["h"] = np.arange(n)
    spots["panel"], spots["fs"], spots["ss"] = places.T
    for spot, photons in zip(spots, truth, strict=True):
        p = det.panels[spot["panel"]]
        px, py = p.corner_x + spot["fs"], p.corner_y + spot["ss"]
        dx, dy = (0, 0) if offset is None else offset(px, py)
        left, top = int(spot["fs"]) - 10, int(spot["ss"]) - 10
        share = gaussian_share(spot["fs"] + dx, spot["ss"] + dy, sigma, left, top, 21)
        for j in range(max(top, 0), min(top + 21, p.n_ss)):
            row = det.offsets[spot["panel"]] + j * p.n_fs
            first, last = max(left, 0), min(left + 21, p.n_fs)
            total[row + first : row + last] += photons * share[j - top, first - left : last - left]
        two_theta = np.arctan2(np.hypot(px, py), LENGTH)
        spot["inv_d"] = 2 * ENERGY / 1239.84198 * np.sin(two_theta / 2)
    counts = rng.poisson(total).astype(float) if noise else total.copy()
    if gain is not None:
        counts *= np.asarray(gain)[panel]
        mean *= np.asarray(gain)[panel]
    counts += rng.normal(0, read_noise, x.size) if read_noise else 0
    if spoil is not None:
        spoil(counts, SimpleNamespace(x=x, y=y, panel=panel, mean=mean, spots=spots, detector=det, rng=rng))
    adu = det.adu_per_photon(ENERGY)
    frame = Frame(
        data=(counts * adu[panel]).astype(np.float32),
        bad=np.zeros(x.size, np.uint8) if bad is None else np.asarray(bad(x, y, panel)).astype(np.uint8),
        saturation=None,
        detector=det,
        clen=CLEN,
        photon_energy_eV=ENERGY,
        adu_per_photon=adu,
    )
    rows = np.arange(n, dtype=np.int32)
    crystal = SimpleNamespace(profile_radius=0.02, reflections=rows, axes=None, centering="P", det_shift=None)
    scene = Scene(
        spots, np.zeros(n, np.int32), rows, np.zeros(0, SPOT), (rows,), np.zeros((1, 2)), np.zeros(1), (crystal,)
    )
    return World(frame, scene, mean, truth)


def _places(rng, det, n):
    """Random places, at least 18 px from each other and 14 px from the edges."""
    out = []
    for _ in range(100 * n):
        p = rng.integers(len(det.panels))
        n_ss, n_fs = det.shapes[p]
        fs, ss = rng.uniform(14, n_fs - 14), rng.uniform(14, n_ss - 14)
        if all(q != p or (fs - a) ** 2 + (ss - b) ** 2 > 18**2 for q, a, b in out):
            out.append((p, fs, ss))
        if len(out) == n:
            break
    return np.array(out)


def water_ring(x, y, panel=None, level=20.0, radius=110.0, width=18.0, height=2.5):
    """Air scatter with a water ring on it, as the beam's polarisation and the pixels' solid angle leave it."""
    r = np.hypot(x, y)
    return level * (1 + height * np.exp(-0.5 * ((r - radius) / width) ** 2)) * scattering(x, y)
