"""``waterbg decoys`` as a user runs it."""

import json
import re

import pytest

from waterbg.cli.base import run

STREAM = "golden/small/rings-nocen-nosat-nograd.stream"


def test_tables_and_verdict_are_printed(data, capsys):
    assert run(["waterbg", "decoys", str(data / STREAM), "--frames", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("decoys at half indices:\n")
    assert "waterbg   rings" in out
    assert "0 and 1 are right" in out
    assert "profile fit over summation of" in out


def test_json_holds_every_shell(data, capsys):
    assert run(["waterbg", "decoys", str(data / STREAM), "--frames", "3", "--json"]) == 0
    quality = json.loads(capsys.readouterr().out)
    assert len(quality["half"]) == len(quality["half_rings"]) > 0
    shell = quality["half"][0]
    assert set(shell) == {"low", "high", "n", "z_mean", "z_std", "rms"}
    assert 0.9 < quality["ratio"] < 1.1


def test_a_model_of_subtract_can_be_judged(data, capsys, tmp_path):
    out = tmp_path / "out.stream"
    assert run(["waterbg", "subtract", str(data / STREAM), "-o", str(out)]) == 0
    capsys.readouterr()
    assert run(["waterbg", "decoys", str(data / STREAM), "--model", f"{out}.model.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["strong"] > 0


def test_a_figure_is_drawn(data, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "decoys.png"
    assert run(["waterbg", "decoys", str(data / STREAM), "--frames", "2", "-o", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


HEADER = re.compile(rb".*?(?=----- Begin chunk)", re.DOTALL)
UNINDEXED = re.compile(rb"--- Begin crystal\n.*?--- End crystal\n", re.DOTALL)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda text: UNINDEXED.sub(b"", text), "has 6 chunks, none of them with reflections\n"),
        (lambda text: HEADER.match(text)[0], "has no chunks\n"),
        (lambda text: HEADER.match(text)[0][:-3], "has no chunks; the file ends inside its header\n"),
        (
            lambda text: text[: text.index(b"End unit cell")],
            "has no chunks; the file ends inside its header\n",
        ),
        (
            lambda text: text[: text.index(b"Begin crystal")],
            "has no chunks; the file ends inside a chunk, which is lost\n",
        ),
    ],
    ids=["no crystals", "no chunks", "cut in a line of the header", "cut in the cell", "cut in the first chunk"],
)
def test_a_stream_without_reflections_has_no_verdict_and_is_told_as_view_tells_it(data, capsys, tmp_path, make, said):
    path = tmp_path / "run.stream"
    path.write_bytes(make((data / STREAM).read_bytes()))
    for command in ("decoys", "view"):
        more = ["-o", str(tmp_path / "view.png")] if command == "view" else []
        assert run(["waterbg", command, str(path), *more]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"waterbg: error: {path} (byte ")
        assert err.endswith(said)
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--", "-"], 2, "standard input will not do"),
        (["STREAM", "--int-radius", "3,5"], 2, "three numbers are needed"),
        (["STREAM", "--polarisation", "round"], 2, "none, horiz, vert or <angle>deg is needed"),
        (["STREAM", "--model", "nothing.json"], 2, "cannot be read"),
        (["STREAM", "-o", "no/such/folder/f.png", "--frames", "1"], 1, "its folder does not exist"),
    ],
)
def test_wrong_usage_is_one_line(data, capsys, arguments, status, said):
    words = [str(data / STREAM) if word == "STREAM" else word for word in arguments]
    assert run(["waterbg", "decoys", *words]) == status
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
