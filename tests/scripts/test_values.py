"""Powders and numbers of streams."""

import h5py
import numpy as np
import pytest

from waterbg.stream import StreamFile

from ..stream import factory


def read(path, name="/data/data"):
    with h5py.File(path) as file:
        return file[name][()]


def test_the_peak_powder_has_each_peak_at_row_ss_and_column_fs(script, small, tmp_path):
    said = script("sum-peaks", small, "-o", tmp_path / "a.h5")
    assert said.status == 0, said.err
    powder = read(tmp_path / "a.h5")
    assert powder.shape == (100, 100)
    assert {(i, j): powder[i, j] for i, j in zip(*np.nonzero(powder))} == {(20, 10): 4 * 300.0}
    assert "4 peaks of 4 frames" in said.err


def test_the_powder_of_integrated_intensities_has_the_background_off(script, small, tmp_path):
    assert script("sum-peaks", small, "--subtract", "-o", tmp_path / "a.h5").status == 0
    powder = read(tmp_path / "a.h5")
    assert {(i, j): powder[i, j] for i, j in zip(*np.nonzero(powder))} == {(20, 10): 20, (40, 30): -10}
    assert script("sum-peaks", small, "--subtract", "--count", "-o", tmp_path / "b.h5").status == 0
    assert read(tmp_path / "b.h5").sum() == 4


def test_the_powder_of_two_streams_is_their_sum_and_is_named_after_the_first(script, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert script("sum-peaks", small, small).status == 0
    assert read("small-powder.h5").sum() == 8 * 300
    said = script("sum-peaks", "-", stdin=small.read_bytes())
    assert (said.status, said.err) == (2, "sum-peaks: reading standard input, so -o is needed\n")
    assert script("sum-peaks", "-", "-o", "c.h5", stdin=small.read_bytes()).status == 0
    assert read("c.h5").sum() == 4 * 300


@pytest.mark.parametrize("words", [["sum-peaks", "-o", "a.h5"], ["ave-resolution"], ["peak-intensity"]])
def test_numbers_of_a_stream_that_was_not_read_to_its_end_come_with_a_word_about_it(
    script, small, tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    size = len(small.read_bytes()) - 300
    (tmp_path / "cut.stream").write_bytes(small.read_bytes()[:size])
    said = script(*words, "cut.stream")
    assert said.status == 0
    reason = "the file ends inside a chunk, which is lost"
    assert f"cut.stream: not read to its end: {reason} (byte {size})\n" in said.err


def test_peaks_off_the_panels_are_left_out_and_counted(script, tmp_path):
    text = factory.stream([factory.chunk(0), factory.chunk(1)])
    text = text.replace(b"  10.00   20.00", b" 110.00   20.00", 1).replace(b"300.00   p0", b"300.00   p9", 1)
    (tmp_path / "a.stream").write_bytes(text)
    said = script("sum-peaks", tmp_path / "a.stream", "-o", tmp_path / "a.h5")
    assert "1 lie on no panel" in said.err
    assert read(tmp_path / "a.h5").sum() == 300


def test_panels_that_are_layers_of_a_stack_stay_apart(script, tmp_path):
    geometry = factory.GEOMETRY.replace(b"dim1 = ss\ndim2 = fs\n", b"dim1 = 0\ndim2 = ss\ndim3 = fs\n")
    second = geometry[geometry.index(b"p0/") :].replace(b"p0/", b"p1/") + b"p1/dim1 = 7\n"
    text = factory.stream([factory.chunk(0), factory.chunk(1)], geometry + second)
    at = text.rindex(b"   p0\nEnd of peak list")
    (tmp_path / "a.stream").write_bytes(text[:at] + text[at:].replace(b"p0", b"p1", 1))
    assert script("sum-peaks", tmp_path / "a.stream", "-o", tmp_path / "a.h5").status == 0
    powder = read(tmp_path / "a.h5")
    assert powder.shape == (2, 100, 100)
    assert powder[:, 20, 10].tolist() == [300, 300]


def test_other_panels_in_a_second_stream_are_an_error(script, small, golden, tmp_path):
    said = script("sum-peaks", small, golden, "-o", tmp_path / "a.h5")
    assert said.status == 1
    assert "has other panels than the stream before" in said.err
    assert not (tmp_path / "a.h5").exists()


def test_mean_resolutions_are_those_of_the_crystals(script, small, tmp_path):
    text = small.read_bytes().replace(b"limit = 4.00 nm^-1", b"limit = 2.00 nm^-1", 1)
    said = script("ave-resolution", "-", stdin=text)
    assert said.status == 0
    assert " Mean: 3.50 nm^-1 = 2.86 A\n Best: 4.00 nm^-1 = 2.50 A\nWorst: 2.00 nm^-1 = 5.00 A\n" in said.out
    assert "Std deviation: 0.87 nm^-1  (4 values)" in said.out
    assert script("ave-resolution", small, "-o", tmp_path / "a.png").status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_resolution_limit_that_nobody_estimated_is_none(script, small, tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(small.read_bytes().replace(b"limit = 4.00 nm^-1 or 2.50", b"limit = inf nm^-1 or 0.00", 1))
    said = script("ave-resolution", path, "-o", tmp_path / "a.png")
    assert said.status == 0
    assert " Best: 4.00 nm^-1 = 2.50 A\n" in said.out
    assert "(3 values)" in said.out
    assert len(script("plot-radius-resolution", path, "--table").out.splitlines()) == 3


def test_the_peakogram_leaves_out_peaks_that_are_no_numbers(script, golden, tmp_path):
    path = tmp_path / "a.stream"
    rows = golden.read_bytes().split(b"\n")
    first = next(i for i, row in enumerate(rows) if row.startswith(b"   h    k")) + 1
    rows[first] = b" ".join([*rows[first].split()[:5], b"inf", *rows[first].split()[6:]])
    path.write_bytes(b"\n".join(rows))
    assert script("peakogram-stream", path, "-o", tmp_path / "a.png").status == 0


def test_mean_peak_resolutions_leave_out_frames_without_peaks(script, tmp_path):
    def chunk(number, resolution, peaks):
        return factory.chunk(number).replace(
            b"num_peaks = 1\n", b"num_peaks = %d\npeak_resolution = %s\n" % (peaks, resolution)
        )

    path = tmp_path / "a.stream"
    line = b"%s nm^-1 or 3 A"
    path.write_bytes(
        factory.stream([chunk(0, line % b"3.0", 1), chunk(1, line % b"5.0", 1), chunk(2, line % b"0.0", 0)])
    )
    said = script("ave-peak-resolution", path)
    assert " Mean: 4.00 nm^-1 = 2.50 A" in said.out
    assert "(2 values)" in said.out


def test_a_stream_without_resolutions_is_one_line_and_exit_1(script, tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(factory.stream([factory.chunk(0)]))
    for name in ("ave-resolution", "ave-peak-resolution"):
        said = script(name, path)
        assert (said.status, said.out) == (1, "")
        assert said.err.startswith(f"{name}: error: {path}: no ")
        assert said.err.count("\n") == 1
    assert script("plot-radius-resolution", path, "--table").status == 1


def test_radius_and_resolution_stand_side_by_side(script, small, tmp_path):
    said = script("plot-radius-resolution", small, "--table")
    assert [line.split() for line in said.out.splitlines()] == [["66.667", "4.000"]] * 4
    assert script("plot-radius-resolution", small, "-o", tmp_path / "a.png").status == 0
    said = script("plot-radius-resolution", small)
    assert (said.status, said.err) == (
        2, "plot-radius-resolution: there is no screen to show the figure on; -o FILE.png writes it to a file\n",
    )  # fmt: skip


def test_peak_intensities_are_the_peak_searchs_or_the_integrated_ones(script, small):
    said = script("peak-intensity", small)
    assert said.out == (
        "4 patterns, 4 peaks\nMean 1.00 peaks per pattern\nMean 300.00 ADU per peak\n"
        "Mean 300.00 ADU total per pattern\n"
    )
    said = script("peak-intensity", "--subtract", small)
    assert "4 patterns, 4 peaks" in said.out
    assert "Mean 2.50 ADU per peak" in said.out


def test_a_stream_without_chunks_has_no_mean(script, tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(factory.stream())
    said = script("peak-intensity", path)
    assert said.status == 0
    assert "Mean nan ADU per peak" in said.out


def test_the_peakogram_counts_reflections_and_draws_them(script, golden, small, tmp_path):
    with StreamFile(golden) as stream:
        n = sum(len(crystal.reflections) for chunk in stream.chunks() for crystal in chunk.crystals)
    said = script("peakogram-stream", "-i", golden, "-l", "--rmin", "0.1", "--imax", "1e5", "-o", tmp_path / "a.png")
    assert (said.status, said.out) == (0, f"{n} predicted reflections found\n")
    said = script("peakogram-stream", golden, "--nmax=100", "--subtract", "-o", tmp_path / "b.svg")
    assert said.out == "100 predicted reflections found\n"
    assert b"Peak above background" in (tmp_path / "b.svg").read_bytes()
    odd = tmp_path / "run$a_{b$.stream"  # a name, no formula
    odd.symlink_to(golden)
    assert script("peakogram-stream", odd, "-o", tmp_path / "odd.png").status == 0
    said = script("peakogram-stream", golden, "--imin=1e9", "-o", tmp_path / "c.png")
    assert said.status == 1
    assert "no reflection with a peak above zero within the limits" in said.err
    assert script("peakogram-stream", "-o", tmp_path / "d.png").status == 2


def test_the_resolution_of_a_reflection_is_that_of_its_axes():
    from waterbg.scripts.values import reflection_peaks

    class Crystal:
        axes = np.array([[0.2, 0, 0], [0, 0.25, 0], [0.01, 0, 0.5]])
        reflections = np.zeros(1, [("h", "i4"), ("k", "i4"), ("l", "i4"), ("peak", "f8"), ("background", "f8")])

    crystal = Crystal()
    crystal.reflections[0] = (1, -2, 3, 50, 8)
    stream = type("S", (), {"chunks": lambda self: [type("C", (), {"crystals": [crystal]})]})()
    inv_d, peak = reflection_peaks([stream])
    assert inv_d == pytest.approx(np.sqrt(0.23**2 + 0.5**2 + 1.5**2))
    assert peak == [50]
    assert reflection_peaks([stream], subtract=True)[1] == [42]


def test_the_detector_shift_is_that_of_the_crystals_and_moves_a_geometry(script, small, tmp_path):
    from waterbg.geometry import parse_geometry

    (tmp_path / "a.geom").write_bytes(factory.GEOMETRY)
    said = script("detector-shift", small, "-g", tmp_path / "a.geom", "--geometry-out", tmp_path / "b.geom")
    assert said.status == 0, said.err
    assert "Mean shift   x = +0.0100 +- 0.0000 mm, y = -0.0200 +- 0.0000 mm" in said.out
    old, new = (parse_geometry((tmp_path / name).read_bytes()) for name in ("a.geom", "b.geom"))
    assert new.corners - old.corners == pytest.approx(np.array([[1e-5, -2e-5, 0]]), abs=1e-12)
    piped = script("detector-shift", small, "-g", tmp_path / "a.geom", "--geometry-out", "-")
    assert piped.out == (tmp_path / "b.geom").read_text()
    assert "Mean shift   x = +0.0100" in piped.err
    assert script("detector-shift", small, "-o", tmp_path / "a.png").status == 0
    assert script("detector-shift", small, "-g", tmp_path / "a.geom").status == 2
    (tmp_path / "c.stream").write_bytes(factory.stream([factory.chunk(0)]))
    assert script("detector-shift", tmp_path / "c.stream").status == 1
