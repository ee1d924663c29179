"""waterbg subtract, killed, interrupted and beside a stream that is still being written."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest

from waterbg.cli.base import run
from waterbg.stream import OutputFile, find_differences

from .conftest import WATERBG


def subtract(*words):
    return run(["waterbg", "subtract", *map(str, words)])


def command(*words):
    return [WATERBG, "subtract", *map(str, words)]


def test_a_run_killed_at_any_moment_and_resumed_ends_with_the_same_bytes(small):
    stream, out, whole = small / "rings-nocen-nosat-nograd.stream", small / "out.stream", small / "whole.stream"
    many(stream, 20)
    assert subtract(stream, "-o", whole) == 0
    rng, size = np.random.default_rng(5), whole.stat().st_size
    words = command(stream, "-o", out, "-j", 2, "--resume")
    kills, partial = 0, OutputFile(out).partial
    while not out.exists():
        process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
        # by what is written, because no time is right for every machine; now and then before anything is
        enough = written(partial) + (rng.uniform(0, 0.3) * size if kills != 1 else 0)
        while process.poll() is None and written(partial) < enough:
            time.sleep(0.001)
        if process.poll() is None:
            time.sleep(rng.uniform(0, 0.2))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        assert kills < 30
    assert kills
    assert out.read_bytes() == whole.read_bytes()


def test_what_an_interrupted_run_left_is_not_begun_anew_without_a_word(small, capsys):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    OutputFile(out).partial.write_bytes(b"CrystFEL")
    assert subtract(stream, "-o", out) == 0
    assert ".out.stream.part, 8 bytes of an interrupted run, is begun anew: no --resume" in capsys.readouterr().err
    assert subtract(stream, "-o", out, "--force") == 0
    assert "begun anew" not in capsys.readouterr().err


def written(partial):
    """Bytes of an output that is not complete yet; 0 before it is begun and when it has got its name."""
    try:
        return partial.stat().st_size
    except FileNotFoundError:
        return 0


def many(stream, times):
    """Make a stream longer by repeating its chunks."""
    text = stream.read_bytes()
    at = text.index(b"----- Begin chunk")
    stream.write_bytes(text[:at] + text[at:] * times)


def test_following_a_stream_that_is_written_in_odd_pieces_ends_with_the_bytes_of_a_run_afterwards(small):
    stream, growing = small / "rings-nocen-nosat-nograd.stream", small / "growing.stream"
    assert subtract(stream, "-o", small / "after.stream") == 0
    text = stream.read_bytes()
    growing.write_bytes(text[:5000])
    process = subprocess.Popen(
        command(growing, "-o", small / "beside.stream", "--follow", "--until-idle=2"), stderr=subprocess.PIPE
    )
    with growing.open("ab") as file:
        at = 5000
        for size in np.random.default_rng(3).integers(1, 30000, 100):
            file.write(text[at : at + size])
            file.flush()
            at += size
            time.sleep(0.02)
            if at >= len(text):
                break
        file.write(text[at:])
    assert process.wait(timeout=60) == 0, process.stderr.read()
    process.stderr.close()
    assert (small / "beside.stream").read_bytes() == (small / "after.stream").read_bytes()


def test_ctrl_c_leaves_no_process_and_no_output_but_what_to_go_on_with(small):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    many(stream, 60)
    process = subprocess.Popen(command(stream, "-o", out, "-j", 2), stderr=subprocess.PIPE, start_new_session=True)
    partial = small / ".out.stream.part"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size > 100_000):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not out.exists()
    assert partial.exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_following_waits_for_a_stream_that_does_not_exist_yet(small):
    stream, growing = small / "rings-nocen-nosat-nograd.stream", small / "growing.stream"
    words = command(growing, "-o", small / "beside.stream", "--follow", "--until-idle=4", "--integration=rings")
    process = subprocess.Popen(words, stderr=subprocess.PIPE)
    time.sleep(1)
    text = stream.read_bytes()
    growing.write_bytes(text[:300])
    time.sleep(1)
    with growing.open("ab") as file:
        file.write(text[300:])
    assert process.wait(timeout=60) == 0, process.stderr.read()
    process.stderr.close()
    assert list(find_differences(str(stream), str(small / "beside.stream"))) == []


def test_ctrl_c_is_heard_at_any_moment(small):
    """Also where Python would forget it: h5py's weak references come and go with every frame."""
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    many(stream, 20)
    rng, size, partial = np.random.default_rng(9), stream.stat().st_size, OutputFile(out).partial
    for _ in range(5):
        process = subprocess.Popen(command(stream, "-o", out), stderr=subprocess.PIPE, start_new_session=True)
        enough = rng.uniform(0, 0.5) * size
        while process.poll() is None and written(partial) < enough:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert (process.returncode, said) == (130, b"waterbg: interrupted\n")
        partial.unlink(missing_ok=True)
