"""Streams and frames sorted: by a mask, by a number; solutions of a stream."""

import h5py
import numpy as np
import pytest

from waterbg.stream import StreamFile, check_stream

from ..stream import factory


def reflections(path):
    with StreamFile(path) as stream:
        return [
            [[(int(r["h"]), float(r["I"])) for r in crystal.reflections] for crystal in chunk.crystals]
            for chunk in stream.chunks()
        ]


@pytest.fixture
def mask(tmp_path):
    """1 at row 40, column 30 only."""
    values = np.zeros((100, 100), np.uint8)
    values[40, 30] = 1
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["data/data"] = values
    return tmp_path / "mask.h5"


def test_each_reflection_goes_to_one_of_two_whole_streams(script, small, mask, tmp_path):
    one, two = tmp_path / "1.stream", tmp_path / "2.stream"
    said = script("split-by-mask", "--input", small, "--output1", one, "--output2", two, "--mask", mask)
    assert said.status == 0, said.err
    assert reflections(one) == [[[(2, -5)], []], [], [[(2, -5)]], [[]]]
    assert reflections(two) == [[[(1, 10)], [(1, 10)]], [], [[]], [[]]]
    assert f"2 reflections to {one}, 2 to {two}" in said.err
    for path in (one, two):
        with StreamFile(path) as stream:
            assert list(check_stream(stream)) == []


def test_the_end_of_a_cut_stream_that_goes_to_neither_output_is_spoken_of(script, small, mask, tmp_path):
    cut = tmp_path / "cut.stream"
    cut.write_bytes(small.read_bytes()[:-300])
    outputs = ["--output1", tmp_path / "1.stream", "--output2", tmp_path / "2.stream"]
    said = script("split-by-mask", "-i", cut, *outputs, "--mask", mask)
    assert said.status == 0
    assert said.err.count("the file ends inside a chunk, which is lost") == 1


def test_a_mask_of_ones_gives_the_stream_back(script, golden, tmp_path):
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["mask"] = np.ones((504, 512), np.int16)
    arguments = ["--output1", tmp_path / "1", "--output2", tmp_path / "2", "--mask", tmp_path / "mask.h5"]
    assert script("split-by-mask", "-i", golden, *arguments).status == 0
    assert (tmp_path / "1").read_bytes() == golden.read_bytes()
    assert not any(crystal for chunk in reflections(tmp_path / "2") for crystal in chunk)


def test_a_mask_that_does_not_fit_is_refused(script, golden, mask, tmp_path):
    arguments = ["-i", golden, "--output1", tmp_path / "1", "--output2", tmp_path / "2"]
    said = script("split-by-mask", *arguments, "--mask", mask)
    assert said.status == 1
    assert "needs a mask of shape (504, 512), this one has (100, 100)" in said.err
    assert script("split-by-mask", *arguments, "--mask", tmp_path / "none.h5").status == 1
    assert script("split-by-mask", "-i", "-", *arguments[2:], "--mask", mask).status == 2
    said = script("split-by-mask", "-i", "/dev/null", *arguments[2:], "--mask", mask)
    assert said.status == 2
    assert "reads its stream more than once, so a pipe or standard input will not do" in said.err
    assert not (tmp_path / "1").exists()


@pytest.fixture
def pulses(tmp_path):
    numbers = [8, 16, 0, 24, 32, None, 44]
    lines = [b"" if n is None else b"header/int/instrument/pulseID = %d\n" % n for n in numbers]
    chunks = [factory.chunk(i).replace(b"hit = 1\n", b"hit = 1\n" + line) for i, line in enumerate(lines)]
    path = tmp_path / "pulses.stream"
    path.write_bytes(factory.stream(chunks))
    return path


@pytest.mark.parametrize("header", ["instrument/pulseID", "/instrument/pulseID", "header/int/instrument/pulseID"])
def test_frames_are_sorted_by_their_place_in_a_pulse_sequence(script, pulses, header):
    names = "light,dark1,dark2,dark3"
    said = script("make-csplit", pulses, "--header", header, "--divide", "8", "--names", names)
    assert said.out.splitlines() == [
        "images.h5 //0 dark1", "images.h5 //1 dark2", "images.h5 //3 dark3", "images.h5 //4 light",
        "images.h5 //6 dark1",
    ]  # fmt: skip
    assert "2 frames left out" in said.err


def test_old_streams_name_copied_numbers_otherwise(script, pulses):
    text = pulses.read_bytes().replace(b"header/int/", b"hdf5/")
    said = script("make-csplit", "-", "--header", "hdf5/instrument/pulseID", "--names", "a,b", "--skip", "", stdin=text)
    assert said.out.splitlines()[0] == "images.h5 //0 a"
    assert len(said.out.splitlines()) == 6


@pytest.mark.parametrize(
    "arguments",
    [["--names", "a"], ["--header", "x"], ["--header", "x", "--names", ","], ["--header", "x", "--names", "a,b c"],
     ["--header", "x", "--names", "a", "--divide", "0"], ["--header", "x", "--names", "a", "--divide", "none"]],
)  # fmt: skip
def test_a_split_that_cannot_be_is_a_usage_error(script, pulses, arguments):
    assert script("make-csplit", pulses, *arguments).status == 2


def test_solutions_are_one_line_for_each_crystal(script, small, tmp_path):
    said = script("stream2sol", "-i", small, "-o", "-", "-g", tmp_path / "a.geom")
    line = (
        "images.h5 //0 +0.2222222 +0.0000000 +0.0000000 +0.0000000 +0.2222222 +0.0000000 +0.0000000 +0.0000000 "
        "+0.2604167 0.010000 -0.020000 tPc"
    )
    assert said.out.splitlines() == [
        line, line, line.replace("images.h5 //0", "other.h5 //2"), line.replace("//0", "//")
    ]  # fmt: skip
    assert (tmp_path / "a.geom").read_bytes() == factory.GEOMETRY
    assert "4 crystals" in said.err


def test_shifts_of_the_chunk_are_added_in_mm(script, small, tmp_path):
    text = small.read_bytes().replace(b"hit = 1\n", b"hit = 1\nheader/float/shift_x = 2.5\nheader/float/shift_y = -1\n")
    fields = ["--x-shift-field", "header/float/shift_x", "--y-shift-field", "header/float/shift_y"]
    said = script("stream2sol", "-i", "-", "-o", "-", *fields, "--shift-factor", "0.2", stdin=text)
    assert said.status == 0, said.err
    assert said.out.splitlines()[0].endswith(" 0.510000 -0.220000 tPc")
    said = script("stream2sol", "-i", small, "-o", "-", *fields)
    assert said.status == 2
    assert "has no line 'header/float/shift_x'" in said.err


def test_file_and_event_may_stand_in_other_lines(script, small):
    text = small.read_bytes().replace(b"hit = 1\n", b"hit = 1\nheader/str/original = run 7.cxi\n")
    said = script("stream2sol", "-i", "-", "-o", "-", "--file-field", "header/str/original", stdin=text)
    assert said.out.startswith("run 7.cxi //0 +0.2222222")


def test_a_cell_that_is_not_there_is_an_error_before_anything_is_written(script, small, golden, tmp_path):
    arguments = ["-o", tmp_path / "a.sol", "-p", tmp_path / "a.cell"]
    said = script("stream2sol", "-i", small, *arguments)
    assert said.status == 1
    assert not (tmp_path / "a.sol").exists()
    assert script("stream2sol", "-i", golden, *arguments).status == 0
    assert (tmp_path / "a.cell").read_text().startswith("CrystFEL unit cell file")


def test_neither_the_input_nor_the_other_output_is_replaced(script, golden, mask, tmp_path):
    stream = tmp_path / "s.stream"
    stream.write_bytes(golden.read_bytes())
    before = stream.read_bytes()
    words = ["-i", stream, "--mask", mask, "--force"]
    assert script("split-by-mask", *words, "--output1", stream, "--output2", tmp_path / "b").status == 1
    assert script("split-by-mask", *words, "--output1", tmp_path / "b", "--output2", tmp_path / "b").status == 2
    assert stream.read_bytes() == before
    assert not (tmp_path / "b").exists()
