"""The main job as a Slurm job array: what is said to Slurm."""

import json
import shutil
from pathlib import Path
from shlex import quote

import plumbum
import pytest

from tests.run.arrays import make, waterbg
from waterbg.errors import OutputError, ProgramError, StreamError
from waterbg.run import sweep
from waterbg.run.slurm import DESCRIPTION, JOB_IDS, Block, JobFolder, SlurmOptions, compress
from waterbg.stream import find_differences


def test_task_numbers_are_written_as_sbatch_reads_them():
    assert compress([7, 0, 1, 2, 5]) == "0-2,5,7"


def test_the_batch_script_has_the_guis_options_and_runs_one_block(stream):
    words = (
        "--partition=all --account=bio --qos=high --constraint=epyc --reservation=beam --time=1:30:00 --exclusive -j 8"
    )
    _, folder, status = make(stream, *words.split())
    assert status == 0
    script = (folder / "run_waterbg.sh").read_text().splitlines()
    for line in (
        "#!/bin/sh",
        "#SBATCH --array=0-3",
        "#SBATCH --output=stdout-%a.log",
        "#SBATCH --error=stderr-%a.log",
        "#SBATCH --partition=all",
        "#SBATCH --account=bio",
        "#SBATCH --qos=high",
        "#SBATCH --constraint=epyc",
        "#SBATCH --reservation=beam",
        "#SBATCH --time=1:30:00",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --exclusive",
        "#SBATCH --nodes=1",
    ):
        assert line in script
    assert f'slurm task {folder} "$SLURM_ARRAY_TASK_ID"' in script[-1]


def test_blocks_done_one_by_one_give_the_bytes_of_a_run_on_one_machine(stream, capsys):
    out, folder, _ = make(stream)
    local = stream.with_name("local.stream")
    assert waterbg("subtract", stream, "-o", local) == 0
    for index in (2, 0, 3):
        assert waterbg("slurm", "task", folder, index) == 0
    assert waterbg("slurm", "collect", folder) == 1
    assert "1 of 4 blocks are not done" in capsys.readouterr().err
    assert not out.exists()
    assert JobFolder(str(folder)).missing() == [1]
    assert waterbg("slurm", "task", folder, 1) == 0
    assert waterbg("slurm", "collect", folder) == 0
    assert out.read_bytes() == local.read_bytes()
    assert Path(f"{out}.model.json").read_bytes() == Path(f"{local}.model.json").read_bytes()


def test_a_collected_stream_is_proven_by_as_many_processes_as_are_given(stream, monkeypatch):
    out, folder, _ = make(stream, "--integration=rings", block=18)
    assert waterbg("slurm", "task", folder, 0) == 0
    monkeypatch.setattr(sweep, "_WORTH", 0)
    asked, work = [], sweep.ordered_map
    monkeypatch.setattr(
        sweep, "ordered_map", lambda *args, jobs, **more: asked.append(jobs) or work(*args, jobs=jobs, **more)
    )
    assert waterbg("slurm", "collect", folder, "-j", 3) == 0
    assert asked == [3]
    assert list(find_differences(str(stream), str(out))) == []


@pytest.mark.parametrize("cut", ["within a chunk", "behind a chunk"])
def test_a_block_that_was_cut_short_later_is_not_done_and_can_be_done_again(stream, capsys, cut):
    out, folder, _ = make(stream, "--integration=rings", block=9)
    for index in (0, 1):
        assert waterbg("slurm", "task", folder, index) == 0
    block = folder / "block-1.stream"
    whole = block.read_bytes()
    block.write_bytes(whole[:-1000] if cut == "within a chunk" else whole[: whole.rindex(b"----- Begin chunk -----")])
    capsys.readouterr()
    assert waterbg("slurm", "collect", folder, "--no-verify") == 1
    assert "1 of 2 blocks are not done" in capsys.readouterr().err
    assert not out.exists()
    assert waterbg("slurm", "task", folder, 1) == 0
    assert block.read_bytes() == whole
    assert waterbg("slurm", "collect", folder, "--no-verify") == 0


@pytest.mark.parametrize(
    "state", ["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "PREEMPTED"]
)
def test_a_task_that_ended_waits_for_nothing_however_it_ended(stream, tmp_path, state):
    _, path, _ = make(stream)
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\necho '1 {state}'\necho '2 RUNNING'\necho '3 PENDING'\n")
    squeue.chmod(0o755)
    (path / JOB_IDS).write_text("17\n")
    with plumbum.local.env(PATH=str(squeue.parent)):
        assert JobFolder(str(path)).queued() == {2: "RUNNING", 3: "PENDING"}


def test_a_stream_that_has_changed_since_is_refused(stream):
    _, folder, _ = make(stream)
    with stream.open("ab") as file:
        file.write(b"more\n")
    with pytest.raises(StreamError, match="make a new one"):
        JobFolder(str(folder)).check_input()
    assert waterbg("slurm", "task", folder, 0) == 1


def test_a_second_submission_into_the_same_folder_is_refused(stream, capsys):
    make(stream)
    assert make(stream)[2] == 1
    assert "waterbg slurm status" in capsys.readouterr().err


def test_a_second_submission_is_refused_before_anything_is_learnt(stream, monkeypatch):
    make(stream)
    monkeypatch.setattr("waterbg.run.array.learn_run_model", None)
    assert make(stream)[2] == 1


def test_a_long_header_is_refused_at_submission_and_not_when_all_blocks_are_done(stream, capsys):
    mark = b"\n----- Begin geometry"
    text = stream.read_bytes()
    longer = 4040 - text.index(mark)
    stream.write_bytes(text.replace(mark, b"\n" + b"x" * 900 + b"\n" * (longer - 900) + mark, 1))
    assert make(stream)[2] == 1
    assert "bytes; with the provenance line" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "words"), [(".", []), ("pics", ["--prefix=pics"])])
def test_images_prefix_and_masks_are_named_from_where_the_command_was_given(stream, monkeypatch, place, words):
    here = stream.parent
    for name in ("elsewhere", "pics"):
        (here / name).mkdir(exist_ok=True)
    stream = stream.rename(here / "elsewhere" / stream.name)
    (here / "images.h5").rename(here / place / "images.h5")
    monkeypatch.chdir(here)
    assert waterbg("subtract", stream, "-o", "local.stream", *words) == 0
    out, folder, status = make(stream, *words, block=100)
    assert status == 0
    monkeypatch.chdir(folder)  # as Slurm does
    assert waterbg("slurm", "task", ".", 0) == 0
    assert Path.cwd() == folder
    assert waterbg("slurm", "collect", ".") == 0
    assert out.read_bytes() == (here / "local.stream").read_bytes()


def test_a_task_says_when_the_folder_of_the_command_is_not_there(stream, monkeypatch, capsys):
    (stream.parent / "gone").mkdir()
    monkeypatch.chdir(stream.parent / "gone")
    _, folder, _ = make(stream)
    monkeypatch.chdir(stream.parent)
    (stream.parent / "gone").rmdir()
    assert waterbg("slurm", "task", folder, 0) == 1
    assert f"cannot be worked on from {stream.parent}/gone" in capsys.readouterr().err


def test_what_lies_beside_a_link_to_stream_or_geometry_is_found_there(data, stream, monkeypatch):
    here = stream.parent
    for name in ("store", "links", "geo", "work"):
        (here / name).mkdir()
    stream.rename(here / "store" / "s")
    shutil.copy(data / "golden/small/det.geom", here / "store/g")
    (here / "links/run.stream").symlink_to(here / "store/s")
    (here / "geo/det.geom").symlink_to(here / "store/g")
    shutil.move(here / "images.h5", here / "links")
    shutil.move(here / "mask.h5", here / "geo")
    monkeypatch.chdir(here / "work")
    words = [here / "links/run.stream", "-g", here / "geo/det.geom", "--integration=rings"]
    assert waterbg("subtract", *words, "-o", "out.stream", "--slurm", "--no-submit", "--block-size=100") == 0
    assert waterbg("slurm", "task", "out.stream.slurm", 0) == 0


def test_a_geometry_that_is_edited_after_submission_changes_no_block(data, stream, capsys):
    geometry = Path(shutil.copy(data / "golden/small/det.geom", stream.with_name("my.geom")))
    local = stream.with_name("local.stream")
    assert waterbg("subtract", stream, "-o", local, "-g", geometry) == 0
    out, folder, _ = make(stream, "-g", geometry, block=100)
    geometry.write_text(geometry.read_text().replace("corner_x = ", "corner_x = 1"))
    assert waterbg("slurm", "task", folder, 0) == 0
    geometry.unlink()
    assert waterbg("slurm", "collect", folder) == 0
    assert out.read_bytes() == local.read_bytes()


def test_a_stream_whose_own_geometry_has_changed_since_is_refused(stream, capsys):
    _, folder, _ = make(stream)
    text = stream.read_bytes()
    stream.write_bytes(text.replace(b"clen = ", b"clen =9", 1))
    assert stream.stat().st_size == len(text)
    assert waterbg("slurm", "task", folder, 0) == 1
    assert "has another header than when job folder" in capsys.readouterr().err


def test_blocks_of_two_versions_do_not_come_together(stream, monkeypatch, capsys):
    _, folder, _ = make(stream)
    monkeypatch.setattr("waterbg.__version__", "99.0")
    assert waterbg("slurm", "task", folder, 0) == 1
    assert "and this is 99.0; make a new one" in capsys.readouterr().err


@pytest.mark.parametrize("slurm", [[], ["--slurm", "--no-submit"]])
@pytest.mark.parametrize("name", ["run.stream", "link.stream", "my.geom"])
def test_no_input_is_ever_replaced(data, stream, capsys, slurm, name):
    geometry = shutil.copy(data / "golden/small/det.geom", stream.with_name("my.geom"))
    stream.with_name("link.stream").symlink_to(stream)
    before = stream.read_bytes()
    assert waterbg("subtract", stream, "-o", stream.with_name(name), "-g", geometry, "--force", *slurm) == 1
    assert "is the input itself" in capsys.readouterr().err
    assert not stream.with_name(f"{name}.slurm").exists()
    assert stream.read_bytes() == before


def test_an_output_that_has_become_the_input_is_not_written(stream, capsys):
    out, folder, _ = make(stream, "--force", "--integration=rings", block=100)
    assert waterbg("slurm", "task", folder, 0) == 0
    before = stream.read_bytes()
    out.hardlink_to(stream)
    assert waterbg("slurm", "collect", folder) == 1
    assert "is the input itself" in capsys.readouterr().err
    assert stream.read_bytes() == before


def test_what_a_run_on_one_machine_notes_is_noted_at_submission_and_at_the_end(stream, capsys):
    stream.write_bytes(stream.read_bytes().replace(b"\nclen = ", b"\n# of an older CrystFEL\nclen = ", 1))
    _, folder, _ = make(stream, "--integration=rings", block=100)
    note = "CrystFEL 0.12 opens neither this stream nor the output"
    assert note in capsys.readouterr().err
    assert waterbg("slurm", "task", folder, 0) == 0
    assert waterbg("slurm", "collect", folder) == 0
    assert note in capsys.readouterr().err


def test_a_model_that_was_learnt_is_written_where_model_says(stream):
    model = stream.with_name("mine.json")
    out, folder, _ = make(stream, f"--model={model}", block=100)
    assert waterbg("slurm", "task", folder, 0) == 0
    assert waterbg("slurm", "collect", folder) == 0
    assert model.read_bytes() == (folder / "model.json").read_bytes()
    assert not Path(f"{out}.model.json").exists()


def test_a_folder_that_an_older_version_made_is_one_clear_line(stream, capsys):
    _, folder, _ = make(stream, "--integration=rings", block=100)
    said = json.loads((folder / DESCRIPTION).read_text())
    del said["options"]["header"]
    (folder / DESCRIPTION).write_text(json.dumps(said))
    assert waterbg("slurm", "task", folder, 0) == 1
    assert "was made by an older waterbg; make a new one" in capsys.readouterr().err


def test_a_folder_that_is_none_is_one_clear_line(tmp_path, capsys):
    assert waterbg("slurm", "status", tmp_path) == 1
    assert "is not a job folder" in capsys.readouterr().err


@pytest.mark.parametrize("spoilt", [{"options": []}, {"blocks": []}, {"blocks": [["a", 2, 3]]}, {"size": None}])
def test_a_folder_whose_description_is_spoilt_is_one_clear_line(tmp_path, capsys, spoilt):
    said = {"input": "a", "output": "b", "size": 1, "options": {}, "blocks": [[0, 1, 1]], **spoilt}
    (tmp_path / DESCRIPTION).write_text(json.dumps(said))
    assert waterbg("slurm", "collect", tmp_path) == 1
    assert "is not a job folder of waterbg (job.json is damaged)" in capsys.readouterr().err


def test_without_slurm_the_message_says_what_is_missing(stream, monkeypatch, capsys):
    _, folder, _ = make(stream)
    monkeypatch.setattr("waterbg.run.slurm.local", _Nothing())
    assert waterbg("slurm", "resume", folder) == 1
    assert "sbatch: not found" in capsys.readouterr().err


def test_commands_that_are_named_can_be_pasted_and_what_is_done_is_not_said_to_wait(stream, monkeypatch, capsys):
    folder = stream.with_name("my run.stream.slurm")
    monkeypatch.setattr(JobFolder, "queued", lambda folder: {})
    words = ("subtract", stream, "-o", stream.with_name("my run.stream"), "--slurm", "--no-submit", "--block-size=100")
    assert waterbg(*words) == 0
    assert waterbg(*words) == 1
    assert f"'waterbg slurm status {quote(str(folder))}' says" in capsys.readouterr().err
    assert waterbg("slurm", "status", folder) == 1
    assert f"'waterbg slurm resume {quote(str(folder))}' submits" in capsys.readouterr().out
    assert waterbg("slurm", "task", folder, 0) == 0
    assert waterbg("slurm", "status", folder) == 0
    assert f"'waterbg slurm collect {quote(str(folder))}' writes" in capsys.readouterr().out
    assert waterbg("slurm", "resume", folder) == 0
    assert capsys.readouterr().out == f"{folder}: nothing to submit; all blocks are done\n"


class _Nothing:
    def __getitem__(self, name):
        from plumbum import CommandNotFound

        raise CommandNotFound(name, [])

    def cwd(self, path):
        from contextlib import nullcontext

        return nullcontext()


def test_wrong_verbs_are_usage_errors(tmp_path):
    assert waterbg("slurm", "destroy", tmp_path) == 2
    assert waterbg("slurm", "task", tmp_path) in (1, 2)


def test_a_line_break_cannot_be_smuggled_into_the_batch_script():
    from waterbg.errors import UsageError

    with pytest.raises(UsageError, match="line break"):
        SlurmOptions(partition="all\n#SBATCH --uid=0").directives("x", "0-1")


def test_what_sbatch_refuses_can_be_edited_and_submitted(stream, monkeypatch, capsys):
    out = stream.with_name("out.stream")
    script = Path(f"{out}.slurm/run_waterbg.sh")

    def sbatch(program, *words):
        if "--partition=wrong" in script.read_text():
            raise ProgramError("invalid partition", program=program, status=1)
        return "7\n"

    monkeypatch.setattr("waterbg.run.slurm._run", sbatch)
    assert waterbg("subtract", stream, "-o", out, "--slurm", "--partition=wrong") == 1
    assert capsys.readouterr().err == (
        f"waterbg: error: sbatch (exit status 1): invalid partition; all is ready in {script.parent}: "
        "edit run_waterbg.sh if need be, and 'waterbg slurm resume' submits it\n"
    )
    script.write_text(script.read_text().replace("=wrong", "=right"))
    monkeypatch.setattr(JobFolder, "queued", lambda folder: {})
    assert waterbg("slurm", "resume", script.parent) == 0
    assert "submitted as job 7" in capsys.readouterr().out


def test_values_with_blanks_and_names_of_any_kind_are_quoted_for_sbatch():
    lines = SlurmOptions(constraint="[a|b] c#d", account="it's \\").directives("my\nrun é", "0-1", "/a b/50%%/")
    assert "#SBATCH --job-name=my_run__" in lines
    assert "#SBATCH --output='/a b/50%%/stdout-%a.log'" in lines
    assert "#SBATCH --constraint='[a|b] c#d'" in lines
    assert "#SBATCH --account='it'\"'\"'s \\\\'" in lines


def test_a_folder_needs_its_description(tmp_path):
    with pytest.raises(OutputError):
        JobFolder(str(tmp_path))
    assert Block(0, 10, 1).chunks == 1
