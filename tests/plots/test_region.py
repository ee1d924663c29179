"""A region of a panel in three dimensions."""

from dataclasses import replace

import numpy as np
import pytest

from waterbg.errors import UsageError

pytest.importorskip("matplotlib")

from waterbg.background.masks import BAD, FAULTY
from waterbg.plots.look import choose_reflection
from waterbg.plots.region import cut_region, draw_region, find_panel, region_about


def test_a_region_holds_the_pixels_of_its_panel_in_photons(look):
    frame = look.frame
    panel = 1
    first = frame.detector.panels[panel].min_ss
    region = cut_region(look, panel, 60.9, first + 40.2, 5)
    pixels, bad = frame.panel(panel)
    expected = np.where(bad[35:46, 55:66] != 0, np.nan, pixels[35:46, 55:66] / frame.adu_per_photon[panel])
    np.testing.assert_allclose(region.observed, expected, rtol=1e-6)
    assert region.fs.tolist() == [55.5 + i for i in range(11)]
    assert region.ss.tolist() == [first + 35.5 + i for i in range(11)]
    boxes, _ = look.surface.boxes(
        np.array([panel], np.int32), np.array([60.9]), np.array([40.2]), 5, frame.detector.shapes
    )
    np.testing.assert_allclose(region.background, boxes[0], rtol=1e-5)


def test_a_faulty_pixel_is_left_out_of_a_region(look):
    flags = look.found.background.flags
    offset = look.frame.detector.offsets[0] + 40 * look.frame.detector.shapes[0, 1] + 60
    assert not flags[offset] & (BAD | FAULTY)
    flags[offset] |= FAULTY
    try:
        region = cut_region(look, 0, 60.5, 40.5, 5)
    finally:
        flags[offset] &= ~np.uint8(FAULTY)
    assert np.argwhere(np.isnan(region.observed)).tolist() == [[5, 5]]


def test_a_region_is_cut_at_the_edges_of_its_panel(look):
    region = cut_region(look, 0, 1.0, 2.0, 6)
    assert region.observed.shape == (9, 8) == region.background.shape
    assert (region.fs[0], region.ss[0]) == (0.5, 0.5)


def test_the_region_of_a_reflection_has_it_in_its_middle(look):
    row = choose_reflection(look, None, None)
    region = region_about(look, row, None, 4)
    panel = look.frame.detector.panels[look.scene.spots["panel"][row]]
    assert region.panel == panel.name
    assert region.fs[4] == panel.min_fs + int(look.scene.spots["fs"][row]) + 0.5
    assert region.ss[4] == panel.min_ss + int(look.scene.spots["ss"][row]) + 0.5


def test_three_surfaces_are_drawn_frame_and_model_on_one_scale(look, figure):
    region = cut_region(look, 0, 100.0, 100.0, 6)
    draw_region(figure, look, region)
    figure.canvas.draw()
    frame, model, left = (axes for axes in figure.axes if hasattr(axes, "get_zlim"))
    assert [axes.get_title() for axes in (frame, model, left)] == [
        "Frame",
        "Background model (water)",
        "Frame − background",
    ]
    assert frame.get_zlim() == model.get_zlim()
    heights = left.collections[0].get_array()  # means of four corners
    assert np.nanmax(heights) <= np.nanmax(region.observed - region.background)
    assert (left.get_xlabel(), left.get_ylabel()) == ("fs / px", "ss / px")
    assert "photons / px" in {axes.get_xlabel() for axes in figure.axes}


@pytest.mark.parametrize("middle", [100, 101])
def test_what_is_printed_names_the_pixels_of_the_region(look, figure, middle):
    _, where = draw_region(figure, look, cut_region(look, 0, middle + 0.7, middle + 0.2, 2))
    assert where.endswith(f"fs {middle - 2} to {middle + 2}, ss {middle - 2} to {middle + 2}")


def test_a_blank_frame_has_one_surface(look, figure):
    blank = replace(look, surface=None)
    draw_region(figure, blank, cut_region(blank, 0, 100.0, 100.0, 3))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["Frame (no background model)"]


def test_a_point_on_no_panel_or_on_several_is_refused(look):
    with pytest.raises(UsageError, match="fs 5000, ss 1 is not on any panel"):
        find_panel(look, 5000, 1)
    with pytest.raises(UsageError, match="has no panel zz"):
        find_panel(look, 1, 1, "zz")
    with pytest.raises(UsageError, match="fs 1, ss 1 is not on panel p1"):
        find_panel(look, 1, 1, "p1")
    detector = look.frame.detector
    same = replace(detector, panels=(detector.panels[0], replace(detector.panels[0], name="again")))
    stacked = replace(look, frame=replace(look.frame, detector=same))
    with pytest.raises(UsageError, match=r"several panels have fs 1, ss 1 \(p0, again …\); name one"):
        find_panel(stacked, 1, 1)
    assert find_panel(stacked, 1, 1, "again") == 1
