import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from waterbg.errors import ImageError, OutputError, UsageError
from waterbg.simulate import Truth, preset, simulate_frame, write_dataset
from waterbg.simulate import dataset as dataset_module
from waterbg.simulate.detector import assemble

ALL_FILES = {
    "small.cell",
    "small.geom",
    "small.h5",
    "small.lst",
    "small.sol",
    "small.stream",
    "small.truth.h5",
    "small.truth.hkl",
}


def test_a_run_is_all_its_files_and_nothing_half_done(small_run):
    assert {path.name for path in small_run.folder.iterdir()} == ALL_FILES


def test_the_same_seed_gives_the_same_bytes(small, small_run, tmp_path):
    again = write_dataset(small, 2, tmp_path / "again", "small", structure=True)
    for name in ALL_FILES:
        assert (again.folder / name).read_bytes() == (small_run.folder / name).read_bytes(), name


def test_more_frames_leave_the_first_ones_alone(small, small_run, tmp_path):
    one = write_dataset(small, 1, tmp_path, "small")
    with h5py.File(one.images) as a, h5py.File(small_run.images) as b:
        assert np.array_equal(a["/entry/data/data"][0], b["/entry/data/data"][0])
    end = b"----- End chunk -----\n"
    first = one.stream.read_bytes().split(end)[0].split(b"Indexing methods", 1)[1]
    assert first == small_run.stream.read_bytes().split(end)[0].split(b"Indexing methods", 1)[1]


def test_the_images_hold_the_counts_of_the_frames(small, small_run):
    with h5py.File(small_run.images) as f:
        assert f["/entry/data/data"].dtype == np.uint16
        for number in range(2):
            counts = assemble(small, simulate_frame(small, number).counts)
            assert np.array_equal(f["/entry/data/data"][number], counts)


def test_negative_adu_of_an_integrating_detector_are_kept(tmp_path):
    run = write_dataset(preset("gain").replace(air=0.0, water=0.1), 1, tmp_path)
    with h5py.File(run.images) as f:
        assert f["/entry/data/data"][0].min() < 0


def test_the_truth_file_brings_back_experiment_reflections_and_background(small, small_run):
    truth = Truth(small_run.truth)
    assert truth.experiment == small
    for number in range(2):
        frame = simulate_frame(small, number)
        rows = truth.reflections[truth.reflections["frame"] == number]
        for name in frame.spots.dtype.names:
            np.testing.assert_allclose(rows[name], frame.spots[name], rtol=1e-6, atol=1e-6)
        for a, b in zip(truth.background(number), frame.background, strict=True):
            assert np.array_equal(a, b)


def test_the_list_of_structure_factors_agrees_with_the_truth_table(small_run):
    lines = small_run.structure.read_text().splitlines()
    assert lines[0] == "CrystFEL reflection list version 2.0"
    assert lines[1] == "Symmetry: 4/mmm"
    assert lines[-1] == "End of reflections"
    listed = {tuple(map(int, line.split()[:3])): float(line.split()[3]) for line in lines[3:-1]}
    reflections = Truth(small_run.truth).reflections
    for row in reflections[::50]:
        h, k = sorted((abs(row["h"]), abs(row["k"])), reverse=True)
        assert listed[h, k, abs(row["l"])] == pytest.approx(row["F2"], abs=0.006, rel=1e-5)


def test_images_may_lie_elsewhere_and_are_named_from_the_folder_of_the_stream(tmp_path):
    run = write_dataset(
        preset("small"), 1, tmp_path / "streams", "a", images=tmp_path / "images" / "20260701_lysozyme_test.h5"
    )
    assert run.images.exists()
    for file in (run.list, run.stream, run.solutions):
        assert "../images/20260701_lysozyme_test.h5" in file.read_text()


def test_nothing_is_replaced_without_force(small, small_run):
    before = {name: os.stat(small_run.folder / name).st_mtime_ns for name in ALL_FILES}
    with pytest.raises(OutputError, match=r"small.h5: exists already; choose another folder or --name, or --force"):
        write_dataset(small, 1, small_run.folder, "small")
    assert before == {name: os.stat(small_run.folder / name).st_mtime_ns for name in ALL_FILES}


def test_a_run_that_fails_leaves_no_file(small, tmp_path, monkeypatch):
    def fail(experiment, number):
        if number == 1:
            raise KeyError("a mistake of ours")
        return simulate_frame(experiment, number)

    monkeypatch.setattr(dataset_module, "simulate_frame", fail)
    with pytest.raises(KeyError):
        write_dataset(small, 2, tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_clear_error(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"folder: cannot be written \(Not a directory\)"):
        write_dataset(small, 1, tmp_path / "file" / "folder")


def test_another_file_of_the_same_name_in_the_working_directory_is_not_taken_for_the_images(
    small_run, small, tmp_path, monkeypatch
):
    (tmp_path / "small.h5").write_bytes(b"no images")
    monkeypatch.chdir(tmp_path)
    run = write_dataset(small, 2, "sim", "small")
    assert run.stream.read_bytes() == small_run.stream.read_bytes()


def test_ctrl_c_while_images_are_stored_leaves_no_file(small, tmp_path):
    command = [sys.executable, "-c", STOPPED_IN_THE_MIDDLE_OF_HDF5, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True)
    assert done.stdout == "stopped\n", done.stderr
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


STOPPED_IN_THE_MIDDLE_OF_HDF5 = """
import os, signal, sys
from waterbg.simulate import h5_part, preset, write_dataset

class Disk(h5_part._Disk):
    written = 0
    def write(self, data):
        Disk.written += 1
        if Disk.written == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(data)

h5_part._Disk = Disk
try:
    write_dataset(preset("small").replace(panel_shape=(80, 120)), 9, sys.argv[1])
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize(("n", "name", "message"), [(0, "run", "0 frames are none"), (1, "a/b", "'a/b' cannot begin")])
def test_a_run_needs_frames_and_a_name(small, tmp_path, n, name, message):
    with pytest.raises(UsageError, match=message):
        write_dataset(small, n, tmp_path, name)


def test_a_file_that_is_no_truth_table_is_said_to_be_none(small_run, tmp_path):
    with pytest.raises(ImageError, match="not a truth table of simulated frames"):
        Truth(small_run.images)
    with pytest.raises(ImageError, match="not a truth table"):
        Truth(tmp_path / "missing.h5")


def test_the_list_is_long_enough_for_indexamajig_which_opens_none_below_eight_bytes(tmp_path):
    run = write_dataset(preset("nominal").replace(panel_shape=(40, 40)), 1, tmp_path, "a")
    assert run.list.read_text().split() == ["a.h5"]
    assert len(run.list.read_bytes()) >= 8
