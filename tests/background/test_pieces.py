"""Fast paths of the background room beside slow twins, and its smaller parts by themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.background.worlds import CLEN, LENGTH, detector, make_world, middles, scattering, water_ring
from waterbg.background.masks import BAD, ONE, TWO, WIDE, Pixels, add_wide, spot_mask, stencil
from waterbg.background.noise import learn_noise, noise_groups, starting_noise
from waterbg.background.rays import column_middles, make_rays, trace_point, trace_row
from waterbg.background.scan import walk
from waterbg.background.surface import fit_surface
from waterbg.background.table import PER_BIN, _convolve, curve, denoise, fill_gaps, pooled
from waterbg.background.tiles import TILE, TileGrid, reject_tiles, scaled_ratio
from waterbg.errors import GeometryError, UsageError
from waterbg.integrate.rings import peak_mask
from waterbg.settings import parse_polarisation

# -- rays ------------------------------------------------------------------------------------------------------------


def test_radius_and_factor_of_a_row_are_those_of_its_pixels():
    det = detector()
    rays = make_rays(det, CLEN, (0.11, -0.07))
    r, g = np.empty(400, np.float32), np.empty(400, np.float32)
    trace_row(rays.panel[1], 37, column_middles(400), rays.length, rays.polarisation, r, g)
    x, y, panel = middles(det)
    row = (panel == 1) & (np.abs(y - (det.panels[1].corner_y + 37.5)) < 1e-6)
    shift = np.array([0.11e-3, -0.07e-3]) / 2e-4
    np.testing.assert_allclose(r, np.hypot(x[row] + shift[0], y[row] + shift[1]), atol=2e-4)
    np.testing.assert_allclose(g, scattering(x[row] + shift[0], y[row] + shift[1]), rtol=1e-5)
    _, _, r_point, g_point = trace_point(rays.panel[1], 12.5, 37.5, rays.length, rays.polarisation)
    assert (r_point, g_point) == pytest.approx((r[12], g[12]), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("horiz", (1, 0, 0)),
        ("vert", (0, 0, 1)),
        ("none", (0, 0, 0)),
        ("horiz50", (0.5, 0, 0.5)),
        ("90deg", (0, 0, 1)),
        ("45deg", (0.5, 1, 0.5)),
        ("0deg70", (0.7, 0, 0.3)),
    ],
)
def test_polarisation_is_read_as_crystfel_reads_it(text, expected):
    np.testing.assert_allclose(parse_polarisation(text), expected, atol=1e-12)


@pytest.mark.parametrize("text", ["", "diag", "horiz120", "deg", "45", "horiz-3"])
def test_a_polarisation_crystfel_does_not_know_is_refused(text):
    with pytest.raises(UsageError, match=r"none, horiz, vert or <angle>deg is needed"):
        parse_polarisation(text)


def test_without_a_camera_length_there_are_no_rays():
    with pytest.raises(GeometryError, match="camera length of this event is not known"):
        make_rays(detector(), float("nan"))


def test_a_panel_behind_the_sample_is_named():
    with pytest.raises(GeometryError, match=r"panel p0 reaches behind the sample \(camera length -0.05 m\)"):
        make_rays(detector(), -0.05)


# -- masks -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), inner=st.sampled_from([1.0, 2.0, 3.0, 3.5, 4.0]))
def test_peak_discs_are_counted_as_the_rings_count_them(seed, inner):
    rng = np.random.default_rng(seed)
    world = make_world(lambda x, y, panel: 0 * x, seed=3, n_spots=2, noise=False)
    det = world.frame.detector
    spots = np.repeat(world.scene.spots, 20)
    spots["panel"] = rng.integers(-1, 2, len(spots))
    spots["fs"], spots["ss"] = rng.uniform(8, 390, len(spots)), rng.uniform(8, 60, len(spots))
    bad = (rng.random(det.n_pixels) < 0.01).astype(np.uint8)
    flags = spot_mask(bad, det, spots["panel"], spots["fs"], spots["ss"], inner)
    count = peak_mask(spots, det.shapes, det.offsets, inner)
    np.testing.assert_array_equal(flags & BAD, bad)
    np.testing.assert_array_equal((flags & ONE > 0).astype(int) + (flags & TWO > 0), count)


def test_the_wide_mask_is_round_and_stays_on_its_panel():
    det = detector()
    flags = np.zeros(det.n_pixels, np.uint8)
    places = np.array([0, 1, -1]), np.array([50.2, 399.9, 5.0]), np.array([199.5, 0.1, 5.0])
    painted = add_wide(flags, det, *places, 6.5)
    for p, (fs, ss) in enumerate([(50.2, 199.5), (399.9, 0.1)]):
        j, i = np.mgrid[0:200, 0:400]
        inside = (i + 0.5 - fs) ** 2 + (j + 0.5 - ss) ** 2 <= 6.5**2
        np.testing.assert_array_equal(flags[p * 80000 : (p + 1) * 80000].reshape(200, 400) == WIDE, inside)
    assert painted == np.count_nonzero(flags)
    assert add_wide(flags, det, *places, 6.5) == 0


def test_the_stencil_is_crystfels_disc_and_ring():
    peak, ring = stencil((3.0, 5.0, 7.0))
    assert (len(peak), len(ring)) == (29, 80)
    assert (peak**2).sum(axis=1).max() <= 9
    assert set((ring**2).sum(axis=1)) <= set(range(25, 50))


# -- tables ----------------------------------------------------------------------------------------------------------


def value(table, r):
    u = r * PER_BIN
    k = np.minimum(u.astype(int), table.shape[1] - 1)
    return table[0, k] + table[1, k] * u


def test_the_curve_keeps_the_means_of_its_bins_through_a_sharp_ring():
    r = np.linspace(0, 200, 200 * 64, endpoint=False) + 1 / 128
    truth = 10 + 100 * np.exp(-0.5 * ((r - 90.3) / 1.8) ** 2)
    means = truth.reshape(200, 64).mean(axis=1)
    table = curve(means)
    np.testing.assert_allclose(value(table, r).reshape(200, 64).mean(axis=1), means, rtol=0.01)
    assert np.abs(value(table, r) - truth).max() < 1.2  # interpolating the means is wrong by 5 at the top


def test_a_curve_is_never_negative():
    assert value(curve(np.array([0, 0, 50.0, 0, 0])), np.linspace(0, 4.99, 100)).min() >= 0


def test_noise_is_taken_out_of_a_profile_and_rings_are_not():
    rng = np.random.default_rng(4)
    r = np.arange(600) + 0.5
    smooth = 10 + 20 * np.exp(-0.5 * ((r - 250) / 40) ** 2)
    rings = smooth + 80 * np.exp(-0.5 * ((r - 400) / 1.8) ** 2)
    for truth, most in ((smooth, 0.4), (rings, 0.6)):
        z = []
        for _ in range(20):
            counts = rng.poisson(truth * 800)
            z.append((denoise(counts / 800, np.maximum(counts, 1) / 800**2) - truth) / np.sqrt(truth / 800))
        z = np.array(z)
        assert np.sqrt((z**2).mean()) < most
        assert np.abs(z.mean(axis=0)).max() < 1.0


def test_a_profile_of_nothing_stays_nothing():
    np.testing.assert_array_equal(denoise(np.zeros(50), np.full(50, np.inf)), np.zeros(50))


def test_gaps_are_bridged_and_few_counts_are_pooled():
    np.testing.assert_allclose(fill_gaps(np.array([1.0, 9, 9, 4]), np.array([1.0, 0, 0, 1])), [1, 2, 3, 4])
    np.testing.assert_array_equal(fill_gaps(np.array([5.0, 6]), np.zeros(2)), [0, 0])
    top, bottom = np.full(40, 3.0), np.full(40, 1.5)
    np.testing.assert_allclose(pooled(top, bottom, 30), 2)
    assert np.isnan(pooled(np.zeros(5), np.ones(5), 1)).all()


# -- tiles -----------------------------------------------------------------------------------------------------------


def test_a_map_without_structure_is_averaged_far_and_an_edge_is_kept():
    rng = np.random.default_rng(6)
    grid = TileGrid.of(np.array([[512, 512]]))
    bottom = np.full(grid.n_tiles, 640.0, np.float32)
    top = rng.poisson(640, grid.n_tiles).astype(np.float32)
    ratio, fine = scaled_ratio(grid, top, bottom, 1.0, bottom)
    # 14 px of Gaussian alone would leave 0.7 %
    assert ratio.std() < 0.003
    assert np.abs(fine).max() < 0.02
    shape = np.where(np.arange(64)[None, :] < 30, 1.0, 0.6) * np.ones((64, 1))
    top = rng.poisson(640 * shape.ravel()).astype(np.float32)
    ratio, fine = scaled_ratio(grid, top, bottom, 1.0, bottom)
    ratio = ratio.reshape(64, 64)
    assert abs(ratio[:, :24].mean() - 1) < 0.01
    assert abs(ratio[:, 36:].mean() - 0.6) < 0.01
    assert np.abs(fine.reshape(64, 64)[:, 28:32]).max() > 0.04


def test_panels_do_not_mix():
    grid = TileGrid.of(np.array([[64, 80], [40, 64]]))
    bottom = np.full(grid.n_tiles, 5000.0, np.float32)
    top = bottom * np.where(np.arange(grid.n_tiles) < grid.offsets[1], 0.5, 2.0).astype(np.float32)
    ratio, _ = scaled_ratio(grid, top, bottom, 1.0, bottom)
    np.testing.assert_allclose(ratio, np.where(np.arange(grid.n_tiles) < grid.offsets[1], 0.5, 2.0), rtol=1e-4)


def test_a_panel_without_counts_takes_the_detectors_ratio():
    grid = TileGrid.of(np.array([[64, 64], [64, 64]]))
    bottom = np.where(np.arange(grid.n_tiles) < grid.offsets[1], 100.0, 0.0).astype(np.float32)
    ratio, _ = scaled_ratio(grid, 1.5 * bottom, bottom, 1.0, bottom)
    np.testing.assert_allclose(ratio, 1.5, rtol=1e-4)


def test_tiles_that_stick_out_are_emptied():
    rng = np.random.default_rng(7)
    grid = TileGrid.of(np.array([[256, 256]]))
    bottom = np.full(grid.n_tiles, 2000.0, np.float32)
    top = rng.poisson(2000, grid.n_tiles).astype(np.float32)
    top[[100, 333, 777]] *= 1.4
    assert reject_tiles(grid, top, bottom, np.full_like(top, 64), (1.0, 0.0)) == 3
    assert (top[[100, 333, 777]] == 0).all()


@pytest.mark.parametrize(
    ("level", "read", "gain"),
    [(0.003, 0.0, 1.0), (0.03, 0.0, 1.0), (0.2, 0.3, 1.0), (0.5, 1.0, 1.0), (1.0, 0.0, 10.0), (10.0, 0.0, 1.0)],
)
def test_chance_empties_no_tile_whatever_the_noise_of_the_detector(level, read, gain):
    rng = np.random.default_rng(8)
    grid = TileGrid.of(np.array([[800, 800]]))
    pixels = np.full(grid.n_tiles, 22, np.float32)  # a third of the rows
    bottom = level * pixels
    counts = gain * rng.poisson(bottom / gain) + read * np.sqrt(pixels) * rng.normal(size=grid.n_tiles)
    top = counts.astype(np.float32)
    assert reject_tiles(grid, top, bottom, pixels, (gain, read**2)) < 0.001 * grid.n_tiles
    assert top.sum() / (level * pixels.sum()) == pytest.approx(1, abs=0.05)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    level=st.sampled_from([3.0, 40.0, 2000.0]),
    noise=st.sampled_from([(1.0, 0.0), (1.0, 0.2), (3.0, 0.0)]),
)
def test_tiles_are_compared_with_the_median_around_them(seed, level, noise):
    rng = np.random.default_rng(seed)
    grid = TileGrid.of(np.array([[64, 48]]))
    bottom = np.where(rng.random(grid.n_tiles) < 0.7, level, 0).astype(np.float32)
    top = (rng.poisson(level, grid.n_tiles) * rng.choice([0.6, 1, 1, 1.5], grid.n_tiles) * (bottom > 0)).astype(
        np.float32
    )
    pixels = np.full(grid.n_tiles, 64, np.float32)
    ratio = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0).reshape(grid.shapes[0])
    gain, read = noise[0], 64 * noise[1]
    wrong = np.zeros(ratio.shape, bool)
    for j, i in zip(*np.nonzero(np.isfinite(ratio)), strict=True):
        n, s = top.reshape(ratio.shape)[j, i], level
        if abs(n - s) < 0.045 * s or abs(n - s) < 3 * np.sqrt(gain * min(n, s) + read):
            continue
        middle = np.nanmedian(ratio[max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3])
        limit = max(0.06 * middle, (4 * np.sqrt(gain * (middle * s + gain) + read) + 3.2 * gain) / s)
        wrong[j, i] = abs(ratio[j, i] - middle) > limit
    reject_tiles(grid, top, bottom, pixels, noise)
    np.testing.assert_array_equal(bottom == 0, wrong.ravel() | np.isnan(ratio.ravel()))


# -- walk ------------------------------------------------------------------------------------------------------------


def plain_walk(frame, flags, rays, grid, means, ratio, noise):
    """Slow twin of a walk over all rows: NumPy, double precision."""
    det = frame.detector
    table = curve(means).astype(float)
    sums = {name: np.zeros(grid.n_tiles) for name in "nsvk"}
    radial_n, radial_s = np.zeros(rays.n_bins), np.zeros(rays.n_bins)
    for p, (n_ss, n_fs) in enumerate(det.shapes):
        ss, fs = np.mgrid[0:n_ss, 0:n_fs] + 0.5
        ray = rays.panel[p]
        x, y, z = (ray[i] + fs * ray[3 + i] + ss * ray[6 + i] for i in range(3))
        r = rays.length * np.hypot(x, y) / z
        s2 = x * x + y * y + z * z
        a, b, c = rays.polarisation
        g = (1 - (a * x * x + b * x * y + c * y * y) / s2) * (rays.length**2 / s2) ** 1.5
        tiles = ratio[grid.offsets[p] : grid.offsets[p + 1]].reshape(grid.shapes[p]).astype(float)
        u = np.clip(fs / TILE - 0.5, 0, tiles.shape[1] - 1)
        v = np.clip(ss / TILE - 0.5, 0, tiles.shape[0] - 1)
        i, j = np.minimum(u.astype(int), tiles.shape[1] - 2), np.minimum(v.astype(int), tiles.shape[0] - 2)
        u, v = u - i, v - j
        top = tiles[j, i] * (1 - u) + tiles[j, i + 1] * u
        bottom = tiles[j + 1, i] * (1 - u) + tiles[j + 1, i + 1] * u
        expected = value(table, r) * g * (top * (1 - v) + bottom * v)
        n = frame.data[det.offsets[p] : det.offsets[p + 1]].reshape(n_ss, n_fs) / frame.adu_per_photon[p]
        reach = 4.3 * np.sqrt(noise[0] * expected + noise[1])
        flag = flags[det.offsets[p] : det.offsets[p + 1]].reshape(n_ss, n_fs)
        clean = ((flag & (BAD | WIDE)) == 0) & (n <= expected + reach + 3.2 * noise[0]) & (n >= expected - reach)
        tile = grid.offsets[p] + (ss.astype(int) // TILE) * grid.shapes[p][1] + fs.astype(int) // TILE
        for name, values in (("n", n), ("s", expected), ("v", (n - expected) ** 2), ("k", np.ones_like(n))):
            sums[name] += np.bincount(tile[clean], values[clean], grid.n_tiles)
        radial_n += np.bincount(r[clean].astype(int), n[clean], rays.n_bins)
        radial_s += np.bincount(r[clean].astype(int), expected[clean], rays.n_bins)
    return sums, radial_n, radial_s


def test_the_walk_over_all_rows_adds_what_its_slow_twin_adds():
    world = make_world(water_ring, seed=31, det=detector(2, 2, (93, 150), adu=2.5), n_spots=20, intensity=400.0)
    frame, det = world.frame, world.frame.detector
    spots = world.scene.spots
    rng = np.random.default_rng(31)
    frame.bad[rng.integers(0, det.n_pixels, 300)] = 1
    flags = spot_mask(frame.bad, det, spots["panel"], spots["fs"], spots["ss"], 3)
    add_wide(flags, det, spots["panel"], spots["fs"], spots["ss"], 6.5)
    rays, grid = make_rays(det, CLEN, (0.03, 0.05)), TileGrid.of(det.shapes)
    means = water_ring(np.arange(rays.n_bins) + 0.5, 0.0) / scattering(np.arange(rays.n_bins) + 0.5, 0.0)
    ratio = rng.uniform(0.9, 1.1, grid.n_tiles).astype(np.float32)
    noise = (0.9, 0.3)
    fast = walk(Pixels.of(frame, flags), rays, grid, curve(means), ratio, noise)
    slow, radial_n, radial_s = plain_walk(frame, flags, rays, grid, means, ratio, noise)
    # single precision may move a pixel over a limit: one in ten thousand
    assert np.abs(fast.tile_k - slow["k"]).sum() <= 1e-4 * slow["k"].sum()
    for name in "nsv":
        np.testing.assert_allclose(getattr(fast, f"tile_{name}"), slow[name], rtol=2e-3, atol=60 if name == "v" else 12)
    np.testing.assert_allclose(fast.radial_n.sum(), radial_n.sum(), rtol=1e-4)
    np.testing.assert_allclose(fast.radial_s, radial_s, rtol=0.02, atol=40)


@pytest.mark.parametrize("step", [2, 3, 4, 8])
def test_skipping_rows_changes_sums_but_not_ratios(step):
    world = make_world(water_ring, seed=32, n_spots=0)
    det = world.frame.detector
    rays, grid = make_rays(det, CLEN), TileGrid.of(det.shapes)
    fixed = Pixels.of(world.frame, world.frame.bad), rays, grid
    means = water_ring(np.arange(rays.n_bins) + 0.5, 0.0) / scattering(np.arange(rays.n_bins) + 0.5, 0.0)
    sums = walk(*fixed, curve(means), np.ones(grid.n_tiles, np.float32), (1.0, 0.0), step=step)
    assert sums.tile_k.sum() == pytest.approx(det.n_pixels / step, rel=0.02)
    assert sums.tile_n.sum() / sums.tile_s.sum() == pytest.approx(1, abs=0.003)
    assert sums.radial_n.sum() / sums.radial_s.sum() == pytest.approx(1, abs=0.003)


# -- surface and noise -----------------------------------------------------------------------------------------------


def surface_of(world, noise=(1.0, 0.0)):
    det, spots = world.frame.detector, world.scene.spots
    flags = spot_mask(world.frame.bad, det, spots["panel"], spots["fs"], spots["ss"], 3)
    return fit_surface(world.frame, flags, make_rays(det, CLEN), noise), flags


def test_a_surface_says_how_much_it_has_seen():
    surface, _ = surface_of(make_world(water_ring, seed=33, n_spots=0))
    assert surface.usable
    assert surface.clean > 0.99 * surface.rays.panel.shape[0] * 80000
    assert not surface_of(make_world(lambda x, y, p: 0 * x, seed=34, n_spots=0))[0].usable


def test_boxes_of_a_surface_end_with_the_panel():
    surface, _ = surface_of(make_world(water_ring, seed=35, n_spots=0))
    shapes = np.array([[200, 400], [200, 400]])
    expected, factor = surface.boxes(np.array([0, -1]), np.array([2.3, 5.0]), np.array([100.0, 5.0]), 7, shapes)
    assert np.isnan(expected[0, :, :5]).all()
    assert np.isfinite(expected[0, :, 5:]).all()
    assert np.isnan(expected[1]).all()
    assert factor[1] == 1


@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 0.0), (1.0, 0.6), (0.7, 0.0)])
def test_gain_and_read_noise_are_learnt_from_the_scatter_of_pixels(gain, read_noise):
    det = detector(adu=10.0)
    world = make_world(
        lambda x, y, p: water_ring(x, y, level=6.0),
        seed=36,
        det=det,
        n_spots=0,
        gain=[gain, gain],
        read_noise=read_noise,
    )
    rays = make_rays(det, CLEN)
    start = starting_noise(world.frame, world.frame.bad, rays)
    assert start.read2 < read_noise**2 + 1.5
    surface, _ = surface_of(world, (start.gain, start.read2))
    learnt = learn_noise(noise_groups(surface))
    middle = 10.0
    assert learnt.gain * middle + learnt.read2 == pytest.approx(gain * middle + read_noise**2, rel=0.04)
    assert learnt.gain == pytest.approx(gain, abs=0.07)


def test_noise_of_nothing_is_that_of_counted_photons():
    learnt = learn_noise(np.zeros((0, 3)))
    assert (learnt.gain, learnt.read2) == (1.0, 0.0)


def test_where_hardly_a_photon_is_counted_the_gain_is_still_that_of_photons():
    """Few counts scatter more than their number says, and those that came out low are not the best known."""
    rng, levels = np.random.default_rng(38), np.linspace(0.01, 0.04, 24)
    gains = []
    for _ in range(20):
        counts = rng.poisson(np.tile(levels[:, None], 3000))
        groups = np.stack([levels, ((counts - levels[:, None]) ** 2).mean(axis=1), np.full(24, 3000.0)], axis=1)
        gains.append(learn_noise(groups).gain)
        blank = np.tile([1e-6, 1e-12, 9.0], (3, 1))  # in a shadow
        assert learn_noise(np.concatenate([groups, blank])).gain == pytest.approx(gains[-1], abs=0.02)
    assert np.mean(gains) == pytest.approx(1, abs=0.05)


def test_levels_that_a_background_was_taken_off_do_not_say_how_pixels_scatter():
    """They scatter by the light that was there, and what is left of it is no measure of that."""
    rng, light = np.random.default_rng(39), np.linspace(5, 35, 24)
    for _ in range(20):
        left = -0.05 * light + 0.3 * rng.normal(size=24)
        assert learn_noise(np.stack([left, light, np.full(24, 5000.0)], axis=1), lowest=-2.0).gain < 1.5
        left += 4  # the same with an offset
        noise = learn_noise(np.stack([left, light, np.full(24, 5000.0)], axis=1))
        assert 0.3 < noise.gain < 1.5
        assert noise.variance(float(left.mean())) == pytest.approx(light.mean(), rel=0.5)


def test_a_surface_is_exact_without_noise():
    """Where counts are the expected ones, the model must be them: nothing but interpolation is left."""
    world = make_world(water_ring, seed=37, n_spots=0, noise=False)
    surface, _ = surface_of(world)
    rng = np.random.default_rng(1)
    panel = rng.integers(0, 2, 500).astype(np.int32)
    fs, ss = rng.uniform(5, 395, 500), rng.uniform(5, 195, 500)
    expected, _ = surface.boxes(panel, fs, ss, 0, world.frame.detector.shapes)
    at = panel * 80000 + ss.astype(int) * 400 + fs.astype(int)
    far = np.hypot(*[c[at] for c in middles(world.frame.detector)[:2]]) > 15
    np.testing.assert_allclose(expected[far, 0, 0], world.mean[at][far], rtol=0.01)
    assert abs((expected[far, 0, 0] / world.mean[at][far] - 1).mean()) < 0.001


def test_the_length_of_a_tilted_detector_is_that_of_its_middle():
    assert make_rays(detector(), CLEN).length == pytest.approx(LENGTH)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 200])
@pytest.mark.parametrize("half", [0, 1, 9, 40])
def test_convolving_is_what_numpy_does_however_short_the_profile(n, half):
    rng = np.random.default_rng(n)
    values, kernel = rng.random(n), rng.random(half + 1)
    kernel = np.concatenate([kernel[:0:-1], kernel])
    np.testing.assert_allclose(_convolve(values, kernel), np.convolve(values, kernel)[half : half + n], rtol=1e-12)


def test_rows_between_the_steps_are_walked_near_the_beam_alone():
    world = make_world(water_ring, seed=32, n_spots=0)
    det = world.frame.detector
    rays, grid = make_rays(det, CLEN), TileGrid.of(det.shapes)
    fixed = Pixels.of(world.frame, world.frame.bad), rays, grid
    means = water_ring(np.arange(rays.n_bins) + 0.5, 0.0) / scattering(np.arange(rays.n_bins) + 0.5, 0.0)
    model = curve(means), np.ones(grid.n_tiles, np.float32), (1.0, 0.0)
    every = np.full(rays.n_bins, 8, np.uint8)
    every[:60] = 1
    near = walk(*fixed, *model, step=8, every=every)
    whole, spare = walk(*fixed, *model), walk(*fixed, *model, step=8)
    for name in ("n", "s", "k"):
        bins = f"radial_{name}"
        np.testing.assert_allclose(getattr(near, bins)[:48], getattr(whole, bins)[:48], rtol=1e-6)
        np.testing.assert_allclose(getattr(near, bins)[80:], getattr(spare, bins)[80:], rtol=1e-6)
    assert whole.radial_k[:48].sum() > 5 * spare.radial_k[:48].sum()
    x, y, _ = middles(det)
    assert np.hypot(x, y).max() > 100
    assert spare.tile_k.sum() < near.tile_k.sum() < whole.tile_k.sum()


@pytest.mark.parametrize(
    ("first", "last", "most"), [(-30, -20, 0.01), (-20, -14, 0.04), (14, 20, 0.25), (20, 30, 0.05)]
)
def test_a_sharp_edge_does_not_reach_as_far_as_the_smoothing(first, last, most):
    """Of what lets a quarter through: by the widths of 14 px alone it is three times that much off."""

    def covered(x, y, panel=None):
        return water_ring(x, y) * np.where(x > 60.5, 0.25, 1.0)

    world = make_world(covered, seed=38, n_spots=0)
    surface, _ = surface_of(world)
    x, y, _ = middles(world.frame.detector)
    beside = (x - 60.5 >= first) & (x - 60.5 < last) & (np.hypot(x, y) > 30)
    off = surface.everywhere(world.frame.detector.shapes)[beside] / world.mean[beside] - 1
    assert abs(off.mean()) < most
