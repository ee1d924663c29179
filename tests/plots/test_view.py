"""The pictures of ``waterbg view``: what is drawn is what was measured, and what `waterbg subtract` writes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from waterbg.cli.base import run
from waterbg.integrate import Status
from waterbg.run import resolve_job
from waterbg.stream import StreamFile

pytest.importorskip("matplotlib")

from waterbg.plots.close_up import close_up
from waterbg.plots.frame_view import circles, draw_frames, make_layers
from waterbg.plots.lab_image import make_canvas
from waterbg.plots.look import Wanted, choose_chunk, choose_reflection, look_at
from waterbg.plots.reflection_view import draw_reflection
from waterbg.plots.view import draw_view

ROOT = Path(__file__).resolve().parents[2]
PANELS = str(ROOT / "stream_files" / "monoclinic.stream")  # eight panels, each turned a little


@pytest.fixture(scope="module")
def panels():
    number, chunk = choose_chunk(PANELS, Wanted())
    return look_at(resolve_job(PANELS), number, chunk)


def words(figure):
    """All that is written in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


# -- the same numbers as subtract --------------------------------------------------------------------------------------


def test_what_is_drawn_of_every_reflection_is_what_subtract_writes(look, stream, tmp_path, capsys):
    out = tmp_path / "out.stream"
    assert run(["waterbg", "subtract", stream, "-o", str(out)]) == 0
    with StreamFile(out) as file:
        written = next(chunk for chunk in file.chunks() if chunk.crystals).crystals[0].reflections
    by_hkl = {(r["h"], r["k"], r["l"]): r for r in written}
    assert len(by_hkl) > 500
    for row in look.scene.rows[0]:
        close = close_up(look, int(row))
        assert (close.status == Status.OK) == (close.hkl in by_hkl)
        if close.status != Status.OK:
            continue
        new = by_hkl[close.hkl]
        assert f"{close.intensity:.2f}" == f"{new['I']:.2f}"
        assert f"{close.sigma:.2f}" == f"{new['sigma']:.2f}"
        assert f"{close.peak:.2f}" == f"{new['peak']:.2f}"
        assert f"{close.mean_background:.2f}" == f"{new['background']:.2f}"
        # and the profile that is drawn holds just that intensity
        np.testing.assert_allclose(close.flux * close.share * close.photon, close.intensity, rtol=1e-9)


def test_the_intensity_is_written_over_the_picture(look, stream, figure):
    row = choose_reflection(look, None, None)
    close = close_up(look, row)
    draw_reflection(figure, close)
    said = "\n".join(words(figure))
    assert f"waterbg: I = {close.intensity:.2f} ± {close.sigma:.2f}" in said
    with StreamFile(stream) as file:
        printed = next(chunk for chunk in file.chunks() if chunk.crystals).crystals[0].reflections
    (old,) = printed[(printed["h"] == close.hkl[0]) & (printed["k"] == close.hkl[1]) & (printed["l"] == close.hkl[2])]
    assert f"stream: I = {old['I']:.2f} ± {old['sigma']:.2f}" in said
    assert f"fs {old['fs']:.1f},  ss {old['ss']:.1f};  rings of 3, 5, 7 px" in said


def test_the_background_of_a_box_is_the_true_one(look, folder):
    import h5py

    with h5py.File(folder / "truth.h5") as file:
        names = file["reflections"].attrs["columns"].split()
        truth = file["reflections"][:]
    first = truth[truth[:, names.index("frame")] == 0]
    known = {tuple(r[1:4].astype(int)): r[names.index("B_true")] for r in first}
    ratios = []
    for row in look.scene.rows[0]:
        close = close_up(look, int(row))
        middle = close.background.shape[0] // 2
        ratios.append(close.background[middle, middle] / known[close.hkl])
    assert abs(np.median(ratios) - 1) < 0.01
    assert np.percentile(np.abs(np.array(ratios) - 1), 90) < 0.06


def test_what_the_fits_leave_is_noise_of_one_sigma(look):
    left = np.concatenate([close_up(look, int(row)).residual.ravel() for row in look.scene.rows[0]])
    left = left[np.isfinite(left)]
    assert abs(np.mean(left)) < 0.05
    assert 0.95 < np.std(left) < 1.1


def test_boxes_are_drawn_as_they_are_with_the_three_rings(look, figure):
    close = close_up(look, choose_reflection(look, None, None))
    draw_reflection(figure, close)
    boxes = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    for title, values in (
        ("observed", np.where(close.bad, np.nan, close.observed)),
        ("background", close.background),
        ("background + fit", close.background + close.flux * close.profile),
        ("(observed − fit) / σ", close.residual),
    ):
        (image,) = boxes[title].get_images()
        np.testing.assert_allclose(np.ma.filled(image.get_array(), np.nan), values)
        assert image.get_extent() == [close.left, close.left + 15, close.top, close.top + 15]
        assert [patch.radius for patch in boxes[title].patches] == [3, 5, 7]
        assert boxes[title].get_xlabel() == "fs / px"
    assert boxes["observed"].get_images()[0].norm.vmax == boxes["background"].get_images()[0].norm.vmax
    spot = look.frame.panel([p.name for p in look.frame.detector.panels].index(close.panel))[0]
    top = close.top - look.frame.detector.panels[look.frame.detector.panel_index[close.panel]].min_ss
    np.testing.assert_array_equal(close.observed, spot[top : top + 15, close.left : close.left + 15])


def test_the_cuts_go_through_the_boxes(look, figure):
    close = close_up(look, choose_reflection(look, None, None))
    draw_reflection(figure, close)
    row = int(close.fitted[1]) - close.top
    (cut,) = [axes for axes in figure.axes if axes.get_xlabel() == f"fs / px   (row ss = {int(close.fitted[1])})"]
    steps = {patch.get_label(): patch.get_data().values for patch in cut.patches if hasattr(patch, "get_data")}
    np.testing.assert_allclose(steps["background"], close.background[row])
    np.testing.assert_allclose(steps["fit"], close.fit[row])


def test_a_dropped_reflection_says_why_and_has_no_fit(stream, look, figure, tmp_path):
    look.model.save(tmp_path / "model.json")
    job = resolve_job(stream, settings={"int_radius": (3.0, 9.0, 14.0)})
    wide = look_at(job, look.number, look.chunk, str(tmp_path / "model.json"))
    row = choose_reflection(wide, (-20, -17, 0), None)
    close = close_up(wide, row)
    assert close.status == Status.EDGE
    assert np.isnan(close.observed).any()
    draw_reflection(figure, close)
    said = "\n".join(words(figure))
    assert "waterbg: dropped, box over the edge of its panel" in said
    assert "no fit" in said
    figure.draw_without_rendering()


# -- the whole frame ---------------------------------------------------------------------------------------------------


def test_a_pixel_lands_where_the_laboratory_has_it_on_turned_panels(panels):
    frame, detector = panels.frame, panels.frame.detector
    canvas = make_canvas(panels.rays, detector.shapes, detector.offsets, 2000)
    assert canvas.side == 1
    shift = panels.scene.det_shift[0]
    for panel, fs, ss in ((0, 17, 100), (3, 200, 5), (7, 31, 90)):
        values = np.zeros(detector.n_pixels, np.float32)
        values[detector.offsets[panel] + ss * detector.shapes[panel, 1] + fs] = 1
        row, column = np.unravel_index(
            np.argmax(canvas.add_up(values, np.zeros_like(frame.bad))[0]), (canvas.rows, canvas.columns)
        )
        left, _, bottom, _ = canvas.extent
        x, y, z = detector.lab(panel, fs + 0.5, ss + 0.5, frame.clen, tuple(shift))
        to_plane = 1e3 * panels.rays.length * panels.rays.pixel / z
        assert abs(left + (column + 0.5) * canvas.mm - x * to_plane) < canvas.mm
        assert abs(bottom + (row + 0.5) * canvas.mm - y * to_plane) < canvas.mm


@pytest.mark.parametrize("most", [2000, 300, 100])
def test_no_photon_is_lost_or_counted_twice(look, panels, most):
    for one, tolerance in ((look, 0.0), (panels, 2e-3)):
        frame, detector = one.frame, one.frame.detector
        canvas = make_canvas(one.rays, detector.shapes, detector.offsets, most)
        sums, counts = canvas.add_up(frame.data, frame.bad)
        good = frame.bad == 0
        assert max(sums.shape) <= most
        np.testing.assert_allclose(sums.sum(), frame.data[good].sum(dtype=float), rtol=tolerance)
        np.testing.assert_allclose(counts.sum(), np.count_nonzero(good), rtol=tolerance)


def test_bad_pixels_and_gaps_are_nowhere(look):
    detector = look.frame.detector
    canvas = make_canvas(look.rays, detector.shapes, detector.offsets, 2000)
    nothing, counts = canvas.add_up(np.full(detector.n_pixels, np.nan, np.float32), look.frame.bad)
    assert not counts.any()
    assert not nothing.any()
    layers = make_layers(look, 2000)
    assert np.count_nonzero(np.isfinite(layers.observed)) == np.count_nonzero(look.frame.bad == 0)


def test_resolution_circles_obey_braggs_law_and_stand_apart(panels):
    found = circles(1.0, 100.0, 60.0)
    assert dict(found)[2] == pytest.approx(100 * np.tan(2 * np.arcsin(1 / 4)))
    radii = [radius for _, radius in found]
    assert min(np.diff([0, *radii])) >= 0.13 * 60
    assert max(radii) <= 60
    # and the frame's reflections lie on the circles of their own d: the beam is in the middle
    canvas = make_layers(panels, 500).canvas
    spots = panels.scene.spots[panels.scene.rows[0]]
    x, y = canvas.place(*(spots[name] for name in ("panel", "fs", "ss")))
    wavelength = 12398.42 / panels.frame.photon_energy_eV
    expected = canvas.rays.length * canvas.mm * np.tan(2 * np.arcsin(wavelength * spots["inv_d"] / 20))
    assert np.median(np.abs(np.hypot(x, y) - expected)) < 3 * canvas.mm


def test_the_frame_less_its_background_scatters_by_one_sigma(look, panels):
    for one in (look, panels):
        for most in (2000, 250):
            layers = make_layers(one, most)
            left = layers.residual[np.isfinite(layers.residual)]
            quartiles = np.percentile(left, [25, 50, 75])
            assert abs(quartiles[1]) < 0.2  # counts are skew, and reflections are in
            assert 0.9 < (quartiles[2] - quartiles[0]) / 1.349 < 1.15


def test_the_residual_in_photons_is_frame_less_background(look):
    layers = make_layers(look, 250, photons=True)
    np.testing.assert_allclose(layers.residual, layers.observed - layers.expected, atol=1e-9)
    assert layers.canvas.side > 1


def test_frame_and_background_share_their_colours_and_say_their_units(look, figure):
    layers = make_layers(look, 250)
    side = layers.canvas.side
    frame, background, residual = draw_frames(figure, look, layers, 0, peaks=True, linear=False, photons=False)
    assert frame.get_images()[0].norm is background.get_images()[0].norm
    np.testing.assert_array_equal(background.get_images()[0].get_array().mask, np.isnan(layers.expected))
    np.testing.assert_allclose(residual.get_images()[0].get_array(), np.ma.masked_invalid(layers.residual))
    assert residual.get_images()[0].get_clim() == (-5, 5)
    assert {axes.get_xlabel() for axes in (frame, background, residual)} == {"x / mm"}
    assert frame.get_ylabel() == "y / mm"
    bars = {axes.get_ylabel() for axes in figure.axes} - {"y / mm", ""}
    assert bars == {f"photons / px, mean of {side} × {side} px", f"σ of {side} × {side} px"}
    (legend,) = figure.legends  # below the pictures: on them it would hide some of the frame
    entries = [text.get_text() for text in legend.get_texts()]
    assert entries == [
        f"{len(look.scene.rows[0])} predicted",
        f"{len(look.chunk.peaks)} peaks found",
        "shown in d",
    ]
    assert min(mark.get_sizes()[0] for mark in legend.legend_handles) >= 20  # on the frame they may be specks


def test_colours_begin_where_the_background_does_where_hardly_a_photon_falls(look, figure):
    layers = make_layers(look, 200)
    faint = replace(layers, observed=np.where(layers.observed > 40, 1.0, 0.0), expected=0.002 * layers.expected)
    frame, *_ = draw_frames(figure, look, faint, 0, peaks=False, linear=False, photons=False)
    low, high = frame.get_images()[0].get_clim()
    assert low == pytest.approx(np.nanpercentile(faint.expected, 1))
    assert low < 0.1 * high


def test_a_blank_frame_is_drawn_without_a_model(look, figure):
    blank = replace(look, surface=None)
    draw_frames(figure, blank, make_layers(blank, 100), 0, peaks=False, linear=True, photons=True)
    figure.draw_without_rendering()
    assert sum(text.startswith("no model: ") for text in words(figure)) == 2


@pytest.mark.parametrize("which", ["look", "panels"])
def test_nothing_is_written_over_anything_else(which, figure, request):
    """Titles, axis labels, the lines above the boxes and the legend: no two share room."""
    look = request.getfixturevalue(which)
    draw_view(figure, look, choose_reflection(look, None, None), peaks=True, cells=200)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    written = [figure._suptitle, *(sub._suptitle for sub in figure.subfigs if sub._suptitle)]
    for axes in (axes for sub in figure.subfigs for axes in sub.axes):
        written += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            written += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            written += [tick.label2 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in written
        if text.get_text() and text.get_visible()
    ]
    assert len(boxes) > 60
    boxes += [("the legend", legend.get_window_extent(renderer)) for sub in figure.subfigs for legend in sub.legends]
    for i, (one, a) in enumerate(boxes):
        assert figure.bbox.x0 <= a.x0 <= a.x1 <= figure.bbox.x1, f"{one} leaves the page"
        assert figure.bbox.y0 <= a.y0 <= a.y1 <= figure.bbox.y1, f"{one} leaves the page"
        for other, b in boxes[:i]:
            overlap_x = min(a.x1, b.x1) - max(a.x0, b.x0)
            overlap_y = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert overlap_x < 1 or overlap_y < 1, (one, other)


def test_names_of_any_length_stay_on_the_page(look, figure, monkeypatch):
    monkeypatch.setattr(type(look.chunk), "filename", f"/data/{'run_0042_' * 20}.h5")
    monkeypatch.setattr(type(look.chunk), "serial", 1234567)
    named = replace(look, path=f"{'xgandalf_' * 20}.stream", number=1234567)
    draw_view(figure, named, choose_reflection(look, None, None), cells=50)
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


@pytest.mark.shared
def test_sixty_four_turned_panels_of_a_real_detector_are_where_the_laboratory_has_them(shared, figure):
    path = str(shared / "real" / "thermolysin" / "rings-nocen-nosat-nograd.stream")
    cspad = look_at(resolve_job(path), *choose_chunk(path, Wanted()))
    frame, detector = cspad.frame, cspad.frame.detector
    canvas = make_canvas(cspad.rays, detector.shapes, detector.offsets, 4000)
    values = np.zeros(detector.n_pixels, np.float32)
    pixels = detector.offsets[:-1] + 30 * detector.shapes[:, 1] + 40
    values[pixels] = np.arange(1, 65)
    sums, _ = canvas.add_up(values, np.zeros_like(frame.bad))
    x, y, z = detector.lab(
        np.arange(64), np.full(64, 40.5), np.full(64, 30.5), frame.clen, tuple(cspad.scene.det_shift[0])
    )
    to_plane = cspad.rays.length / z
    column = (x * to_plane - canvas.left).astype(int)
    row = (y * to_plane - canvas.bottom).astype(int)
    near = [sums[r - 1 : r + 2, c - 1 : c + 2] for r, c in zip(row, column)]
    assert all(part.max() in (n, 2 * n) for n, part in enumerate(near, 1))  # a turned pixel may fill two cells
    draw_view(figure, cspad, choose_reflection(cspad, None, None), peaks=True, cells=300)
    close = close_up(cspad, choose_reflection(cspad, None, None))
    assert f"waterbg: I = {close.intensity:.2f} ± {close.sigma:.2f}" in "\n".join(words(figure))
    np.testing.assert_allclose(close.flux * close.share * close.photon, close.intensity, rtol=1e-9)
