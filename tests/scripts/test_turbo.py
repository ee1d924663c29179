"""Large indexing runs split into Slurm jobs, with stand-ins for list_events and sbatch."""

import os
import stat
import subprocess

import pytest


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """list_events (five frames a file) and sbatch (writes down what it got) first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    bodies = {
        "list_events": "while [ $# -gt 0 ]; do case $1 in -i) i=$2;; -o) o=$2;; esac; shift; done\n"
        'while read f; do for n in 0 1 2 3 4; do echo "$f //$n"; done; done <"$i" >"$o"',
        "sbatch": f'echo "$@" >>{folder}/submitted; echo "$(wc -l <{folder}/submitted);cluster"',
        "indexamajig": f'echo "$@" >>{folder}/ran; while [ $# -gt 0 ]; do case $1 in -o) o=$2;; esac; shift; done; '
        'echo stream >"$o"',
        "waterbg": f'echo "$@" >>{folder}/subtracted',
    }
    for name, body in bodies.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])
    from plumbum import local

    monkeypatch.setitem(local.env, "PATH", os.environ["PATH"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files.lst").write_text("a b.h5\nc.h5\n")
    (tmp_path / "det.geom").write_text("; geometry\n")
    return folder


RUN = ["files.lst", "run7", "det.geom", "out streams"]


def test_a_run_is_split_into_jobs_that_number_their_frames_on(script, programs, tmp_path):
    said = script(
        "turbo-index-slurm", "--split=4", "--partition=fast", *RUN, "--", "--peaks=zaef", "-p", "my cell.cell"
    )
    assert said.status == 0, said.err
    jobs = tmp_path / "run7.jobs"
    assert (jobs / "run7-001.lst").read_text() == "a b.h5 //4\nc.h5 //0\nc.h5 //1\nc.h5 //2\n"
    assert sorted(path.name for path in jobs.glob("*.sh")) == [f"run7-00{i}.sh" for i in range(3)]
    text = (jobs / "run7-001.sh").read_text()
    assert "#SBATCH --partition=fast\n" in text
    assert "#SBATCH --account" not in text
    assert "--serial-start=5 --peaks=zaef -p 'my cell.cell' -j \"$(nproc)\"" in text
    assert (programs / "submitted").read_text().splitlines() == [f"--parsable {jobs}/run7-00{i}.sh" for i in range(3)]
    assert f"run7-002 (serial start 9): 2 frames  --->  {tmp_path}/out streams/run7-002.stream  job 3" in said.err


def test_a_job_runs_where_it_was_made_and_ends_with_the_subtraction(script, programs, tmp_path):
    said = script("turbo-index-slurm", "--subtract", "--dry-run", "--setup", "export A=1", *RUN, "--", "-j", "3")
    assert said.status == 0, said.err
    assert not (programs / "submitted").exists()
    job = tmp_path / "run7.jobs" / "run7-000.sh"
    subprocess.run(["sh", job], check=True, cwd="/")
    stream = f"{tmp_path}/out streams/run7-000.stream"
    assert (
        (programs / "ran")
        .read_text()
        .startswith(f"-i {tmp_path}/run7.jobs/run7-000.lst -o {stream} -g {tmp_path}/det.geom")
    )
    assert " -j 3\n" in (programs / "ran").read_text()
    assert (programs / "subtracted").read_text().startswith(f"subtract {stream} -o {stream[:-7]}-bg.stream -j ")


def test_a_blank_ends_no_directive_and_a_per_cent_sign_of_a_folder_is_no_pattern(script, programs, tmp_path):
    options = ["--dry-run", "--constraint", "fast & new", "--jobs", "50 % of it"]
    assert script("turbo-index-slurm", *options, *RUN).status == 0
    text = (tmp_path / "50 % of it" / "run7-000.sh").read_text()
    assert "#SBATCH --constraint='fast & new'\n" in text
    assert f"#SBATCH --output='{tmp_path}/50 %% of it/run7-000-%j.log'\n" in text


def test_frames_among_files_are_taken_as_they_are_and_files_are_looked_up_below_the_prefix(script, programs, tmp_path):
    (tmp_path / "files.lst").write_text("b.h5 //7\nc.h5\n")
    assert script("turbo-index-slurm", "--dry-run", *RUN, "--", "--prefix=raw/").status == 0
    assert (tmp_path / "run7.jobs/run7.lst").read_text().splitlines()[:3] == ["b.h5 //7", "c.h5 //0", "c.h5 //1"]


def test_a_list_of_frames_needs_no_list_events(script, programs, tmp_path):
    (programs / "list_events").unlink()
    assert script("turbo-index-slurm", "--single", "--dry-run", *RUN).status == 0
    assert (tmp_path / "run7.jobs" / "run7-000.lst").read_text() == "a b.h5\nc.h5\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([*RUN, "--", "-o", "x.stream"], 2, "-o: each job has its own"),
        ([*RUN, "--", "--geometry=x"], 2, "each job has its own"),
        (["files.lst", "run 7", "det.geom", "out"], 2, "cannot name files and jobs"),
        (["none.lst", "run7", "det.geom", "out"], 1, "none.lst: no such file"),
        (["empty.lst", "run7", "det.geom", "out"], 2, "names no frame"),
        (["--jobs", ".", *RUN], 1, "is of an earlier run: remove it, or name another with --jobs"),
        (["--jobs", "files.lst/jobs", *RUN], 1, "cannot be made (Not a directory)"),
        (["--setup", "x"], 2, ""),
    ],
)
def test_what_cannot_be_submitted_is_refused(script, programs, tmp_path, arguments, status, message):
    (tmp_path / "empty.lst").write_text("")
    said = script("turbo-index-slurm", *arguments)
    assert said.status == status
    assert message in said.err
    assert not (programs / "submitted").exists()


def test_an_sbatch_that_refuses_says_why(script, programs):
    (programs / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: fast' >&2\nexit 1\n")
    said = script("turbo-index-slurm", *RUN)
    assert said.status == 1
    assert "sbatch (exit status 1): sbatch: error: invalid partition specified: fast" in said.err
