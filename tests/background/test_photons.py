"""What a photon adds to the variance, and when levels without light are certain to differ."""

from types import SimpleNamespace

import numpy as np
import pytest

from waterbg.background import Noise
from waterbg.background.photons import Photons, learn_photons, panel_groups
from waterbg.background.tiles import TileGrid

PANELS = 8


def groups(dark=0.0, gains=1.0, n_frames=6, pixels=4000, curved=0.0, read2=0.1, seed=3):
    """Frames of PANELS panels: six levels on each, with ``dark`` (n_frames, PANELS) more that is no light."""
    rng = np.random.default_rng(seed)
    dark, gains = np.broadcast_to(dark, (n_frames, PANELS)), np.broadcast_to(gains, PANELS)
    frames = []
    for f in range(n_frames):
        jet = rng.uniform(0.5, 3)
        rows = []
        for p in range(PANELS):
            light = jet * gains[p] * np.linspace(0.6, 1.6, 6) * (1 + p / PANELS)
            variance = (gains[p] * light + read2 + curved * light**2) * (1 + np.sqrt(2 / pixels) * rng.normal(size=6))
            rows.append(np.stack([light + dark[f, p], variance, np.full(6, pixels), np.full(6, p)], axis=1))
        frames.append(np.concatenate(rows))
    return frames


def drawn(scale, shape=(6, PANELS)):
    return scale * np.random.default_rng(5).normal(size=shape)


@pytest.mark.parametrize("scale", [0.2, 1.3, 30.0])
@pytest.mark.parametrize("shape", [(6, 1), (6, PANELS)], ids=["whole frames", "panels"])
def test_a_photon_adds_what_it_adds_whatever_the_level_without_light(scale, shape):
    found = learn_photons(groups(drawn(scale, shape)), PANELS)
    assert found.variance == pytest.approx([1.0] * PANELS, abs=0.06)
    assert found.drift == pytest.approx(scale, rel=0.5)


def test_panels_of_other_levels_without_light_in_all_frames_do_not_drift():
    found = learn_photons(groups(drawn(1.3, (1, PANELS))), PANELS)
    assert found.variance == pytest.approx([1.0] * PANELS, abs=0.06)
    assert found.drift < 0.06


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "world", [{}, {"gains": np.linspace(0.7, 1.4, PANELS)}, {"curved": 0.05}, {"n_frames": 1}, {"pixels": 150}]
)
def test_nothing_is_learnt_where_one_level_without_light_explains_all(seed, world):
    """Also with panels of other gains, or pixels of other gains, which scatter by the square of the level."""
    assert learn_photons(groups(seed=seed, **world), PANELS) == Photons()


def test_panels_that_drift_keep_their_gains():
    gains = np.linspace(0.7, 1.4, PANELS)
    found = learn_photons(groups(drawn(1.3), gains), PANELS)
    assert found.variance == pytest.approx(gains, abs=0.08)


def test_a_panel_that_never_counts_has_the_usual_gain():
    found = learn_photons([each[each[:, 3] != 2] for each in groups(drawn(1.3))], PANELS)
    assert len(found.variance) == PANELS
    assert found.variance[2] == pytest.approx(np.median(found.variance))


def test_frames_without_a_group_say_nothing():
    assert learn_photons([np.zeros((0, 4))] * 3, PANELS) == Photons()
    assert learn_photons([np.tile([1.0, 0.0, 100.0, 0.0], (6, 1))], 1) == Photons()


def test_groups_are_tiles_of_similar_level_in_the_profile_on_one_panel():
    grid = TileGrid.of(np.array([[64, 64], [16, 16], [48, 80]]))  # the second has too few tiles
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 65, grid.n_tiles).astype(np.float32) * (rng.random(grid.n_tiles) > 0.1)
    level, spread, ratio = rng.uniform(0.1, 5, (3, grid.n_tiles))
    sums = {"counts": (level + 0.3) * pixels, "expected": level * pixels, "scatter": spread * pixels}
    surface = SimpleNamespace(grid=grid, pixels=pixels, ratio=ratio, **sums)
    found = panel_groups(surface, -0.5)
    expected = []
    for p in (0, 2):
        tiles = [t for t in range(*grid.offsets[p : p + 2]) if pixels[t] > 0]
        tiles.sort(key=lambda t: level[t] / ratio[t])
        for g in range(6):
            some = [t for i, t in enumerate(tiles) if i * 6 // len(tiles) == g]
            n = sum(pixels[t] for t in some)
            mean, variance = (sum(values[t] * pixels[t] for t in some) / n for values in (level, spread))
            expected.append([mean - 0.2, variance, n, p])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_photons_add_what_the_background_says_unless_it_is_known_better():
    factor, panel = np.array([1.0, 0.8, 1.1]), np.array([0, 1, -1], np.int32)
    np.testing.assert_allclose(Noise(0.5).of_photons(factor, panel), 0.5 * factor)
    np.testing.assert_allclose(Noise(0.5, per_photon=(0.9, 1.2)).of_photons(factor, panel), [0.9, 1.2, 0.9])
    assert (Noise(0.5).light, Noise(0.5, per_photon=(0.9, 1.2, 1.0)).light) == (0.5, 1.0)
