"""Power cuts, full and read-only disks, quotas, and outputs that are no files."""

import ctypes
import errno
import os
import re
import resource
import shutil
import subprocess

import pytest

from waterbg.run import local
from waterbg.stream import OutputFile, find_differences, write_file

from ..conftest import WATERBG
from .world import assert_honest, assert_one_line, harm_at

PART = ".out.stream.part"
TINY = 1 << 16  # bytes
CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def command(world, *words):
    return [WATERBG, "subtract", str(world.stream), "-o", str(world.out), *words]


def fail(number):
    def raise_it(*_):
        raise OSError(number, os.strerror(number))

    return raise_it


# -- power cut ----------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """Every fsync (of what) and replace (of what by what), in order."""
    done = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(number):
        done.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{number}"))))
        fsync(number)

    def recorded_replace(old, new):
        done.append(("replace", os.path.basename(old), os.path.basename(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return done


def test_an_output_is_on_disk_before_it_gets_its_name_and_its_folder_after(world, calls):
    assert world.subtract("--integration=rings") == 0
    named = calls.index(("replace", PART, "out.stream"))
    assert ("fsync", PART) in calls[:named]
    assert calls[named + 1] == ("fsync", "world")
    assert world.left() == ["out.stream"]


def test_the_run_model_is_on_disk_before_it_gets_its_name(world, calls):
    assert world.subtract() == 0
    named = calls.index(("replace", ".out.stream.model.json.part", "out.stream.model.json"))
    assert ("fsync", ".out.stream.model.json.part") in calls[:named]
    assert ("replace", PART, "out.stream") in calls[named:], "the output is the last to appear"


# -- full disks ---------------------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_run_in_one_line_and_resume_goes_on_when_there_is_room(world, capsys):
    words = "--integration=rings"
    world.repeat(12)
    whole = world.whole(words)
    assert len(whole) > 1 << 20, "what is smaller waits in memory"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_100_000, 1_100_000))

    done = subprocess.run(command(world, words), preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 1
    assert_one_line(done.stderr)
    assert "no room for it" in done.stderr
    assert "--resume" in done.stderr
    assert world.left() == [PART]
    assert world.subtract(words, "--resume") == 0
    assert "chunks were done before" in capsys.readouterr().err
    assert world.out.read_bytes() == whole


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TINY}", "none", folder]
    may = os.getuid() == 0 and shutil.which("mount") is not None
    if not may or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only who may mount can make a tiny disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_disk_that_is_really_full_keeps_no_output_and_the_line_says_so(world, tiny_disk, jobs, capsys):
    assert world.subtract("-j", jobs, out=tiny_disk / "out.stream") == 1
    said = capsys.readouterr().err
    assert_one_line(said)
    assert "No space left on device" in said
    assert os.listdir(tiny_disk) in ([], [PART])


def with_room_for(size, folder, *words):
    """Run ``waterbg`` in a folder on the tiny disk, of which all but ``size`` bytes are used up."""
    folder.mkdir()
    (folder / "precious").write_bytes(bytes(TINY - size))
    done = subprocess.run([WATERBG, *map(str, words)], cwd=folder, capture_output=True, text=True)
    assert os.listdir(folder) == ["precious"]
    return done


@pytest.mark.parametrize("size", [0, 4096, 20_480])
def test_a_script_leaves_no_half_of_an_hdf5_file_on_a_full_disk(world, tiny_disk, size):
    done = with_room_for(size, tiny_disk / "here", "script", "sum-hdf5-files", world.stream, "-o", "sum.h5")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if not line.startswith("Summed")] == [
        "sum-hdf5-files: error: sum.h5: no room for it (No space left on device)"
    ]


@pytest.mark.parametrize("size", range(0, TINY, 3 * 4096))
def test_a_simulation_leaves_nothing_on_a_full_disk(tiny_disk, size):
    tiny_frames = ["--set=panel_shape=[80,120]", "--frames=2"]
    done = with_room_for(size, tiny_disk / "here", "simulate", "small", *tiny_frames, "-o", "sim")
    assert done.returncode == 1
    assert_one_line(done.stderr)
    assert re.match(r"waterbg: error: sim/small\.\S+: no room for it \(No space left on device\)$", done.stderr)


@pytest.mark.parametrize("size", [0, 1000, 4096, 8192])
def test_a_job_folder_is_whole_or_not_there_on_a_full_disk(world, tiny_disk, size):
    words = ["-o", "out.stream", "--slurm", "--no-submit", "--no-decoys", "--block-size=1"]
    done = with_room_for(size, tiny_disk / "here", "subtract", world.stream, *words)
    assert done.returncode == 1
    assert re.search(r"out\.stream\.slurm: cannot be (written|made) \(No space left", done.stderr)


@pytest.mark.parametrize("size", [0, 1000, 4096])
def test_a_list_of_events_is_whole_or_not_there_on_a_full_disk(world, tiny_disk, tmp_path, size):
    (tmp_path / "events.lst").write_text("".join(f"images.h5 //{n}\n" for n in range(1000)))
    (tmp_path / "indexamajig").write_text('#!/bin/sh\necho "CrystFEL: 0.12.0"\n')
    (tmp_path / "indexamajig").chmod(0o755)
    words = ["-i", tmp_path / "events.lst", "-g", "x.geom", "-o", "out.stream", "--slurm", "--waterbg-no-submit"]
    done = with_room_for(size, tiny_disk / "here", "indexamajig", *words, f"--waterbg-crystfel-bin={tmp_path}")
    assert done.returncode == 1
    assert "out.stream.events.lst: no room for it" in done.stderr


def test_a_simulation_on_a_read_only_disk_names_the_file(tiny_disk):
    (tiny_disk / "sim").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    done = subprocess.run(
        [WATERBG, "simulate", "small", "-o", "sim"],
        cwd=tiny_disk,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == "waterbg: error: sim/small.h5: its folder is read-only\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_quota_that_is_used_up_is_told_like_a_full_disk(world, monkeypatch, jobs, capsys):
    whole = world.whole()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(errno.EDQUOT))
        assert world.subtract("-j", jobs) == 1
    said = capsys.readouterr().err.splitlines(keepends=True)[-1]
    assert_one_line(said)
    assert "no room for it (Disk quota exceeded)" in said
    assert world.left() == [PART]
    assert world.subtract("--resume") == 0
    assert world.out.read_bytes() == whole


def test_a_disk_that_fails_when_the_output_gets_its_name_leaves_the_part(world, monkeypatch, capsys):
    monkeypatch.setattr(os, "replace", fail(errno.EIO))
    assert world.subtract("--integration=rings") == 1
    said = capsys.readouterr().err
    assert_one_line(said)
    assert "cannot be written (Input/output error)" in said
    assert world.left() == [PART]


def test_a_full_standard_output_is_an_error_of_verify(world):
    with open("/dev/full", "w") as full:
        words = [WATERBG, "verify", str(world.stream)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert_one_line(done.stderr)


# -- where nothing can be written ---------------------------------------------------------------------------------


def obey_permissions():
    """Root obeys the bits of a folder when it gives up the right not to."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_read_only_folder_is_refused_before_any_work_is_lost(world, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    words = [*command(world, "--integration=rings")[:-3], "-o", str(folder / "out.stream"), "--integration=rings"]
    done = subprocess.run(words, preexec_fn=obey_permissions, capture_output=True, text=True)
    assert done.returncode == 1
    assert_one_line(done.stderr)
    assert "out.stream: its folder is read-only" in done.stderr
    assert os.listdir(folder) == []


def test_a_folder_that_vanishes_while_it_is_written_to_is_one_line(world, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "soon gone"
    folder.mkdir()
    harm_at(monkeypatch, 2, lambda: shutil.rmtree(folder))
    assert world.subtract("--integration=rings", out=folder / "out.stream") == 1
    assert_one_line(capsys.readouterr().err)
    assert not folder.exists()


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
def test_a_device_or_pipe_is_no_output(world, tmp_path, force, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for out in ("/dev/null", "/dev/full", pipe, link):
        before = os.lstat(out)
        assert world.subtract("--integration=rings", *force, out=out) == 1
        said = capsys.readouterr().err
        assert_one_line(said)
        assert "is a pipe or a device" in said
        assert os.path.samestat(before, os.lstat(out))


def test_a_link_in_place_of_the_part_is_not_written_through(world, capsys):
    precious = world.folder / "precious"
    precious.write_text("precious")
    (world.folder / PART).symlink_to(precious)
    assert world.subtract("--integration=rings") == 1
    assert_one_line(capsys.readouterr().err)
    assert precious.read_text() == "precious"


def test_a_link_as_output_is_replaced_and_what_it_led_to_stays(world):
    precious = world.folder / "precious"
    precious.write_text("precious")
    world.out.symlink_to(precious)
    assert world.subtract("--integration=rings", "--force") == 0
    assert precious.read_text() == "precious"
    assert not world.out.is_symlink()
    assert_honest(world.stream, world.out)


def test_a_part_that_another_run_has_just_finished_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.stream"
    first = OutputFile(path).begin()
    first.write(b"the first run's")
    opened = os.open

    def meanwhile(name, *args, **keywords):
        number = opened(name, *args, **keywords)
        if str(name).endswith(".part") and not path.exists():
            first.finish()  # between the other's opening and locking the part
        return number

    monkeypatch.setattr(os, "open", meanwhile)
    second = OutputFile(path, force=True)
    with second.begin():
        second.write(b"the second run's")
        assert path.read_bytes() == b"the first run's"
        second.discard()


def test_a_small_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "model.json"
    write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", fail(errno.ENOSPC))
    with pytest.raises(Exception, match="no room"):
        write_file(path, b"new")
    assert os.listdir(tmp_path) == ["model.json"]
    assert path.read_bytes() == b"old"


def test_a_model_whose_folder_is_read_only_is_told_before_the_work(world, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    done = subprocess.run(
        command(world, f"--model={folder}/new.json"), preexec_fn=obey_permissions, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"waterbg: error: {folder}/new.json: its folder is read-only\n")
    assert world.left() == []


def test_a_model_that_could_not_be_written_is_told_before_the_work_and_one_that_is_no_file_too(world, capsys):
    for model, status in ((world.folder / "no" / "model.json", 1), (world.folder, 2)):
        assert world.subtract(f"--model={model}") == status
        assert capsys.readouterr().err.count("\n") == 1
        assert world.left() == []
    model = world.folder / "new.json"
    assert world.subtract(f"--model={model}") == 0
    assert world.left() == ["new.json", "out.stream"]
    first = world.out.read_bytes().split(b"----- Begin geometry")[1]
    assert world.subtract(f"--model={model}", "--force") == 0
    assert world.out.read_bytes().split(b"----- Begin geometry")[1] == first


def test_the_model_of_an_earlier_run_is_replaced_only_by_force_or_by_the_same_run_resumed(world, capsys):
    assert world.subtract() == 0
    model = world.folder / "out.stream.model.json"
    learnt = model.read_bytes()
    world.out.rename(world.folder / "best.stream")
    capsys.readouterr()
    assert world.subtract() == 1
    err = capsys.readouterr().err
    assert_one_line(err)
    assert err.endswith("out.stream.model.json: exists; --force replaces it\n")
    assert not world.out.exists()
    assert world.subtract("--resume") == 0
    assert model.read_bytes() == learnt
    world.out.unlink()
    assert world.subtract("--force") == 0


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x/", "x/: is the name of a folder, and that is not there"),
        ("x" * 250, "x: cannot be written (File name too long)"),
        ("x" * 240, "x.model.json: cannot be written (File name too long)"),
    ],
)
def test_a_name_that_leaves_no_room_for_the_run_model_is_refused_before_the_work(world, monkeypatch, capsys, out, said):
    monkeypatch.chdir(world.folder)
    assert world.subtract(out=out) == 1
    err = capsys.readouterr().err
    assert_one_line(err)
    assert err.endswith(f"{said}\n")
    assert world.left() == []


def test_a_name_too_long_for_a_run_model_will_do_where_none_is_learnt(world, monkeypatch):
    monkeypatch.chdir(world.folder)
    assert world.subtract("--integration=rings", out="x" * 240) == 0
    assert world.left() == ["x" * 240]


# -- and what is not what it should be ----------------------------------------------------------------------------


def test_an_output_that_the_disk_garbled_fails_its_proof_and_gets_no_name(world, monkeypatch, capsys):
    def garble():
        part = world.folder / PART
        data = bytearray(part.read_bytes())
        data[data.index(b"num_peaks = ") + 12] ^= 1
        part.write_bytes(data)

    harm_at(monkeypatch, 1, garble, local, "prove")
    assert world.subtract("--integration=rings") == 1
    said = capsys.readouterr().err
    assert_one_line(said)
    assert "did not pass its verification" in said
    assert "--resume" not in said
    assert world.left() == [PART]


def test_a_followed_stream_that_grows_on_after_the_end_was_asked_for_passes_the_proof(world, monkeypatch):
    """Its writer does not know that nobody reads it any more; also in the middle of a chunk."""
    whole = world.stream.read_bytes()
    half = len(whole) * 3 // 5
    world.stream.write_bytes(whole[:half])
    harm_at(monkeypatch, 1, lambda: world.stream.write_bytes(whole), local, "prove")
    assert world.subtract("--follow", "--until-idle=0", "--integration=rings") == 0
    assert len(world.out.read_bytes()) < half + 300
    assert not list(find_differences(str(world.stream), str(world.out), stop=half))
    assert list(find_differences(str(world.stream), str(world.out)))


def test_force_puts_no_stream_in_the_place_of_images_and_nothing_in_that_of_a_stream(world, capsys):
    images, stream = world.images.read_bytes(), world.stream.read_bytes()
    assert world.subtract("--force", "--integration=rings", out=world.images) == 1
    err = capsys.readouterr().err
    assert_one_line(err)
    assert err.endswith("run.h5: holds images (HDF5), which nothing else replaces; give the output another name\n")
    with pytest.raises(Exception, match="holds a stream"):
        write_file(world.stream, b"{}")
    assert (world.images.read_bytes(), world.stream.read_bytes()) == (images, stream)
    write_file(world.stream, stream[:3000])  # an earlier result of its kind
    assert world.stream.read_bytes() == stream[:3000]
