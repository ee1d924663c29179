"""Pixels that are wrong in all frames of a run: found, whatever they show, and nothing else with them."""

import numpy as np
import pytest

from tests.background.test_pieces import surface_of
from tests.background.worlds import detector, make_world, water_ring
from waterbg.background.faulty import (
    BESIDE,
    Faults,
    _compare_lines,
    _stretches,
    deviations,
    pixels_of,
    runs_of,
    text_of,
)
from waterbg.background.masks import WIDE

SHAPES = np.array([[100, 90], [80, 70]])
N_PIXELS = 100 * 90 + 80 * 70
ONE = detector(rows=1, shape=(160, 240))


def drawn(rng, unseen=0.1, scale=1.0):
    """What a frame without faults gives, a tenth of its pixels under reflections."""
    found = np.clip(rng.normal(0, 31 * scale, N_PIXELS), -124, 124).astype(np.int8)
    found[rng.random(N_PIXELS) < unseen] = -128
    return found


def changing(frames):
    """With counts that are not the same in all frames."""
    for number, found in enumerate(frames):
        yield np.stack([found, np.full_like(found, number)])


def faults_of(frames):
    faults = Faults(SHAPES)
    for found in changing(frames):
        faults.add(found)
    return faults.pixels()


def in_frames(spoil, n=6, level=water_ring, read_noise=0.0):
    """Pixels that are found in so many frames of one panel, each spoilt by ``spoil(counts (ss, fs), rng)``."""
    faults = Faults(ONE.shapes)
    for seed in range(n):
        world = make_world(
            level, seed=seed, det=ONE, n_spots=0, read_noise=read_noise,
            spoil=lambda counts, w: spoil(counts.reshape(160, 240), w.rng),
        )  # fmt: skip
        surface, flags = surface_of(world, (1.0, read_noise**2))
        faults.add(deviations(world.frame, flags, surface))
    wrong = np.zeros(160 * 240, bool)
    wrong[faults.pixels()] = True
    return wrong.reshape(160, 240)


def test_frames_without_faults_have_none():
    rng = np.random.default_rng(1)
    assert not len(faults_of(drawn(rng) for _ in range(24)))
    assert not in_frames(lambda counts, rng: None).any()
    assert not in_frames(lambda counts, rng: None, level=lambda x, y, panel: 0.1 + 0 * x).any()


def test_dead_stuck_and_warm_pixels_are_found_and_nothing_else():
    def spoil(counts, rng):
        counts[30, 40] = 0
        counts[60:62, 200] = 130
        counts[100, 100] += rng.poisson(25)

    wrong = in_frames(spoil)
    assert {tuple(map(int, at)) for at in np.argwhere(wrong)} == {(30, 40), (60, 200), (61, 200), (100, 100)}


@pytest.mark.parametrize("kept", [0.0, 0.4, 2.0])
def test_columns_and_rows_that_count_too_little_or_too_much_are_found_whole(kept):
    def spoil(counts, rng):
        for line in (counts[:, 50], counts[:, 51], counts[70]):
            line[:] = rng.binomial(line.astype(int), kept) if kept < 1 else line + rng.permutation(line)

    wrong = in_frames(spoil)
    assert wrong[:, 50:52].all()
    assert wrong[70].all()
    assert wrong.sum() == 2 * 160 + 240 - 2


@pytest.mark.parametrize("at", [0, 50, 237])
def test_lines_that_are_three_wide_are_found_also_at_the_edge(at):
    def spoil(counts, rng):
        counts[:, at : at + 3] = 0

    wrong = in_frames(spoil)
    assert wrong[:, at : at + 3].all()
    assert wrong.sum() <= 3 * 160 + 32  # they pull at the surface in the corner opposite


def test_columns_that_are_not_quite_alike_are_no_faults_where_it_is_bright():
    gain = np.random.default_rng(7).normal(1, 0.05, 240)

    def bright(x, y, panel):
        return 2 + 600 * np.exp(-0.5 * (np.hypot(x, y) / 40) ** 2)

    wrong = in_frames(lambda counts, rng: np.multiply(counts, gain, out=counts), level=bright, n=10)
    # of columns that are off by more than a tenth, a pixel where it is brightest may be
    assert wrong.sum() <= 2
    assert (np.abs(gain[wrong.any(axis=0)] - 1) > 0.1).all()


@pytest.mark.parametrize("size", [3, 5, 8])  # one that holds a whole tile is found frame by frame
@pytest.mark.parametrize("read_noise", [0.0, 0.4])
def test_clusters_of_dead_pixels_are_found_whole_and_nothing_else(size, read_noise):
    dead = np.zeros((160, 240), bool)
    for ss, fs in ((20, 30), (70, 130), (130, 200)):
        dead[ss : ss + size, fs : fs + size] = True

    def spoil(counts, rng):
        counts[dead] = rng.normal(0, read_noise, dead.sum())

    np.testing.assert_array_equal(in_frames(spoil, read_noise=read_noise), dead)


@pytest.mark.parametrize("size", [4, 7])
def test_clusters_of_stuck_pixels_are_found_whole(size):
    def spoil(counts, rng):
        counts[70 : 70 + size, 130 : 130 + size] = 60

    wrong = in_frames(spoil)
    assert wrong[70 : 70 + size, 130 : 130 + size].all()
    assert wrong.sum() == size**2


def test_a_dead_pixel_is_seen_under_spots_too_but_light_there_is_not():
    world = make_world(water_ring, det=ONE, n_spots=0, spoil=lambda counts, w: counts.__setitem__(slice(2000, 2003), 0))
    surface, flags = surface_of(world)
    flags[1990:2010] = WIDE
    off, shows = deviations(world.frame, flags, surface)
    assert (off[2000:2003] < -60).all()
    assert not shows[2000:2003].any()
    lit = [*range(1990, 2000), *range(2003, 2010)]
    assert (off[lit] == -128).all()
    assert (shows[lit] > 0).all()


def test_no_photon_is_no_light_also_where_a_trace_of_a_pedestal_was_taken_off():
    world = make_world(
        lambda x, y, panel: 0.1 + 0 * x, det=ONE, n_spots=0, spoil=lambda counts, w: np.add(counts, 0.01, out=counts)
    )  # fmt: skip
    surface, flags = surface_of(world)
    _, shows = deviations(world.frame, flags, surface)
    np.testing.assert_array_equal(shows > 0, world.frame.data > 0.5)


def test_a_region_that_shows_the_same_in_all_frames_is_wrong_whatever_it_shows():
    rng = np.random.default_rng(8)
    same, once = Faults(SHAPES), Faults(SHAPES)
    for number, found in enumerate(changing(drawn(rng, unseen=0) for _ in range(6))):
        found[:, :9000].reshape(2, 100, 90)[:, 20:42, 30:50] = np.array([93, 17])[:, None, None]
        same.add(found)
        found[1] += number == 3
        once.add(found)
    assert len(same.pixels()) == 22 * 20
    assert not len(once.pixels())


def test_a_stuck_pixel_that_spots_hide_is_found_in_a_cluster_and_only_there():
    rng = np.random.default_rng(9)
    faults = Faults(SHAPES)
    for found in changing(drawn(rng, unseen=0) for _ in range(6)):
        panel = found[:, :9000].reshape(2, 100, 90)
        panel[:, 20:24, 30:34] = np.array([93, 17])[:, None, None]
        panel[0, 20:22, 30:34] = panel[0, 70, 70] = -128
        panel[1, 70, 70] = 17
        faults.add(found)
    assert {(at // 90, at % 90) for at in faults.pixels().tolist()} == {
        (j, i) for j in range(20, 24) for i in range(30, 34)
    }


def test_a_column_is_found_where_its_single_pixels_say_too_little():
    def spoil(counts, rng):
        counts[:, 50] = 0

    wrong = in_frames(spoil, level=lambda x, y, panel: 0.7 + 0 * x)
    assert wrong[:, 50].all()
    assert wrong.sum() == 160


def test_what_is_not_seen_of_a_column_is_wrong_like_what_is_seen():
    rng = np.random.default_rng(2)
    frames = [drawn(rng) for _ in range(6)]
    for found in frames:
        panel = found[:9000].reshape(100, 90)
        panel[:, 33] = -60
        panel[30:66, 20:50] = -128
    (at,) = np.unique(faults_of(frames) % 90)
    assert at == 33
    assert len(faults_of(frames)) == 100


def test_what_is_bright_in_one_frame_is_no_fault_of_the_pixel():
    rng = np.random.default_rng(3)
    frames = [drawn(rng) for _ in range(6)]
    for found in frames:
        found[rng.random(N_PIXELS) < 0.01] = 124
    assert len(faults_of(frames)) < 4


def test_two_frames_say_nothing():
    frames = np.full((2, N_PIXELS), 0, np.int8)
    frames[:, 500] = 124
    assert not len(faults_of(frames))
    assert len(faults_of([*frames, frames[0]])) == 1


def test_what_a_whole_region_has_is_no_fault_of_its_pixels():
    rng = np.random.default_rng(4)
    frames = [drawn(rng).astype(int) for _ in range(6)]
    for found in frames:
        panel = found[:9000].reshape(100, 90)
        panel[20:60, 30:70] += np.where(panel[20:60, 30:70] == -128, 0, 93)
    assert not len(faults_of(np.clip(found, -128, 124).astype(np.int8) for found in frames))


def test_an_uneven_detector_in_bright_light_is_not_full_of_faults():
    rng = np.random.default_rng(5)
    sensitivity = rng.normal(1, 0.03, (160, 240))

    def spoil(counts, rng):
        counts[:] = np.rint(counts * sensitivity)
        counts[30, 40] *= 2

    assert not in_frames(spoil, n=8, level=lambda x, y, panel: 2000 + 0 * x).any()
    wrong = in_frames(spoil, n=8, level=lambda x, y, panel: 200 + 0 * x)
    assert wrong[30, 40]
    assert wrong.sum() == 1


def seen_in_part(seed, beside, row):
    """Frames of which a panel's rows show some pixels alone: these deviations, and others in row 40; NaN: not seen."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        found = drawn(rng, unseen=0)
        panel = found[:9000].reshape(100, 90)
        panel[:] = -128
        for rows, off in ((slice(0, 40), beside), (slice(41, 100), beside), (40, row)):
            seen = np.flatnonzero(np.isfinite(off))
            noise = rng.normal(0, 31, panel[rows, seen].shape)
            panel[rows, seen] = np.clip(np.array(off)[seen] + noise, -124, 124)
        yield found


def test_a_shadow_that_crosses_a_row_is_no_fault_of_the_row():
    lit = [0.0] * 9
    assert len(faults_of(seen_in_part(10, [*lit, *[np.nan] * 8], [*lit, *[-70.0] * 8]))) <= 8


def test_a_row_that_shows_what_the_surface_says_is_no_fault_where_those_beside_it_do_not():
    lit, dark = [0.0] * 12, [-60.0] * 12
    assert not len(faults_of(seen_in_part(11, dark, lit)))
    assert len(faults_of(seen_in_part(11, lit, dark))) == 90


@pytest.mark.parametrize("n_lines", [5, 9, 40])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_a_line_is_compared_with_the_middle_of_those_around_it_that_are_known(n_lines, unknown):
    rng = np.random.default_rng(n_lines)
    stretches = _stretches(70, n_lines)
    stretches["total"] = rng.normal(0, 9, stretches.shape)
    stretches["n"] = np.where(rng.random(stretches.shape) < unknown, 3, 25)
    _compare_lines(stretches)
    sums = np.where(stretches["n"] >= 8, stretches["total"] / 5, np.nan)
    for here, expected in zip(stretches["off"], sums, strict=True):
        for i in range(n_lines):
            first = max(min(i - BESIDE, n_lines - 2 * BESIDE - 1), 0)
            around = expected[first : first + 2 * BESIDE + 1]
            known = around[np.isfinite(around)]
            off = expected[i] - np.median(known) if len(known) >= 3 else np.nan
            np.testing.assert_allclose(here[i], off, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("apart", "expected"), [(16, True), (8, False)])
def test_where_a_tenth_of_the_pixels_is_wrong_it_is_the_model(apart, expected):
    rng = np.random.default_rng(6)
    frames = [drawn(rng, unseen=0) for _ in range(6)]
    for found in frames:
        found[:9000].reshape(100, 90)[:, ::apart] = 93
        found[9000:].reshape(80, 70)[:, ::apart] = 93
    assert (len(faults_of(frames)) > 0) is expected


def test_pixels_are_written_as_people_write_them():
    pixels = np.array([17, 40, 41, 42, 1003])
    assert text_of(pixels) == "17 40-42 1003"
    np.testing.assert_array_equal(pixels_of("17 40-42 1003"), pixels)
    assert text_of(pixels[:0]) == ""
    assert not len(pixels_of(""))


@pytest.mark.parametrize("text", ["-3", "5-3", "3 2", "3 3", "1-2-3", "x", "1.5", "3 1-2", "1-3 2"])
def test_other_texts_are_no_pixels(text):
    with pytest.raises(ValueError, match=r"no numbers of pixels|invalid literal"):
        runs_of(text)
