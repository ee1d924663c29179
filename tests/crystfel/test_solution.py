import re
from types import SimpleNamespace

import numpy as np
import pytest

from waterbg.crystfel.solution import Shifts, check_name, lattice_code, list_line, solution_line
from waterbg.errors import StreamError


def crystal(lattice="tetragonal", centering="I", axis="c", axes=None, shift=(0.0635, -0.0008)):
    if axes is None:
        axes = np.array([[-0.0268139, -0.1324608, 0.1764642], [-0.2003811, -0.0598011, -0.0753371], [0.1, -0.2, -0.13]])
    return SimpleNamespace(lattice_type=lattice, centering=centering, unique_axis=axis, axes=axes, det_shift=shift)


@pytest.mark.parametrize(
    ("lattice", "centering", "axis", "code"),
    [
        ("triclinic", "P", "*", "aP"),
        ("monoclinic", "C", "b", "mCb"),
        ("orthorhombic", "F", "*", "oF"),
        ("tetragonal", "I", "c", "tIc"),
        ("cubic", "I", "*", "cI"),
        ("rhombohedral", "R", "*", "rR"),
        ("hexagonal", "H", "c", "hHc"),
        (None, None, None, "aP"),
        ("tetragonal", "P", None, "tP?"),
        ("something new", "P", "c", "aP"),
    ],
)
def test_every_lattice_has_its_code(lattice, centering, axis, code):
    assert lattice_code(crystal(lattice, centering, axis)) == code


def test_a_line_holds_name_event_axes_shift_and_lattice():
    line = solution_line("my run/images.h5", "tag-3//0", crystal())
    assert line == (
        "my run/images.h5 tag-3//0 -0.0268139 -0.1324608 +0.1764642 -0.2003811 -0.0598011 -0.0753371 "
        "+0.1000000 -0.2000000 -0.1300000 0.063500 -0.000800 tIc"
    )
    # as CrystFEL takes it apart: thirteen blanks from the end, the rest is the name
    assert line.rsplit(" ", 13)[0] == "my run/images.h5"
    assert list_line("my run/images.h5", "//3") == "my run/images.h5 //3"


def test_the_lines_of_the_golden_data_are_those_the_solutions_were_made_of(data):
    from waterbg.stream import StreamFile

    golden = data / "golden" / "small"
    wanted = [line.split() for line in (golden / "truth.sol").read_text().splitlines()]
    with StreamFile(str(golden / "rings-nocen-nosat-nograd.stream")) as stream:
        found = [solution_line(c.filename, c.event, c.crystals[0]).split() for c in stream.chunks()]
    for mine, truth in zip(sorted(found), sorted(wanted), strict=True):
        assert mine[:2] == truth[:2]
        assert mine[-1] == truth[-1]
        assert [float(x) for x in mine[2:11]] == pytest.approx([float(x) for x in truth[2:11]], abs=2e-7)
        assert [float(x) for x in mine[11:13]] == pytest.approx([float(x) for x in truth[11:13]], abs=0.00051)


def test_detector_shifts_are_found_below_what_is_printed(data):
    from waterbg.stream import StreamFile

    golden = data / "golden" / "small"
    truth = {line.split()[1]: line.split()[11:13] for line in (golden / "truth.sol").read_text().splitlines()}
    with StreamFile(str(golden / "rings-nocen-nosat-nograd.stream")) as stream:
        shifts = Shifts(stream.geometry_text, "golden")
        for chunk in stream.chunks():
            found = shifts.of(chunk.crystals[0], chunk.photon_energy_eV)
            # the pixel is 0.2 mm, the printed shift has three decimals
            assert found == pytest.approx([float(x) for x in truth[chunk.event]], abs=5e-5)


@pytest.mark.parametrize("line", [b"clen = /LCLS/distance", b"clen = 0.1\ndetector_shift_x = /shift mm", b"nonsense ="])
def test_without_all_of_the_geometry_the_printed_shift_is_taken(data, line):
    from waterbg.stream import StreamFile

    golden = data / "golden" / "small"
    with StreamFile(str(golden / "rings-nocen-nosat-nograd.stream")) as stream:
        text = re.sub(rb"(?m)^clen = .*$", line, stream.geometry_text)
        assert line in text
        chunk = next(stream.chunks())
    shift = Shifts(text, "golden").of(chunk.crystals[0], chunk.photon_energy_eV)
    assert shift == chunk.crystals[0].det_shift == (0.064, -0.001)


def test_a_crystal_without_axes_has_no_line():
    assert solution_line("x", "//", SimpleNamespace(axes=None)) is None


@pytest.mark.parametrize(
    ("filename", "event", "message"),
    [
        ("x" * 256, "//", "the file name is longer than the 255 bytes"),
        ("ü" * 128, "//", "the file name is longer than the 255 bytes"),
        ("x", "e" * 254 + "//", "the event is longer than the 255 bytes"),
        ("x", "a b//", "is no event"),
        ("x", "a,b//", "is no event"),
        ("x", "frame3", "is no event"),
    ],
)
def test_a_frame_that_cannot_be_told_to_indexamajig_is_refused(filename, event, message):
    with pytest.raises(StreamError, match=message) as caught:
        check_name(filename, event, path="run.stream", offset=123)
    assert caught.value.offset == 123


def test_the_longest_names_are_accepted():
    check_name("x" * 255, "e" * 253 + "//", path="run.stream", offset=0)
