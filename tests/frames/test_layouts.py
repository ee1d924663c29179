"""Every way frames and panels may lie in a file."""

import numpy as np
import pytest
from frame_factory import FILTERS, LAYOUTS, geometry, single, stack

from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_panels_are_read_from_wherever_they_are(layout, tmp_path, rng):
    run = layout(tmp_path, rng)
    detector = parse_geometry(run.geometry)
    with FrameReader(detector) as reader:
        for event, expected in run.expected.items():
            reader.check(str(run.path), event)
            frame = reader.read(str(run.path), event)
            np.testing.assert_array_equal(frame.data, expected)
            assert frame.data.dtype == np.float32
            assert frame.bad.dtype == np.uint8
            assert not frame.bad.any()
            for number, panel in enumerate(detector.panels):
                assert frame.panel(number)[0].shape == (panel.n_ss, panel.n_fs)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8", "?"]
)
def test_every_type_of_number_becomes_float32(dtype, tmp_path, rng):
    run = single(tmp_path, rng, dtype)
    with FrameReader(parse_geometry(run.geometry)) as reader:
        np.testing.assert_array_equal(reader.read(str(run.path)).data, run.expected[None])


@pytest.mark.parametrize("filters", FILTERS)
def test_compressed_frames_are_read(filters, tmp_path, rng):
    run = stack(tmp_path, rng, filters=filters)
    with FrameReader(parse_geometry(run.geometry)) as reader:
        np.testing.assert_array_equal(reader.read(str(run.path), "//2").data, run.expected["//2"])


def test_a_frame_keeps_its_pixels_when_read_as_a_copy(tmp_path, rng):
    run = stack(tmp_path, rng, dtype="f4")
    with FrameReader(parse_geometry(run.geometry)) as reader:
        kept = reader.read(str(run.path), "//0", copy=True)
        reused = reader.read(str(run.path), "//1")
        reader.read(str(run.path), "//2")
        np.testing.assert_array_equal(kept.data, run.expected["//0"])
        np.testing.assert_array_equal(reused.data, run.expected["//2"])


def test_a_reader_reads_on_after_close(tmp_path, rng):
    run = stack(tmp_path, rng)
    reader = FrameReader(parse_geometry(run.geometry))
    for event in ("//0", "//1"):
        np.testing.assert_array_equal(reader.read(str(run.path), event).data, run.expected[event])
        reader.close()


def test_a_panel_without_extent_in_reverse_has_no_pixels(tmp_path, rng):
    run = single(tmp_path, rng)
    text = geometry({"p0": {"extent": (0, 14, 0, 19)}, "none": {"extent": (5, 2, 0, 3)}})
    with FrameReader(parse_geometry(text)) as reader:
        frame = reader.read(str(run.path))
        assert frame.data.size == 300
        assert frame.panel(1)[0].size == 0
