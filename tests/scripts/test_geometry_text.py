"""Geometries moved, and the positions of one put into another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry
from waterbg.scripts.geometry_text import move_detector, transfer_geometry

TWO = b"""; a comment stays, and this = too
photon_energy = 9500 eV
clen = 0.1 m
adu_per_photon = 1
res = 5000
data = /data
dim0 = %
dim1 = ss
dim2 = fs
coffset = 0.001 ; default for p0

bad_stop/min_x = -10
bad_stop/max_x = 10
bad_stop/min_y = -10
bad_stop/max_y = 10
p0/min_fs = 0
p0/max_fs = 99
p0/min_ss = 0
p0/max_ss = 49
p0/corner_x = -50.25  ; millimetres are for others
p0/corner_y=-50
p0/fs = +1.0x +0.001y
p0/ss = -0.001x +1.0y
  q/a.1/x = 1
p1/min_fs = 0
p1/max_fs = 99
p1/min_ss = 50
p1/max_ss = 99
p1/corner_x = -5e1
p1/corner_y = 1.5
p1/fs = x
p1/ss = y
p1/res = 10000
p1/coffset = -2e-3
"""
TWO = TWO.replace(b"  q/a.1/x = 1\n", b"")


def corners(text):
    return parse_geometry(text).corners


@pytest.fixture
def geometry(tmp_path):
    (tmp_path / "two.geom").write_bytes(TWO)
    return tmp_path / "two.geom"


@settings(deadline=None, max_examples=50)
@given(shift=st.tuples(*[st.floats(-0.05, 0.05)] * 3))
def test_every_panel_moves_by_the_same_length_whatever_its_pixels(shift):
    moved = move_detector(TWO, *shift)
    assert corners(moved) - corners(TWO) == pytest.approx(np.tile(shift, (2, 1)), abs=1e-9)
    before, after = parse_geometry(TWO), parse_geometry(moved)
    assert np.array_equal(before.axes, after.axes)
    assert [(b.min_x, b.max_x) for b in before.bad_regions] == [(b.min_x, b.max_x) for b in after.bad_regions]


def test_only_numbers_change_and_comments_stay():
    old, new = (text.split(b"\n") for text in (TWO, move_detector(TWO, 1e-3, 0, 0)))
    assert [i for i, (a, b) in enumerate(zip(old, new)) if a != b] == [
        i for i, line in enumerate(old) if b"corner_x" in line
    ]
    assert b"p0/corner_x = -45.25  ; millimetres are for others" in new
    assert b"p1/corner_x = -40" in new


@pytest.mark.parametrize("behind", [b" # a comment of old files", b" px", b"%", b"e", b"#5"])
def test_what_crystfel_passes_over_behind_a_number_stays(behind):
    text = TWO.replace(b"p1/corner_x = -5e1", b"p1/corner_x = -5e1" + behind)
    assert b"p1/corner_x = -40" + behind + b"\n" in move_detector(text, 1e-3, 0, 0)


def test_a_corner_without_a_number_is_not_moved():
    with pytest.raises(GeometryError, match="p1/corner_y = far: no number"):
        move_detector(TWO.replace(b"corner_y = 1.5", b"corner_y = far"), 0, 1e-3, 0)


def test_a_panel_without_its_own_coffset_gets_one():
    text = TWO.replace(b"coffset = 0.001 ; default for p0\n", b"")
    moved = move_detector(text, 0, 0, 0.002)
    assert corners(moved)[:, 2] == pytest.approx([0.002, 0.0])
    assert moved.endswith(b"p0/coffset = 0.002\n")


def test_line_ends_and_a_missing_last_one_are_kept():
    windows = TWO.replace(b"\n", b"\r\n").rstrip()
    moved = move_detector(windows, 0.01, 0, 0)
    assert moved.count(b"\r\n") == windows.count(b"\r\n")
    assert corners(moved)[:, 0] - corners(windows)[:, 0] == pytest.approx(0.01)


def test_the_command_moves_in_mm_or_pixels_the_detector_or_the_beam(script, geometry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = script("move-entire-detector", geometry, "-0.5", "1", "-2.5")
    assert said.status == 0, said.err
    moved = (tmp_path / "two-shifted.geom").read_bytes()
    assert corners(moved) - corners(TWO) == pytest.approx(np.tile([-5e-4, 1e-3, -2.5e-3], (2, 1)))
    said = script("move-entire-detector", "--beam", geometry, ".5", "-1", "0", "-o", "-")
    assert corners(said.out.encode()) - corners(TWO) == pytest.approx(np.tile([-5e-4, 1e-3, 0], (2, 1)))
    said = script("move-entire-detector", geometry, "3", "-2", "0", "--pixels", "--output", "-")
    assert said.status == 2
    assert "pixels of different sizes" in said.err
    one = TWO.replace(b"p1/res = 10000\n", b"")
    geometry.write_bytes(one)
    said = script("move-entire-detector", geometry, "3", "-2", "0", "--pixels", "--output", "-")
    assert corners(said.out.encode()) - corners(one) == pytest.approx(np.tile([6e-4, -4e-4, 0], (2, 1)))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a", "0", "0"], 2, "'a' is not a number"),
        (["nan", "0", "0"], 2, "not a finite number"),
        (["0", "0"], 2, ""),
        (["0", "0", "0", "--mm", "--pixels"], 2, ""),
    ],
)
def test_a_shift_that_is_none_is_refused(script, geometry, arguments, status, message):
    said = script("move-entire-detector", geometry, *arguments, "-o", "-")
    assert said.status == status
    assert message in said.err


def test_a_geometry_that_cannot_be_read_is_one_line(script, tmp_path):
    (tmp_path / "bad.geom").write_text("photon_energy = 9000\np0/min_fs = 5\n")
    for path in (tmp_path / "bad.geom", tmp_path / "none.geom"):
        said = script("move-entire-detector", path, "0", "0", "0", "-o", "-")
        assert (said.status, said.out) == (1, "")
        assert said.err.count("\n") == 1


def test_positions_are_transferred_and_the_rest_is_the_templates():
    source = move_detector(TWO, 0.001, -0.002, 0.003).replace(b"clen = 0.1 m", b"clen = 0.2 m")
    source = source.replace(b"p1/fs = x", b"p1/fs = +0.99x -0.01y +0.1z")
    template = TWO.replace(b"photon_energy = 9500 eV", b"photon_energy = 7000 eV ; mine")
    text = transfer_geometry(source, template, ("source", "template"))
    result, wanted = parse_geometry(text), parse_geometry(source)
    assert result.corners == pytest.approx(wanted.corners, abs=1e-12)
    assert np.array_equal(result.axes, wanted.axes)
    assert b"photon_energy = 7000 eV ; mine" in text
    assert b"clen = 0.1 m" in text
    assert b"; millimetres are for others" in text


def test_what_one_geometry_has_by_default_is_written_out_in_the_other():
    bare = b"\n".join(line for line in TWO.split(b"\n") if not line.startswith((b"coffset", b"p1/coffset")))
    for source, template in ((bare, TWO), (TWO, bare)):
        result = parse_geometry(transfer_geometry(source, template, ("a", "b")))
        assert np.allclose(result.corners, corners(source), atol=1e-12)
        assert np.array_equal(result.axes, parse_geometry(source).axes)


def test_panels_that_do_not_correspond_are_refused(script, geometry, tmp_path):
    (tmp_path / "other.geom").write_bytes(TWO.replace(b"p1/", b"p7/"))
    said = script("transfer-geom", geometry, tmp_path / "other.geom", tmp_path / "out.geom")
    assert said.status == 1
    assert f"{geometry}: panel p7 of {tmp_path / 'other.geom'} is not in it" in said.err
    (tmp_path / "other.geom").write_bytes(TWO.replace(b"p1/res = 10000", b"p1/res = 9000"))
    said = script("transfer-geom", geometry, tmp_path / "other.geom", tmp_path / "out.geom")
    assert "panel p1 has another pixel size" in said.err
    assert not (tmp_path / "out.geom").exists()


def test_transferring_a_geometry_into_itself_changes_no_byte(script, geometry, tmp_path):
    assert script("transfer-geom", geometry, geometry, tmp_path / "out.geom").status == 0
    assert (tmp_path / "out.geom").read_bytes() == TWO


@pytest.mark.shared
def test_real_geometries_move_and_transfer(shared):
    done = 0
    for path in sorted(shared.glob("geometry/*.geom")):
        text = path.read_bytes()
        try:
            before = parse_geometry(text, str(path), lenient=True)
        except GeometryError:
            continue  # files that nobody can read are there on purpose
        moved = move_detector(text, 1e-4, -2e-4, 3e-4, str(path))
        after = parse_geometry(moved, str(path), lenient=True)
        assert np.allclose(after.corners - before.corners, [1e-4, -2e-4, 3e-4], rtol=0, atol=2e-9), path
        back = parse_geometry(transfer_geometry(text, moved, ("a", "b")), str(path), lenient=True)
        assert np.allclose(back.corners, before.corners, rtol=0, atol=1e-9), path
        done += 1
    assert done > 20
