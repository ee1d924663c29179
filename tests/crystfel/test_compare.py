import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from waterbg.crystfel.compare import compare_streams
from waterbg.crystfel.figures import draw_comparison
from waterbg.crystfel.pairing import pair_crystals, pair_reflections
from waterbg.errors import UsageError, WaterbgError


def rows(rng, n=60, scale=1.0):
    """Reflections with I about 1000 and sigma 20, the same indices every time."""
    grid = [(h, k, l) for h in range(-5, 6) for k in range(-5, 6) for l in range(1, 6)]
    return [(*hkl, scale * (1000 + 10 * i), 20.0) for i, hkl in enumerate(grid[:n])]


@pytest.fixture
def make(stream_text, tmp_path):
    """Writes a stream of frames [(file, event, rows or None)]."""

    def write(name, frames, **more):
        text = stream_text()
        for filename, event, reflections in frames:
            text.chunk(filename, event, *([] if reflections is None else [text.crystal(reflections, **more)]))
        return text.write(tmp_path / name)

    return write


def test_a_scaled_copy_gives_the_scale(make):
    rng = np.random.default_rng(1)
    frames = [("x.h5", f"//{i}", rows(rng)) for i in range(5)]
    doubled = [(f, e, [(h, k, l, 2 * i, 3 * s) for h, k, l, i, s in r]) for f, e, r in frames]
    result = compare_streams(make("a.stream", frames), make("b.stream", doubled))
    assert result.counts == {
        "images": 5,
        "images_a": 0,
        "images_b": 0,
        "crystals": 5,
        "crystals_a": 0,
        "crystals_b": 0,
        "reflections": 300,
        "reflections_a": 0,
        "reflections_b": 0,
        "not_finite": 0,
        "wild": 0,
    }
    assert result.overall.ratio == pytest.approx(2)
    assert result.overall.sigma_ratio == pytest.approx(3)
    assert result.overall.cc == pytest.approx(1)


def test_1_over_d_comes_from_the_axes(make):
    frames = [("x.h5", "//0", [(5, 0, 0, 100.0, 1.0)] * 1 + [(0, 0, 20, 50.0, 1.0)])]
    result = compare_streams(make("a.stream", frames), make("b.stream", frames), nshells=3)
    (low, *_, high) = [one for one in result.shells if one.reflections]
    assert low.low <= 1.0 <= low.high  # 5 * 0.2 nm^-1
    assert high.low <= 2.0 <= high.high  # 20 * 0.1 nm^-1


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [0, 1, 3, 2, 4], [2, 4], [1]])
def test_any_order_and_any_gaps_pair_the_same_images(make, order):
    rng = np.random.default_rng(2)
    scales = [1.0, 2.0, 3.0, 4.0, 5.0]
    frames = [("x.h5", f"//{i}", rows(rng, scale=scales[i])) for i in range(5)]
    a, b = make("a.stream", frames), make("b.stream", [frames[i] for i in order])
    for one, other, missing in ((a, b, "images_a"), (b, a, "images_b")):
        result = compare_streams(one, other)
        assert result.counts["images"] == len(order)
        assert result.counts[missing] == 5 - len(order)
        # a wrong partner would have another scale
        assert result.overall.scatter == pytest.approx(0, abs=1e-6)


def test_reflections_in_one_stream_only_are_counted(make):
    rng = np.random.default_rng(3)
    a = make("a.stream", [("x.h5", "//0", rows(rng, 50)), ("x.h5", "//1", None), ("x.h5", "//2", rows(rng, 4))])
    b = make("b.stream", [("x.h5", "//0", rows(rng, 60)[10:]), ("x.h5", "//1", rows(rng, 5)), ("y.h5", "//2", None)])
    counts = compare_streams(a, b).counts
    assert (counts["reflections"], counts["reflections_a"], counts["reflections_b"]) == (40, 10, 10)
    assert (counts["crystals"], counts["crystals_a"], counts["crystals_b"]) == (1, 0, 1)
    assert (counts["images"], counts["images_a"], counts["images_b"]) == (2, 1, 1)


def test_nan_is_left_out_and_counted(make):
    rng = np.random.default_rng(4)
    bad = rows(rng)
    bad[0] = (*bad[0][:3], math.nan, 20.0)
    bad[1] = (*bad[1][:3], 5.0, math.inf)
    result = compare_streams(make("a.stream", [("x.h5", "//0", bad)]), make("b.stream", [("x.h5", "//0", rows(rng))]))
    assert result.counts["not_finite"] == 2
    assert result.counts["reflections"] == 58
    assert "2 pairs left out" in result.text()
    assert result.overall.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("match", "partner"),
    [("event", ("low.h5", "//1")), ("serial", ("low.h5", "tag//")), ("order", ("low.h5", "tag//"))],
)
def test_streams_of_other_images_are_matched_as_asked(make, match, partner):
    rng = np.random.default_rng(5)
    a = make("a.stream", [("high.h5", "//1", rows(rng))])
    b = make("b.stream", [(*partner, rows(rng))])
    assert compare_streams(a, b, match=match).counts["images"] == 1
    with pytest.raises(WaterbgError, match=rf"no chunk of {a} is in {b} by --match=image; try another: event"):
        compare_streams(a, b)


def test_an_image_that_stands_twice_in_one_stream_has_one_partner_in_the_other(make):
    rng = np.random.default_rng(8)
    frames = [("x.h5", f"//{i}", rows(rng)) for i in (0, 1, 0, 1)]
    a, b = make("a.stream", frames), make("b.stream", frames[1:])
    for one, other, missing in ((a, b, "images_a"), (b, a, "images_b")):
        counts = compare_streams(one, other).counts
        assert (counts["images"], counts[missing]) == (3, 1)


def test_events_that_do_not_tell_images_apart_match_nothing(make):
    rng = np.random.default_rng(9)
    frames = [(f"{i}.h5", None, rows(rng)) for i in range(4)]
    a, b = make("a.stream", frames), make("b.stream", frames[1:])
    with pytest.raises(UsageError, match=rf"--match=event: {a} has several images with event //; match by image"):
        compare_streams(a, b, match="event")


def test_images_without_a_serial_number_have_no_partner_by_it(make):
    rng = np.random.default_rng(10)
    frames = [("x.h5", f"//{i}", rows(rng)) for i in range(3)]
    paths = [make("a.stream", frames), make("b.stream", frames[1:])]
    for path in paths:
        file = Path(path)
        file.write_text(re.sub(r"Image serial number: \d+\n", "", file.read_text()))
    with pytest.raises(WaterbgError, match=r"no chunk of .* by --match=serial"):
        compare_streams(*paths, match="serial")


def test_a_chunk_without_event_is_the_only_frame_of_its_file(make):
    rng = np.random.default_rng(6)
    a = make("a.stream", [("x.h5", None, rows(rng))])
    b = make("b.stream", [("x.h5", "//", rows(rng))])
    assert compare_streams(a, b).counts["images"] == 1


def test_images_without_a_common_crystal_are_an_error(make):
    rng = np.random.default_rng(7)
    a = make("a.stream", [("x.h5", "//0", rows(rng))])
    b = make("b.stream", [("x.h5", "//0", rows(rng))], axes=((0, 0.2, 0), (-0.2, 0, 0), (0, 0, 0.1)))
    with pytest.raises(WaterbgError, match="no reflection of the same crystal"):
        compare_streams(a, b)


def test_crystals_are_paired_by_their_axes_in_any_order(stream_text, tmp_path):
    other = ((0.0, 0.2, 0.0), (0.0, 0.0, 0.2), (0.1, 0.0, 0.0))
    nearly = tuple(tuple(x * 1.001 for x in axis) for axis in other)
    text = stream_text
    a = text().chunk("x", "//", text.crystal([(1, 2, 3, 10, 1)]), text.crystal([(1, 2, 3, 500, 5)], axes=other))
    b = text().chunk("x", "//", text.crystal([(1, 2, 3, 500, 5)], axes=nearly), text.crystal([(1, 2, 3, 10, 1)]))
    result = compare_streams(a.write(tmp_path / "a"), b.write(tmp_path / "b"))
    assert result.overall.scatter == 0
    assert result.counts["crystals"] == 2


def test_each_crystal_has_one_partner_at_most():
    a, b = ([np.eye(3) * size for size in sizes] for sizes in ((1.0, 1.02), (1.01, 2.0)))
    assert pair_crystals(a, b) in ([(0, 0)], [(1, 0)])
    assert (0, 0) in pair_crystals([None, a[1]], b)


def test_pairing_of_reflections_agrees_with_a_dictionary():
    rng = np.random.default_rng(8)
    dtype = [("h", "i4"), ("k", "i4"), ("l", "i4")]
    a, b = (np.array([tuple(x) for x in rng.integers(-511, 512, (5000, 3)) // 60], dtype) for _ in range(2))
    a, b = np.unique(a), np.unique(b)
    rng.shuffle(a)
    rng.shuffle(b)
    i, j = pair_reflections(a, b)
    where = {tuple(hkl): row for row, hkl in enumerate(b.tolist())}
    expected = {(row, where[tuple(hkl)]) for row, hkl in enumerate(a.tolist()) if tuple(hkl) in where}
    assert set(zip(i.tolist(), j.tolist())) == expected
    assert len(expected) > 100


def test_text_json_and_figure_say_the_same(make, tmp_path):
    rng = np.random.default_rng(9)
    frames = [("x.h5", f"//{i}", rows(rng)) for i in range(5)]
    result = compare_streams(make("a.stream", frames), make("b.stream", frames), nshells=4)
    value = json.loads(result.as_json())
    assert value["overall"]["ratio"] == 1
    assert value["overall"]["reflections"] == 300
    assert value["counts"]["images"] == 5
    assert value["strengths"][-1]["high"] is None
    assert re.search(r"I\(B\) / I\(A\) += 1 \+- ", result.text())
    draw_comparison(result, str(tmp_path / "figure.png"))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"figure\.nix.: the name of a figure ends with"):
        draw_comparison(result, str(tmp_path / "figure.nix"))


def test_the_ratio_says_what_it_is_of_and_what_has_no_answer_is_no_number(make):
    faint, strong = ([("x.h5", "//0", [(1, 0, 1, i, 10.0)])] for i in (15.0, 500.0))
    a, b = make("a.stream", faint), make("b.stream", strong)
    assert re.search(
        r"I\(B\) / I\(A\) += 1 \+- -  \(of all: none has I/sigma > 3\)\nCC += -\n", compare_streams(a, a).text()
    )
    assert re.search(r"I\(B\) / I\(A\) += 1 \+- -  \(I/sigma > 3\)\n", compare_streams(b, b).text())


def test_names_are_drawn_letter_by_letter_however_odd_or_long(make, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("waterbg.crystfel.figures.save_figure", lambda figure, *_, **__: drawn.append(figure))
    frames = [("x.h5", "//0", rows(np.random.default_rng(9)))]
    odd, long = "run$a_{b$.stream", f"{'a' * 240}.stream"
    draw_comparison(compare_streams(make(odd, frames), make(long, frames), nshells=2), str(tmp_path / "figure.png"))
    (figure,) = drawn
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert odd in figure._suptitle.get_text()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_pairs_that_are_all_wild_make_an_empty_figure(make, tmp_path):
    a, b = ([("x.h5", "//0", [(1, 0, 1, 100.0, 1.0), (2, 0, 1, strong, 1.0)])] for strong in (100.0, 1000.0))
    result = compare_streams(make("a.stream", a), make("b.stream", b))
    assert (result.counts["wild"], result.shells) == (2, [])
    draw_comparison(result, str(tmp_path / "figure.png"))


def test_the_two_integrations_of_the_golden_data_are_nearly_the_same(data):
    golden = data / "golden" / "small"
    result = compare_streams(
        str(golden / "rings-nocen-nosat-nograd.stream"), str(golden / "rings-nocen-nosat-grad.stream")
    )
    assert result.counts["images"] == 6
    assert result.counts["crystals"] == 6
    assert result.counts["reflections"] > 3500
    assert result.overall.ratio == pytest.approx(1, abs=0.02)
    assert result.overall.cc > 0.99
