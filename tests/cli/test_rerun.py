import os
import shlex
import shutil
from pathlib import Path

import pytest

from waterbg.cli.base import run

STREAM = "rings-nocen-nosat-nograd.stream"


@pytest.fixture
def golden(data, tmp_path, monkeypatch):
    for name in (STREAM, "images.h5", "mask.h5"):
        shutil.copy(data / "golden" / "small" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fake(folder):
    """An indexamajig that only knows its version."""
    folder.mkdir()
    (folder / "indexamajig").write_text("#!/bin/sh\necho CrystFEL: 0.12.0\n")
    (folder / "indexamajig").chmod(0o755)
    return str(folder)


def test_a_dry_run_prints_a_command_for_the_shell_and_writes_nothing(golden, tmp_path, capsys):
    folder = fake(tmp_path / "bin")
    before = sorted(path.name for path in tmp_path.iterdir())
    words = [STREAM, "-o", "again.stream", "--dry-run", "--crystfel-bin", folder, "--int-radius", "4,6,9", "-j2"]
    assert run(["waterbg", "rerun", *words]) == 0
    command = shlex.split(capsys.readouterr().out)
    assert command[0] == f"{folder}/indexamajig"
    assert "--int-radius=4,6,9" in command
    assert command[command.index("-j") + 1] == "2"
    assert "--fix-profile-radius=0.03e9" in command
    assert f"--fromfile-input-file={tmp_path}/again.rerun/solutions.sol" in command
    assert before == sorted(path.name for path in tmp_path.iterdir())


def test_an_option_nobody_knows_is_refused_unless_it_is_passed(golden, tmp_path, capsys):
    words = [STREAM, "-o", "again.stream", "--dry-run", "--crystfel-bin", fake(tmp_path / "bin")]
    assert run(["waterbg", "rerun", *words, "--brand-new=3"]) == 2
    assert "brand-new" in capsys.readouterr().err
    assert run(["waterbg", "rerun", *words, "--pass=--brand-new=3"]) == 0
    assert "--brand-new=3" in capsys.readouterr().out


def test_without_crystfel_rerun_says_what_to_install(golden, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["waterbg", "rerun", STREAM, "-o", "again.stream"]) == 1
    assert capsys.readouterr().err.startswith("waterbg: error: indexamajig: not found on PATH; install CrystFEL")


def test_a_stream_that_is_none_is_one_line(golden, tmp_path, capsys):
    Path("bad.stream").write_text("hello\n")
    assert run(["waterbg", "rerun", "bad.stream", "-o", "x.stream", "--crystfel-bin", fake(tmp_path / "bin")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--only", "99"], 2, f"waterbg: --only leaves none of the frames of {STREAM}\n"),
        (["-g", "e.geom"], 1, "waterbg: error: e.geom: is empty\n"),
        (["-g", "no.geom"], 1, "waterbg: error: no.geom: cannot be read (No such file or directory)\n"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is_written(golden, tmp_path, capsys, words, status, said):
    Path("e.geom").touch()
    folder = fake(tmp_path / "bin")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run(["waterbg", "rerun", STREAM, "-o", "x.stream", "--crystfel-bin", folder, *words]) == status
    assert capsys.readouterr() == ("", said)
    assert before == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", [STREAM, "again.geom", "pipe", "again.rerun"])
def test_what_cannot_be_the_output_is_refused_even_by_force_and_in_a_dry_run(golden, data, tmp_path, capsys, name):
    folder = fake(tmp_path / "bin")
    shutil.copy(data / "golden/small/det.geom", "again.geom")
    os.mkfifo("pipe")
    Path("again.rerun").mkdir()
    before = Path(STREAM).read_bytes()
    words = [STREAM, "-o", name, "-g", "again.geom", "--crystfel-bin", folder, "--force", "--dry-run"]
    assert run(["waterbg", "rerun", *words]) == 1
    assert capsys.readouterr().err.startswith(f"waterbg: error: {name}: is ")
    assert Path(STREAM).read_bytes() == before


def test_a_stream_that_an_earlier_rerun_left_is_not_removed_by_its_own_rerun(golden, tmp_path, capsys):
    Path("again.rerun").mkdir()
    Path(STREAM).rename("again.rerun/again.stream")
    words = ["again.rerun/again.stream", "-o", "again.stream", "--crystfel-bin", fake(tmp_path / "bin")]
    assert run(["waterbg", "rerun", *words]) == 1
    assert "again.stream: is the input itself" in capsys.readouterr().err
    assert Path("again.rerun/again.stream").exists()


def test_a_geometry_or_cell_in_the_folder_of_an_earlier_rerun_is_used_as_it_is(golden, data, tmp_path):
    Path("again.rerun").mkdir()
    mine = {"-g": "again.rerun/geometry.geom", "-p": "again.rerun/target.cell"}
    for name, path in zip(("det.geom", "xtal.cell"), mine.values()):
        shutil.copy(data / "golden/small" / name, path)
        with open(path, "a") as file:
            file.write("; edited\n")
    folder = fake(tmp_path / "bin")
    words = [word for pair in mine.items() for word in pair]
    assert run(["waterbg", "rerun", STREAM, "-o", "again.stream", "--crystfel-bin", folder, *words]) == 1
    assert all(Path(path).read_text().endswith("; edited\n") for path in mine.values())


@pytest.mark.crystfel
def test_rerun_writes_the_stream_and_says_what_came_of_it(golden, capsys):
    assert run(["waterbg", "rerun", STREAM, "-o", "again.stream", "--only=2-3"]) == 0
    said = capsys.readouterr().err
    assert "waterbg: again.stream: 2 of 2 frames, 2 of 2 crystals" in said
    assert Path("again.stream").read_bytes().count(b"----- End chunk -----\n") == 2
    assert run(["waterbg", "rerun", STREAM, "-o", "again.stream"]) == 1
    assert "exists; --force replaces it" in capsys.readouterr().err
