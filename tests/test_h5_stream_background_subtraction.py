import os
import subprocess
import sys

import numpy as np
import pytest

from waterbg import h5_background_subtraction
from waterbg import h5_stream_background_subtraction as tool
from waterbg.errors import StreamError, UsageError

HEADER = """CrystFEL stream format 2.3
----- Begin geometry file -----
----- End geometry file -----
"""
ROW = "{:4d} {:4d} {:4d} {:10.2f} {:10.2f} {:10.2f} {:10.2f} {:6.1f} {:6.1f} p0"
ROWS = [
    (1, 2, 3, 20000.0, 3.0, 9.0, 1.0, 12.7, 4.2),
    (2, 2, 3, 1600.0, 3.0, 9.0, 1.0, 14.0, 4.0),
    (-1, 2, 3, -50.0, 3.0, 9.0, 1.0, 12.0, 6.9),
    (1, 2, -4, 15000.0, 3.0, 9.0, 1.0, 0.0, 0.0),
]


@pytest.fixture
def stream(tmp_path):
    lines = [
        "----- Begin chunk -----", "Image filename: a.h5", "photon_energy_eV = 9500", "--- Begin crystal",
        "Reflections measured after indexing",
        "   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel",
    ]  # fmt: skip
    lines += [ROW.format(*values) for values in ROWS]
    lines += ["End of reflections", "--- End crystal", "----- End chunk -----", ""]
    path = tmp_path / "a.stream"
    path.write_text(HEADER + "\n".join(lines))
    return path


def test_the_names_of_the_first_tool_are_here_too():
    for name in ("PeakThresholdProcessor", "ArrayRegion", "extract_region", "coordinate_menu", "load_file_h5"):
        assert getattr(tool, name) is getattr(h5_background_subtraction, name)


def test_the_intensity_array_has_each_reflection_at_row_ss_and_column_fs(stream):
    image = tool.intensity_array(tool.load_stream(stream))
    assert image.shape == (7, 15)
    assert {(i, j): image[i, j] for i, j in zip(*np.nonzero(image))} == {
        (4, 12): 20000, (4, 14): 1600, (6, 12): -50, (0, 0): 15000,
    }  # fmt: skip


def test_reflections_on_the_same_pixel_are_added_up():
    image = tool.intensity_array({"fs": [1.1, 1.9, 3], "ss": [2, 2.5, 0], "I": [5, 6, np.nan]})
    assert image.shape == (3, 2)
    assert image[2, 1] == 11


def test_main_estimates_each_strong_pixel_with_each_radius_as_by_hand(stream, capsys):
    found = tool.main(stream)
    assert [(one.x, one.y, one.radius) for one in found] == [
        (x, y, r) for r in (1, 2, 3, 4) for x, y in ((0, 0), (4, 12))
    ]
    by_place = {(one.x, one.y, one.radius): one for one in found}
    # radius 2 round (4, 12): 16 pixels of the 5 x 5, one of them 1600, one of them negative and left out
    two = by_place[4, 12, 2]
    assert (two.pixels, two.average) == (15, 1600 / 15)
    assert two.estimate == 20000 - 1600 / 15
    # at the corner (0, 0): 5 of the 3 x 3 pixels that remain
    assert (by_place[0, 0, 2].pixels, by_place[0, 0, 2].estimate) == (5, 15000)
    assert "2 coordinates above 10000" in capsys.readouterr().out


def test_a_choice_and_a_threshold_can_be_given(stream):
    assert [(one.x, one.y) for one in tool.main(stream, 1000, choice=3, radii=[2])] == [(4, 14)]


def test_a_stream_without_reflections_gives_no_estimates(tmp_path, capsys):
    path = tmp_path / "a.stream"
    path.write_text(HEADER)
    assert tool.main(path) == []
    assert tool.intensity_array({"fs": [], "ss": [], "I": []}).shape == (0, 0)


def test_positions_that_no_detector_has_are_refused(stream):
    for fs, ss in [(-1, 5), (1e9, 1e9)]:
        with pytest.raises(StreamError, match="no detector has these"):
            tool.intensity_array({"fs": [fs], "ss": [ss], "I": [1]})
    stream.write_bytes(stream.read_bytes().replace(b"  12.7    4.2", b"  1e09   1e07"))
    with pytest.raises(StreamError, match=r"a\.stream.*no detector has these"):
        tool.main(stream)
    with pytest.raises(UsageError, match="no column 'ss'"):
        tool.intensity_array({"fs": [], "I": []})


def test_what_is_no_stream_is_refused(tmp_path):
    with pytest.raises(StreamError, match="cannot be opened"):
        tool.main(tmp_path / "none.stream")


def test_as_a_program_it_ends_as_all_others_do(stream, tmp_path):
    def ended(*words, **how):
        program = [sys.executable, "-P", "-m", tool.__name__, *map(str, words)]
        return subprocess.run(program, capture_output=not how, text=True, check=False, cwd=tmp_path, **how)

    assert ended(stream).stdout.startswith("2 coordinates above 10000")
    assert "Usage:" in ended("--help").stdout
    for words, status in [((), 2), ((stream, stream), 2), ((tmp_path / "none.stream",), 1)]:
        said = ended(*words)
        assert (said.returncode, said.stdout, said.stderr.count("\n")) == (status, "", 1)
    reader, writer = os.pipe()
    os.close(reader)
    gone = ended(stream, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (141, "")
