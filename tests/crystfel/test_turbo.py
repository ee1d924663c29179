"""waterbg indexamajig --slurm: the list is cut, each task indexes and subtracts its share, the parts become one."""

import os
import shutil
import subprocess
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
    last = script.splitlines()[-1]
    assert f'-i {made}/files-"${{SLURM_ARRAY_TASK_ID}}".lst' in last
    assert f'-o {made}/block-"${{SLURM_ARRAY_TASK_ID}}".stream' in last
    assert "--serial-start=$((SLURM_ARRAY_TASK_ID * 3 + 1))" in last
    assert "--min-res=40" in last
    assert last.split("--waterbg-force ")[1] == "--waterbg-background=ring"
    assert f"cd {fake} || exit 1" in script


@pytest.mark.parametrize("words", [["--serial-start=5"], ["--waterbg-background=sea"]])
def test_what_cannot_be_split_is_a_usage_error(fake, words):
    assert submit(*words) == 2


def test_collecting_before_all_is_done_is_refused(fake, capsys):
    assert submit() == 0
    assert run(["waterbg", "slurm", "collect", "run.stream.slurm"]) == 1
    assert "1 of 1 blocks are not done" in capsys.readouterr().err


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
