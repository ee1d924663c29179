"""Frames added up, and single images shown and judged."""

import os
import re
import threading
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from waterbg.scripts.pictures import bad_pixel_map, take_off_circles


def read(path, name="/data"):
    with h5py.File(path) as file:
        return file[name][()]


@pytest.fixture
def stack(tmp_path):
    """Three images of 4 x 6 pixels, and a list of the first and third."""
    images = np.random.default_rng(3).integers(0, 100, (3, 4, 6)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = images
        file["dark"] = np.full((4, 6), 2.5)
    (tmp_path / "some.lst").write_text("a.h5 //0\n\na.h5 //2\n")
    return images


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_frames_of_a_list_are_added_up(script, stack):
    said = script("sum-hdf5-files", "some.lst", "-o", "sum.h5")
    assert said.status == 0, said.err
    assert (read("sum.h5") == stack[0].astype(int) + stack[2]).all()
    assert "Summed a.h5 //0\n" in said.err
    assert "2 frames; wrote sum.h5" in said.err


def test_a_file_without_events_stands_for_all_its_frames_and_the_list_may_be_standard_input(script, stack):
    (script("sum-hdf5-files", "-", "-o", "a-sum.h5", stdin=b"a.h5\n"))
    assert (read("a-sum.h5") == stack.sum(axis=0)).all()
    assert script("sum-hdf5-files", "-", "--mean", "-o", "mean.h5", stdin=b"a.h5\n").status == 0
    assert read("mean.h5") == pytest.approx(stack.mean(axis=0))


def test_a_stream_may_be_standard_input_as_well(script, golden, monkeypatch, tmp_path):
    monkeypatch.chdir(golden.parent)
    for source, name in ((golden, "file.h5"), ("-", "stdin.h5")):
        said = script("sum-hdf5-files", source, "-o", tmp_path / name, stdin=golden.read_bytes())
        assert said.status == 0, said.err
    assert np.array_equal(read(tmp_path / "file.h5"), read(tmp_path / "stdin.h5"), equal_nan=True)


@pytest.fixture
def pipe():
    """A function that gives the path of a pipe with these bytes, as the shell's <(command) does."""
    ends = []

    def write_all(end, content):
        with suppress(BrokenPipeError), open(end, "wb") as file:
            file.write(content)

    def make(content):
        reading, writing = os.pipe()
        ends.append(reading)
        threading.Thread(target=write_all, args=(writing, content), daemon=True).start()
        return f"/dev/fd/{reading}"

    yield make
    for end in ends:
        os.close(end)


def test_no_line_of_a_list_from_a_pipe_is_lost(script, stack, pipe):
    lines = b"a.h5 //0\n" * 2000 + b"a.h5 //2\n"  # more than is read ahead
    said = script("sum-hdf5-files", pipe(lines), "-o", "sum.h5")
    assert said.status == 0, said.err
    assert "2001 frames" in said.err
    assert (read("sum.h5") == 2000 * stack[0].astype(int) + stack[2]).all()


def test_a_stream_from_a_named_pipe_is_refused_with_what_to_do(script, golden, pipe):
    said = script("sum-hdf5-files", pipe(golden.read_bytes()[:2000]), "-o", "sum.h5")
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "a stream from a pipe is read as standard input: give - for it" in said.err


def test_a_prefix_that_is_a_folder_needs_no_slash_without_a_geometry_either(script, stack, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "a.h5").rename(tmp_path / "images" / "a.h5")
    said = script("sum-hdf5-files", "some.lst", "-o", "sum.h5", "--prefix", "images")
    assert said.status == 0, said.err
    assert (read("sum.h5") == stack[0].astype(int) + stack[2]).all()


def test_a_dark_image_is_taken_off_each_frame(script, stack):
    arguments = ["--data", "/entry/data/data", "--dark", "a.h5", "--dark-data", "/dark"]
    assert script("sum-hdf5-files", "some.lst", "-o", "sum.h5", *arguments).status == 0
    assert (read("sum.h5") == stack[0].astype(int) + stack[2] - 5).all()


@pytest.mark.parametrize(
    ("lines", "arguments", "status", "message"),
    [
        (b"none.h5 //0\n", [], 1, "none.h5: no such file"),
        (b"caf\xe9.h5\n", [], 1, "caf\\xe9.h5: no such file"),
        (b"a\0b.h5\n", [], 1, "a\\0b.h5: this is no name of a file"),
        (b"a.h5 //7\n", [], 1, "has no frame 7: there are 3"),
        (b"a.h5 tag//0\n", [], 1, "such an event needs a geometry"),
        (b"\n", [], 1, "names no frame"),
        (b"a.h5\n", ["--subtract"], 2, "--subtract needs a geometry"),
        (b"a.h5\n", ["--dark", "none.h5"], 1, "no such file"),
        (b"a.h5\n", ["-o", "-"], 2, "standard output will not do"),
    ],
)
def test_what_cannot_be_added_is_one_line_and_no_file(script, stack, tmp_path, lines, arguments, status, message):
    output = [] if "-o" in arguments else ["-o", "sum.h5"]
    said = script("sum-hdf5-files", "-", *output, *arguments, stdin=lines)
    assert said.status == status
    assert message in said.err
    assert not (tmp_path / "sum.h5").exists()
    assert not (tmp_path / "-").exists()


def test_with_a_geometry_bad_pixels_are_left_out(script, golden, data):
    folder = golden.parent
    said = script("sum-hdf5-files", golden, "-o", "sum.h5")
    assert said.status == 0, said.err
    total = read("sum.h5")
    with h5py.File(folder / "images.h5") as images, h5py.File(folder / "mask.h5") as masks:
        raw, mask = images["entry/data/data"][()].astype(float).sum(axis=0), masks["entry/data/mask"][()]
    assert (total[mask != 0] == 0).all()
    used = total != 0
    assert (total[used] == raw[used]).all()
    assert used.mean() > 0.95


def test_a_dark_image_in_the_layout_of_the_data_is_taken_off_with_a_geometry_too(script, golden):
    with h5py.File(golden.parent / "images.h5") as images:
        shape = images["entry/data/data"].shape[1:]
    dark = np.random.default_rng(5).integers(0, 9, shape)
    with h5py.File("dark.h5", "w") as file:
        file["dark"], file["cut"] = dark, dark[:-1]
    assert script("sum-hdf5-files", golden, "-o", "raw.h5").status == 0
    assert script("sum-hdf5-files", golden, "-o", "less.h5", "--dark", "dark.h5", "--dark-data", "/dark").status == 0
    raw, less = read("raw.h5"), read("less.h5")
    used = raw != 0
    assert used.mean() > 0.95
    assert (less[used] == (raw - 6 * dark)[used]).all()
    said = script("sum-hdf5-files", golden, "-o", "cut.h5", "--dark", "dark.h5", "--dark-data", "/cut")
    assert said.status == 2
    assert "the dark image is of shape" in said.err


def test_a_list_with_a_geometry_gives_what_the_stream_gives(script, golden):
    (golden_list,) = [str(golden.parent / "images.h5")]
    assert script("sum-hdf5-files", golden, "-o", "stream.h5").status == 0
    lines = "".join(f"{golden_list} //{i}\n" for i in range(6)).encode()
    geometry = golden.parent / "det.geom"
    assert script("sum-hdf5-files", "-", "-g", geometry, "-o", "list.h5", stdin=lines).status == 0
    assert script("sum-hdf5-files", "-", "-g", geometry, "-o", "file.h5", stdin=f"{golden_list}\n".encode()).status == 0
    assert (read("stream.h5") == read("list.h5")).all()
    assert (read("stream.h5") == read("file.h5")).all()


def test_the_water_background_goes_and_the_spots_stay(script, golden, data):
    """Against the noise-free background of the simulation, where the truth is known at the spots."""
    assert script("sum-hdf5-files", golden, "-o", "raw.h5", "--mean").status == 0
    assert script("sum-hdf5-files", golden, "-o", "less.h5", "--mean", "--subtract").status == 0
    raw, less = read("raw.h5"), read("less.h5")
    removed = raw - less
    with h5py.File(golden.parent / "truth.h5") as file:
        table, names = file["reflections"][()], file["reflections"].attrs["columns"].split()
    column = {name: table[:, i] for i, name in enumerate(names)}
    panel, fs, ss = (column[name].astype(int) for name in ("panel", "fs_pred", "ss_pred"))
    true = np.zeros(6), np.zeros(6), np.zeros(6)
    inside = (fs >= 0) & (fs < 512) & (ss >= 0) & (ss < 252)
    # the mean over six frames is not known at one frame's spots: compare sums over all of them, ring by ring
    for frame in range(6):
        mine = inside & (column["frame"] == frame)
        true[0][frame] = column["B_true"][mine].mean()
        true[1][frame] = removed[ss[mine] + 252 * panel[mine], fs[mine]].mean()
    assert true[1].mean() == pytest.approx(true[0].mean(), rel=0.03)
    assert np.median(np.abs(less[raw > 0])) < 0.25 * np.median(raw[raw > 0])
    assert less.max() > 0.5 * raw.max()


def test_the_camera_length_is_that_of_the_stream_where_the_geometry_has_none(script, golden, tmp_path):
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(golden.parent / name)
    text = golden.read_bytes()
    bare = re.sub(rb"(?m)^clen = .*\n", b"", text)
    assert b"average_camera_length = 0.068000 m" in bare
    assert bare != text
    (tmp_path / "bare.stream").write_bytes(bare)
    assert script("sum-hdf5-files", golden, "-o", "a.h5", "--subtract").status == 0
    said = script("sum-hdf5-files", "bare.stream", "-o", "b.h5", "--subtract")
    assert said.status == 0, said.err
    assert (read("a.h5") == read("b.h5")).all()


# -- single images -----------------------------------------------------------------------------------------------------


def test_circles_go_and_spots_stay():
    ss, fs = np.indices((120, 100)) + 0.5
    water = 50 + 40 * np.exp(-((np.hypot(fs - 40, ss - 70) - 30) ** 2) / 50)
    image = water.copy()
    image[20, 30] += 500
    image[60, 60] = np.nan
    less = take_off_circles(image, (40, 70))
    assert less[20, 30] == pytest.approx(500, abs=3)
    assert np.isnan(less[60, 60])
    less[20, 30] = less[60, 60] = 0
    assert np.abs(less).max() < 4  # half a pixel on the flank


@pytest.mark.parametrize("far", [1e6, 1e9, 1e300])
def test_a_centre_that_is_far_off_costs_no_memory(far):
    image = np.random.default_rng(4).poisson(9, (80, 100))
    assert np.abs(take_off_circles(image, (far, 40)).mean()) < 1


def test_an_image_is_drawn_with_and_without_its_water_ring(script, stack):
    assert script("display-hdf5", "a.h5", "/entry/data/data", "--frame", "1", "-o", "a.png").status == 0
    assert script("display-hdf5", "a.h5", "/dark", "-o", "b.png", "--subtract", "--centre", "2.5,2").status == 0
    arguments = ["--dark", "a.h5", "--dark-data", "/dark", "--log", "--min", "1", "--max", "50"]
    assert script("display-hdf5", "a.h5", "/entry/data/data", "-o", "c.pdf", *arguments).status == 0
    odd = "run$a_{b$.h5"  # a name, no formula
    Path("a.h5").rename(odd)
    assert script("display-hdf5", odd, "/dark", "-o", "d.png").status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a.h5", "/none", "-o", "x.png"], 1, "there is no 'none'"),
        (["none.h5", "-o", "x.png"], 1, "no such file"),
        (["a.h5", "/entry/data/data"], 2, "no screen"),
        (["a.h5", "/entry/data/data", "--subtract", "--centre", "5", "-o", "x.png"], 2, "two numbers are needed"),
        (["a.h5", "/entry/data/data", "--min", "low", "-o", "x.png"], 2, "not a number"),
        (["a.h5", "/entry/data/data", "-o", "x.nonsense"], 2, "the name of a figure ends with"),
        (["a.h5", "/entry/data/data", "-o", "no/x.png"], 1, "its folder does not exist"),
    ],
)
def test_what_cannot_be_shown_is_one_line(script, stack, tmp_path, arguments, status, message):
    said = script("display-hdf5", *arguments)
    assert said.status == status
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.glob("x.*"))


def test_the_bad_pixels_of_an_eiger_are_those_it_marks(script, tmp_path):
    wide = np.array([[0, 65535, 65536], [2**32 - 1, 7, 2**32 - 2]], np.uint32)
    assert bad_pixel_map(wide).tolist() == [[0, 0, 1], [1, 0, 1]]
    assert bad_pixel_map(np.array([[65535, 65534]], np.uint16)).tolist() == [[1, 0]]
    assert bad_pixel_map(np.array([[np.nan, 3.0]])).tolist() == [[1, 0]]
    assert bad_pixel_map(wide, above=6).tolist() == [[0, 1, 1], [1, 1, 1]]
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["entry/data/data_000001"] = wide[None]
    said = script("eiger-badmap", "data.h5", "-o", "mask.h5")
    assert said.err == "Size of mask: 2 by 3 pixels; 3 bad\n"
    assert read("mask.h5", "/data/data").tolist() == [[0, 0, 1], [1, 0, 1]]
    assert script("eiger-badmap", "data.h5", "--data", "/none", "-o", "x.h5").status == 1


def test_gains_become_saturation_levels(script, tmp_path):
    with h5py.File(tmp_path / "gain.h5", "w") as file:
        file["data/data"] = np.array([[1.0, 4.0], [4.1, 30.0]])
    assert script("gaincal-to-saturation-map", "gain.h5", "-o", "a.h5").status == 0
    assert read("a.h5", "/data/data").tolist() == [[13000, 13000], [60000, 60000]]
    arguments = ["--threshold", "2", "--saturation", "5", "--low-gain-saturation", "6"]
    said = script("gaincal-to-saturation-map", "gain.h5", "-o", "b.h5", *arguments)
    assert read("b.h5", "/data/data").tolist() == [[5, 6], [6, 6]]
    assert "3 of 4 pixels" in said.err
    assert script("gaincal-to-saturation-map", "none.h5", "-o", "c.h5").status == 1


def test_a_master_file_of_several_data_files_is_not_summed_in_part(script, tmp_path):
    with h5py.File(tmp_path / "master.h5", "w") as master:
        for n in (1, 2):
            with h5py.File(tmp_path / f"data_{n}.h5", "w") as file:
                file["data"] = np.full((3, 4, 5), n)
            master[f"entry/data/data_{n:06}"] = h5py.ExternalLink(f"data_{n}.h5", "/data")
    listing = tmp_path / "files.lst"
    listing.write_text(f"{tmp_path}/master.h5\n")
    said = script("sum-hdf5-files", listing, "-o", tmp_path / "sum.h5")
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "has images in several datasets, data_000001 and on: name one with --data" in said.err
    assert not (tmp_path / "sum.h5").exists()
    for words, total in [(["--data=/entry/data/data_000002"], 6), ([], 9)]:
        if not words:
            listing.write_text(f"{tmp_path}/data_1.h5\n{tmp_path}/data_2.h5\n")
        assert script("sum-hdf5-files", listing, *words, "-o", tmp_path / f"{total}.h5").status == 0
        with h5py.File(tmp_path / f"{total}.h5") as file:
            assert (file["data"][()] == total).all()
