import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waterbg.cli.base import run

GOLDEN = "rings-nocen-nosat-nograd.stream"
RINGS = "--waterbg-integration=rings-nocen-nosat-grad"
# a stand-in for the real program: writes the pieces of a stream one by one, then does what $WATERBG_TEST_END says
FAKE = """#!/bin/sh
[ "$1" = --version ] && { echo "CrystFEL: 0.12.0"; exit; }
printf '%s\\n' "$@" >arguments
while [ $# -gt 0 ]; do case $1 in -o) o=$2;; --output=*) o=${1#*=};; esac; shift; done
: >"$o"
for piece in pieces/*; do cat "$piece" >>"$o"; echo "1 images processed" >&2; sleep 0.1; done
eval "$WATERBG_TEST_END"
"""


@pytest.fixture
def golden(data, tmp_path, monkeypatch):
    """The golden run without its streams, and an indexamajig on PATH that writes the golden stream bit by bit."""
    for name in ("images.h5", "mask.h5", "det.geom", "xtal.cell", "frames.lst"):
        shutil.copy(data / "golden" / "small" / name, tmp_path)
    (tmp_path / "pieces").mkdir()
    whole = (data / "golden" / "small" / GOLDEN).read_bytes()
    size = len(whole) // 8 + 1  # pieces end anywhere
    for i in range(8):
        (tmp_path / "pieces" / f"{i}").write_bytes(whole[i * size : (i + 1) * size])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "indexamajig").write_text(FAKE)
    (tmp_path / "bin" / "indexamajig").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return whole


def subtracted(name):
    """What ``waterbg subtract`` makes of the same stream, with the same settings."""
    assert run(["waterbg", "subtract", name, "-o", "expected.stream", RINGS.replace("--waterbg-", "--")]) == 0
    return Path("expected.stream").read_bytes()


@pytest.mark.parametrize("option", ["no-submit", "block-size=3", "partition=all", "time=5", "account=me", "qos=low"])
def test_options_of_a_job_array_do_not_index_here_without_slurm(golden, capsys, option):
    words = ["-i", "frames.lst", "-g", "det.geom", "-o", "run.stream", f"--waterbg-{option}"]
    assert run(["waterbg", "indexamajig", *words]) == 2
    assert f"--waterbg-{option.partition('=')[0]} needs --waterbg-slurm" in capsys.readouterr().err
    assert not Path("arguments").exists()


def test_the_subtracted_stream_is_at_o_and_the_original_beside_it(golden, capfd):
    words = ["-i", "frames.lst", "-g", "det.geom", "-o", "run.stream", "-j", "2"]
    assert run(["waterbg", "indexamajig", *words, RINGS]) == 0
    assert Path("run.orig.stream").read_bytes() == golden
    assert Path("run.stream").read_bytes() == subtracted("run.orig.stream")
    assert Path("arguments").read_text().split("\n") == [*words[:5], "run.orig.stream", *words[6:], ""]
    said = capfd.readouterr().err
    assert "waterbg: indexamajig 0.12.0 (" in said
    assert said.count("1 images processed\n") == 8
    log = Path("run.stream.log").read_text()
    assert log.startswith("$ ")
    assert log.count("1 images processed\n") == 8


def test_a_failing_indexamajig_ends_with_its_status_and_what_it_had_is_subtracted(golden, monkeypatch, capfd):
    monkeypatch.setenv("WATERBG_TEST_END", "echo out of memory >&2; exit 3")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS]) == 3
    assert Path("run.stream").exists()
    assert "indexamajig (exit status 3): it ended with an error" in capfd.readouterr().err


def test_a_stream_that_ends_in_the_middle_of_a_chunk_keeps_what_is_whole(golden, monkeypatch, capfd):
    Path("pieces/7").write_bytes(b"")
    monkeypatch.setenv("WATERBG_TEST_END", "exit 134")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS]) == 134
    whole = Path("run.orig.stream").read_bytes().count(b"\n----- End chunk -----\n")
    assert whole == 5
    assert Path("run.stream").read_bytes().count(b"\n----- End chunk -----\n") == whole


def test_an_indexamajig_that_refuses_its_options_leaves_nothing(golden, monkeypatch, capfd):
    shutil.rmtree("pieces")
    Path("pieces").mkdir()
    monkeypatch.setenv("WATERBG_TEST_END", 'rm -f "$o"; echo You need to provide the input >&2; exit 1')
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS]) == 1
    assert not Path("run.stream").exists()
    assert not Path("run.orig.stream").exists()
    assert "You need to provide the input" in capfd.readouterr().err


def test_an_indexamajig_that_refuses_its_options_costs_no_earlier_run(golden, monkeypatch, capfd):
    for name in ("run.stream", "run.orig.stream"):
        Path(name).write_bytes(b"hours of work")
    monkeypatch.setenv("WATERBG_TEST_END", 'rm -f "$o"; echo unrecognised option >&2; exit 64')
    shutil.rmtree("pieces")
    Path("pieces").mkdir()
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS, "--waterbg-force"]) == 64
    assert Path("run.orig.stream").read_bytes() == Path("run.stream").read_bytes() == b"hours of work"
    assert "was subtracted" not in capfd.readouterr().err
    assert not list(Path().glob("*.before"))


def test_a_forced_run_replaces_the_streams_of_an_earlier_one(golden):
    for name in ("run.stream", "run.orig.stream"):
        Path(name).write_bytes(b"of another day")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS, "--waterbg-force"]) == 0
    assert Path("run.orig.stream").read_bytes() == golden
    assert not list(Path().glob("*.before"))


def test_the_run_model_of_an_earlier_run_stops_before_indexamajig_starts(golden, capfd):
    Path("run.stream.model.json").write_text("{}")
    assert run(["waterbg", "indexamajig", "-o", "run.stream"]) == 1
    assert "run.stream.model.json: exists" in capfd.readouterr().err
    assert not Path("arguments").exists()


def test_a_stream_without_chunks_is_copied(golden, capfd):
    header = golden[: golden.index(b"----- Begin chunk")]
    for i in range(8):
        Path(f"pieces/{i}").write_bytes(header if i == 0 else b"")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS]) == 0
    assert Path("run.stream").read_bytes() == header
    assert "has no chunks" in capfd.readouterr().err


def test_an_error_of_the_subtraction_leaves_indexamajig_to_its_end(golden, capfd):
    os.remove("images.h5")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS, "--waterbg-on-missing=fail"]) == 1
    assert Path("run.orig.stream").read_bytes() == golden
    assert not Path("run.stream").exists()
    said = capfd.readouterr().err
    assert "images.h5" in said
    assert "indexamajig's own stream is run.orig.stream" in said


def test_even_a_bug_of_ours_leaves_indexamajig_to_its_end(golden, monkeypatch):
    def broken(*args, **more):
        raise ZeroDivisionError

    monkeypatch.setattr("waterbg.run.resolve_job", broken)
    with pytest.raises(ZeroDivisionError):
        run(["waterbg", "indexamajig", "-o", "run.stream", RINGS])
    assert Path("run.orig.stream").read_bytes() == golden


def test_an_existing_stream_stops_before_indexamajig_starts(golden, capfd):
    Path("run.stream").write_text("mine")
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS]) == 1
    assert Path("run.stream").read_text() == "mine"
    assert not Path("arguments").exists()
    assert "--waterbg-force" in capfd.readouterr().err
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS, "--waterbg-force"]) == 0
    assert Path("run.stream").stat().st_size > 100_000


@pytest.mark.parametrize(
    "words", [["--waterbg-integration=nonsense"], ["--waterbg-nonsense=3"], ["--waterbg-int-radius", "4,x,7"]]
)
def test_wrong_own_options_stop_before_indexamajig_starts(golden, words, capfd):
    assert run(["waterbg", "indexamajig", "-o", "run.stream", *words]) == 2
    assert not Path("arguments").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--waterbg-geometry=none.geom"], 1, "waterbg: error: none.geom: cannot be read (No such file"),
        (["--waterbg-geometry=xtal.cell"], 1, "waterbg: error: xtal.cell:1: "),
        (["--waterbg-model=det.geom"], 2, "waterbg: --waterbg-model=det.geom: is not a run model"),
        (["--waterbg-model="], 2, "waterbg: --waterbg-model=: cannot be read (No such file or directory)"),
        (["--waterbg-background=mud"], 2, "waterbg: --waterbg-background=mud: one of water"),
    ],
)
def test_what_the_subtraction_could_not_use_is_refused_by_its_own_name_before_indexing(
    golden, words, status, said, capfd
):
    assert run(["waterbg", "indexamajig", "-o", "run.stream", *words]) == status
    told = capfd.readouterr().err
    assert told.startswith(said)
    assert told.count("\n") == 1
    assert not Path("arguments").exists()


@pytest.mark.parametrize("option", ["--waterbg-jobs", "--waterbg-model"])
def test_an_own_option_at_the_end_that_lacks_its_value_is_told_as_that(golden, option, capfd):
    assert run(["waterbg", "indexamajig", "-i", "frames.lst", "-o", "run.stream", option]) == 2
    assert f"switch {option} requires an argument" in capfd.readouterr().err


def test_an_option_without_say_in_crystfels_rings_is_refused_before_indexing(golden, capfd):
    assert run(["waterbg", "indexamajig", "-o", "run.stream", RINGS, "--waterbg-joint"]) == 2
    said = (
        "waterbg: --waterbg-joint has no say in --waterbg-integration=rings-nocen-nosat-grad: leave one of them out\n"
    )
    assert capfd.readouterr().err == said
    assert not Path("arguments").exists()


def test_own_usage_points_to_own_help_which_lists_no_option_that_is_indexamajigs(golden, capfd):
    assert run(["waterbg", "indexamajig", "-o", "run.stream", "--waterbg-nonsense"]) == 2
    assert capfd.readouterr().err == (
        "waterbg: unknown switch --waterbg-nonsense; 'waterbg indexamajig --waterbg-help' shows what there is\n"
    )
    assert run(["waterbg", "indexamajig", "--waterbg-help"]) == 0
    listed = [line for line in capfd.readouterr().out.splitlines() if line.startswith("    -")]
    assert all(line.startswith("    --waterbg-") for line in listed)
    assert any(line.startswith("    --waterbg-help ") for line in listed)


def test_questions_go_to_indexamajig_and_own_help_is_ours(golden, monkeypatch, capfd):
    assert run(["waterbg", "indexamajig", "--version"]) == 0
    assert capfd.readouterr().out == "CrystFEL: 0.12.0\n"
    assert run(["waterbg", "indexamajig", "--waterbg-help"]) == 0
    assert "--waterbg-integration" in capfd.readouterr().out
    assert not Path("run.stream.log").exists()


def test_where_there_is_nothing_to_subtract_indexamajig_runs_alone(golden, capfd):
    assert run(["waterbg", "indexamajig", "-o", "run.stream", "--indexing=none"]) == 0
    assert Path("run.stream").read_bytes() == golden
    assert not Path("run.orig.stream").exists()
    assert "with --indexing=none there are no reflections; indexamajig runs alone" in capfd.readouterr().err


@pytest.fixture
def stand_in(golden, tmp_path, monkeypatch):
    """The shipped executable first on PATH, as users would have it, and ``waterbg`` as they call it."""
    scripts = Path(__file__).resolve().parents[2] / "crystfel_scripts"
    (tmp_path / "waterbg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m waterbg "$@"\n')
    (tmp_path / "waterbg").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(scripts), str(tmp_path), os.environ["PATH"]]))
    return tmp_path


def test_the_executable_first_on_path_is_used_unknowingly(stand_in, golden):
    done = subprocess.run(["indexamajig", "-o", "run.stream", RINGS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("run.orig.stream").read_bytes() == golden
    assert Path("run.stream").exists()


def test_a_wrapper_between_the_executable_and_the_real_one_does_not_go_round(stand_in, golden, monkeypatch):
    wrapper = stand_in / "wrapper"
    wrapper.mkdir()
    (wrapper / "indexamajig").write_text('#!/bin/sh\necho wrapped >&2\nexec indexamajig "$@"\n')
    (wrapper / "indexamajig").chmod(0o755)
    first, rest = os.environ["PATH"].split(os.pathsep, 1)
    monkeypatch.setenv("PATH", os.pathsep.join([first, str(wrapper), rest]))
    done = subprocess.run(
        ["indexamajig", "-o", "run.stream", RINGS], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "wrapped" in done.stderr
    assert Path("run.orig.stream").read_bytes() == golden
    assert Path("run.stream").exists()


def test_control_c_ends_both_and_keeps_what_is_complete(stand_in, golden, monkeypatch):
    monkeypatch.setenv("WATERBG_TEST_END", "exec sleep 600")
    process = subprocess.Popen(
        ["indexamajig", "-o", "run.stream", RINGS], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(600):
        if Path("run.orig.stream").exists() and Path("run.orig.stream").read_bytes() == golden:
            break
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal and the CrystFEL GUI do
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGINT, said
    assert Path("run.stream").read_bytes().count(b"\n----- End chunk -----\n") == 6
    # and nobody is left
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_stand_in_that_is_told_to_end_says_so_when_indexamajig_does_not(stand_in, golden, monkeypatch):
    monkeypatch.setenv("WATERBG_TEST_END", "trap 'exit 0' INT; while :; do sleep 0.1; done")
    process = subprocess.Popen(["indexamajig", "-o", "run.stream", RINGS], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not Path(".run.stream.part").exists() and time.monotonic() < end:  # while indexamajig still writes
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGINT, said
    assert Path("run.stream").exists()


def test_a_stand_in_that_is_told_to_end_before_the_first_chunk_ends_indexamajig_too(stand_in, golden, monkeypatch):
    shutil.rmtree("pieces")
    Path("pieces").mkdir()
    Path("pieces", "0").write_bytes(golden[:1000])
    monkeypatch.setenv("WATERBG_TEST_END", "echo $$ >pid; exec sleep 600")
    process = subprocess.Popen(["indexamajig", "-o", "run.stream", RINGS], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not Path("pid").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.splitlines()[-1]) == (128 + signal.SIGINT, "waterbg: interrupted")
    assert not Path(f"/proc/{Path('pid').read_text().strip()}").exists()


@pytest.mark.crystfel
@pytest.mark.shared
@pytest.mark.slow
def test_the_real_indexamajig_on_real_images_from_a_clean_folder(shared, tmp_path, monkeypatch, capfd):
    source = shared / "real" / "thaumatin"
    for name in ("thaumatin.h5", "events.lst", "pilatus6m.geom", "thaumatin.cell"):
        (tmp_path / name).symlink_to(source / name)
    monkeypatch.chdir(tmp_path)
    words = (source / "rings-nocen-nosat-nograd.stream").read_text(errors="replace").split("\n")[2].split()[1:]
    words[words.index("-o") + 1] = "run.stream"
    assert run(["waterbg", "indexamajig", *words, "--waterbg-integration=rings-nocen-nosat-nograd"]) == 0
    before = (source / "rings-nocen-nosat-nograd.stream").read_bytes().split(b"\n", 3)[3]
    assert Path("run.orig.stream").read_bytes().split(b"\n", 3)[3] == before
    from waterbg.crystfel.compare import compare_streams

    compared = compare_streams("run.orig.stream", "run.stream")
    assert compared.counts["crystals"] == 5
    assert compared.counts["reflections_b"] == 0
    # CrystFEL's own method on both sides
    assert compared.overall.ratio == pytest.approx(1, abs=1e-3)
    assert "Final: 6 images processed" in Path("run.stream.log").read_text()
    assert "Final: 6 images processed" in capfd.readouterr().err
