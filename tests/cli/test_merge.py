import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from waterbg.cli.base import run

from ..conftest import WATERBG


@pytest.fixture
def golden(data, tmp_path, monkeypatch):
    for name in ("rings-nocen-nosat-nograd.stream", "rings-nocen-nosat-grad.stream", "xtal.cell"):
        shutil.copy(data / "golden" / "small" / name, tmp_path)
    monkeypatch.chdir(tmp_path)


def test_without_crystfel_merge_says_what_to_install(golden, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    status = run(["waterbg", "merge", "rings-nocen-nosat-grad.stream", "-y", "4/mmm", "-p", "xtal.cell"])
    assert status == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "waterbg: error: process_hkl: not found on PATH; install CrystFEL (https://www.desy.de/~twhite/crystfel), or "
        "name the folder of its programs with --crystfel-bin (in the stand-in: --waterbg-crystfel-bin)\n"
    )
    assert not Path("rings-nocen-nosat-grad.merge").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-y", "4/mmm", "-p", "xtal.cell"], "merge needs at least one stream"),
        (["a.stream", "-p", "xtal.cell"], "switch -y/--symmetry is mandatory"),
        (["a.stream", "-y", "4/mmm", "-p", "xtal.cell", "--iterations=3"], "--iterations"),
    ],
)
def test_wrong_usage_is_exit_status_2(golden, capsys, words, message):
    assert run(["waterbg", "merge", *words]) == 2
    said = capsys.readouterr()
    assert message in said.out + said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nix.stream", "-p", "xtal.cell"], "nix.stream (byte 0): cannot be opened (No such file or directory)"),
        ([".", "-p", "xtal.cell"], ". (byte 0): cannot be opened (Is a directory)"),
        (["rings-nocen-nosat-grad.stream", "-p", "nix.cell"], "nix.cell: cannot be read (No such file or directory)"),
        (["header.stream", "-p", "xtal.cell"], "header.stream (byte BYTE): has no chunks"),
    ],
)
def test_what_cannot_be_merged_is_one_line_and_exit_status_1(golden, capsys, words, said):
    text = Path("rings-nocen-nosat-grad.stream").read_bytes()
    size = Path("header.stream").write_bytes(text[: text.index(b"----- Begin chunk")])
    assert run(["waterbg", "merge", *words, "-y", "4/mmm"]) == 1
    assert capsys.readouterr() == ("", f"waterbg: error: {said.replace('BYTE', str(size))}\n")
    assert not any(path.is_dir() for path in Path().iterdir())


def test_a_merge_that_is_told_to_end_ends_crystfels_program_too(golden, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("process_hkl", "check_hkl", "compare_hkl"):
        waits = "echo $$ >pid; exec sleep 600" if name == "process_hkl" else "exit 0"
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ {waits}; }}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    words = ["rings-nocen-nosat-grad.stream", "-y", "4/mmm", "-p", "xtal.cell", "--crystfel-bin", "bin"]
    process = subprocess.Popen([WATERBG, "merge", *words], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (Path("pid").exists() and Path("pid").read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.splitlines()[-1]) == (130, "waterbg: interrupted")
    assert not Path(f"/proc/{Path('pid').read_text().strip()}").exists()


@pytest.mark.crystfel
def test_merge_prints_the_table_draws_the_figure_and_passes_options_on(golden, capsys):
    streams = ["rings-nocen-nosat-nograd.stream", "rings-nocen-nosat-grad.stream"]
    words = ["-y", "4/mmm", "-p", "xtal.cell", "-o", "out", "--nshells=5", "--min-measurements", "3", "--scale"]
    assert run(["waterbg", "merge", *streams, *words]) == 0
    said = capsys.readouterr()
    assert said.out == Path("out/merge.txt").read_text()
    assert "Merged with process_hkl 0.1" in said.out
    assert "--min-measurements=3 --scale" in said.out
    assert "A -> B: I/sigma" in said.out
    assert Path("out/merge.png").read_bytes().startswith(b"\x89PNG")
    assert "process_hkl rings-nocen-nosat-grad.stream (3 of 3)" in said.err
    # a second time: not without --force, and nothing is touched
    before = {name: os.stat(f"out/{name}").st_mtime_ns for name in os.listdir("out")}
    assert run(["waterbg", "merge", *streams, *words]) == 1
    assert before == {name: os.stat(f"out/{name}").st_mtime_ns for name in os.listdir("out")}


@pytest.mark.crystfel
def test_partialators_own_options_are_known_when_it_is_asked_for(golden, capsys):
    words = ["-y", "4/mmm", "-p", "xtal.cell", "-o", "out", "--program", "partialator", "--model=unity"]
    more = ["--iterations=0", "--json", "--no-figure"]
    assert run(["waterbg", "merge", "rings-nocen-nosat-grad.stream", *words, *more]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["program"] == "partialator"
    assert value["options"] == ["--model=unity", "--iterations=0"]
    assert value["streams"][0]["overall"]["reflections"] > 500
    assert not Path("out/merge.png").exists()


@pytest.mark.crystfel
@pytest.mark.shared
@pytest.mark.slow
def test_real_crystals_agree_better_after_the_subtraction(shared, tmp_path, monkeypatch, capsys):
    source = shared / "real" / "thaumatin"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thaumatin.h5").symlink_to(source / "thaumatin.h5")
    before = source / "rings-nocen-nosat-nograd.stream"
    assert run(["waterbg", "subtract", str(before), "-o", "after.stream"]) == 0
    words = ["-y", "4/mmm", "-p", str(source / "thaumatin.cell"), "--nshells=6", "--highres=1.6", "--scale"]
    assert run(["waterbg", "merge", str(before), "after.stream", *words, "-o", "out", "--json", "--no-figure"]) == 0
    a, b = json.loads(capsys.readouterr().out)["streams"]
    assert b["overall"]["Rsplit"] < a["overall"]["Rsplit"]
    assert b["overall"]["reflections"] > 0.99 * a["overall"]["reflections"]
    # the outer shells are where the background is most of what is counted
    for first, second in list(zip(a["columns"]["Rsplit"], b["columns"]["Rsplit"]))[3:]:
        assert second < first
