"""waterbg indexamajig --slurm: the list is cut, each task indexes and subtracts its share, the parts become one."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from waterbg.cli.base import run
from waterbg.run.slurm import JobFolder
from waterbg.stream import StreamFile, check_stream

INDEXING = (
    "--indexing=file --no-refine --no-retry --no-check-cell --no-check-peaks --peaks=peakfinder8 --threshold=20 "
    "--min-snr=5 --min-pix-count=2 --max-pix-count=40 --local-bg-radius=4 --fix-profile-radius=0.03e9 "
    "--integration=rings-nocen-nosat-nograd --int-radius=3,5,7"
).split()
FAKE_LIST = """#!/bin/sh
[ "$1" = --version ] && { echo "CrystFEL: 0.12.0"; exit; }
while [ $# -gt 0 ]; do case $1 in -o) o=$2;; esac; shift; done
for i in 0 1 2 3 4 5 6; do echo "images.h5 //$i"; done >"$o"
"""


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    """The golden run's input in a working folder."""
    for name in ("images.h5", "mask.h5", "det.geom", "xtal.cell", "frames.lst", "truth.sol"):
        shutil.copy(data / "golden" / "small" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(folder, monkeypatch):
    """Programs that only look like CrystFEL's."""
    (folder / "bin").mkdir()
    for name, text in (("list_events", FAKE_LIST), ("indexamajig", '#!/bin/sh\necho "CrystFEL: 0.12.0"\n')):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
    return folder


def submit(*words):
    files = ["-i", "frames.lst", "-g", "det.geom", "-p", "xtal.cell", "-o", "run.stream"]
    return run(["waterbg", "indexamajig", *files, "--slurm", "--waterbg-no-submit", *words])


def test_the_list_is_cut_and_image_numbers_go_on_from_block_to_block(fake):
    assert submit("--waterbg-block-size=3", "--waterbg-partition=all", "--waterbg-background=ring", "--min-res=40") == 0
    made = fake / "run.stream.slurm"
    assert [len((made / f"files-{i}.lst").read_text().splitlines()) for i in range(3)] == [3, 3, 1]
    script = (made / "run_waterbg.sh").read_text()
    assert "#SBATCH --array=0-2" in script
    assert "#SBATCH --partition=all" in script
    last = script.splitlines()[-2]
    assert f'-i {made}/files-"${{SLURM_ARRAY_TASK_ID}}".lst' in last
    assert f'-o {made}/block-"${{SLURM_ARRAY_TASK_ID}}".task.stream' in last
    assert "--serial-start=$((SLURM_ARRAY_TASK_ID * 3 + 1))" in last
    assert "--min-res=40" in last
    assert last.split("--waterbg-force ")[1] == "--waterbg-background=ring"
    assert f"cd {fake} || exit 1" in script


def test_events_that_a_list_names_are_taken_as_they_are_and_files_are_looked_up_below_the_prefix(fake):
    (fake / "bin/list_events").write_text(
        FAKE_LIST[: FAKE_LIST.index("while")]
        + """while [ $# -gt 0 ]; do case $1 in -i) i=$2;; -o) o=$2;; esac; shift; done
[ "$(cat "$i")" = "my images/images.h5" ] || exit 1
for n in 0 1; do echo "my images/images.h5 //$n"; done >"$o"
"""
    )
    (fake / "my images").mkdir()
    (fake / "frames.lst").write_bytes(b"old/b.h5 //7\r\n\r\nold/images.h5\r\nold/a b.h5 x//3\r\nold/images.h5\n")
    assert submit("--prefix", "my images", "--basename") == 0
    listed = "old/b.h5 //7|old/images.h5 //0|old/images.h5 //1|old/a b.h5 x//3|old/images.h5 //0|old/images.h5 //1"
    assert (fake / "run.stream.slurm/files-0.lst").read_text().splitlines() == listed.split("|")
    script = (fake / "run.stream.slurm/run_waterbg.sh").read_text()
    assert "--prefix 'my images' --basename" in script  # indexamajig puts it before each name
    assert sorted(path.name for path in fake.glob(".*")) == []


def test_a_list_of_events_alone_needs_no_list_events(fake):
    (fake / "bin/list_events").unlink()
    (fake / "frames.lst").write_text("images.h5 //5\n")
    assert submit() == 0
    assert (fake / "run.stream.events.lst").read_text() == "images.h5 //5\n"


@pytest.mark.parametrize("words", [["-j", "8"], ["-j8"]])
def test_a_task_asks_for_a_processor_for_each_process_that_indexes(fake, words):
    assert submit(*words) == 0
    assert "#SBATCH --cpus-per-task=8" in (fake / "run.stream.slurm/run_waterbg.sh").read_text().splitlines()


@pytest.mark.parametrize("words", [["--serial-start=5"], ["--waterbg-background=sea"]])
def test_what_cannot_be_split_is_a_usage_error(fake, words):
    assert submit(*words) == 2


def test_collecting_before_all_is_done_is_refused(fake, capsys):
    assert submit() == 0
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 1
    said = capsys.readouterr().err
    assert "1 of 1 blocks are not done" in said
    assert "'waterbg slurm status' says whether they are waiting or running" in said  # resume submits none of those


SPELLINGS = [("-i", "frames.lst", "-o", "run.stream"), ("--input=frames.lst", "--output=run.stream")]
RUN = """echo "$@" >arguments
while [ $# -gt 0 ]; do case $1 in -o) o=$2;; --output=*) o=${1#*=};; esac; shift; done
eval "$WATERBG_TEST_RUN"
"""


@pytest.fixture
def short(fake, data):
    """Programs that list and index six events, as many of them as $WATERBG_TEST_RUN says."""
    whole = (data / "golden/small/rings-nocen-nosat-nograd.stream").read_bytes()
    at = whole.index(b"----- Begin chunk")
    two = [place for place in range(len(whole)) if whole.startswith(b"----- Begin chunk", place)][2]
    (fake / "all").write_bytes(whole)
    (fake / "two").write_bytes(whole[:two])
    (fake / "none").write_bytes(whole[:at])
    (fake / "bin/list_events").write_text(FAKE_LIST.replace(" 6;", ";"))
    (fake / "bin/indexamajig").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "CrystFEL: 0.12.0"; exit; }\n' + RUN
    )
    return fake


def make(words=SPELLINGS[0], *more):
    rings = "--waterbg-integration=rings"
    assert (
        run(["waterbg", "indexamajig", *words, "-g", "det.geom", "--slurm", "--waterbg-no-submit", rings, *more]) == 0
    )
    return JobFolder("run.stream.slurm")


def task(folder, what, index=0):
    """How to run a task whose indexamajig does this."""
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index), "WATERBG_TEST_RUN": what}
    return {"args": ["sh", "run_waterbg.sh"], "cwd": folder.path, "env": environment}


def done(folder, what):
    """A task that has ended."""
    return subprocess.run(**task(folder, what), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", SPELLINGS, ids=["short", "long"])
def test_a_block_that_is_whole_is_done_whatever_indexamajig_says_at_its_end(short, words, capsys):
    folder = make(words)
    (short / "random.py").write_text("raise SystemExit('this is no module of Python')")
    ended = done(folder, 'cat all >"$o"; exit 134')
    assert "indexamajig (exit status 134): it ended with an error" in ended.stderr
    assert ended.returncode == 0, ended.stderr
    assert folder.missing() == []
    assert f"{folder.path}/files-0.lst" in (short / "arguments").read_text()
    assert (folder.path / "block-0.orig.stream").read_bytes() == (short / "all").read_bytes()
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 0
    assert "6 chunks of 6 events in 1 blocks" in capsys.readouterr().err


def test_a_block_whose_indexamajig_failed_is_not_done(short, capsys):
    folder = make()
    ended = done(folder, 'cat two >"$o"; exit 1')
    assert "2 of 6 events are in it; 'waterbg slurm resume' submits the block again" in ended.stderr
    assert ended.returncode == 1
    assert run(["waterbg", "slurm", "status", "run.stream.slurm"]) == 1
    assert "0 of 1 blocks done" in capsys.readouterr().out
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 1


def test_a_block_that_failed_leaves_nothing_that_a_later_try_could_be_taken_for(short):
    folder = make()
    assert done(folder, 'cat two >"$o"; exit 1').returncode == 1
    assert done(folder, "exit 0").returncode == 1
    assert folder.missing() == [0]


def test_frames_that_indexamajig_could_not_read_do_not_keep_a_block_from_being_done(short, capsys):
    folder = make()
    assert "block 0 is done, 2 of 6 events" in done(folder, 'cat two >"$o"').stdout
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 0
    assert "2 chunks of 6 events" in capsys.readouterr().err


@pytest.mark.parametrize("everything", [True, False], ids=["as Slurm's time limit", "the stand-in alone"])
def test_a_block_that_was_told_to_end_is_not_done(short, everything):
    folder = make()
    # indexamajig ends at once when Ctrl-C comes, and says that all is well
    endless = "trap 'exit 0' INT; cat two >\"$o\"; while :; do sleep 0.1; done"
    running = subprocess.Popen(**task(folder, endless), start_new_session=True)
    part = folder.path / ".block-0.task.stream.part"
    end = time.monotonic() + 60
    while not part.exists() and time.monotonic() < end:
        time.sleep(0.1)
    if everything:
        os.killpg(running.pid, signal.SIGTERM)
    else:
        (child,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
    assert running.wait(timeout=60) != 0
    time.sleep(2 if everything else 0)  # the shell is gone before the stand-in
    assert folder.missing() == [0]


def test_blocks_that_were_subtracted_in_two_ways_are_not_put_together(short, capsys):
    folder = make(SPELLINGS[0], "--waterbg-block-size=3")
    assert done(folder, 'cat two >"$o"').returncode == 0
    before, mark, after = (folder.path / "block-0.stream").read_bytes().partition(b"\nwaterbg ")
    other = before + mark + after.replace(b"--integration=rings", b"--integration=other", 1)
    (folder.path / "block-1.stream").write_bytes(other)
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 1
    assert "--integration=other" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["frames.lst", "det.geom", "xtal.cell"])
def test_no_input_is_replaced_by_what_is_collected(fake, name, capsys):
    words = ["-i", "frames.lst", "-g", "det.geom", "-p", "xtal.cell", "-o", name, "--slurm", "--waterbg-no-submit"]
    assert run(["waterbg", "indexamajig", *words, "--waterbg-force"]) == 1
    assert "is the input itself" in capsys.readouterr().err
    assert not Path(f"{name}.slurm").exists()


def test_the_list_of_events_does_not_replace_the_list_of_images(fake, capsys):
    Path("frames.lst").rename("run.stream.events.lst")
    words = ["-i", "run.stream.events.lst", "-g", "det.geom", "-o", "run.stream", "--slurm", "--waterbg-no-submit"]
    assert run(["waterbg", "indexamajig", *words]) == 1
    assert Path("run.stream.events.lst").read_text() == "images.h5\n"


def test_a_model_that_every_task_would_write_is_refused(fake, capsys):
    assert submit("--waterbg-model=new.json") == 2
    assert "--waterbg-model=new.json: with --slurm it must be there" in capsys.readouterr().err


@pytest.mark.crystfel
@pytest.mark.slow
def test_the_real_programs_index_in_three_tasks_what_one_run_indexes(folder):
    words = [*INDEXING, f"--fromfile-input-file={folder}/truth.sol"]
    assert submit(*words, "--waterbg-block-size=2", "--waterbg-integration=rings") == 0
    made = JobFolder("run.stream.slurm")
    for index in range(3):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
        subprocess.run(["sh", "run_waterbg.sh"], cwd=made.path, env=environment, check=True, capture_output=True)
    assert run(["waterbg", "slurm", "collect", str(made.path)]) == 0
    golden = Path(__file__).parents[1] / "data/golden/small/rings-nocen-nosat-nograd.stream"
    with StreamFile("run.stream") as ours, StreamFile(golden) as theirs:
        assert list(check_stream(ours)) == []
        pairs = list(zip(ours.chunks(), theirs.chunks(), strict=True))
    for a, b in pairs:
        assert (a.event, a.serial) == (b.event, b.serial)
        assert len(a.crystals[0].reflections) == len(b.crystals[0].reflections)
