"""The page of a report: its words and figures, what is left out, and that it is safe to open."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.mutate import mutate
from tests.plots.plain import Page, read_plainly
from waterbg.errors import WaterbgError
from waterbg.model import Quality
from waterbg.model.decoys import DecoyShell
from waterbg.run import resolve_job

pytest.importorskip("matplotlib")

from waterbg.background.estimators import flag_pixels
from waterbg.background.masks import NOT_CLEAN
from waterbg.plots import report_figures, report_page
from waterbg.plots.report import draw_report, find
from waterbg.plots.report_sample import find_ring
from waterbg.plots.report_words import count, doubts, not_looked_at, reasons, tiles


def copy(path, to, change=lambda text: text):
    to.write_bytes(change(Path(path).read_bytes()))
    return str(to)


@pytest.fixture
def alone(stream, subtracted, tmp_path):
    """Both streams, their run model, and no image."""
    copy(f"{subtracted}.model.json", tmp_path / "out.stream.model.json")
    return copy(stream, tmp_path / "in.stream"), copy(subtracted, tmp_path / "out.stream")


# -- words and numbers -------------------------------------------------------------------------------------------------


def test_the_headline_says_what_was_done_and_gained(findings, page, stream):
    text = Page(page).text
    plain = read_plainly(stream)
    listed = sum(len(crystal) for chunk in plain for crystal in chunk["crystals"])
    assert "integrated the reflections of run.stream again, by a weighted profile fit over the water-ring model" in text
    assert "(radii 3, 5, 7 px)" in text
    assert f"The stream has 3 frames, 2 of them indexed, with 2 crystals and {count(listed)} reflections" in text
    assert "than that of CrystFEL's rings on the same places" in text
    assert "Nothing looks wrong" in text
    assert "2 frames integrated again gave the same bytes" in text
    assert next(tile.name for tile in tiles(findings)) == "error of a reflection without signal"


def test_the_gain_is_that_of_the_decoys(findings, page):
    quality = findings.sample.quality
    n = sum(shell.n for shell in quality.half)
    squares = [
        sum(shell.n * shell.rms**2 for shell in kind if shell.rms is not None)
        for kind in (quality.half, quality.half_rings)
    ]
    gain = (squares[0] / squares[1]) ** 0.5
    assert 0.4 < gain < 0.9
    text = Page(page).text
    assert f"{gain:.2f} ×" in text
    assert f"{(1 - gain) * 100:.0f} % smaller" in text
    assert f"from {count(n)} decoys" in text


def test_the_table_has_the_numbers_of_both_streams(findings, page, stream, subtracted):
    rows = [row for row in Page(page).rows if re.match(r"[\d.∞]+ – [\d.]+", row[0])]
    assert len(rows) == len(findings.shells) > 8
    kept = {
        (number, row[:3]): row
        for number, chunk in enumerate(read_plainly(subtracted))
        for crystal in chunk["crystals"]
        for row in crystal
    }
    before = [
        (number, row)
        for number, chunk in enumerate(read_plainly(stream))
        for crystal in chunk["crystals"]
        for row in crystal
    ]
    for shell, cells in zip(findings.shells, rows, strict=True):
        here = [(number, row) for number, row in before if shell.low <= row[-1] < shell.high]
        both = [(row, kept[number, row[:3]]) for number, row in here if (number, row[:3]) in kept]
        assert cells[0].endswith(f"– {10 / shell.high:.2f}")
        assert cells[1:4] == [str(len(here)), str(len(here) - len(both)), str(len(both))]
        means = [sum(pair[i][column] for pair in both) / len(both) for column in (6, 3) for i in (0, 1)]
        means += [sum(pair[i][3] / pair[i][4] for pair in both) / len(both) for i in (0, 1)]
        # the last digit of a mean may round either way
        np.testing.assert_allclose([float(cell) for cell in cells[4:10]], means, atol=0.0051)


def test_reasons_are_counted_in_the_whole_stream_or_in_the_sample_and_say_so(stream, thinned, findings):
    found = find(stream, thinned, model=f"{findings.numbers.after}.model.json")
    rows = reasons(found)
    whole = [row for row in rows if "whole stream" in row[2]]
    number = sum(int(row[1].replace("\u202f", "")) for row in whole)
    assert number == found.numbers.dropped > 100
    assert [row[0] for row in whole][-1] == "all other reasons"
    assert all("2 sample frames integrated again" in row[2] for row in rows if row not in whole)
    text = Page(draw_report(found).decode()).text
    assert f"{count(found.numbers.dropped)} of {count(found.numbers.listed)} reflections" in text
    assert "14.3 %" in text
    found.numbers.kept = 0  # of these frames nothing came through
    assert re.search(
        r"\(100 %\) of the stream before are not in the stream after", Page(draw_report(found).decode()).text
    )


def test_every_axis_has_a_name_with_its_unit(findings, monkeypatch):
    drawn = []
    real = report_figures.svg
    monkeypatch.setattr(report_figures, "svg", lambda figure, *rest: drawn.append(figure) or real(figure, *rest))
    draw_report(findings)
    assert len(drawn) >= 11
    for figure in drawn:
        for axes in figure.axes:
            assert re.search(r"/|σ|crystals|reflections in a cell", axes.get_ylabel()), axes.get_ylabel()
            if axes.get_label() != "<colorbar>" and axes.xaxis.get_tick_params()["labelbottom"]:
                assert re.search(r"d / Å|/ ADU|frame, in the order", axes.get_xlabel()), axes.get_xlabel()


def test_the_same_streams_give_the_same_page(findings, page):
    again = find(findings.numbers.before, findings.numbers.after)
    assert draw_report(again).decode() == page


# -- the water ring ----------------------------------------------------------------------------------------------------


def test_the_radial_profile_is_the_mean_of_the_clean_pixels_by_their_place_in_the_laboratory(findings, look):
    frame, scene = look.frame, look.scene
    flags = flag_pixels(frame, scene, look.settings.int_radius)
    shift = np.average(scene.det_shift, axis=0)
    edges, detector = findings.sample.profile.edges, frame.detector
    total, number = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for p, (n_ss, n_fs) in enumerate(detector.shapes):
        ss, fs = np.mgrid[:n_ss, :n_fs] + 0.5
        x, y, z = detector.lab(p, fs, ss, frame.clen, tuple(shift))
        angle = np.arctan2(np.hypot(x, y), z)
        inv_d = 20 * np.sin(angle / 2) / (12398.42 / frame.photon_energy_eV)
        clean = flags[detector.offsets[p] : detector.offsets[p + 1]].reshape(n_ss, n_fs) & NOT_CLEAN == 0
        at = np.digitize(inv_d[clean], edges) - 1
        counts = frame.panel(p)[0][clean] / frame.adu_per_photon[p]
        number += np.bincount(at, minlength=len(number))[: len(number)]
        total += np.bincount(at, counts, len(number))[: len(number)]
    enough, number = number > 300, np.maximum(number, 1)
    assert enough.sum() > 60
    # ours counts a whole pixel's width of radii to one bin, and leaves pixels ten standard deviations above out
    np.testing.assert_allclose(findings.sample.profile.observed[0][enough], (total / number)[enough], rtol=0.05)
    ratio = findings.sample.profile.observed[0][enough] * number[enough] / total[enough]
    assert abs(np.median(ratio) - 1) < 0.003


def test_the_model_is_what_was_observed(findings):
    profile = findings.sample.profile
    ratio = (profile.expected / profile.observed)[:, 30:-5]
    assert abs(np.nanmedian(ratio) - 1) < 0.005
    assert np.nanpercentile(np.abs(ratio - 1), 95) < 0.1  # there are bins of some hundred counts


def test_the_ring_is_found_where_it_is_put():
    x = np.linspace(0, 5, 160)
    air = 40 * np.exp(-x)
    ring = find_ring(x, air + 10 * np.exp(-((x - 3.1) ** 2) / 0.1))
    assert ring.inv_d == pytest.approx(3.1, abs=0.05)
    assert ring.level == pytest.approx(40 * np.exp(-3.1) + 10, rel=0.05)
    assert find_ring(x, air) is None
    assert find_ring(x[x < 3.3], (air + 10 * np.exp(-((x - 3.1) ** 2) / 0.1))[x < 3.3]) is None
    assert find_ring(x, np.full(160, np.nan)) is None


def test_the_ring_of_the_golden_frames_is_where_water_scatters(findings, page):
    assert 3.0 < 10 / findings.ring.inv_d < 3.4
    assert f"The water ring stands out most at {10 / findings.ring.inv_d:.2f} Å" in Page(page).text


def test_no_two_pictures_are_called_the_same_by_a_screen_reader(page):
    names = re.findall(r'(?:aria-label|alt)="([^"]*)"', page)
    assert len(names) == len(set(names)) > 10


def test_all_text_of_the_page_follows_one_size():
    """The reader's own, and ten points in print: with some of it in px, captions were printed larger than the text."""
    sizes = re.findall(r"font(?:-size)?: ([\d.]+)(\w+)", report_page.STYLE)
    assert {unit for _, unit in sizes} == {"rem", "pt"}
    assert [(size, unit) for size, unit in sizes if unit == "pt"] == [("10", "pt")]
    assert "html { font-size: 10pt; }" in report_page.STYLE


def test_the_reflection_shown_closely_is_one_of_many(findings):
    look = findings.sample.example
    row = report_figures.typical_reflection(look)
    result, fits, spots = look.found.result, look.found.fits, look.scene.spots
    strength = result["I"] / result["sigma"]
    like = [
        i
        for i in range(len(spots))
        if look.scene.printed[i] >= 0 and result["status"][i] == 0
        and 8 <= strength[i] <= 20 and 2.8 <= spots["inv_d"][i] <= 3.6
    ]  # fmt: skip
    assert row in like
    better = sum(fits["chi2"][i] < fits["chi2"][row] for i in like)
    assert better == (len(like) - 1) // 2
    assert len(like) > 5


# -- what looks wrong --------------------------------------------------------------------------------------------------


def test_other_numbers_than_those_of_the_run_are_noticed(stream, subtracted, folder, tmp_path):
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(folder / name)
    before = copy(stream, tmp_path / "in.stream")
    # other hundredths of I in every row
    after = copy(
        subtracted, tmp_path / "out.stream", lambda text: re.sub(rb"(?m)^((?: +-?\d+){4})\.\d\d", rb"\1.77", text)
    )
    copy(f"{subtracted}.model.json", tmp_path / "out.stream.model.json")
    plain = find(before, copy(subtracted, tmp_path / "same.stream"), model=f"{subtracted}.model.json")
    assert doubts(plain) == []
    found = find(before, after)
    assert found.sample.differ == 2
    assert any(text.startswith("2 of 2 frames integrated again for this report did not give") for text in doubts(found))
    assert "To be looked at" in draw_report(found).decode()


def test_another_geometry_or_model_than_the_runs_is_noticed(stream, subtracted, tmp_path):
    job = resolve_job(stream)
    (tmp_path / "my.geom").write_bytes(job.geometry)
    found = find(stream, subtracted, geometry=str(tmp_path / "my.geom"), frames=0)
    assert any("The run used the stream's geometry, this report another one (-g)." in text for text in doubts(found))
    sums = [hashlib.sha256(data).hexdigest()[:12].encode() for data in (job.geometry, b"another model")]
    line = b" --geometry=my.geom (sha256 %b) --model=m.json (sha256 %b)\n-----" % tuple(sums)
    given = copy(subtracted, tmp_path / "given.stream", lambda text: text.replace(b"\n-----", line, 1))
    same = find(stream, given, geometry=str(tmp_path / "my.geom"), model=f"{subtracted}.model.json", frames=0)
    (said,) = doubts(same)
    assert said.startswith("The run was given a run model")
    assert any("geometry of its own" in text for text in doubts(find(stream, given, frames=0)))


def fake(mean, scatter, ratio=1.0, kinds=("half",)):
    tables = {
        "": DecoyShell(0, 4, 2000, mean, scatter, 10.0),
        "_rings": DecoyShell(0, 4, 2000, 0.0, 1.2, 16.0),
    }
    few = {
        f"{kind}{which}": (DecoyShell(0, 4, 2, None, None, None),) for kind in ("half", "displaced") for which in tables
    }
    many = {f"{kind}{which}": (shell,) for kind in kinds for which, shell in tables.items()}
    return Quality(**few | many, strong=50, ratio=ratio, ratio_scatter=0.02)


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (fake(0.02, 1.01), None),
        (fake(0.3, 1.0), "Decoys' I/σ has mean +0.30, not 0"),
        (fake(-0.3, 1.0), "Decoys' I/σ has mean −0.30, not 0"),
        (fake(0.0, 1.2), "Decoys' I/σ scatters by 1.20, not 1: σ is too small."),
        (fake(0.0, 0.8), "Decoys' I/σ scatters by 0.80, not 1: σ is too large."),
        (fake(0.0, 0.8, kinds=["displaced"]), "Decoys' I/σ scatters by 0.80, not 1: σ is too large."),
        (fake(0.0, 1.0, 1.2), "Profile fit over summation of 50 strong spots is 1.200"),
    ],
)
def test_decoys_and_strong_spots_that_are_wrong_are_noticed(stream, subtracted, quality, said):
    found = find(stream, subtracted, frames=0)
    found.sample.quality = quality
    wrong = doubts(found)
    assert wrong == [] if said is None else (len(wrong) == 1 and said in wrong[0])


def test_many_dropped_and_left_out_frames_are_noticed(stream, thinned, findings):
    found = find(stream, thinned, frames=0)
    assert any("14.3 % of the reflections were dropped" in text for text in doubts(found))
    found.numbers.left_out, found.numbers.left_out_listed = 1, 77
    assert any("1 frame of run.stream is not in thinned.stream (77 reflections)" in text for text in doubts(found))


# -- what is left out --------------------------------------------------------------------------------------------------


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_without_images_one_line_says_what_is_left_out(alone, findings):
    found = find(*alone)
    text = draw_report(found).decode()
    assert found.sample.read == []
    said = Page(text).text
    assert said.count("No image of the sample could be read, so the parts that need images are left out") == 1
    assert "images.h5" in said
    assert "The water ring" not in headings(text)
    assert "A worked example" not in headings(text)
    # decoys are those of the run model
    assert f"from the run model, learnt from {found.sample.model.frames} frames" in said
    assert found.sample.quality == found.sample.model.quality


def test_without_images_and_model_there_is_nothing_about_decoys(alone):
    os.unlink(f"{alone[1]}.model.json")
    text = draw_report(find(*alone)).decode()
    assert "Without images or a run model" in Page(text).text
    assert "error of a reflection without signal" not in text


def test_no_images_are_looked_at_when_none_are_asked_for(stream, subtracted):
    found = find(stream, subtracted, frames=0)
    assert found.sample.wanted == 0
    assert "No images were looked at, as asked for (--frames=0), so" in Page(draw_report(found).decode()).text
    found.numbers.kept = 0
    assert "No images were looked at, as no reflection is left in out.stream, so" in not_looked_at(found)


def test_a_lost_model_is_learnt_again_and_is_the_same(alone, folder, findings):
    os.unlink(f"{alone[1]}.model.json")
    for name in ("images.h5", "mask.h5"):
        Path(alone[0]).with_name(name).symlink_to(folder / name)
    found = find(*alone)
    assert found.sample.differ == 0
    assert found.sample.model == findings.sample.model
    assert "learnt again from the first frames" in Page(draw_report(found).decode()).text


def test_rings_have_neither_decoys_nor_a_fit(stream, tmp_path):
    from waterbg.cli.base import run

    after = tmp_path / "rings.stream"
    assert run(["waterbg", "subtract", stream, "-o", str(after), "--integration=rings-grad"]) == 0
    found = find(stream, str(after))
    text = draw_report(found).decode()
    assert found.sample.differ == 0
    assert found.sample.model is None
    assert doubts(found) == []
    said = Page(text).text
    assert "by CrystFEL's own rings-grad" in said
    assert "This stream was integrated by the rings themselves" in said
    assert "A worked example" not in headings(text)
    assert "The water ring" in headings(text)
    assert "waterbg's model" not in said


def test_a_stream_without_crystals_makes_a_short_page(stream, subtracted, tmp_path):
    def cut(text):
        return re.sub(rb"--- Begin crystal\n.*?--- End crystal\n", b"", text, flags=re.DOTALL)

    found = find(copy(stream, tmp_path / "in.stream", cut), copy(subtracted, tmp_path / "out.stream", cut))
    text = draw_report(found).decode()
    assert headings(text) == ["Where this is from"]
    assert "The stream has no crystals: there was nothing to integrate." in Page(text).text


def test_frames_without_a_good_pixel_have_no_profile(stream, subtracted, tmp_path):
    everywhere = b"\nbad_all/min_x = -9999\nbad_all/max_x = 9999\nbad_all/min_y = -9999\nbad_all/max_y = 9999\n"
    (tmp_path / "bad.geom").write_bytes(resolve_job(stream).geometry + everywhere)
    (tmp_path / "mask.h5").symlink_to(Path(stream).with_name("mask.h5"))
    found = find(stream, subtracted, geometry=str(tmp_path / "bad.geom"))
    assert len(found.sample.read) == found.sample.differ == 2
    assert found.sample.profile is None
    text = draw_report(found).decode()
    assert "The water ring" not in headings(text)
    assert "A worked example" in headings(text)


def test_blank_images_make_a_page_that_says_they_are_not_the_runs(stream, subtracted, folder, tmp_path):
    import h5py

    before, after = copy(stream, tmp_path / "in.stream"), copy(subtracted, tmp_path / "out.stream")
    copy(folder / "images.h5", tmp_path / "images.h5")
    (tmp_path / "mask.h5").symlink_to(folder / "mask.h5")
    with h5py.File(tmp_path / "images.h5", "r+") as file:
        sets = []
        file.visititems(
            lambda _, item: sets.append(item) if isinstance(item, h5py.Dataset) and item.ndim == 3 else None
        )
        for data in sets:
            data[...] = 0
        assert sets
    found = find(before, after, model=f"{subtracted}.model.json")
    assert found.sample.differ == 2
    text = draw_report(found).decode()
    assert "did not give the numbers of out.stream" in text
    assert "No water ring stands out" in text


# -- safe to open ------------------------------------------------------------------------------------------------------


def outside(text):
    """What a page would load or run."""
    found = []
    for tag, attributes in Page(text).elements:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "audio", "video"):
            found.append(tag)
        for name, value in attributes.items():
            if name.startswith("on"):
                found.append(f"{tag} {name}")
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and not re.match(
                r"(data:image/png;base64,|#)", value or ""
            ):
                found.append(f"{tag} {name}={value}")
    return found + re.findall(r"@import|url\((?!#)[^)]*\)|https?:", text)


def test_the_page_loads_nothing_and_runs_nothing(page):
    assert outside(page) == []
    assert outside('<img src="http://x/y.png"><script>1</script>')
    assert "default-src 'none'" in page
    assert len(page) < 4e6


def test_no_name_stands_twice_on_the_page(page):
    names = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(names) > 100
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert used <= set(names)


GEOMETRY = b"----- Begin geometry file -----\n"
ODD = "<img onerror=alert(1)>&\"'<b>.h5"


def test_names_of_images_streams_and_models_are_only_text(stream, subtracted, folder, tmp_path):
    (tmp_path / ODD).symlink_to(folder / "images.h5")
    (tmp_path / "mask.h5").symlink_to(folder / "mask.h5")

    def rename(text):
        return text.replace(b"images.h5", ODD.encode())

    line = b" --model=<i onclick=x>.json (sha256 0123456789ab)\n-----"
    before = copy(stream, tmp_path / "<u>in&.stream", rename)
    after = copy(subtracted, tmp_path / "<script>1<.stream", lambda text: rename(text).replace(b"\n-----", line, 1))
    copy(f"{subtracted}.model.json", tmp_path / "<script>1<.stream.model.json")
    text = draw_report(find(before, after)).decode()
    assert outside(text) == []
    tags = {tag for tag, _ in Page(text).elements}
    assert not tags & {"script", "u"}
    assert ("i", {"onclick": "x"}) not in Page(text).elements
    said = Page(text).text
    for name in (ODD, "<u>in&.stream", "<script>1<.stream", "<i onclick=x>.json"):
        assert name in said
    os.unlink(tmp_path / ODD)
    without = draw_report(find(before, after)).decode()
    assert outside(without) == []
    assert ODD in Page(without).text


def test_names_that_are_no_text_become_question_marks(stream, subtracted, tmp_path):
    paths = [
        copy(
            path, tmp_path / os.fsdecode(b"%b\xff.stream" % name), lambda text: text.replace(b"images.h5", b"im\xff.h5")
        )
        for path, name in ((stream, b"in"), (subtracted, b"out"))
    ]
    said = Page(draw_report(find(*paths)).decode()).text
    assert "waterbg report: out?.stream" in said
    assert "im?.h5" in said


@pytest.mark.parametrize("seed", range(6))
def test_damaged_streams_are_one_line_or_a_page(stream, subtracted, tmp_path, seed):
    text = mutate(Path(stream).read_bytes(), seed)
    line = re.search(rb"(?m)^waterbg \S+ subtract .*\n", Path(subtracted).read_bytes())[0]
    before = copy(stream, tmp_path / "in.stream", lambda _: text)
    # what came through subtract unchanged; and, of a whole stream, a damaged result
    same = copy(stream, tmp_path / "same.stream", lambda _: text.replace(GEOMETRY, line + GEOMETRY, 1))
    damaged = copy(subtracted, tmp_path / "out.stream", lambda text: mutate(text, seed))
    for pair in ((before, same), (stream, damaged)):
        try:
            found = find(*pair, frames=0)
        except WaterbgError as err:
            assert "\n" not in str(err)
            continue
        assert outside(draw_report(found).decode()) == []
