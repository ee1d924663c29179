"""The same experiment told otherwise: other units, other panels, another order. What is measured must not change."""

import dataclasses
from types import SimpleNamespace

import numpy as np

from tests.background.worlds import CLEN, ENERGY, PIXEL
from waterbg.frames import Frame
from waterbg.geometry import parse_geometry
from waterbg.predict import Scene


@dataclasses.dataclass
class Piece:
    """A panel: where its corner is and where its axes point (pixels, laboratory), and what its pixels hold."""

    corner: np.ndarray
    fs: np.ndarray
    ss: np.ndarray
    data: np.ndarray
    bad: np.ndarray
    adu: float


def pieces(world):
    """The panels of a world with their pixels, each (n_ss, n_fs)."""
    frame = world.frame
    out = []
    for n, p in enumerate(frame.detector.panels):
        data, bad = (array.copy() for array in frame.panel(n))
        corner = np.array([p.corner_x, p.corner_y])
        out.append(
            Piece(corner, np.array(p.fs[:2], float), np.array(p.ss[:2], float), data, bad, frame.adu_per_photon[n])
        )
    return out


def assemble(world, panels, spots):
    """World of these panels, with spots whose panel, fs and ss are those of the new panels."""
    text = [
        f"photon_energy = {ENERGY} eV\nclen = {CLEN}\nres = {1 / PIXEL}\ndata = /data\ndim0 = %\ndim1 = ss\ndim2 = fs"
    ]
    row = 0
    for n, p in enumerate(panels):
        n_ss, n_fs = p.data.shape
        text += [f"p{n}/min_fs = 0\np{n}/max_fs = {n_fs - 1}\np{n}/min_ss = {row}\np{n}/max_ss = {row + n_ss - 1}"]
        text += [f"p{n}/corner_x = {p.corner[0]!r}\np{n}/corner_y = {p.corner[1]!r}\np{n}/adu_per_photon = {p.adu!r}"]
        text += [f"p{n}/{name} = {axis[0]:+.17f}x {axis[1]:+.17f}y" for name, axis in (("fs", p.fs), ("ss", p.ss))]
        row += n_ss
    text = "\n".join(text).replace("np.float64(", "").replace(")", "")
    detector = parse_geometry(text + "\n")
    frame = Frame(
        data=np.concatenate([p.data.ravel() for p in panels]).astype(np.float32),
        bad=np.concatenate([p.bad.ravel() for p in panels]).astype(np.uint8),
        saturation=None,
        detector=detector,
        clen=CLEN,
        photon_energy_eV=ENERGY,
        adu_per_photon=detector.adu_per_photon(ENERGY),
    )
    return dataclasses.replace(world, frame=frame, scene=with_spots(world.scene, spots))


def with_spots(scene, spots):
    rows = np.arange(len(spots), dtype=np.int32)
    old = scene.crystals[0]
    crystal = SimpleNamespace(**{**vars(old), "reflections": rows})
    return Scene(
        spots, np.zeros(len(spots), np.int32), rows, scene.near, (rows,), scene.det_shift, scene.off, (crystal,)
    )


def in_other_units(world, factors):
    """Panel n counts in units ``factors[n]`` times smaller, and says so."""
    panels = pieces(world)
    for p, factor in zip(panels, factors, strict=True):
        p.data, p.adu = p.data * factor, p.adu * factor
    return assemble(world, panels, world.scene.spots.copy())


def shifted(world, columns, rows):
    """The same pixels further inside panels that have a bad margin there."""
    panels, spots = pieces(world), world.scene.spots.copy()
    for p in panels:
        p.corner = p.corner - columns * p.fs - rows * p.ss
        p.data = np.pad(p.data, ((rows, 0), (columns, 0)))
        p.bad = np.pad(p.bad, ((rows, 0), (columns, 0)), constant_values=1)
    spots["fs"] += columns
    spots["ss"] += rows
    return assemble(world, panels, spots)


def stored_turned(world):
    """The same detector, its panels stored a quarter turn on: fs runs where ss ran, ss against where fs ran."""
    panels, spots = pieces(world), world.scene.spots.copy()
    for n, p in enumerate(panels):
        n_fs = p.data.shape[1]
        mine = spots["panel"] == n
        fs = spots["fs"][mine]
        spots["fs"][mine], spots["ss"][mine] = spots["ss"][mine], n_fs - fs
        p.corner = p.corner + n_fs * p.fs
        p.data, p.bad = (np.ascontiguousarray(array.T[::-1]) for array in (p.data, p.bad))
        p.fs, p.ss = p.ss, -p.fs
    return assemble(world, panels, spots)


def turned(world, degrees):
    """The whole detector turned about the beam, with everything on it."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s], [s, c]])
    panels = pieces(world)
    for p in panels:
        p.corner, p.fs, p.ss = turn @ p.corner, turn @ p.fs, turn @ p.ss
    return assemble(world, panels, world.scene.spots.copy())


def split(world, columns, rows):
    """Each panel cut into ``rows`` x ``columns`` panels without a gap."""
    spots, out = world.scene.spots.copy(), []
    for n, p in enumerate(pieces(world)):
        n_ss, n_fs = p.data.shape
        mine = np.flatnonzero(world.scene.spots["panel"] == n)
        for j in range(rows):
            for i in range(columns):
                a, b = np.array([j, j + 1]) * n_ss // rows
                c, d = np.array([i, i + 1]) * n_fs // columns
                old = world.scene.spots[mine]
                here = mine[(old["ss"] >= a) & (old["ss"] < b) & (old["fs"] >= c) & (old["fs"] < d)]
                spots["panel"][here] = len(out)
                spots["fs"][here] -= c
                spots["ss"][here] -= a
                corner = p.corner + c * p.fs + a * p.ss
                out.append(Piece(corner, p.fs, p.ss, p.data[a:b, c:d], p.bad[a:b, c:d], p.adu))
    return assemble(world, out, spots)


def from_edges(world):
    """(n,) distance of each spot from the nearest edge of its panel, pixels."""
    spots = world.scene.spots
    shape = world.frame.detector.shapes[spots["panel"]]
    return np.minimum.reduce([spots["fs"], spots["ss"], shape[:, 1] - spots["fs"], shape[:, 0] - spots["ss"]])


def reordered(world, order):
    return dataclasses.replace(
        world, scene=with_spots(world.scene, np.ascontiguousarray(world.scene.spots[order])), truth=world.truth[order]
    )


def under_mask(world, value):
    """Every bad pixel holds ``value``."""
    data = world.frame.data.copy()
    data[world.frame.bad != 0] = value
    return dataclasses.replace(world, frame=dataclasses.replace(world.frame, data=data))
