"""Each source of bad pixels by itself."""

import h5py
import numpy as np
import pytest
from frame_factory import geometry

from waterbg.errors import ImageError
from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry

SHAPE = (8, 10)
DIMS = ("%", "ss", "fs")


@pytest.fixture
def image(tmp_path):
    """A function that writes two frames (and more datasets) and gives back the path."""

    def write(data=None, **more):
        path = tmp_path / "image.h5"
        with h5py.File(path, "w") as file:
            file["entry/data"] = np.zeros((2, *SHAPE), "u2") if data is None else data
            for name, values in more.items():
                file[name] = values
        return str(path)

    return write


def bad(path, head="", tail="", panel=None, event="//0", **options):
    """(8, 10) bad pixels of one panel as big as the image."""
    text = geometry({"p": {"extent": (0, 9, 0, 7)} | (panel or {})}, head=head, tail=tail, dims=DIMS)
    with FrameReader(parse_geometry(text), **options) as reader:
        return reader.read(path, event).panel(0)[1].copy()


def counts(values):
    """Two frames, the first with these values at its start."""
    data = np.full((2, *SHAPE), 50, np.asarray(values).dtype)
    data[0, 0, : len(values)] = values
    return data


def test_a_plain_image_has_no_bad_pixels(image):
    assert not bad(image()).any()


def test_no_index_makes_the_whole_panel_bad(image):
    assert bad(image(), panel={"no_index": "true"}).all()
    assert not bad(image(), panel={"no_index": "0"}).any()


def test_mask_edge_pixels_frame_the_panel(image):
    found = bad(image(), panel={"mask_edge_pixels": 2})
    assert not found[2:-2, 2:-2].any()
    assert found.sum() == 80 - 24
    assert bad(image(), panel={"mask_edge_pixels": 99}).all()
    assert not bad(image(), panel={"mask_edge_pixels": -3}).any()


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("flag_lessthan = 0", [1, 0, 0, 0, 0, 0]),
        ("flag_morethan = 65534", [0, 0, 0, 0, 0, 1]),
        ("flag_equal = 1", [0, 0, 1, 0, 0, 0]),
        ("flag_equal = 1.9", [0, 0, 1, 0, 0, 0]),  # stored as a whole number
        ("flag_equal = 0\nflag_equal = 3", [0, 1, 0, 1, 0, 0]),
        ("flag_lessthan = 1\nflag_lessthan = 0\nflag_morethan = 5", [1, 1, 0, 0, 1, 1]),
    ],
)
def test_flagged_values_are_bad(flag, expected, image):
    if "morethan = 5" in flag:
        flag += "0"  # 50 everywhere else
    found = bad(image(counts(np.array([-7, 0, 1, 3, 66, 65535], "i4"))), head=flag)
    np.testing.assert_array_equal(found[0, :6], expected)
    assert not found[1:].any()


def test_flag_equal_rounds_the_pixel_to_a_whole_number(image):
    values = np.array([1.5, 2.4, 2.5, 2.51, -2.0], "f4")  # half to even
    np.testing.assert_array_equal(bad(image(counts(values)), head="flag_equal = 2")[0, :5], [1, 1, 1, 0, 0])


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_pixels_that_are_not_finite_are_bad(dtype, image):
    values = np.array([np.nan, np.inf, -np.inf, 0, -1], dtype)
    np.testing.assert_array_equal(bad(image(counts(values)))[0, :5], [1, 1, 1, 0, 0])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u8"])
def test_a_number_too_large_for_any_detector_is_bad(dtype, image):
    values = np.array([3e10, 2**32 - 1, 9e18 if dtype[0] in "iu" else 1e38]).astype(dtype)
    assert bad(image(counts(values)))[0, :3].tolist() == [1, 0, 1]


def test_a_number_too_large_for_float32_is_bad(image):
    assert bad(image(counts(np.array([1e39, 0.0]))))[0, :2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("mask_bad = 0x1", [0, 1, 0, 1, 0]),
        ("mask_good = 0x1", [1, 0, 1, 0, 1]),
        ("mask_good = 0x2\nmask_bad = 0x1", [1, 1, 0, 1, 1]),
        ("mask_bad = 65535", [0, 1, 1, 1, 1]),
        ("mask0_badbits = 0x8000", [0, 0, 0, 0, 1]),
        ("", [0, 0, 0, 0, 0]),
    ],
)
def test_masks_are_judged_bit_by_bit(bits, expected, image):
    mask = np.zeros(SHAPE, "u2")
    mask[0, :5] = [0, 1, 2, 3, 0x8000]
    found = bad(image(mask=mask), head=f"mask = /mask\n{bits}")
    np.testing.assert_array_equal(found[0, :5], expected)


def test_all_eight_masks_are_joined(image):
    masks = {f"mask{i}": np.arange(80).reshape(SHAPE) == i for i in range(8)}
    head = "\n".join(f"mask{i}_data = /mask{i}\nmask{i}_badbits = 1" for i in range(8))
    assert np.flatnonzero(bad(image(**masks), head=head)).tolist() == list(range(8))


def test_a_mask_may_have_one_slice_for_each_event(image):
    mask = np.zeros((2, *SHAPE), "u1")
    mask[0, 3, 3] = mask[1, 4, 4] = 1
    path = image(mask=mask)
    head = "mask = /mask\nmask_bad = 1"
    assert np.argwhere(bad(path, head)).tolist() == [[3, 3]]
    text = geometry({"p": {"extent": (0, 9, 0, 7)}}, head=head, dims=DIMS)
    with FrameReader(parse_geometry(text)) as reader:
        for event, where in (("//0", 3), ("//1", 4), ("//0", 3)):
            assert np.argwhere(reader.read(path, event).panel(0)[1]).tolist() == [[where, where]]


def test_a_mask_path_takes_its_parts_from_the_event(tmp_path):
    path = tmp_path / "tags.h5"
    with h5py.File(path, "w") as file:
        for number, tag in enumerate("ab"):
            file[f"{tag}/image"] = np.zeros(SHAPE)
            file[f"{tag}/mask"] = np.arange(80).reshape(SHAPE) == number
    text = geometry({"p": {"extent": (0, 9, 0, 7)}}, head="mask = /%/mask\nmask_bad = 1", data="/%/image")
    with FrameReader(parse_geometry(text)) as reader:
        for number, tag in enumerate("ab"):
            assert np.flatnonzero(reader.read(str(path), f"{tag}//").bad).tolist() == [number]


def test_a_mask_of_one_panel_leaves_the_others_alone(image):
    path = image(mask=np.ones(SHAPE, "u1"))
    panels = {
        "a": {"extent": (0, 4, 0, 7), "mask_data": "", "mask0_data": "/mask", "mask0_badbits": 1},
        "b": {"extent": (5, 9, 0, 7)},
    }
    del panels["a"]["mask_data"]
    with FrameReader(parse_geometry(geometry(panels, dims=DIMS))) as reader:
        frame = reader.read(path, "//0")
        assert frame.panel(0)[1].all()
        assert not frame.panel(1)[1].any()


def write_mask(path, at):
    with h5py.File(path, "w") as file:
        file["m"] = np.arange(80).reshape(SHAPE) == at


def test_a_relative_mask_file_is_looked_for_in_the_working_directory_first(image, tmp_path, monkeypatch):
    path = image()
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    write_mask(tmp_path / "here" / "m.h5", 1)
    write_mask(tmp_path / "there" / "m.h5", 2)
    monkeypatch.chdir(tmp_path / "here")
    head = "mask_file = m.h5\nmask = /m\nmask_bad = 1"
    text = geometry({"p": {"extent": (0, 9, 0, 7)}}, head=head, dims=DIMS)
    for start, at, warned in (("here", 1, False), (".", 2, True)):
        monkeypatch.chdir(tmp_path / start)
        with FrameReader(parse_geometry(text), geometry_path=tmp_path / "there" / "x.geom") as reader:
            assert np.flatnonzero(reader.read(path, "//0").bad).tolist() == [at]
            assert bool(reader.warnings) == warned


def test_a_missing_mask_file_is_named_with_where_it_was_looked_for(image, tmp_path):
    head = "mask_file = nowhere.h5\nmask = /m\nmask_bad = 1"
    with pytest.raises(ImageError, match=r"nowhere.h5 //0: no such file \(looked for .*nowhere.h5, too\)"):
        bad(image(), head, stream_path=str(tmp_path / "x.stream"))


def test_a_mask_of_another_shape_is_refused(image):
    with pytest.raises(ImageError, match="the mask does not fit: the geometry needs ss up to 7"):
        bad(image(mask=np.zeros((4, 10))), "mask = /mask\nmask_bad = 1")


def test_a_region_in_fs_and_ss_includes_its_ends(image):
    tail = "bad_a/panel = p\nbad_a/min_fs = 2\nbad_a/max_fs = 3\nbad_a/min_ss = 7\nbad_a/max_ss = 7"
    assert np.argwhere(bad(image(), tail=tail)).tolist() == [[7, 2], [7, 3]]


def test_a_region_in_the_laboratory_holds_pixels_whose_first_corner_is_inside(image):
    # corner (-40, -30): pixel (fs, ss) is at (-40 + fs, -30 + ss); the limits themselves are outside
    tail = "bad_a/min_x = -40\nbad_a/max_x = -37\nbad_a/min_y = -29.5\nbad_a/max_y = -28"
    assert np.argwhere(bad(image(), tail=tail)).tolist() == [[1, 1], [1, 2]]


def test_a_region_without_all_its_limits_in_the_laboratory_is_empty(image):
    assert not bad(image(), tail="bad_a/min_x = -100\nbad_a/max_x = 100\nbad_a/min_y = -100").any()


def test_the_saturation_map_is_read_with_the_frame(image, tmp_path):
    levels = np.arange(160, dtype="f8").reshape(2, *SHAPE)
    path = image(sat=levels)
    text = geometry({"p": {"extent": (0, 9, 0, 7)}, "q": {"extent": (0, 1, 0, 1)}}, dims=DIMS)
    text = text.replace("p/min_fs", "p/saturation_map = /sat\np/min_fs")
    with FrameReader(parse_geometry(text)) as reader:
        for i in (0, 1, 0):
            frame = reader.read(path, f"//{i}")
            np.testing.assert_array_equal(frame.saturation[:80], levels[i].ravel())
            assert np.isinf(frame.saturation[80:]).all()  # no map for this panel


def test_a_saturation_map_in_a_file_of_its_own_may_have_a_slice_for_each_event(image, tmp_path):
    path, levels = image(), np.arange(160, dtype="f8").reshape(2, *SHAPE)
    with h5py.File(tmp_path / "levels.h5", "w") as file:
        file["sat"] = levels
    text = geometry({"p": {"extent": (0, 9, 0, 7)}}, dims=DIMS)
    text = f"saturation_map = /sat\nsaturation_map_file = {tmp_path / 'levels.h5'}\n{text}"
    with FrameReader(parse_geometry(text)) as reader:
        for i in (0, 1, 0):
            np.testing.assert_array_equal(reader.read(path, f"//{i}").saturation, levels[i].ravel())


@pytest.mark.parametrize(
    ("place", "reason"), [("/sat", "the data (2 x 2) end at 1"), ("/none", "no 'none'"), ("/text", "data 0")]
)
def test_a_saturation_map_that_does_not_fit_saturates_nothing_and_is_told(place, reason, image):
    path = image(sat=np.zeros((2, 2)), text=np.bytes_("none"))
    text = f"saturation_map = {place}\n{geometry({'p': {'extent': (0, 9, 0, 7)}}, dims=DIMS)}"
    with FrameReader(parse_geometry(text)) as reader:
        assert np.isinf(reader.read(path, "//0").saturation).all()
        reader.read(path, "//1")
        (said,) = reader.warnings
    assert said.startswith(place)
    assert reason in said
    assert said.endswith("it says of no pixel that it is saturated")


def test_a_saturation_map_whose_file_is_missing_is_an_error(image):
    text = (
        f"saturation_map = /sat\nsaturation_map_file = gone.h5\n{geometry({'p': {'extent': (0, 9, 0, 7)}}, dims=DIMS)}"
    )
    with FrameReader(parse_geometry(text)) as reader, pytest.raises(ImageError, match=r"gone\.h5 //0: no such file"):
        reader.read(image(), "//0")


def test_max_adu_comes_from_the_panels(image):
    panels = {"p": {"extent": (0, 9, 0, 7), "max_adu": 250}, "q": {"extent": (0, 1, 0, 1)}}
    with FrameReader(parse_geometry(geometry(panels, dims=DIMS))) as reader:
        assert reader.read(image(), "//0").max_adu.tolist() == [250, np.inf]
