"""Images that are damaged, still being written, unlike the geometry, or that vanish while they are read."""

import errno
import os
import shutil
import time

import h5py
import hdf5plugin
import numpy as np
import pytest

from waterbg.frames.files import Dataset, Files

from .world import DATA, assert_honest, assert_one_line, harm_at, per_event

METHODS = ["profile", "rings"]
STORED = {
    "gzip": {"compression": "gzip", "shuffle": True},
    "bitshuffle": dict(hdf5plugin.Bitshuffle()),
    "checksum": {"fletcher32": True},
}


def expect_others_untouched(world, whole, event, kept):
    """All frames but one have the numbers of an undisturbed run; that one has its old ones, or is gone."""
    before, after = per_event(world.stream), per_event(world.out)
    assert [e for e in after if after[e] != whole[e]] == ([event] if kept else [])
    assert (event in after) == kept
    if kept:
        assert after[event] == before[event]


# -- one frame that cannot be read --------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["fail", "keep", "drop"])
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("stored", STORED)
def test_a_corrupted_chunk_costs_its_own_frame_and_the_summary_says_so(world, rng, stored, jobs, what, capsys):
    world.pixels(lambda data: data, **STORED[stored])
    words = (f"--on-missing={what}", "-j", jobs, "--integration=rings", "--int-radius=3,5,8")
    world.subtract(*words)
    whole = per_event(world.out)
    world.out.unlink()
    world.spoil_chunk(2, rng)
    capsys.readouterr()
    status = world.subtract(*words)
    said = capsys.readouterr().err
    reason = "run.h5 //2 (/entry/data/data): the pixels cannot be read, the file is damaged"
    assert reason in said
    if what == "fail":
        assert status == 1
        assert_one_line(said)
        assert not world.out.exists()
        return
    assert status == 0
    assert f"images unreadable: 1 {'kept as they were' if what == 'keep' else 'left out'}" in said
    assert_honest(world.stream, world.out, may_lack=what == "drop")
    expect_others_untouched(world, whole, "//2", what == "keep")


def test_a_corrupted_chunk_teaches_the_run_nothing_and_the_rest_is_done(world, rng, capsys):
    world.spoil_chunk(0, rng)
    assert world.subtract("--on-missing=keep") == 0
    assert "images unreadable: 1 kept as they were" in capsys.readouterr().err
    assert_honest(world.stream, world.out)
    before, after = per_event(world.stream), per_event(world.out)
    assert before["//0"] == after["//0"]
    assert all(before[event] != after[event] for event in before if event != "//0")


def test_only_the_first_three_unreadable_images_are_named_and_all_are_counted(world, capsys):
    world.edit(lambda text: text.replace(b"Event: //", b"Event: //9"))
    assert world.subtract("--on-missing=keep", "--integration=rings") == 0
    said = capsys.readouterr().err
    assert "images unreadable: 5 kept as they were" in said
    assert said.count("there is no frame 9") == 3
    assert world.out.read_bytes().replace(b"waterbg", b"") != world.stream.read_bytes()


# -- files that are still being written ---------------------------------------------------------------------------


@pytest.fixture
def writer(world):
    """The images open for writing, as far as frame 3, as a detector in SWMR mode has them."""
    with h5py.File(world.images) as file:
        data, mask = file[DATA][()], file["/entry/data/mask"][()]
    world.images.unlink()
    with h5py.File(world.images, "w", libver="latest") as file:
        file["/entry/data/mask"] = mask
        shape = data.shape[1:]
        growing = file.create_dataset(DATA, (3, *shape), data.dtype, maxshape=(None, *shape), chunks=(1, *shape))
        growing[:] = data[:3]
        file.swmr_mode = True
        yield file, growing, data


def test_a_file_that_a_detector_is_writing_is_read_as_far_as_it_goes(world, writer, capsys):
    _, growing, data = writer
    assert world.subtract() == 1
    said = capsys.readouterr().err
    assert_one_line(said)
    assert "there is no frame 4, the data have 3" in said
    assert world.left() == []
    assert world.subtract("--on-missing=keep") == 0
    assert "images unreadable: 2 kept" in capsys.readouterr().err
    growing.resize(5, axis=0)
    growing[3:] = data[3:]
    growing.flush()
    assert world.subtract("--force", "-j", 2) == 0
    assert "5 chunks" in capsys.readouterr().err
    assert_honest(world.stream, world.out)


def test_frames_that_have_a_place_but_were_never_written_are_no_zeros(world, writer, capsys):
    _, growing, _ = writer
    growing.resize(5, axis=0)
    growing.flush()
    for jobs in (1, 2):
        assert world.subtract("--on-missing=keep", "--force", "-j", jobs) == 0
        said = capsys.readouterr().err
        assert "images unreadable: 2 kept as they were" in said
        assert "never written; the file is still being written, or was not finished" in said
        before, after = per_event(world.stream), per_event(world.out)
        assert [event for event in before if before[event] == after[event]] == ["//3", "//4"]


def test_a_dataset_without_a_single_pixel_on_disk_is_refused(world, capsys):
    with h5py.File(world.images, "r+") as file:
        shape, dtype = file[DATA].shape, file[DATA].dtype
        del file[DATA]
        file.create_dataset(DATA, shape, dtype)
    assert world.subtract() == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "never written" in said


def test_a_mask_that_was_never_written_is_an_empty_mask(world):
    with h5py.File(world.images, "r+") as file:
        shape, dtype = file["/entry/data/mask"].shape, file["/entry/data/mask"].dtype
        del file["/entry/data/mask"]
        file.create_dataset("/entry/data/mask", shape, dtype)
    assert world.subtract() == 0
    assert_honest(world.stream, world.out)


def test_a_piece_of_a_virtual_dataset_that_is_not_there_yet_is_not_padded_with_zeros(world, capsys):
    with h5py.File(world.images, "r+") as file:
        data = file[DATA][()]
        del file[DATA]
        layout = h5py.VirtualLayout(data.shape, data.dtype)
        layout[:3] = h5py.VirtualSource("part.h5", "data", (9, *data.shape[1:]))[2:5]
        layout[3:] = h5py.VirtualSource("part.h5", "data", (9, *data.shape[1:]))[7:9]
        file.create_virtual_dataset(DATA, layout)
    with h5py.File(world.folder / "part.h5", "w") as file:
        file.create_dataset("data", data=np.concatenate([data[:2], data[:3], data[:3]]), chunks=(1, *data.shape[1:]))
    assert world.subtract("--on-missing=keep") == 0
    said = capsys.readouterr().err
    assert "images unreadable: 1 kept as they were" in said
    assert "run.h5 //4 (/entry/data/data): takes more from data of" in said


@pytest.mark.parametrize("written", [3, 0])
def test_a_virtual_dataset_whose_source_is_still_growing_is_not_padded_with_zeros(world, written, capsys):
    with h5py.File(world.images, "r+") as file:
        data = file[DATA][()]
        del file[DATA]
        layout = h5py.VirtualLayout(data.shape, data.dtype)
        layout[:] = h5py.VirtualSource("part.h5", "data", data.shape)
        file.create_virtual_dataset(DATA, layout)
    with h5py.File(world.folder / "part.h5", "w") as file:
        shape = (written or 5, *data.shape[1:])
        part = file.create_dataset("data", shape, data.dtype, maxshape=data.shape, chunks=(1, *data.shape[1:]))
        part[: written or 3] = data[: written or 3]
    assert world.subtract("--on-missing=keep") == 0
    said = capsys.readouterr().err
    assert "images unreadable: 2 kept as they were" in said
    assert ("takes more from data of" if written else "never written") in said
    before, after = per_event(world.stream), per_event(world.out)
    assert [event for event in before if before[event] == after[event]] == ["//3", "//4"]


def test_a_file_that_is_open_and_locked_elsewhere_is_read_or_refused_in_one_line(world, capsys):
    with h5py.File(world.images, "r+") as file:
        file.attrs["busy"] = 1
        status = world.subtract()
        said = capsys.readouterr().err
    if status:
        assert_one_line(said)
    else:
        assert_honest(world.stream, world.out)


# -- network file systems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_read_that_fails_once_costs_its_own_frame(world, monkeypatch, number, jobs, capsys):
    original = Dataset.read

    def read(self, start, count, out):
        if self.name == DATA and start[0] == 3:
            raise OSError(number, os.strerror(number))
        original(self, start, count, out)

    monkeypatch.setattr(Dataset, "read", read)
    assert world.subtract("-j", jobs) == 1
    assert_one_line(said := capsys.readouterr().err)
    assert os.strerror(number) in said
    assert world.left() == []
    assert world.subtract("-j", jobs, "--on-missing=drop") == 0
    assert "images unreadable: 1 left out" in capsys.readouterr().err
    assert_honest(world.stream, world.out, may_lack=True)
    assert list(per_event(world.out)) == ["//0", "//1", "//2", "//4"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_images_that_vanish_in_the_middle_are_told_and_resume_goes_on_when_they_are_back(
    world, monkeypatch, jobs, capsys
):
    away = world.folder.parent / "away.h5"
    world.repeat(6)
    whole = world.whole()
    capsys.readouterr()
    with monkeypatch.context() as patch:
        harm_at(patch, 3, lambda: world.images.rename(away))
        assert world.subtract("-j", jobs) == 1
    said = capsys.readouterr().err
    assert_one_line(said)
    assert "no such file" in said
    assert "what is done is kept in .out.stream.part, and --resume goes on with it" in said
    assert world.left() == [".out.stream.part"]
    away.rename(world.images)
    assert world.subtract("-j", jobs, "--resume") == 0
    assert "chunks were done before" in capsys.readouterr().err
    assert world.out.read_bytes() == whole


def test_a_slow_file_system_changes_no_byte(world, rng, monkeypatch):
    whole = world.whole()
    slept = 0

    def slow(method):
        def slowly(*args):
            nonlocal slept
            slept += 1
            time.sleep(rng.uniform(0, 0.05))
            return method(*args)

        return slowly

    monkeypatch.setattr(Files, "stamp", slow(Files.stamp))
    monkeypatch.setattr(Dataset, "read", slow(Dataset.read))
    assert world.subtract("-j", 2) == 0
    assert slept > 5
    assert world.out.read_bytes() == whole


def test_images_that_are_replaced_in_the_middle_are_read_anew(world, monkeypatch):
    """Whoever copies images again while they are read gets the new ones from then on, and no mixture in a frame."""
    world.repeat(3)
    whole = per_event_of(world)
    copy = world.folder.parent / "copy.h5"
    shutil.copyfile(world.images, copy)
    harm_at(monkeypatch, 2, lambda: os.replace(copy, world.images))
    assert world.subtract("--force") == 0
    assert per_event(world.out) == whole


def per_event_of(world):
    assert world.subtract() == 0
    return per_event(world.out)


# -- pixels that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_pixels_that_are_no_numbers_touch_only_reflections_that_hold_them(world, method, capsys):
    words = f"--integration={method}"
    assert world.subtract(words) == 0
    clean = per_event(world.out)

    def spoil(data):
        data = data.astype("f4")
        data[1, 40:60, 30:60] = np.nan
        data[2, 150:160] = np.inf
        data[3, :110] = -np.inf
        data[4] = np.nan
        return data

    world.pixels(spoil)
    capsys.readouterr()
    assert world.subtract(words, "--force") == 0
    assert "bad pixel in the peak" in capsys.readouterr().err
    assert_honest(world.stream, world.out)
    after = per_event(world.out)
    assert after["//4"] == []
    assert 0 < len(after["//3"]) < len(clean["//3"])
    assert 0.8 * len(clean["//1"]) < len(after["//1"]) < len(clean["//1"])
    ours = {row[:3]: row for row in after["//1"]}
    theirs = {row[:3]: row for row in clean["//1"]}
    apart = [abs(ours[hkl][3] - theirs[hkl][3]) / theirs[hkl][4] for hkl in ours if hkl in theirs]
    assert np.median(apart) < 0.2, "the rest of the frame is as it was"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 65535, 2**31, 1e30, -1e30, 1e308, -3.0])
def test_frames_of_one_value_end_honestly_whatever_it_is(world, method, value, capsys):
    dtype = "f8" if isinstance(value, float) else "i8"
    world.edit(lambda text: text.replace(b"max_adu = 250\n", b""))
    world.pixels(lambda data: np.full(data.shape, value, dtype), compression="gzip")
    assert world.subtract(f"--integration={method}") == 0
    assert_honest(world.stream, world.out)


@pytest.mark.parametrize("method", METHODS)
def test_a_detector_that_is_masked_whole_keeps_no_reflection_and_says_why(world, method, capsys):
    with h5py.File(world.images, "r+") as file:
        file["/entry/data/mask"][...] = 1
    assert world.subtract(f"--integration={method}") == 0
    assert "0 reflections integrated, 977 dropped" in (said := capsys.readouterr().err)
    assert "977 bad pixel in the peak" in said
    assert_honest(world.stream, world.out)
    assert not any(per_event(world.out).values())


# -- files that are not what the geometry says --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:, :200], "needs ss up to 219"),
        (lambda data: data[:, :, :100], "needs fs up to 223"),
        (lambda data: data[:, :, :, None], "the geometry has 3 dimensions, the data 4"),
        (lambda data: data.astype("c8"), "holds no numbers"),
        (lambda data: np.full(data.shape, b"abc"), "holds no numbers"),
        (lambda data: np.zeros(data.shape, [("a", "f4"), ("b", "i2")]), "holds no numbers"),
    ],
    ids=["rows", "columns", "dimensions", "complex", "text", "compound"],
)
def test_images_of_another_shape_or_type_are_refused_before_anything_is_written(world, change, reason, capsys):
    with h5py.File(world.images, "r+") as file:
        data = change(file[DATA][()])
        del file[DATA]
        file[DATA] = data
    assert world.subtract() == 1
    assert_one_line(said := capsys.readouterr().err)
    assert reason in said
    assert world.left() == []


@pytest.mark.parametrize("dtype", ["u1", "i2", "<f2", ">f8", ">i4", "u8"])
def test_any_type_of_number_gives_the_same_reflections(world, dtype):
    assert world.subtract("--integration=rings") == 0
    expected = per_event(world.out)
    world.pixels(lambda data: np.minimum(data, 120).astype(dtype))
    world.out.unlink()
    assert world.subtract("--integration=rings") == 0
    faint = {event: {row[:3]: row for row in rows if row[5] < 120} for event, rows in expected.items()}
    for event, rows in per_event(world.out).items():
        for row in rows:
            if row[:3] in faint[event]:
                assert abs(row[3] - faint[event][row[:3]][3]) <= 0.011 + (dtype == "<f2")
