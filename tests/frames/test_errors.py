"""What the user is told when an image cannot be read: one line that names file, event, dataset, and what to do."""

import gzip
import os

import h5py
import numpy as np
import pytest
from frame_factory import LAYOUTS, geometry, own_datasets, stack

from waterbg.errors import GeometryError, ImageError
from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry


def reader_of(run, **options):
    return FrameReader(parse_geometry(run.geometry), **options)


def fails(reader, path, event, match, *, check=True):
    """``read`` and ``check`` say the same, in one line."""
    for do in (reader.read, reader.check)[: 1 + check]:
        with pytest.raises(ImageError, match=match) as caught:
            do(str(path), event)
        assert "\n" not in str(caught.value)
        assert os.path.basename(str(path)) in str(caught.value)
    reader.close()
    return caught.value


def test_a_missing_file_is_named_with_the_places_tried(tmp_path, rng):
    run = stack(tmp_path, rng)
    reader = reader_of(run, prefix="/data/", basename=True, stream_path=tmp_path / "x.stream")
    err = fails(reader, "run/gone.h5", "//0", r"no such file \(looked for /data/gone.h5, .*run/gone.h5")
    assert err.path == "run/gone.h5"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"###CBF: VERSION 1.5\r\n", "is a CBF file without an image"),
        (b"\x1f\x8b\x08\x00rest", "compressed by gzip as a whole, and no CBF file"),
        (gzip.compress(b"hello world"), "compressed by gzip as a whole, and no CBF file"),
        (b"II*\x00rest", "TIFF"),
        (b"hello world", "is neither an HDF5 nor a CBF file"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "cannot be opened"),
    ],
)
def test_a_file_that_is_no_image_is_named_for_what_it_is(content, reason, tmp_path, rng):
    run = stack(tmp_path, rng)
    path = tmp_path / "image.dat"
    path.write_bytes(content)
    fails(reader_of(run), path, "//0", reason)


def test_a_folder_is_no_image(tmp_path, rng):
    fails(reader_of(stack(tmp_path, rng)), tmp_path, "//0", "is a folder")


def test_a_file_cut_short_says_so(tmp_path, rng):
    run = stack(tmp_path, rng, n=20)
    whole = run.path.read_bytes()
    run.path.write_bytes(whole[: len(whole) // 2])
    fails(reader_of(run), run.path, "//0", "cut short")


def test_a_missing_dataset_is_named_with_what_there_is(tmp_path, rng):
    run = stack(tmp_path, rng)
    run.geometry = run.geometry.replace("/entry/data", "/entry/other/data")
    err = fails(reader_of(run), run.path, "//1", r"there is no 'other' in /entry \(which holds data\)")
    assert (err.event, err.dataset) == ("//1", "/entry/other/data")


def test_a_group_where_the_data_should_be_is_refused(tmp_path, rng):
    run = stack(tmp_path, rng)
    run.geometry = run.geometry.replace("/entry/data", "/entry")
    fails(reader_of(run), run.path, "//1", "is a group, not a dataset")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("//3", r"there is no frame 3, the data have 3 \(numbered from 0\)"),
        ("//-1", "there is no frame -1"),
        ("//99999999999999999999", "there is no frame 99999999999999999999, the data have 3"),
        ("//", "the event gives no index for dim0"),
        (None, "the event gives no index for dim0"),
        ("tag//1", "the event has 1 path parts"),
        ("3", "must hold '//'"),
        ("//1/", "an index is missing"),
    ],
)
def test_an_event_that_is_not_in_the_file_is_refused(event, reason, tmp_path, rng):
    run = stack(tmp_path, rng)
    fails(reader_of(run), run.path, event, reason)


def test_an_event_with_too_few_parts_is_refused(tmp_path, rng):
    run = own_datasets(tmp_path, rng)
    fails(reader_of(run), run.path, "//1", "the event has 0 path parts")


def test_an_image_smaller_than_the_geometry_is_refused(tmp_path, rng):
    run = stack(tmp_path, rng)
    run.geometry = run.geometry.replace("b/max_ss = 19", "b/max_ss = 20")
    fails(reader_of(run), run.path, "//1", r"needs ss up to 20, the data \(3 x 20 x 12\) end at 19; is the geometry")


def test_data_of_other_dimensions_are_refused(tmp_path, rng):
    run = stack(tmp_path, rng)
    run.geometry = run.geometry.replace("dim0 = %\ndim1 = ss\ndim2 = fs", "")
    fails(reader_of(run), run.path, "//1", r"the geometry has 2 dimensions, the data 3 \(3 x 20 x 12\)")


def test_text_is_no_image(tmp_path, rng):
    run = stack(tmp_path, rng)
    with h5py.File(run.path, "a") as file:
        del file["entry/data"]
        file["entry/data"] = np.full((3, 20, 12), b"abc")
    fails(reader_of(run), run.path, "//1", "holds no numbers")


def test_a_damaged_chunk_spoils_its_own_frame_only(tmp_path, rng):
    run = stack(tmp_path, rng, filters="gzip")
    with h5py.File(run.path) as file:
        chunk = file["entry/data"].id.get_chunk_info(1)
    with open(run.path, "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    reader = reader_of(run)
    np.testing.assert_array_equal(reader.read(str(run.path), "//0").data, run.expected["//0"])
    with pytest.raises(ImageError, match="the pixels cannot be read, the file is damaged") as caught:
        reader.read(str(run.path), "//1")
    assert caught.value.event == "//1"
    assert caught.value.dataset == "/entry/data"
    np.testing.assert_array_equal(reader.read(str(run.path), "//2").data, run.expected["//2"])
    reader.close()


def test_a_header_that_is_missing_is_named(tmp_path, rng):
    run = stack(tmp_path, rng, energy="/header/energy eV", clen="/header/clen m")
    reader = reader_of(run)
    with pytest.raises(ImageError, match=r"//1 \(/header/clen\): there is no 'header' in /"):
        reader.read(str(run.path), "//1", photon_energy_eV=9000)
    reader.close()
    with h5py.File(run.path, "a") as file:
        file["header/clen"] = 0.1
        file["header/energy"] = "about nine"
    with pytest.raises(ImageError, match=r"\(/header/energy\): holds 'about nine', not a number"):
        reader.read(str(run.path), "//1")
    reader.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -60.0, b"nan"])
def test_a_camera_length_in_the_image_that_is_none_costs_its_own_event(tmp_path, rng, value):
    run = stack(tmp_path, rng, clen="/clen")
    with h5py.File(run.path, "a") as file:
        good = np.array([80.0, 80.0, 80.0])
        file["clen"] = good.astype("S8") if isinstance(value, bytes) else good
        file["clen"][1] = value
    reader = reader_of(run)
    assert reader.read(str(run.path), "//0").clen == pytest.approx(0.08)
    fails(reader, run.path, "//1", r"//1 \(/clen\): .*(nan|inf|-0\.06)", check=False)
    assert reader.read(str(run.path), "//2").clen == pytest.approx(0.08)
    reader.close()


def test_a_camera_length_in_unknown_units_is_a_fault_of_the_geometry(tmp_path, rng):
    run = stack(tmp_path, rng, clen="12 cm")
    with reader_of(run) as reader, pytest.raises(GeometryError, match="camera length '12 cm'") as caught:
        reader.read(str(run.path), "//0")
    assert caught.value.line == 2


def test_a_file_that_grew_or_was_replaced_is_read_anew(tmp_path, rng):
    run = stack(tmp_path, rng)
    reader = reader_of(run)
    np.testing.assert_array_equal(reader.read(str(run.path), "//2").data, run.expected["//2"])
    (tmp_path / "new").mkdir()
    longer = stack(tmp_path / "new", rng, n=5)
    os.replace(longer.path, run.path)
    for event in ("//0", "//4"):
        np.testing.assert_array_equal(reader.read(str(run.path), event).data, longer.expected[event])
    reader.close()


def test_a_geometry_of_more_pixels_than_any_detector_is_refused():
    text = geometry({"p": {"extent": (0, 2**31 - 1, 0, 2**31 - 1)}})
    with pytest.raises(GeometryError, match="more than any detector has"):
        FrameReader(parse_geometry(text))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_damage_anywhere_in_a_file_is_an_image_error_in_one_line(layout, tmp_path, rng):
    run = layout(tmp_path, rng)
    whole = run.path.read_bytes()
    damaged = 0
    for _ in range(40):
        text = bytearray(whole)
        for _ in range(4):
            text[rng.integers(len(text)) if rng.random() < 0.3 else rng.integers(2500) % len(text)] = rng.integers(256)
        run.path.write_bytes(text)
        with reader_of(run) as reader:
            for event in run.expected:
                try:
                    reader.read(str(run.path), event)
                except (ImageError, GeometryError) as err:
                    damaged += 1
                    assert "\n" not in str(err)
                    assert len(str(err)) < 1000
    assert damaged
