import os
import threading
import time
from pathlib import Path

import pytest

from waterbg.crystfel.dropin import (
    find_real,
    original_name,
    read_request,
    refuse_outputs,
)
from waterbg.crystfel.programs import TRIED, with_tried
from waterbg.errors import OutputError, ProgramError
from waterbg.run import Follow, wait_for_first_chunk


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["-i", "a.lst", "-o", "run.stream", "-j", "4"], ["-i", "a.lst", "-o", "run.orig.stream", "-j", "4"]),
        (["-orun.stream"], ["-o", "run.orig.stream"]),
        (["--output=run.stream"], ["--output=run.orig.stream"]),
        (["--out", "run.stream"], ["--output=run.orig.stream"]),
        (["-o", "first.stream", "-o", "run.stream"], ["-o", "run.orig.stream", "-o", "run.orig.stream"]),
        # whatever is unknown, odd or quoted arrives as it was
        (
            ["--brand-new", "3", "--other=a b", "-i", "my list", "-o", "run.stream", "-g", "-odd.geom"],
            ["--brand-new", "3", "--other=a b", "-i", "my list", "-o", "run.orig.stream", "-g", "-odd.geom"],
        ),
    ],
)
def test_only_the_name_of_the_stream_is_changed(given, passed):
    request = read_request(given)
    assert request.arguments == passed
    assert request.output == Path("run.stream")
    assert request.original == Path("run.orig.stream")
    assert request.reason == ""


@pytest.mark.parametrize(
    ("output", "original"),
    [
        ("run.stream", "run.orig.stream"),
        ("/a b/c.d/run.7.stream", "/a b/c.d/run.7.orig.stream"),
        ("result", "result.orig"),
        ("x.txt", "x.txt.orig"),
    ],
)
def test_the_original_stays_beside_the_output(output, original):
    assert original_name(Path(output)) == Path(original)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--help"], ""),
        (["--version"], ""),
        (["-v"], ""),
        (["--help-xgandalf"], ""),
        (["-i", "a.lst"], ""),
        (["-o", "run.stream", "--worker-id", "3"], ""),
        (["-o", "run.stream", "--indexing=none"], "--indexing=none"),
        (["-o", "run.stream", "-z", "none"], "--indexing=none"),
        (["-o", "run.stream", "--cell-parameters-only"], "no reflections"),
        (["-o", "run.stream", "--no-refls-in-stream"], "no reflections"),
        (["-o", "run.stream", "--no-image-data"], "without image data"),
        (["-o", "run.stream", "--zmq-input=tcp://a:1"], "ZeroMQ"),
        (["-o", "run.stream", "--asapo-endpoint", "x"], "ASAP::O"),
        (["-o", "/dev/null"], "no ordinary file"),
    ],
)
def test_where_nothing_can_be_subtracted_indexamajig_runs_alone_and_unchanged(words, reason):
    request = read_request(words)
    assert request.arguments == words
    assert request.output is None
    assert reason in request.reason


def test_help_of_an_indexer_is_a_question():
    assert read_request(["--help-asdf", "-o", "run.stream"]).output is None


def test_an_existing_stream_is_not_lost(tmp_path):
    request = read_request(["-o", str(tmp_path / "run.stream")])
    refuse_outputs(request, force=False)
    for name in ("run.stream", "run.orig.stream"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match=rf"{name}: exists.*--waterbg-force"):
            refuse_outputs(request, force=False)
        refuse_outputs(request, force=True)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("option", ["-i", "-g", "-p"])
@pytest.mark.parametrize("name", ["run.stream", "run.orig.stream"])
def test_what_indexamajig_reads_is_not_replaced_even_by_force(tmp_path, option, name):
    (tmp_path / name).write_text("mine")
    request = read_request(["-o", str(tmp_path / "run.stream"), option, str(tmp_path / name)])
    with pytest.raises(OutputError, match=rf"{name}: is the input itself"):
        refuse_outputs(request, force=True)


def test_what_the_subtraction_reads_is_not_replaced_even_by_force(tmp_path):
    (tmp_path / "run.stream").write_text("mine")
    request = read_request(["-o", str(tmp_path / "run.stream")])
    with pytest.raises(OutputError, match="is the input itself"):
        refuse_outputs(request, force=True, reads=[None, str(tmp_path / "run.stream")])


def test_a_run_model_that_could_not_be_written_is_refused(tmp_path):
    request = read_request(["-o", str(tmp_path / "run.stream")])
    with pytest.raises(OutputError, match=r"no/new\.json: its folder does not exist"):
        refuse_outputs(request, force=True, model=tmp_path / "no" / "new.json")


def test_a_wrapper_that_leads_back_here_runs_the_next_program_alone(program, tmp_path, monkeypatch):
    real = program("indexamajig", "")
    wrapper = tmp_path / "wrapper"
    wrapper.mkdir()
    (wrapper / "indexamajig").write_text(f'#!/bin/sh\nexec {real}/indexamajig -j 8 "$@"\n')
    (wrapper / "indexamajig").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(wrapper), str(real), "/usr/bin", "/bin"]))
    first = find_real()
    assert first.path == str(wrapper / "indexamajig")
    monkeypatch.setenv(TRIED, with_tried(first.path)[TRIED])
    second = find_real()
    assert second.path == str(real / "indexamajig")
    assert read_request(["-o", "run.stream"]).output is None  # the outer stand-in does it already
    monkeypatch.setenv(TRIED, with_tried(second.path)[TRIED])
    with pytest.raises(ProgramError):
        find_real()


def test_the_tried_programs_add_up(monkeypatch):
    monkeypatch.setenv(TRIED, "/a/indexamajig")
    assert with_tried("/b/indexamajig")[TRIED] == "/a/indexamajig:/b/indexamajig"


def test_the_first_chunk_is_waited_for(tmp_path):
    path = tmp_path / "run.stream"

    def write():
        time.sleep(0.3)
        with open(path, "w") as file:
            file.write("header\n")
            file.flush()
            time.sleep(0.3)
            file.write("----- Begin chunk -----\n")

    thread = threading.Thread(target=write)
    thread.start()
    assert wait_for_first_chunk(str(path), Follow(until_idle=10))
    thread.join()


def test_a_program_that_ends_without_a_chunk_is_not_waited_for(tmp_path):
    assert not wait_for_first_chunk(str(tmp_path / "nix"), Follow(stopped=lambda: True))
    (tmp_path / "run.stream").write_text("header\n")
    assert not wait_for_first_chunk(str(tmp_path / "run.stream"), Follow(stopped=lambda: True))
    (tmp_path / "run.stream").write_text("header\n----- Begin chunk -----\n")
    assert wait_for_first_chunk(str(tmp_path / "run.stream"), Follow(stopped=lambda: True))
