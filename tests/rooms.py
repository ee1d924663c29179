"""A little work for the kernels of each room, for a process of its own: how they run must not change what it gives."""

import functools
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

RADII = (3.0, 5.0, 7.0)


def world(sigma=1.1):
    """Two panels of 64 x 56 pixels with a dead column, one of them with another gain; a pair of spots overlaps."""
    from tests.background.worlds import detector, make_world, water_ring

    places = [(0, 15.3, 14.8), (0, 19.6, 15.1), (0, 40.2, 40.9), (0, 44.5, 12.4), (1, 12.1, 30.7), (1, 42.6, 38.2)]
    return make_world(
        water_ring,
        seed=41,
        det=detector(shape=(64, 56)),
        places=places,
        intensity=[900.0, 400.0, 3000.0, 30.0, 700.0, 0.0],
        gain=[1.0, 1.2],
        bad=lambda x, y, panel: np.abs(x - 8.5) < 0.6,
        sigma=sigma,
    )


def background():
    from waterbg.background import Noise, Trust, make_estimator

    w = world()
    for name in ("ring", "plane", "radial", "water"):
        estimator = make_estimator(name, Noise(1.0, 0.1), "horiz98", Trust((), (1e-3,), 0.5))
        found = estimator.estimate(w.frame, w.scene, RADII)
        assert not found.fallbacks
        assert not found.own_ring.any()
        yield f"{name} expected", found.expected
        yield f"{name} variance", found.scale_variance
        yield f"{name} factor", found.factor
    from waterbg.background import frame_rays
    from waterbg.background.zones import starved_zones

    half_masked = np.arange(w.frame.data.size).astype(np.uint8) & np.uint8(2)
    yield "starved zones", starved_zones(half_masked, w.frame.detector, frame_rays(w.frame, w.scene, "none"))
    # rings that overrule the surface
    from tests.background.test_rings_that_overrule import arcs, judged

    for name, lift in (("far off", lambda j, i: 15.0), ("arcs", arcs)):
        for what, value in judged(lift).items():
            yield f"ring {name} {what}", np.array(value)
    # rows between the steps, which only detectors of megapixels have
    from waterbg.background.masks import Pixels
    from waterbg.background.scan import walk
    from waterbg.background.table import curve
    from waterbg.background.tiles import TileGrid, reject_tiles

    shapes, rays = w.frame.detector.shapes, frame_rays(w.frame, w.scene, "horiz98")
    grid, every = TileGrid.of(shapes), np.where(np.arange(rays.n_bins) < 30, 1, 8).astype(np.uint8)
    model = curve(np.full(rays.n_bins, 20.0)), np.ones(grid.n_tiles, np.float32), (1.0, 0.1)
    sums = walk(Pixels.of(w.frame, w.frame.bad), rays, grid, *model, step=8, every=every)
    yield "rows near the beam", sums.radial_n
    # rings that are not round about the beam, on a detector with room for them
    from tests.background.test_centre import shifted
    from tests.background.worlds import CLEN, detector, make_world
    from waterbg.background.centre import centred
    from waterbg.background.rays import make_rays

    ringed = make_world(shifted, seed=42, det=detector(rows=1, shape=(260, 260), gap=0.0), n_spots=0)
    beside = make_rays(ringed.frame.detector, CLEN)
    found, means = centred(Pixels.of(ringed.frame, ringed.frame.bad), beside, (1.0, 0.1))
    assert found is not beside
    yield "rays beside the beam", found.panel
    yield "first profile there", means
    # a dark corner, and one that is all the same
    from waterbg.background.dead import flag_dead

    counts, flags, seen = w.frame.data.copy(), w.frame.bad.copy(), sums.tile_n.copy()
    for panel, value in enumerate((0.0, 9999.0)):
        counts.reshape(2, 64, 56)[panel, :20, :20] = value
        seen.reshape(2, 8, 7)[panel, :2, :2] = 0
    spoilt = Pixels.of(w.frame, flags)._replace(counts=counts)
    yield "dead pixels", np.array(flag_dead(spoilt, rays, grid, model[0], seen, model[2], 1e6))
    yield "flags of dead pixels", flags
    from waterbg.background.faulty import Faults, deviations
    from waterbg.background.surface import fit_surface

    off = deviations(w.frame, w.frame.bad, fit_surface(w.frame, w.frame.bad.copy(), rays, (1.0, 0.1)))
    yield "deviations", off.astype(float)
    faults = Faults(shapes)
    off[0].reshape(2, 64, 56)[0, 9, 9], off[0].reshape(2, 64, 56)[1, :, 20] = 124, -90
    for _ in range(3):
        faults.add(off)
    yield "faulty pixels", faults.pixels()
    # an even number of tiles, half of which are lower
    top, bottom = np.array([1000, 2000], np.float32), np.array([1000, 1000], np.float32)
    reject_tiles(TileGrid.of(np.array([[8, 16]])), top, bottom, np.full(2, 64, np.float32), (1.0, 0.1))
    yield "rejected tiles", top


def known(w):
    """A background that somebody knows."""
    from waterbg.background import Noise
    from waterbg.background.estimate import least_variance, without_surface
    from waterbg.background.estimators import flag_pixels

    n = len(w.scene.spots)
    expected, factor = np.full((n, 23, 23), 20.0, np.float32), np.ones(n)
    flags = flag_pixels(w.frame, w.scene, RADII)
    least = least_variance(expected, factor, Noise())
    return without_surface(expected, np.full(n, 1e-4), factor, least, Noise(), flags, w.scene.spots["panel"])


def integrate():
    from tests.integrate.test_profile_fit import ROUND
    from waterbg.background import frame_rays
    from waterbg.integrate.profile import integrate_profile
    from waterbg.integrate.psf import Lines, Psf
    from waterbg.integrate.rings import integrate_rings
    from waterbg.integrate.shapes import Spots

    w = world()
    for gradient in (False, True):
        yield from columns(f"rings {gradient}", integrate_rings(w.frame, w.scene, (3, 5, 7), gradient=gradient))
    limit = float(np.median(w.scene.spots["inv_d"]))
    yield from columns("rings to a limit", integrate_rings(w.frame, w.scene, (3, 5, 7), max_inv_d=limit))
    rays = frame_rays(w.frame, w.scene, "horiz")
    for name, options in {"fit": {}, "joint": {"joint": True}, "sum": {"summation": True}}.items():
        result, fits, _ = integrate_profile(w.frame, w.scene, RADII, known(w), rays, run=ROUND, **options)
        yield from columns(name, result)
        yield f"{name} chi2", fits["chi2"]
    # spots narrower than half a pixel
    narrow, run = world(0.4), Spots(psf=Psf(Lines(0.4, 0, 0.45, 0), scatter=0.02))
    yield from columns("narrow", integrate_profile(narrow.frame, narrow.scene, RADII, known(narrow), rays, run=run)[0])
    # a hot pixel between disc and ring
    from tests.integrate.test_intruders import beside

    hot = beside(w, [(-3, 2, 5000.0)])
    yield from columns("hot", integrate_profile(hot.frame, hot.scene, RADII, known(hot), rays, run=ROUND)[0])
    # as many strong spots as teach all there is to learn
    from tests.integrate.test_positions import random_places
    from waterbg.integrate.positions import PositionMap, learn_positions
    from waterbg.integrate.stretch import Stretch, learn_stretch

    places, rng = random_places(80, 8)
    truth = PositionMap(((0.5, -0.2), (0.3, 0.4), (-0.2, 0.1)), 600.0, (0.5, 0.1, -0.1, 0.0, 0.0))
    offset = truth.at(places) + rng.normal(0, 0.05, (80, 2))
    yield "map", learn_positions(places, offset, np.full(80, 1e-3)).at(places)
    ratio = Stretch((0.3, 0.0, 0.0, 0.0), (0.1,) * 4).at(places) * rng.lognormal(0, 0.1, (80, 2))
    yield "stretch", learn_stretch(places, ratio, np.full((80, 2), 1e-3)).at(places)


def predict():
    from tests.predict.worlds import CLEN, ENERGY, crystal_of, lattice, tiles
    from waterbg.predict import build_scene, predict, refine_crystal

    detector = tiles(2, 2, 120, 110)
    for centering in "PFH":
        axes = lattice(7, 60.0)
        spots = predict(axes, centering, detector, CLEN, ENERGY, 0.004)
        assert len(spots) > 2
        yield from columns(centering, spots)
    pink = tiles(3, 3, 90, 80, extra="bandwidth = 0.01\n")  # as many panels as are looked up by direction
    yield from columns("pink", predict(axes, "P", pink, CLEN, ENERGY, 0.004))
    crystal, _ = crystal_of(detector, axes, (0.02, -0.03), 0.01, limit=None)
    panels = detector.panel_numbers(crystal.panel_names)[crystal.reflections["panel"]]
    found, shift = refine_crystal(crystal.det_shift, crystal.reflections, panels, crystal.axes, detector, CLEN, ENERGY)
    yield "axes", found
    yield "shift", np.array(shift)
    scene = build_scene([crystal], detector, CLEN, ENERGY)
    yield from columns("scene", scene.spots)
    yield from columns("near", scene.near)


def frames():
    import h5py

    from waterbg.frames import FrameReader
    from waterbg.geometry import parse_geometry

    text = """photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 2
data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\nmask0_data = /mask\nmask0_goodbits = 0x1\nmask0_badbits = 0x6
flag_morethan = 900\nflag_equal = 0\na/min_fs = 0\na/max_fs = 11\na/min_ss = 0\na/max_ss = 9
a/corner_x = -40\na/corner_y = -30\na/fs = +0.9x +0.1y\na/ss = -0.1x +0.9y
b/min_fs = 1\nb/max_fs = 11\nb/min_ss = 10\nb/max_ss = 19\nb/corner_x = 5\nb/corner_y = 5\nb/fs = -1x\nb/ss = -1y
bad_corner/min_x = -38\nbad_corner/max_x = -33\nbad_corner/min_y = -40\nbad_corner/max_y = -20\n"""
    rng = np.random.default_rng(9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as file:
            for name, kind in (("data", "i4"), ("floats", "f4")):
                file[name] = rng.integers(0, 1000, (2, 20, 12)).astype(kind)
            file["floats"][0, 3, 4] = np.nan
            file["mask"] = rng.choice([1, 1, 1, 3, 5, 0], (2, 20, 12)).astype("i4")
        plain = text.replace("flag_morethan = 900\nflag_equal = 0\n", "")
        for name, layout in (("/data", text), ("/floats", text), ("/data", plain)):
            reader = FrameReader(parse_geometry(layout.replace("data = /data", f"data = {name}")))
            frame = reader.read(str(path), "//0", copy=True)
            assert 20 < frame.bad.sum() < 200
            judged = "" if layout is plain else " judged"
            yield f"{name}{judged} data", frame.data
            yield f"{name}{judged} bad", frame.bad
        from tests.frames.frame_factory import cbf_bytes

        path = Path(folder) / "a.cbf"
        path.write_bytes(cbf_bytes(rng.integers(-70000, 70000, (20, 12)).astype("i4")))
        yield "cbf", FrameReader(parse_geometry(plain.replace("mask0", "; mask0"))).read(str(path)).data


def model():
    from waterbg.model.decoys import displaced_decoys

    w = world()
    yield from columns("displaced", displaced_decoys(w.frame, w.scene, RADII))


def plots():
    from waterbg.background import Noise, frame_rays
    from waterbg.plots.lab_image import make_canvas
    from waterbg.plots.report_sample import radial_means

    w = world()
    rays, detector = frame_rays(w.frame, w.scene, "horiz"), w.frame.detector
    for most in (20, 300):
        sums, counts = make_canvas(rays, detector.shapes, detector.offsets, most).add_up(w.frame.data, w.frame.bad)
        assert counts.sum() > 1000
        yield f"{most} sums", sums
        yield f"{most} counts", counts
    background, level = known(w), np.full(w.frame.data.size, 20.0, np.float32)
    edges = np.linspace(0, 6, 13)
    observed, expected = radial_means(w.frame, background.flags, level, rays, edges, Noise(1.0, 0.1))
    assert np.nanmax(expected) == 20
    yield "observed", observed


def columns(name, array):
    for field in array.dtype.names:
        yield f"{name} {field}", array[field]


def note_kernels(ran):
    """Let every function that numba would compile add its name to ``ran``; before any of them is imported."""
    import numba

    def njit(*args, **_):
        def wrap(function):
            @functools.wraps(function)
            def kernel(*values):
                ran.add(f"{function.__module__}.{function.__name__}")
                return function(*values)

            return kernel

        return wrap(*args) if args else wrap

    numba.njit = njit


def main(room, out):
    """Do the work of a room and write what it gives; uncompiled, also the names of the kernels that did it."""
    ran = set()
    if os.environ.get("NUMBA_DISABLE_JIT"):
        note_kernels(ran)
    # compiled loops divide as NumPy does, without a word
    with np.errstate(all="ignore"):
        np.savez(out, **dict(globals()[room]()))
    Path(out).with_suffix(".ran").write_text("\n".join(sorted(ran)))


if __name__ == "__main__":
    main(*sys.argv[1:])
