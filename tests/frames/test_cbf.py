"""CBF images: pixels as they were written, and one line for what is damaged or asks for more than pixels."""

import gzip
import pickle

import h5py
import numpy as np
import pytest
from frame_factory import CBF_TYPES, Run, cbf, cbf_bytes, flat, geometry, pixels

from waterbg.errors import ImageError
from waterbg.frames import FrameReader
from waterbg.frames.hdf5 import open_hdf5
from waterbg.frames.kinds import CbfFile
from waterbg.geometry import parse_geometry

PANEL = {"p": {"extent": (0, 14, 0, 19)}}


def read(path, text=None, event=None):
    with FrameReader(parse_geometry(text or geometry(PANEL))) as reader:
        reader.check(str(path), event)
        return reader.read(str(path), event, copy=True)


def test_steps_of_every_width_are_followed(tmp_path):
    data = np.zeros((20, 15), np.int64)
    steps = [1, -127, 127, -128, 128, -32767, 32767, -32768, 32768, -(2**31) + 1, 2**31 - 1, -(2**31), 2**31, -1]
    data.ravel()[: len(steps)] = np.cumsum(steps)
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(data.astype("f8")))  # the type does not matter where steps are coded
    np.testing.assert_array_equal(read(tmp_path / "a.cbf").data, flat(data))


def test_a_gzipped_image_is_the_same(tmp_path, rng):
    run = cbf(tmp_path, rng)
    zipped = tmp_path / "frame_0001.cbf.gz"
    zipped.write_bytes(gzip.compress(run.path.read_bytes()))
    np.testing.assert_array_equal(read(zipped, run.geometry).data, run.expected[None])


@pytest.mark.parametrize("dtype", CBF_TYPES)
def test_pixels_that_are_not_compressed_are_read_as_what_they_are(dtype, tmp_path, rng):
    run = cbf(tmp_path, rng, f"<{dtype}", coded=False)
    np.testing.assert_array_equal(read(run.path, run.geometry).data, run.expected[None])


def test_a_pixel_that_is_no_number_is_bad(tmp_path, rng):
    data = pixels(rng, (20, 15), "<f4")
    data[3, 4] = np.nan
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(data, coded=False))
    bad = read(tmp_path / "a.cbf").panel(0)[1]
    assert bad[3, 4]
    assert bad.sum() == 1


def test_neither_the_name_of_the_file_nor_datasets_of_the_geometry_matter(tmp_path, rng):
    data = pixels(rng, (20, 15), "i4")
    (tmp_path / "frame.img").write_bytes(cbf_bytes(data))
    stacked = geometry({"p": {"extent": (0, 14, 0, 19), "dim0": "%", "dim1": "ss", "dim2": "fs"}}, dims=())
    np.testing.assert_array_equal(read(tmp_path / "frame.img", stacked).data, flat(data))


def test_flags_and_masks_in_another_file_mark_bad_pixels(tmp_path, rng):
    data = pixels(rng, (20, 15), "i4")
    data[0, 0] = -2
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(data))
    mask = rng.integers(0, 2, (20, 15))
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["m"] = mask
    head = f"flag_lessthan = -1\nmask0_data = /m\nmask0_file = {tmp_path / 'mask.h5'}\nmask0_badbits = 1"
    found = read(tmp_path / "a.cbf", geometry(PANEL, head=head))
    np.testing.assert_array_equal(found.panel(0)[1], (mask == 1) | (data < -1))


@pytest.mark.parametrize(
    "head", ["mask0_data = /m\nmask0_badbits = 1", "saturation_map = /s", "detector_shift_x = /x mm"]
)
def test_what_is_no_pixel_is_not_looked_for_in_a_cbf_image(head, tmp_path, rng):
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(pixels(rng, (20, 15), "i4")))
    with pytest.raises(ImageError, match=r"a\.cbf.*: is a CBF file, of which the pixels alone are read.*\(-g\)"):
        read(tmp_path / "a.cbf", geometry(PANEL, head=head))


def test_an_hdf5_file_that_links_to_a_cbf_image_is_not_called_damaged(tmp_path, rng):
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(pixels(rng, (20, 15), "i4")))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = h5py.ExternalLink("a.cbf", "/data")
    with pytest.raises(ImageError, match=r"a\.cbf.*: is a CBF file, of which the pixels alone are read"):
        read(tmp_path / "a.h5")


def test_what_is_said_of_a_cbf_image_survives_the_way_back_from_a_process(tmp_path, rng):
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(pixels(rng, (20, 15), "i4")))
    with pytest.raises(CbfFile) as caught:
        open_hdf5(str(tmp_path / "a.cbf"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_image_that_is_smaller_than_the_geometry_is_refused(tmp_path, rng):
    (tmp_path / "a.cbf").write_bytes(cbf_bytes(pixels(rng, (20, 14), "i4")))
    with pytest.raises(
        ImageError, match=r"a\.cbf: the geometry needs fs up to 14, the data \(20 x 14\) end at 13; is the"
    ):
        read(tmp_path / "a.cbf")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"X-Binary-Size-Second-Dimension: 20", b"", "its header has no X-Binary-Size-Second-Dimension"),
        (
            b"X-Binary-Size-Second-Dimension: 20",
            b"X-Binary-Size-Second-Dimension: 2000000",
            "promises 2000000 x 15 pixels in",
        ),
        (
            b"X-Binary-Size-Second-Dimension: 20",
            b"X-Binary-Size-Second-Dimension: 21",
            "ends before the last of its 21 x 15",
        ),
        (b"LITTLE_ENDIAN", b"BIG_ENDIAN", "big-endian"),
        (b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED", "compressed by x-CBF_PACKED"),
        (b"\x0c\x1a\x04\xd5", b"", "without an image"),
        (b"--CIF-BINARY-FORMAT-SECTION--\r\nC", b"C", "without an image"),
    ],
)
def test_a_header_that_makes_no_sense_is_told(old, new, reason, tmp_path, rng):
    text = cbf_bytes(pixels(rng, (20, 15), "i4"))
    assert old in text
    (tmp_path / "a.cbf").write_bytes(text.replace(old, new))
    with pytest.raises(ImageError, match=reason), FrameReader(parse_geometry(geometry(PANEL))) as reader:
        reader.read(str(tmp_path / "a.cbf"))


@pytest.mark.parametrize("name", ["a.cbf", "a.cbf.gz"])
def test_an_image_that_ends_anywhere_is_told_in_one_line(name, tmp_path, rng):
    data = pixels(rng, (20, 15), "i4")
    whole = cbf_bytes(data)
    last = whole.index(bytes(64))
    zipped = gzip.compress(whole[:last]) if name.endswith(".gz") else whole[:last]
    path = tmp_path / name
    for end in (*range(0, len(zipped), 7), len(zipped) - 1):
        path.write_bytes(zipped[:end])
        with pytest.raises(ImageError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(zipped)
    np.testing.assert_array_equal(read(path).data, flat(data))


@pytest.mark.parametrize("zipped", [False, True])
def test_any_byte_may_be_wrong_without_a_traceback(zipped, tmp_path, rng):
    whole = cbf_bytes(pixels(rng, (20, 15), "i4"))
    whole = gzip.compress(whole) if zipped else whole
    path, refused = tmp_path / "a.cbf", 0
    for _ in range(400):
        text = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            text[rng.integers(len(text))] = rng.integers(256)
        path.write_bytes(text)
        try:
            read(path)
        except ImageError as err:
            refused += 1
            assert "\n" not in str(err)
    assert refused > 50


def test_frames_of_a_run_are_read_one_after_the_other(tmp_path, rng):
    runs = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        runs.append(cbf(tmp_path / str(number), rng))
    assert isinstance(runs[0], Run)
    with FrameReader(parse_geometry(runs[0].geometry)) as reader:
        for run in runs:
            assert reader.together(str(run.path)) == 1
            np.testing.assert_array_equal(reader.read(str(run.path), "//").data, run.expected[None])
