"""CrystFEL's rings: words, physics, and a slow twin everywhere on and off the panels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from waterbg.errors import UsageError
from waterbg.integrate import Status
from waterbg.integrate.rings import integrate_rings, peak_mask
from waterbg.settings import Rings, parse_integration

from . import twin
from .scenes import make_detector, make_frame, make_scene

RADII = (3.0, 4.0, 6.0)


def one_spot(pixels, fs=20.5, ss=20.5, **options):
    """Result of one reflection on one panel."""
    detector = make_detector(
        [pixels.shape], **{k: options.pop(k) for k in ("max_adu", "adu_per_photon") if k in options}
    )
    frame = make_frame(
        detector,
        [pixels],
        bad=[options.pop("bad")] if "bad" in options else None,
        saturation=[options.pop("saturation")] if "saturation" in options else None,
    )
    return integrate_rings(frame, make_scene([0], [fs], [ss]), options.pop("radii", RADII), **options)[0]


def test_bad_pixels_in_the_peak_are_left_out_as_before_crystfel_0_12_if_asked_for():
    pixels, bad = np.full((41, 41), 10.0), np.zeros((41, 41), np.uint8)
    pixels[20, 20], pixels[21, 20], bad[21, 20] = 110.0, 60000.0, 1
    assert one_spot(pixels, bad=bad)["status"] == Status.BAD_PIXEL
    kept = one_spot(pixels, bad=bad, marred=True)
    assert kept["status"] == Status.OK
    assert (kept["I"], kept["peak"], kept["background"]) == (100.0, 110.0, 10.0)
    bad[18:23, 18:23] = 1
    assert one_spot(pixels, bad=bad, marred=True, radii=(2.0, 4.0, 7.0))["status"] == Status.FEW_PIXELS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rings", Rings()),
        ("rings-nocen-nosat-nograd", Rings()),
        ("rings-grad", Rings(gradient=True)),
        ("rings-nocen-sat-grad", Rings(gradient=True, saturated=True)),
        ("rings,grad,sat", Rings(gradient=True, saturated=True)),
        ("rings-grad-nograd", Rings()),
        ("rings-sat-nosat-sat", Rings(saturated=True)),
        ("rings-cen-nocen", Rings()),
        ("grad-rings", Rings()),
        ("prof2d-grad-rings-sat", Rings(saturated=True)),
        ("rings--grad-", Rings(gradient=True)),
    ],
)
def test_integration_words_mean_what_crystfel_takes_them_for(text, expected):
    assert parse_integration(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rings-cen", "cen moves reflections"),
        ("rings-nocen-cen-grad", "cen moves reflections"),
        ("prof2d", "only rings can be repeated"),
        ("rings-prof2d-nocen", "only rings can be repeated"),
        ("none", "'none' is not known"),
        ("", "only rings can be repeated"),
        ("nosat", "only rings can be repeated"),
        ("rings-norescut", "use --push-res"),
        ("rings-median", "'median' is not known"),
    ],
)
def test_integration_words_that_cannot_be_done_are_refused_by_name(text, complaint):
    with pytest.raises(UsageError, match=complaint) as error:
        parse_integration(text)
    assert f"--integration={text}:" in str(error.value)


@pytest.mark.parametrize("gradient", [False, True])
def test_flat_frame_has_its_level_as_background_and_no_intensity(gradient):
    pixels = np.full((41, 41), 7.0)
    pixels[20, 20:22] = 8, 6  # a plane may not be steeper than a tenth of what the peak stands out
    got = one_spot(pixels, gradient=gradient)
    assert_allclose([got["I"], got["background"], got["peak"]], [0, 7, 8], atol=1e-9)
    assert got["sigma"] == pytest.approx(1)  # one photon, and a ring without scatter
    assert got["status"] == Status.OK


def test_spot_gives_its_counts_and_their_poisson_error():
    pixels = np.full((41, 41), 5.0)
    pixels[19:22, 19:22] += 100
    got = one_spot(pixels, adu_per_photon=4.0)
    assert_allclose([got["I"], got["sigma"], got["peak"], got["background"]], [900, 60, 105, 5], atol=1e-9)


def test_plane_takes_off_a_slope_that_a_mean_takes_off_as_well():
    y, x = np.mgrid[:41, :41]
    pixels = 50 + 0.5 * x - 0.25 * y
    pixels[20, 20] += 400
    flat, plane = one_spot(pixels), one_spot(pixels, gradient=True)
    assert_allclose([flat["I"], plane["I"]], 400, atol=1e-4)  # CrystFEL keeps pixels in single precision
    assert flat["sigma"] == pytest.approx(plane["sigma"])  # the scatter is about the mean in both


def test_slope_steeper_than_a_tenth_of_the_peak_drops_the_reflection_only_with_grad():
    y, x = np.mgrid[:41, :41]
    pixels = 50 + 2.0 * x + 0 * y
    assert one_spot(pixels)["status"] == Status.OK
    assert one_spot(pixels, gradient=True)["status"] == Status.BACKGROUND


@pytest.mark.parametrize(("fs", "ss"), [(5.99, 20), (20, 5.99), (35.0, 20), (20, 35.0), (0, 0), (40.9, 40.9)])
def test_box_over_the_edge_drops_the_reflection(fs, ss):
    assert one_spot(np.ones((41, 41)), fs, ss)["status"] == Status.EDGE


@pytest.mark.parametrize(("fs", "ss"), [(6.0, 20), (20, 6.0), (34.99, 20), (20, 34.99)])
def test_box_up_to_the_edge_keeps_the_reflection(fs, ss):
    assert one_spot(np.ones((41, 41)), fs, ss)["status"] == Status.OK


@pytest.mark.parametrize(
    ("fs", "ss"), [(np.nan, 20), (20, np.inf), (-1e300, 20), (1e300, 1e300), (41, 20), (20, -1e-9)]
)
def test_position_off_the_panel_is_no_reason_to_read_elsewhere(fs, ss):
    assert one_spot(np.ones((41, 41)), fs, ss)["status"] == Status.OFF_PANEL


def test_bad_pixel_drops_a_reflection_in_the_peak_and_counts_for_nothing_in_the_ring():
    pixels, bad = np.full((41, 41), 5.0), np.zeros((41, 41))
    pixels[15, 20], bad[15, 20] = 1e6, 1
    got = one_spot(pixels, bad=bad)
    assert (got["status"], got["background"], got["peak"]) == (Status.OK, 5, 5)
    bad[20, 23] = 1
    assert one_spot(pixels, bad=bad)["status"] == Status.BAD_PIXEL


def test_pixel_between_peak_and_ring_counts_for_nothing():
    pixels = np.full((41, 41), 5.0)
    pixels[22, 23] = 1e6  # r² = 13, between 3² and 4²
    got = one_spot(pixels)
    assert (got["I"], got["background"], got["peak"]) == (0, 5, 5)


@pytest.mark.parametrize(("row", "column"), [(20, 20), (15, 20)])
def test_saturated_pixel_in_peak_or_ring_drops_the_reflection_unless_sat(row, column):
    pixels = np.full((41, 41), 5.0)
    pixels[row, column] = 1001
    assert one_spot(pixels, max_adu=1000)["status"] == Status.SATURATED
    assert one_spot(pixels, max_adu=1001)["status"] == Status.OK
    assert one_spot(pixels, max_adu=1000, saturated=True)["status"] == Status.OK
    saturation = np.full((41, 41), 1e4)
    assert one_spot(pixels, saturation=saturation)["status"] == Status.OK
    saturation[row, column] = 1000
    assert one_spot(pixels, saturation=saturation)["status"] == Status.SATURATED


def test_intensity_below_minus_five_sigma_is_implausible():
    pixels = np.full((41, 41), 100.0)
    pixels[18:23, 18:23] = 90
    got = one_spot(pixels)
    assert got["I"] == -250
    assert got["status"] == Status.IMPLAUSIBLE
    assert got["sigma"] == pytest.approx(np.sqrt(250))


def test_neighbours_printed_or_not_leave_ring_and_peak():
    pixels = np.full((41, 41), 5.0)
    pixels[20, 25] = 1000  # peak of the neighbour, in the ring of the first
    frame = make_frame(make_detector([(41, 41)]), [pixels])
    both = make_scene([0, 0], [20.5, 25.5], [20.5, 20.5], printed=[0, -1])
    got = integrate_rings(frame, both, RADII)
    assert got["status"].tolist() == [Status.OK, Status.NOT_DONE]
    assert (got["I"][0], got["background"][0]) == (0, 5)
    alone = integrate_rings(frame, make_scene([0], [20.5], [20.5]), RADII)
    assert alone["background"][0] > 5


def test_two_reflections_on_one_pixel_leave_no_peak():
    frame = make_frame(make_detector([(41, 41)]), [np.ones((41, 41))])
    got = integrate_rings(frame, make_scene([0, 0], [20.5, 20.7], [20.5, 20.2]), RADII)
    assert got["status"].tolist() == [Status.FEW_PIXELS] * 2


def test_neighbour_on_another_panel_is_no_neighbour():
    frame = make_frame(make_detector([(41, 41), (41, 41)]), [np.ones((41, 41))] * 2)
    got = integrate_rings(frame, make_scene([0, 1], [20.5, 20.5], [20.5, 20.5]), RADII)
    assert got["status"].tolist() == [Status.OK] * 2


def test_peak_disc_is_met_twice_at_the_low_edges_as_in_crystfel():
    detector = make_detector([(20, 20)])
    mask = peak_mask(make_scene([0], [1.5], [9.5]).spots, detector.shapes, detector.offsets, 3.0).reshape(20, 20)
    assert mask[9, :6].tolist() == [2, 1, 1, 1, 1, 0]  # 1.5 - 2 and 1.5 - 1 are both cut to 0


def test_fraction_of_a_radius_counts_for_the_peak_mask_but_not_for_the_rings():
    detector = make_detector([(41, 41)])
    scene = make_scene([0], [20.5], [20.5])
    assert peak_mask(scene.spots, detector.shapes, detector.offsets, 2.0).sum() == 13
    assert peak_mask(scene.spots, detector.shapes, detector.offsets, 2.9).sum() == 25  # r² <= 8.41
    pixels = np.full((41, 41), 5.0)
    pixels[18, 18] = 100  # r² = 8
    assert one_spot(pixels, radii=(2.9, 4.9, 6.9))["I"] == 0


@pytest.mark.parametrize("radii", [(-1, 4, 7), (3, 4, np.nan), (3, 4, np.inf), (3, 4, 0)])
def test_radii_that_are_no_rings_are_refused(radii):
    with pytest.raises(UsageError, match="radii"):
        one_spot(np.ones((41, 41)), radii=radii)


def test_scene_without_spots_gives_no_rows():
    frame = make_frame(make_detector([(41, 41)]), [np.ones((41, 41))])
    assert len(integrate_rings(frame, make_scene([], [], []), RADII)) == 0


shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=3)
radii_of = st.tuples(st.floats(0, 4.5), st.floats(0, 3), st.floats(1, 4)).map(
    lambda r: (r[0], r[0] + r[1], r[0] + r[1] + r[2])
)


@given(
    seed=st.integers(0, 2**32 - 1),
    panels=shapes,
    radii=radii_of,
    bad=st.sampled_from([0, 0.01, 0.2, 1]),
    level=st.sampled_from([0, 0.3, 10, 3000]),
    gain=st.sampled_from([0.7, 1.0, 30.0]),
    limits=st.sampled_from(["none", "panel", "map"]),
    gradient=st.booleans(),
    saturated=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_rings_agree_with_their_slow_twin(seed, panels, radii, bad, level, gain, limits, gradient, saturated):
    rng = np.random.default_rng(seed)
    detector = make_detector(panels, max_adu=3 * level + 5 if limits == "panel" else np.inf, adu_per_photon=gain)
    pixels = [rng.poisson(level, shape) * gain + rng.normal(0, 0.5, shape) for shape in panels]
    frame = make_frame(
        detector,
        pixels,
        bad=[rng.random(shape) < bad for shape in panels],
        saturation=[rng.uniform(level, 9 * level + 9, shape) for shape in panels] if limits == "map" else None,
    )
    n = rng.integers(0, 12)
    scene = make_scene(
        rng.integers(-1, len(panels), n),
        rng.uniform(-3, 44, n),
        rng.uniform(-3, 44, n),
        printed=np.where(rng.random(n) < 0.2, -1, np.arange(n)),
    )
    got = integrate_rings(frame, scene, radii, gradient, saturated)
    expected = twin.integrate_rings(frame, scene, radii, gradient, saturated)
    assert_array_equal(got["status"], expected["status"])
    for name in ("I", "sigma", "peak", "background"):
        scale = 1 + np.abs(expected["background"]) * 100  # I is a difference of sums over the peak
        done = expected["status"] == Status.OK
        assert_allclose(got[name][done] / scale[done], expected[name][done] / scale[done], rtol=1e-6, atol=1e-9)
