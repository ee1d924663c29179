"""``waterbg view`` as a user runs it."""

import os
import sys
from pathlib import Path

import pytest

from waterbg.cli.base import run

pytest.importorskip("matplotlib")

MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    monkeypatch.setattr("waterbg.scripts.figure.has_screen", lambda: False)


@pytest.fixture
def model(look, tmp_path_factory):
    """Run model, so that not every command has to learn one."""
    path = tmp_path_factory.mktemp("model") / "model.json"
    look.model.save(path)
    return str(path)


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_figure_is_written_as_its_name_ends(stream, model, tmp_path, capsys, kind):
    figure = tmp_path / f"view.{kind}"
    what = ["--peaks"] if kind == "png" else ["--3d", "--size=4"]
    assert run(["waterbg", "view", stream, *what, "-o", str(figure), "--model", model]) == 0
    assert figure.read_bytes().startswith(MAGIC[kind])
    assert capsys.readouterr().err == ""


def test_an_existing_figure_stays_unless_forced(stream, model, tmp_path, capsys):
    figure = tmp_path / "view.png"
    figure.write_text("precious")
    assert run(["waterbg", "view", stream, "-o", str(figure)]) == 1
    assert figure.read_text() == "precious"
    assert capsys.readouterr().err == f"waterbg: error: {figure}: exists; --force replaces it\n"
    assert run(["waterbg", "view", stream, "--3d", "--size=4", "-o", str(figure), "--force", "--model", model]) == 0
    assert figure.read_bytes().startswith(MAGIC["png"])


def test_names_with_dollars_and_foreign_letters_are_drawn_as_they_are(folder, stream, model, tmp_path, capsys):
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(folder / name)
    odd = tmp_path / "a$b$ 水.stream"
    odd.write_bytes(Path(stream).read_bytes())
    figure = tmp_path / "view.svg"
    assert run(["waterbg", "view", str(odd), "--3d", "--size=4", "-o", str(figure), "--model", model]) == 0
    assert capsys.readouterr().err == ""
    assert "a$b$ 水.stream, chunk 2" in figure.read_text()  # svg keeps what was drawn as a comment


def test_names_that_are_no_text_are_drawn_all_the_same(folder, stream, model, tmp_path, capsys):
    image = os.fsdecode(b"im\xffages.h5")
    (tmp_path / image).symlink_to(folder / "images.h5")
    (tmp_path / "mask.h5").symlink_to(folder / "mask.h5")
    odd = tmp_path / "run.stream"
    odd.write_bytes(Path(stream).read_bytes().replace(b"images.h5", b"im\xffages.h5"))
    figure = tmp_path / "view.png"
    assert run(["waterbg", "view", str(odd), "--3d", "--size=4", "-o", str(figure), "--model", model]) == 0
    assert "im?ages.h5 //0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["9"], 1, "has 3 chunks, but no chunk with number 9"),
        (["1"], 1, "has no crystals: there is nothing to integrate"),
        (["--serial", "77"], 1, "no chunk with serial number 77"),
        (["--image", "other.h5"], 1, "no chunk with image other.h5"),
        (["--event", "//9"], 1, "no chunk with event //9"),
        (["--reflection=99,1,1"], 1, "reflection 99,1,1 is not in the list of chunk 2"),
        (["--crystal=3"], 1, "has 1 crystal, but no crystal 3"),
        (["-g", "none.geom"], 1, "none.geom: cannot be read"),
        (["0"], 2, "a chunk is its position in the stream, counted from 1"),
        (["first"], 2, "a chunk is its position in the stream, counted from 1"),
        (["--reflection=1,2"], 2, "--reflection=1,2: H,K,L is needed"),
        (["--reflection=1,2,x"], 2, "H,K,L is needed"),
        (["--int-radius=3,5"], 2, "three numbers are needed"),
        (["--3d", "--at=3"], 2, "FS,SS or FS,SS,PANEL is needed"),
        (["--3d", "--at=3000,3"], 2, "fs 3000, ss 3 is not on any panel"),
        (["--polarisation=round"], 2, "none, horiz, vert or <angle>deg is needed"),
        (["--model=none.json"], 2, "cannot be read"),
    ],
)
def test_what_is_not_there_is_one_line_and_no_file(stream, model, tmp_path, capsys, arguments, status, said):
    capsys.readouterr()
    figure = tmp_path / "view.png"
    given = [] if any(word.startswith("--model") for word in arguments) else ["--model", model]
    assert run(["waterbg", "view", stream, *arguments, "-o", str(figure), *given]) == status
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not figure.exists()


def test_a_missing_image_is_one_line_with_its_name(stream, tmp_path, capsys):
    alone = tmp_path / "run.stream"
    alone.write_bytes(Path(stream).read_bytes().replace(b"images.h5", b"images-that-went-away.h5"))
    assert run(["waterbg", "view", str(alone), "-o", str(tmp_path / "view.png")]) == 1
    err = capsys.readouterr().err
    assert "images-that-went-away.h5" in err
    assert err.count("\n") == 1


def test_a_name_or_folder_that_cannot_be_is_known_before_the_work(stream, tmp_path, capsys):
    assert run(["waterbg", "view", stream, "-o", str(tmp_path / "view.tiff")]) == 2
    assert "ends with .png, .pdf or .svg" in capsys.readouterr().err
    assert run(["waterbg", "view", stream, "-o", str(tmp_path / "none" / "view.png")]) == 1
    assert "its folder does not exist" in capsys.readouterr().err


def test_without_screen_and_file_it_says_how_to_get_a_file(stream, capsys):
    assert run(["waterbg", "view", stream]) == 2
    assert capsys.readouterr().err.endswith("no screen to show the figure on; -o FILE.png writes it to a file\n")


def test_a_screen_without_a_window_system_is_no_screen(stream, capsys, monkeypatch):
    monkeypatch.setattr("waterbg.scripts.figure.has_screen", lambda: True)
    monkeypatch.setenv("MPLBACKEND", "agg")
    import matplotlib

    matplotlib.use("agg")
    assert run(["waterbg", "view", stream]) == 2
    assert "finds no window system (Qt, Tk, GTK …); -o FILE.png writes" in capsys.readouterr().err
    matplotlib.pyplot.close("all")


def test_a_window_is_shown_where_there_is_a_screen(stream, model, capsys, monkeypatch):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = []
    monkeypatch.setattr("waterbg.scripts.figure.has_screen", lambda: True)
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "a window system")
    monkeypatch.setattr(pyplot, "show", lambda: shown.extend(pyplot.get_fignums()))
    assert run(["waterbg", "view", stream, "--model", model]) == 0
    assert len(shown) == 1
    pyplot.close("all")


def test_without_matplotlib_it_says_what_to_install(stream, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["waterbg", "view", stream, "-o", str(tmp_path / "view.png")]) == 2
    err = capsys.readouterr().err
    assert "pip install 'waterbg[plot]'" in err
    assert err.count("\n") == 1


def test_standard_input_will_not_do(capsys):
    assert run(["waterbg", "view", "-o", "x.png", "--", "-"]) == 2
    assert "standard input will not do" in capsys.readouterr().err
