"""Finding and running the scripts, as a library and as ``waterbg script``."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waterbg import scripts
from waterbg.cli.base import run as waterbg
from waterbg.errors import ProgramError, UsageError

from ..conftest import WATERBG
from .conftest import load

NAMED = {
    "sum-peaks",
    "sum-hdf5-files",
    "peakogram-stream",
    "plot-pr-contourmap",
    "peak-intensity",
    "ave-resolution",
    "ave-peak-resolution",
    "plot-radius-resolution",
    "stream_grep",
    "truncate-stream",
    "clean-stream",
    "indexed-filenames",
    "find-filename",
    "find-multiples",
    "crystal-frame-number",
    "extract-geom",
    "split-by-mask",
    "stream2sol",
    "make-csplit",
    "detector-shift",
    "turbo-index-slurm",
    "display-hdf5",
    "Rsplit_surface",
    "check-hkl",
    "check-hkl-completeness",
    "check-hkl-quality",
    "compare-hkl",
    "transfer-geom",
    "move-entire-detector",
    "eiger-badmap",
    "gaincal-to-saturation-map",
}
OURS = [name for name in scripts.names() if name != "indexamajig"]


def test_every_script_people_know_is_there_and_executable():
    assert set(OURS) == NAMED
    for name in NAMED:
        path = scripts.script_path(name)
        assert path.read_text().startswith("#!/usr/bin/env python3\n")
        assert path.stat().st_mode & 0o111 == 0o111 or "site-packages" in str(path)


@pytest.mark.parametrize("name", OURS)
def test_a_script_explains_itself_and_refuses_unknown_switches(name, script):
    said = script(name, "--help")
    assert said.status == 0
    assert load(name).__doc__.strip().splitlines()[0].split()[0] in said.out
    assert said.err == ""
    said = script(name, "--no-such-switch")
    assert said.status == 2


@pytest.mark.parametrize("name", sorted(set(OURS) - {"stream_grep", "plot-pr-contourmap"}))
def test_a_script_without_what_it_needs_is_a_usage_error(name, script):
    assert script(name).status == 2


def test_crystfels_own_endings_may_be_left_on():
    assert scripts.script_path("stream2sol.py").name == "stream2sol"
    assert scripts.script_path("clean-stream.py").name == "clean-stream"
    assert scripts.script_path("compare-hkl.gp").name == "compare-hkl"
    with pytest.raises(UsageError, match="no script named 'sum_peaks'; there are"):
        scripts.script_path("sum_peaks")


def test_run_gives_status_output_and_errors(golden, tmp_path):
    status, output, errors = scripts.run("extract-geom", golden)
    assert (status, errors) == (0, "")
    assert output.startswith("; waterbg simulated detector")
    done = scripts.run("extract-geom", golden, "--output", tmp_path / "a.geom")
    assert done.output == ""
    assert (tmp_path / "a.geom").read_text() == output


def test_run_feeds_standard_input(golden):
    assert "6 crystals" in scripts.run("stream2sol", "-i", "-", "-o", "-", stdin=golden.read_bytes()).errors


def test_run_keeps_the_bytes_of_a_name_that_are_no_utf8(golden, tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(golden.read_bytes().replace(b"images.h5", b"im\xffges.h5"))
    names = scripts.run("indexed-filenames", path).output.splitlines()
    assert os.fsencode(names[0]) == b"im\xffges.h5 //0"
    said = scripts.run("stream_grep", "-n", "num_peaks", stdin=os.fsdecode(path.read_bytes())).output
    assert os.fsencode(said).count(b"im\xffges.h5") == 6


def test_run_raises_with_what_the_script_said_last(tmp_path):
    with pytest.raises(ProgramError, match=r"extract-geom \(exit status 1\): .*none.stream.*cannot be opened"):
        scripts.run("extract-geom", tmp_path / "none.stream")
    assert scripts.run("extract-geom", tmp_path / "none.stream", check=False).status == 1


def test_the_command_lists_the_scripts_and_refuses_unknown_ones(capsys):
    assert waterbg(["waterbg", "script"]) == 0
    assert capsys.readouterr().out.split() == scripts.names()
    assert waterbg(["waterbg", "script", "nonsense"]) == 2
    assert "no script named 'nonsense'" in capsys.readouterr().err


def test_the_command_passes_everything_behind_the_name_and_the_exit_status(golden, tmp_path):
    command = [WATERBG, "script"]
    done = subprocess.run([*command, "extract-geom", golden], capture_output=True, check=True)
    assert done.stdout.startswith(b"; waterbg simulated detector")
    done = subprocess.run(
        [*command, "stream_grep", "-n", "hit", "-eq", "1"], input=golden.read_bytes(), capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, golden.read_bytes())
    done = subprocess.run([*command, "extract-geom", "--help"], capture_output=True)
    assert b"geometry file that a stream holds" in done.stdout
    assert subprocess.run([*command, "extract-geom", "none.stream"], capture_output=True).returncode == 1
    assert subprocess.run([*command, "extract-geom"], capture_output=True).returncode == 2


def test_a_script_is_run_by_our_python_whatever_is_on_path(golden, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scripts.run("indexed-filenames", golden).output == "".join(f"images.h5 //{i}\n" for i in range(6))


def test_a_file_run_directly_finds_the_package_beside_the_checkout(golden):
    python3 = os.path.dirname(sys.executable)
    if not os.path.exists(os.path.join(python3, "python3")):
        pytest.skip("this environment has no python3")
    if not os.access(scripts.script_path("indexed-filenames"), os.X_OK):
        pytest.skip("an installed package's scripts are not executable")
    done = subprocess.run(
        [scripts.script_path("indexed-filenames"), golden],
        env={**os.environ, "PATH": python3 + os.pathsep + os.environ["PATH"]},
        capture_output=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"images.h5 //0\n")


def test_a_reader_that_goes_away_is_not_an_error(golden):
    command = f"{WATERBG} script extract-geom {golden} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True)
    assert done.stderr == b""
    assert shutil.which("bash")


def test_a_device_is_written_to_and_never_replaced(script, golden):
    assert script("extract-geom", golden, "-o", "/dev/null").status == 0
    assert script("extract-geom", golden, "-o", "/dev/null", "--force").status == 0
    said = script("sum-peaks", golden, "-o", "/dev/null", "--force")
    why = "is a pipe or a device and no file; give the output another name"
    assert (said.status, said.err) == (1, f"sum-peaks: error: /dev/null: {why}\n")
    assert not os.path.isfile("/dev/null")


def test_outputs_are_not_overwritten_without_force(script, golden, tmp_path):
    out = tmp_path / "out"
    for name, arguments in [
        ("extract-geom", [golden, "-o", out]),
        ("sum-peaks", [golden, "-o", out]),
        ("clean-stream", [golden, out]),
        ("truncate-stream", ["--input", golden, "--output", out]),
        ("stream2sol", ["-i", golden, "-o", out]),
    ]:
        out.write_text("precious")
        said = script(name, *arguments)
        assert (said.status, out.read_text()) == (1, "precious")
        assert said.err.startswith(f"{name}: error: {out}: exists; --force replaces it")
        assert said.err.count("\n") == 1
        assert script(name, *arguments, "--force").status == 0
        assert out.stat().st_size > 100
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_switch_without_its_value_takes_no_other_word_for_it(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = script("ave-resolution", "a.stream", "-o")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "switch -o requires an argument" in said.err


# a script with --force, its input, its other words, its output
REPLACING = {
    "stream_grep": ("a.stream", ["-n", "hit", "-i", "a.stream", "-o"]),
    "clean-stream": ("a.stream", ["a.stream"]),
    "clean-stream --count": ("a.stream", ["a.stream", "-o", "b.stream", "--count"]),
    "truncate-stream": ("a.stream", ["--input=a.stream", "-o"]),
    "split-by-mask": ("mask.h5", ["-i", "a.stream", "--mask=mask.h5", "--output1", "b.stream", "--output2"]),
    "make-csplit": ("a.stream", ["a.stream", "--header=hit", "--names=a,b", "-o"]),
    "stream2sol": ("a.stream", ["-ia.stream", "-o", "a.sol", "-g"]),
    "extract-geom": ("a.stream", ["a.stream", "-o"]),
    "sum-peaks": ("a.stream", ["a.stream", "-o"]),
    "sum-hdf5-files": ("list.lst", ["list.lst", "-o"]),
    "sum-hdf5-files of a stream": ("images.h5", ["a.stream", "-o"]),
    "sum-hdf5-files of a list": ("images.h5", ["list.lst", "-o"]),
    "sum-hdf5-files -g": ("det.geom", ["list.lst", "-g", "det.geom", "-o"]),
    "detector-shift": ("det.geom", ["a.stream", "-g", "det.geom", "--geometry-out"]),
    "move-entire-detector": ("det.geom", ["det.geom", "1", "-1", "0", "-o"]),
    "transfer-geom": ("other.geom", ["det.geom", "other.geom"]),
    "eiger-badmap": ("mask.h5", ["mask.h5", "-o"]),
    "gaincal-to-saturation-map": ("mask.h5", ["mask.h5", "-o"]),
}
# their outputs have the ending of a picture, which no input has
FIGURES = {"Rsplit_surface", "ave-peak-resolution", "ave-resolution", "check-hkl", "check-hkl-completeness",
           "check-hkl-quality", "compare-hkl", "display-hdf5", "peakogram-stream", "plot-pr-contourmap",
           "plot-radius-resolution"}  # fmt: skip


@pytest.mark.parametrize("link", ["itself", "hard link", "symbolic link"])
@pytest.mark.parametrize("name", REPLACING)
def test_no_script_replaces_what_it_reads_even_by_force(script, golden, tmp_path, monkeypatch, name, link):
    monkeypatch.chdir(tmp_path)
    for source in ("images.h5", "mask.h5", "det.geom"):
        shutil.copy(golden.with_name(source), tmp_path)
    shutil.copy("det.geom", "other.geom")
    shutil.copy(golden, "a.stream")
    Path("list.lst").write_text("images.h5 //0\n")
    read, words = REPLACING[name]
    before = Path(read).read_bytes()
    output = read if link == "itself" else "output"
    if link == "hard link":
        os.link(read, output)
    elif link == "symbolic link":
        os.symlink(read, output)
    said = script(name.split()[0], *words, output, "--force")
    assert (said.status, said.err.splitlines()[-1].partition(": ")[2]) == (
        1,
        f"error: {output}: is the input itself; give the output another name",
    )
    assert Path(read).read_bytes() == before


def test_every_script_that_can_replace_a_file_is_among_those():
    forced = {name for name in OURS if hasattr(load(name), "force")}
    assert forced == {name.split()[0] for name in REPLACING} | FIGURES


def test_no_script_replaces_its_standard_input(golden, tmp_path):
    stream = tmp_path / "a.stream"
    shutil.copy(golden, stream)
    command = [WATERBG, "script", "stream_grep", "-n", "hit", "-o", stream, "--force"]
    with open(stream) as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is the input itself" in done.stderr
    assert stream.read_bytes() == golden.read_bytes()


def test_a_script_ends_when_the_command_is_told_to_end():
    process = subprocess.Popen([WATERBG, "script", "extract-geom", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + 60
    while not children.read_text() and time.monotonic() < end:
        time.sleep(0.1)
    (child,) = children.read_text().split()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        assert not Path(f"/proc/{child}").exists()
    finally:
        process.stdin.close()
        process.stderr.close()
