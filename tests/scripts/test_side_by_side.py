"""Beside CrystFEL's own scripts, where those still run: the same output, or a difference that the manual explains.

CRYSTFEL_SCRIPTS is the folder ``scripts`` of CrystFEL's source.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from waterbg.geometry import parse_geometry

from ..conftest import SHARED

THEIRS = os.environ.get("CRYSTFEL_SCRIPTS", "")
pytestmark = [
    pytest.mark.crystfel,
    pytest.mark.skipif(
        not os.path.isdir(THEIRS), reason="CRYSTFEL_SCRIPTS does not name the folder of CrystFEL's scripts"
    ),
]
GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "small"
STREAMS = [GOLDEN / "rings-nocen-nosat-nograd.stream", GOLDEN / "rings-nocen-nosat-grad.stream"]
STREAMS += [
    path for pattern in ("streams/*.stream", "real/*/rings-grad.stream") for path in sorted(SHARED.glob(pattern))
]


@pytest.fixture
def theirs(tmp_path):
    """A function that runs CrystFEL's script in a folder of its own."""

    def run(name, *arguments, stdin=None, check=True):
        path = Path(THEIRS) / name
        interpreter = "perl" if b"perl" in path.read_bytes()[:40] else sys.executable
        if interpreter == "perl" and shutil.which("perl") is None:
            pytest.skip("no perl")
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [interpreter, path, *arguments], cwd=folder, input=stdin, capture_output=True, check=check
        ).stdout.decode(errors="surrogateescape")

    return run


def unix(text):
    """Theirs turns CRLF into LF; ours leaves every byte."""
    return text.replace("\r\n", "\n") if isinstance(text, str) else text.replace(b"\r\n", b"\n")


def streams(*without):
    """Every stream but those whose names begin so, with a test id."""
    chosen = [path for path in STREAMS if not path.name.startswith(without)]
    return pytest.mark.parametrize("stream", chosen, ids=[f"{path.parent.name}-{path.stem}" for path in chosen])


@streams()
@pytest.mark.parametrize("name", ["indexed-filenames", "extract-geom", "find-multiples"])
def test_lists_are_the_same(script, theirs, stream, name):
    ours = script(name, stream).out
    if name == "find-multiples":
        # theirs says "Filename: Image filename: x" and leaves the event of old streams empty
        wanted = theirs(name, stream).replace("Filename: Image filename: ", "Filename: ")
        wanted = wanted.replace("Event: Event: ", "Event: ")
        assert ours.replace("Event: //\n", "Event: \n") == wanted
    else:
        assert unix(ours) == theirs(name, stream)


@streams()
def test_frames_and_crystals_have_the_same_numbers(script, theirs, stream):
    # ours names the event, too
    ours = "".join(
        line.split(" //")[0].rstrip("\n") + "\n" if line.startswith("Frame") else line
        for line in script("crystal-frame-number", stream).out.splitlines(True)
    )
    assert ours == theirs("crystal-frame-number", stream)


@streams()
def test_chunks_of_a_file_are_the_same(script, theirs, stream):
    names = script("indexed-filenames", stream).out.split()
    assert unix(script("find-filename", stream, names[0]).out) == theirs("find-filename", stream, names[0])


@streams()
@pytest.mark.parametrize(
    "arguments",
    [[], ["--stop-after=2"], ["--start-after=1", "--stop-after=2"], ["--start-after=3"], ["--chunks"],
     ["--chunks", "--start-after=1", "--stop-after=2"], ["--chunks", "--start-after=9999"]],
    ids=" ".join,
)  # fmt: skip
def test_truncated_streams_are_the_same(script, theirs, stream, arguments, tmp_path):
    script("truncate-stream", "--input", stream, "--output", tmp_path / "ours", *arguments)
    theirs("truncate-stream", "--input", stream, "--output", tmp_path / "its", *arguments)
    assert unix((tmp_path / "ours").read_bytes()) == (tmp_path / "its").read_bytes()


@streams()
def test_cleaned_streams_are_the_same(script, theirs, stream, tmp_path):
    said = script("clean-stream", stream, tmp_path / "ours", "--count", tmp_path / "N.dat")
    their_words = theirs("clean-stream.py", stream, tmp_path / "its")
    assert unix((tmp_path / "ours").read_bytes()) == (tmp_path / "its").read_bytes()
    assert said.err.split(" have been")[0] == their_words.split(" have been")[0]
    assert (tmp_path / "N.dat").read_text() == (tmp_path / "theirs" / "N.dat").read_text()


@streams()
def test_peak_powders_are_the_same(script, theirs, stream, tmp_path):
    assert script("sum-peaks", stream, "-o", tmp_path / "ours.h5").status == 0
    theirs("sum-peaks", stream)
    (its,) = (tmp_path / "theirs").glob("*-powder.h5")
    with h5py.File(tmp_path / "ours.h5") as a, h5py.File(its) as b:
        assert np.array_equal(a["data/data"][()], b["data/data"][()])


@streams()
def test_mean_resolutions_are_the_same_to_the_digits_theirs_prints(script, theirs, stream, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    ours = [float(line.split()[1]) for line in script("ave-resolution", stream).out.splitlines()[:3]]
    its = [float(line.split()[1]) for line in theirs("ave-resolution", stream).splitlines()[:3]]
    assert ours == pytest.approx(its, rel=0.051)  # "{:.2}": two digits
    assert [float(f"{value:.2}") for value in ours] == pytest.approx(its, rel=0.011)


@streams("adamkurth__test_low_copy")  # a damaged row: libcrystfel, and so ours, loses the whole list; theirs one row
def test_peakograms_find_the_same_reflections(script, theirs, stream, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    ours = script("peakogram-stream", "-i", stream, "--imin=-1e9", "-o", tmp_path / "a.png", "--force")
    found = ours.out.split() or ["0"]
    said = theirs("peakogram-stream", "-i", stream, check=False).replace("\r", "\n").split("\n")
    assert int(found[0]) == max(int(line.split()[0]) for line in said if line.endswith("found"))


@streams("adamkurth", "rs-station")  # streams before 0.10 have no events, without which theirs stops
def test_solutions_are_the_same_numbers(script, theirs, stream, tmp_path):
    script("stream2sol", "-i", stream, "-o", tmp_path / "ours.sol", "-g", tmp_path / "ours.geom")
    theirs("stream2sol.py", "-i", stream, "-o", tmp_path / "its.sol", "-g", tmp_path / "its.geom")
    assert (tmp_path / "ours.geom").read_bytes() == (tmp_path / "its.geom").read_bytes()
    lines = [(tmp_path / f"{who}.sol").read_text().splitlines() for who in ("ours", "its")]
    assert len(lines[0]) == len(lines[1]) > 0
    for ours, its in zip(*(map(str.split, part) for part in lines)):
        assert (ours[:2], ours[-1]) == (its[:2], its[-1])
        assert [float(word) for word in ours[2:-1]] == [float(word) for word in its[2:-1]]


@pytest.mark.parametrize(
    "shift", [("0.5", "-1.25", "0"), ("0.5", "-1.25", "2"), ("--pixels", "3", "-2.5", "0"), ("--beam", "1", "2", "0")]
)
@pytest.mark.parametrize(
    "geometry", [GOLDEN / "det.geom", SHARED / "real" / "thermolysin" / "cspad.geom"], ids=lambda path: path.stem
)
def test_moved_detectors_are_at_the_same_place(script, theirs, tmp_path, geometry, shift):
    if not geometry.exists():
        pytest.skip("the folder of real streams and images is not here")
    assert script("move-entire-detector", geometry, *shift, "-o", tmp_path / "ours").status == 0
    theirs("move-entire-detector", "--output", tmp_path / "its", geometry, *shift)
    ours, its, before = (
        parse_geometry(path.read_bytes(), lenient=True).corners
        for path in (tmp_path / "ours", tmp_path / "its", geometry)
    )
    assert np.allclose(ours[:, :2], its[:, :2], rtol=0, atol=2e-10)
    if b"\ncoffset" in geometry.read_bytes() and float(shift[-1]):
        # theirs takes the millimetres for metres in a coffset that is the default of all panels
        assert np.allclose(its[:, 2] - before[:, 2], float(shift[-1]))
    else:
        assert np.allclose(ours[:, 2], its[:, 2], rtol=0, atol=1e-6)
    assert np.allclose(ours[:, 2] - before[:, 2], float(shift[-1]) * 1e-3)


def test_transferred_geometries_are_the_same(script, theirs, tmp_path):
    geometry = GOLDEN / "det.geom"
    script("move-entire-detector", geometry, "1", "2", "0", "-o", tmp_path / "moved.geom")
    assert script("transfer-geom", tmp_path / "moved.geom", geometry, tmp_path / "ours").status == 0
    theirs("transfer-geom", tmp_path / "moved.geom", geometry, tmp_path / "its")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "its").read_bytes()


def test_the_bad_pixels_of_an_eiger_are_the_same(script, theirs, tmp_path):
    image = np.random.default_rng(1).choice(np.array([0, 3, 65535, 65536, 2**32 - 1], np.uint32), (1, 30, 20))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["entry/data/data_000001"] = image
    assert script("eiger-badmap", tmp_path / "data.h5", "-o", tmp_path / "ours.h5").status == 0
    theirs("eiger-badmap", tmp_path / "data.h5")
    with h5py.File(tmp_path / "ours.h5") as a, h5py.File(tmp_path / "theirs" / "eiger_badmap.h5") as b:
        assert np.array_equal(a["data/data"][()], b["data/data"][()])


def test_peak_intensities_differ_as_the_manual_says(script, theirs):
    """Theirs takes every line of four numbers for a peak, and so the reflections as well."""
    stream = STREAMS[0]
    ours, its = script("peak-intensity", stream).out, theirs("peak-intensity", stream)
    assert its.splitlines()[0] == "6 patterns, %i peaks"
    assert ours.splitlines()[0] == "6 patterns, 933 peaks"
    reflections = script("peak-intensity", "--subtract", stream).out
    totals = [float(text.splitlines()[3].split()[1]) for text in (ours, reflections, its)]
    assert totals[0] + totals[1] == pytest.approx(totals[2], abs=0.02)


def test_a_message_is_all_that_their_detector_shift_gives(theirs):
    path = Path(THEIRS) / "detector-shift"
    done = subprocess.run(["sh", path], capture_output=True)
    assert done.returncode == 1
    assert b"align_detector" in done.stdout
