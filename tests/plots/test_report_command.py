"""``waterbg report`` as a user runs it."""

import re
import sys
from pathlib import Path

import pytest

from tests.plots.plain import Page
from waterbg.cli.base import run

pytest.importorskip("matplotlib")


def test_the_page_is_written_and_the_verdict_printed(stream, subtracted, page, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run(["waterbg", "report", stream, subtracted, "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"{out}: 3 chunks, 2 crystals, ")
    assert said.out.endswith("images of 2 frames read\n  nothing looks wrong\n")
    assert out.read_text() == page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]


def test_an_existing_page_stays_unless_forced(stream, subtracted, tmp_path, capsys):
    out = tmp_path / "report.html"
    out.write_text("precious")
    command = ["waterbg", "report", stream, subtracted, "-o", str(out), "--frames=0"]
    assert run(command) == 1
    assert capsys.readouterr().err == f"waterbg: error: {out}: exists; --force replaces it\n"
    assert out.read_text() == "precious"
    assert run([*command, "--force"]) == 0
    capsys.readouterr()
    assert run([*command[:4], "-o", str(command[3]), "--force"]) == 1
    assert "is the input itself" in capsys.readouterr().err
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_images_are_found_below_a_prefix(stream, subtracted, folder, tmp_path, capsys):
    paths = []
    for name, path in (("in.stream", stream), ("out.stream", subtracted)):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(Path(path).read_bytes().replace(b"images.h5", b"/gone/images.h5"))
    (tmp_path / "mask.h5").symlink_to(folder / "mask.h5")
    out = tmp_path / "report.html"
    given = ["--model", f"{subtracted}.model.json", "-o", str(out)]
    assert run(["waterbg", "report", *map(str, paths), *given]) == 0
    said = capsys.readouterr().out
    assert "images of 0 frames read\n  No image of the sample could be read, so the parts that need images" in said
    assert "/gone/images.h5" in said
    assert said.endswith("\n  nothing looks wrong in what was looked at\n")
    found = ["--basename", "--prefix", f"{folder}/", "--force", "--frames=1"]
    assert run(["waterbg", "report", *map(str, paths), *given, *found]) == 0
    assert "images of 1 frame read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["OUT", "IN"], 1, "no line before its geometry says that waterbg subtract wrote it"),
        (["IN", "IN"], 1, "no line before its geometry says that waterbg subtract wrote it"),
        (["OTHER", "OUT"], 1, "does not come from"),
        (["none.stream", "OUT"], 1, "none.stream (byte 0): cannot be opened"),
        (["IN", "none.stream"], 1, "none.stream (byte 0): cannot be opened"),
        (["IN", "OUT", "-g", "none.geom"], 1, "none.geom: cannot be read"),
        (["IN", "OUT", "--model=none.json"], 2, "--model=none.json: cannot be read"),
        (["IN", "OUT", "--model=IN"], 2, "is not a run model"),
        (["IN", "--", "-"], 2, "standard input will not do"),
    ],
)
def test_what_cannot_be_is_one_line_and_no_page(stream, subtracted, data, tmp_path, capsys, words, status, said):
    files = {"IN": stream, "OUT": subtracted, "OTHER": str(data / "golden/small_gain/rings-nocen-nosat-nograd.stream")}
    given = [files.get(word, word.replace("=IN", f"={stream}")) for word in words]
    out = tmp_path / "report.html"
    assert run(["waterbg", "report", "-o", str(out), *given]) == status
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_not_named_as_what_it_is_not(stream, subtracted, tmp_path, capsys):
    assert run(["waterbg", "report", stream, subtracted, "-o", str(tmp_path / "report.PDF")]) == 2
    assert "the page is HTML" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda text: re.sub(r'("format": "[^"]*)\d"', r'\g<1>0"', text), "is of another version of waterbg"),
        (lambda text: text[:1000], "is not a run model"),
    ],
    ids=["another version", "cut"],
)
def test_a_spoilt_run_model_that_nobody_named_is_learnt_again(stream, subtracted, tmp_path, capsys, harm, said):
    after = tmp_path / "out.stream"
    after.write_bytes(Path(subtracted).read_bytes())
    model = tmp_path / "out.stream.model.json"
    model.write_text(harm(Path(f"{subtracted}.model.json").read_text()))
    command = ["waterbg", "report", stream, str(after), "-o", str(tmp_path / "report.html"), "--force"]
    for frames, words in (("24", "learnt again from the first frames"), ("0", "none")):
        assert run([*command, f"--frames={frames}"]) == 0, capsys.readouterr().err
        text = Page((tmp_path / "report.html").read_text()).text
        assert f"Run model: {words}, as its file {said}" in text
        assert f"model.json: {said}" not in text
    capsys.readouterr()
    assert run([*command, f"--model={model}"]) == 2
    assert f"--model={model}: {said}; " in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_known_before_the_work(tmp_path, capsys):
    assert run(["waterbg", "report", "a.stream", "b.stream", "-o", str(tmp_path / "none" / "report.html")]) == 1
    assert "its folder does not exist" in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(stream, subtracted, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["waterbg", "report", stream, subtracted, "-o", str(tmp_path / "report.html")]) == 2
    err = capsys.readouterr().err
    assert "pip install 'waterbg[plot]'" in err
    assert err.count("\n") == 1
