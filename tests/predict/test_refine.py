"""Axes and shift below what a stream prints."""

import numpy as np
import pytest

from waterbg.predict import project, refine_crystal, refine_det_shift

from .worlds import CLEN, ENERGY, crystal_of, in_other_pixels, lattice, tiles

SHIFT = (0.0213487, -0.0335791)


def panels_of(detector, crystal):
    return detector.panel_numbers(crystal.panel_names)[crystal.reflections["panel"]]


def again(detector, crystal, axes, shift):
    rows = crystal.reflections
    return project(np.stack([rows[name] for name in "hkl"], axis=1), axes, detector, CLEN, ENERGY, shift)


def refined(detector, crystal, **changes):
    rows = changes.pop("rows", crystal.reflections)
    panels = changes.pop("panels", panels_of(detector, crystal))
    return refine_crystal(crystal.det_shift, rows, panels, crystal.axes, detector, CLEN, ENERGY)


@pytest.mark.parametrize(
    ("tiling", "length", "radius"),
    [((1, 1, 1500, 1500), 70, 0.004), ((4, 4, 400, 400), 70, 0.004), ((30, 30, 50, 50), 70, 0.004)],
    ids=["one panel", "16 panels", "900 panels"],
)
def test_shift_is_found_to_a_hundredth_of_its_rounding(tiling, length, radius):
    detector = tiles(*tiling)
    misses = printed_misses = n = 0
    for seed in range(6):
        crystal, truth = crystal_of(detector, lattice(seed, length), SHIFT, radius)
        axes, shift = refined(detector, crystal)
        assert shift == pytest.approx(SHIFT, abs=1e-4)  # 0.001 pixel
        n += len(truth)
        misses += in_other_pixels(again(detector, crystal, axes, shift), truth)
        printed_misses += in_other_pixels(again(detector, crystal, crystal.axes, crystal.det_shift), truth)
    assert n > 3000
    assert printed_misses > 0.002 * n
    assert misses <= 0.0005 * n


def test_a_shift_that_is_printed_as_nothing_is_nothing_where_the_positions_allow_it():
    detector = tiles(4, 4, 400, 400)
    for seed in range(3):
        crystal, truth = crystal_of(detector, lattice(seed), (0.0, 0.0))
        axes, shift = refined(detector, crystal)
        assert shift == (0.0, 0.0)
        assert in_other_pixels(again(detector, crystal, axes, shift), truth) == 0
        small, _ = crystal_of(detector, lattice(seed, 70), (0.00042, -0.00031))
        assert small.det_shift == (0.0, 0.0)
        assert refined(detector, small)[1] == pytest.approx((0.00042, -0.00031), abs=1e-4)


def test_axes_of_a_large_cell_are_found_below_their_rounding():
    detector = tiles(1, 1, 4000, 4000, pixel=7.5e-5)
    axes = lattice(5, 300)
    crystal, truth = crystal_of(detector, axes, SHIFT, 0.0006)
    found, shift = refined(detector, crystal)
    only_shift = refine_det_shift(
        crystal.det_shift, crystal.reflections, panels_of(detector, crystal), crystal.axes, detector, CLEN, ENERGY
    )
    assert len(truth) > 10000
    assert np.abs(found - crystal.axes).max() <= 0.51e-7  # no more than the rounding may be undone
    assert np.linalg.norm(found - axes) < 0.2 * np.linalg.norm(crystal.axes - axes)
    with_shift = in_other_pixels(again(detector, crystal, crystal.axes, only_shift), truth)
    assert in_other_pixels(again(detector, crystal, found, shift), truth) < 0.1 * with_shift


def test_nothing_is_changed_by_more_than_the_rounding():
    detector = tiles(1, 1, 1500, 1500)
    crystal, _ = crystal_of(detector, lattice(7, 70), SHIFT)
    crystal.det_shift = (crystal.det_shift[0] + 0.004, crystal.det_shift[1])  # a stream that lies about its shift
    axes, shift = refined(detector, crystal)
    assert np.abs(np.subtract(shift, crystal.det_shift)).max() <= 0.00051
    assert np.abs(axes - crystal.axes).max() <= 0.51e-7


def test_positions_centred_on_the_brightest_pixel_tell_the_shift_all_the_same():
    detector = tiles(1, 1, 1500, 1500)
    crystal, _ = crystal_of(detector, lattice(8, 70), SHIFT)
    rng = np.random.default_rng(1)
    crystal.reflections["fs"] += rng.integers(-3, 4, len(crystal.reflections))
    crystal.reflections["ss"] += rng.integers(-3, 4, len(crystal.reflections))
    assert refined(detector, crystal)[1] == pytest.approx(SHIFT, abs=1e-4)


def test_a_third_of_wrong_positions_does_not_spoil_the_shift():
    detector = tiles(1, 1, 1500, 1500)
    crystal, _ = crystal_of(detector, lattice(8, 70), SHIFT)
    rng = np.random.default_rng(2)
    wrong = rng.random(len(crystal.reflections)) < 0.33
    crystal.reflections["fs"][wrong] += np.round(rng.normal(0, 30, wrong.sum()), 1)
    crystal.reflections["ss"][wrong] += np.round(rng.normal(0, 30, wrong.sum()), 1)
    assert refined(detector, crystal)[1] == pytest.approx(SHIFT, abs=3e-4)


@pytest.mark.parametrize("how", ["random", "nan", "inf", "unknown panels", "two rows", "no rows", "huge"])
def test_positions_that_are_no_predictions_change_nothing(how):
    detector = tiles(1, 1, 1500, 1500)
    crystal, _ = crystal_of(detector, lattice(9, 70), SHIFT)
    rows, panels = crystal.reflections.copy(), panels_of(detector, crystal)
    rng = np.random.default_rng(3)
    if how == "random":
        rows["fs"], rows["ss"] = np.round(rng.uniform(0, 1500, (2, len(rows))), 1)
    elif how in ("nan", "inf", "huge"):
        rows["fs"] = {"nan": np.nan, "inf": np.inf, "huge": 1e300}[how]
    elif how == "unknown panels":
        panels[:] = -1
    else:
        rows = rows[: 2 if how == "two rows" else 0]
        panels = panels[: len(rows)]
    axes, shift = refined(detector, crystal, rows=rows, panels=panels)
    assert axes.tolist() == crystal.axes.tolist()
    assert shift == crystal.det_shift


def test_file_coordinates_beyond_single_precision_are_allowed_for():
    # 256 panels of 512 rows: ss up to 131072, where single precision has steps of 0.008 pixels
    detector = tiles(16, 16, 128, 512, pixel=5e-5)
    crystal, truth = crystal_of(detector, lattice(10, 90), SHIFT)
    axes, shift = refined(detector, crystal)
    assert shift == pytest.approx(SHIFT, abs=1e-4)
    assert in_other_pixels(again(detector, crystal, axes, shift), truth) <= 0.001 * len(truth)
