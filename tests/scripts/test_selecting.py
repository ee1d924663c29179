"""Scripts that take parts of a stream."""

import h5py
import numpy as np
import pytest

from waterbg.stream import StreamFile, check_stream

from ..stream import factory


def shape(path):
    """Number of reflections of each crystal of each chunk; None for a list that is not there."""
    with StreamFile(path) as stream:
        found = [[len(c.reflections) if c.has_list else None for c in chunk.crystals] for chunk in stream.chunks()]
        assert stream.ended is None
    return found


def test_grep_takes_whole_chunks_and_the_header_to_the_byte(script, small):
    whole = small.read_bytes()
    said = script("stream_grep", "-n", "Image serial number", stdin=whole)
    assert said.out.encode() == whole
    assert said.err == "I have read 4 chunks.\nOf those 4 matched the criteria.\n"
    kept = script("stream_grep", "-n", "^Image filename: other", small).out.encode()
    left = script("stream_grep", "-n", "^Image filename: other", "-v", small).out.encode()
    chunks = whole.split(b"----- Begin chunk -----\n")
    assert kept == chunks[0] + b"----- Begin chunk -----\n" + chunks[3]
    assert left == whole.replace(b"----- Begin chunk -----\n" + chunks[3], b"")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["-n", "photon_energy_eV", "--gt", "9000"], [0, 1, 2, 3]),
        (["-n", "photon_energy_eV", "-gt", "9500"], []),
        (["-n", "photon_energy_eV", "--eq=9500"], [0, 1, 2, 3]),
        (["-n", "Image serial number", "--eq", "3"], []),  # no '=' in that line
        (["-n", "predict_refine/det_shift", "--lt", "0.011"], [0, 2, 3]),  # x, which is behind the first '='
        (["-n", "num_reflections", "--ge", "2"], [0]),
        (["-n", "num_reflections", "--le", "1"], [0, 2, 3]),
        (["-n", "num_reflections", "--ne", "1"], [0, 3]),
        (["-n", "lattice_type", "--eq", "tetragonal"], [0, 2, 3]),
        (["-n", "lattice_type", "--ne", "tetragonal"], []),
        (["-n", "lattice_type", "--lt", "5"], []),
        (["--cell-a", "--lt", "5"], [0, 2, 3]),
        (["--cell-c", "--lt", "3.84"], []),
        (["--cell-gamma", "--eq", "90"], [0, 2, 3]),
        (["--cell-b"], [0, 2, 3]),
    ],
)
def test_grep_compares_the_number_behind_the_first_equals_sign(script, small, tmp_path, arguments, wanted):
    assert script("stream_grep", "-i", small, "-o", tmp_path / "out", *arguments).status == 0
    with StreamFile(tmp_path / "out") as stream:
        assert [chunk.serial - 1 for chunk in stream.chunks()] == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one tag name"),
        (["-n", "hit", "--cell-a"], "one tag name"),
        (["--cell-b", "--cell-a"], "one tag name"),
        (["-n", "hit", "--lt", "3", "--gt", "1"], "more than one comparison"),
        (["-n", "hit", "--lt", "many"], "--lt=many: a number is needed"),
        (["-n", "(hit"], "no regular expression"),
    ],
)
def test_grep_refuses_what_it_cannot_do(script, small, arguments, message):
    said = script("stream_grep", small, *arguments)
    assert (said.status, said.out) == (2, "")
    assert message in said.err


def test_what_stands_between_chunks_goes_with_the_chunk_before_it(script, tmp_path):
    chunks = [factory.chunk(0) + b"a remark\n", factory.chunk(1) + b"another\n" * 20_000, factory.chunk(2)]
    text = factory.stream(chunks)
    (tmp_path / "a.stream").write_bytes(text)
    for source in ({"stdin": b""}, {"stdin": text}):
        words = ["-n", "serial number: 2", *([] if source["stdin"] else [tmp_path / "a.stream"])]
        assert script("stream_grep", *words, **source).out.encode() == factory.stream(chunks[1:2])


def test_a_stream_that_is_cut_says_so_and_gives_its_whole_chunks(script, small):
    cut = small.read_bytes()[:-300]
    said = script("stream_grep", "-n", "hit", stdin=cut)
    assert said.status == 0
    assert "the file ends inside a chunk" in said.err
    assert "Of those 3 matched" in said.err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], [[2, 1], [1], [None]]),
        (["--start-after", "1"], [[1], [1], [None]]),
        (["--start-after", "2", "--stop-after", "1"], [[1]]),
        (["--stop-after", "1"], [[2]]),
        (["--start-after", "1", "--stop-after", "2"], [[1], [1]]),
        (["--start-after", "9"], []),
        (["--chunks"], [[2, 1], [], [1], [None]]),
        (["--chunks", "--start-after", "1", "--stop-after", "2"], [[], [1]]),
        (["--chunks", "--stop-after", "1"], [[2, 1]]),
    ],
)
def test_truncating_counts_crystals_or_chunks(script, small, tmp_path, arguments, wanted):
    out = tmp_path / "out.stream"
    said = script("truncate-stream", "--input", small, "--output", out, *arguments)
    assert said.status == 0
    assert shape(out) == wanted
    what = sum(len(crystals) for crystals in wanted) if "--chunks" not in arguments else len(wanted)
    assert f"Wrote {what} {'chunks' if '--chunks' in arguments else 'crystals'} to {out}" in said.err
    with StreamFile(out) as stream:
        assert list(check_stream(stream)) == []


def test_truncating_nothing_off_changes_no_byte(script, small):
    said = script("truncate-stream", "-i", "-", "-o", "-", "--chunks", stdin=small.read_bytes())
    assert said.out.encode() == small.read_bytes()


def test_cleaning_leaves_the_indexed_chunks(script, small, tmp_path):
    text = small.read_bytes().replace(b"hit = 1\n", b"hit = 1\nindexed_by = none\n", 3)
    text = text.replace(b"indexed_by = none", b"indexed_by = asdf", 1)
    out = tmp_path / "out.stream"
    said = script("clean-stream", "-", out, "--count", tmp_path / "N.dat", stdin=text)
    assert said.status == 0
    assert shape(out) == [[2, 1], [None]]  # the last has no such line, but a crystal
    assert f"2 suited of 4 patterns have been extracted and saved as {out}" in said.err
    assert (tmp_path / "N.dat").read_text() == "2"


def test_indexed_file_names_are_an_input_list(script, small):
    assert script("indexed-filenames", small).out == "images.h5 //0\nother.h5 //2\nimages.h5\n"
    assert script("indexed-filenames", "-", stdin=small.read_bytes()).out.count("\n") == 3


def test_a_file_name_is_found_with_its_chunks(script, small):
    said = script("find-filename", small, "other.h5")
    assert said.out.encode() in small.read_bytes()
    assert said.out.startswith("----- Begin chunk -----\nImage filename: other.h5\n")
    assert said.out.endswith("----- End chunk -----\n")
    assert script("find-filename", small, "images.h5").out.count("Begin chunk") == 3
    assert script("find-filename", small, "images.h5", "--event=//1").out.count("Begin chunk") == 1
    said = script("find-filename", small, "none.h5")
    assert (said.status, said.out, said.err) == (1, "", f"no chunk of none.h5 in {small}\n")


def test_the_last_part_of_a_name_is_enough_when_asked_for(script, tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(factory.stream([factory.chunk(0, filename=b"/far/away/x.h5")]))
    assert script("find-filename", path, "x.h5").status == 1
    assert script("find-filename", path, "x.h5", "--basename").status == 0


def test_frames_with_several_crystals_are_listed_with_their_cells(script, small):
    said = script("find-multiples", small)
    lines = said.out.splitlines()
    assert lines[:3] == ["", "Filename: images.h5", "Event: //0"]
    assert [line.split()[0] for line in lines[3:]] == [
        "Cell", "astar", "bstar", "cstar", "lattice_type", "centering", "unique_axis",
    ] * 2  # fmt: skip


def test_frames_and_crystals_are_numbered(script, small):
    limit = "diffraction_resolution_limit = 4.00 nm^-1 or 2.50 A"
    assert script("crystal-frame-number", small).out.splitlines() == [
        "Frame 1: images.h5 //0", f"  Crystal 1: {limit}", f"  Crystal 2: {limit}", "Frame 2: images.h5 //1",
        "Frame 3: other.h5 //2", f"  Crystal 3: {limit}", "Frame 4: images.h5", f"  Crystal 4: {limit}",
    ]  # fmt: skip


def test_names_that_are_not_utf8_pass_unchanged(script, tmp_path, capsysbinary):
    path = tmp_path / "a.stream"
    path.write_bytes(factory.stream([factory.chunk(0, [factory.crystal()], filename=b"caf\xe9.h5")]))
    from .conftest import load

    assert load("indexed-filenames").invoke(["indexed-filenames", str(path)]) == 0
    assert capsysbinary.readouterr().out == b"caf\xe9.h5 //0\n"


def test_the_geometry_and_the_cell_come_out_as_they_went_in(script, small, golden):
    assert script("extract-geom", small).out.encode() == factory.GEOMETRY
    cell = script("extract-geom", "--cell", golden)
    assert cell.out.startswith("CrystFEL unit cell file version 1.0\n")
    said = script("extract-geom", "--cell", small)
    assert (said.status, said.err) == (1, f"extract-geom: error: {small} (byte 0): holds no target cell\n")


@pytest.mark.parametrize(
    "name",
    ["indexed-filenames", "find-multiples", "crystal-frame-number", "extract-geom", "ave-resolution", "peak-intensity",
     "ave-peak-resolution"],
)  # fmt: skip
def test_what_is_no_stream_is_one_line_and_exit_1(script, tmp_path, name):
    wrong = tmp_path / "wrong.stream"
    wrong.write_text("h k l\n")
    for path, message in ((wrong, "not a stream"), (tmp_path / "none.stream", "cannot be opened")):
        said = script(name, path)
        assert (said.status, said.out) == (1, "")
        assert message in said.err
        assert said.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.shared
def test_damaged_streams_never_end_in_a_traceback(script, shared, tmp_path):
    """Every stream of the conformance set through every script that reads one: 0, or one line and 1."""
    mask = tmp_path / "mask.h5"
    with h5py.File(mask, "w") as file:
        file["data/data"] = np.ones((100, 100), np.uint8)
    out = tmp_path / "out"
    calls = [
        ("sum-peaks", "-o", out), ("sum-peaks", "--subtract", "-o", out), ("peak-intensity",), ("ave-resolution",),
        ("ave-peak-resolution",), ("plot-radius-resolution", "--table"), ("stream_grep", "-n", "hit", "-o", out),
        ("stream_grep", "--cell-a", "--lt", "5", "-o", out), ("clean-stream", "-o", out), ("indexed-filenames",),
        ("find-multiples",), ("crystal-frame-number",), ("extract-geom",), ("detector-shift",),
        ("make-csplit", "--header", "a", "--names", "b"),
    ]  # fmt: skip
    switched = [
        ("truncate-stream", "-o", out, "-i"), ("stream2sol", "-o", out, "-i"),
        ("split-by-mask", "--output1", out, "--output2", tmp_path / "2", "--mask", mask, "-i"),
    ]  # fmt: skip
    streams = sorted([*shared.glob("conformance/*.stream"), *shared.glob("streams/*.stream")])
    assert streams
    for path in streams:
        for call in [(*call, path) for call in [*calls, *switched]]:
            for old in (out, tmp_path / "2"):
                old.unlink(missing_ok=True)
            said = script(*call)
            assert said.status in (0, 1), (call, said)
            assert "Traceback" not in said.err
            if said.status:
                assert said.err.count("\n") == 1, (call, said)
                assert not out.exists()
