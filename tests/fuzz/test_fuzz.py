"""Hostile input: never a traceback, never a hang, never an output that reads differently from what was reported.

A few hundred cases run here; ``WATERBG_FUZZ=10000 pytest tests/fuzz`` is the nightly run.
"""

import os
import resource
import time
import tracemalloc

import pytest

from waterbg.cli.base import run
from waterbg.errors import WaterbgError
from waterbg.geometry import parse_geometry
from waterbg.stream import StreamFile, check_stream, find_differences
from waterbg.stream.check import LOSSES

from ..stream import factory
from .mutate import mutate

CASES = int(os.environ.get("WATERBG_FUZZ", "300"))
BATCH = 50
SECONDS, SECONDS_PER_BYTE = 0.4, 10e-6  # of CPU for reading one case
SECONDS_OF_A_RUN = 3.0  # of CPU for the main job on two frames, and for learning from them
MEMORY_OF_A_BATCH = 100 << 20  # bytes that a batch may add to the most memory the process ever had


def most_memory():
    """Bytes the process has had resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def short_stream(data):
    """Two chunks of the golden stream with thirty reflections each."""
    text = (data / "golden/small/rings-nocen-nosat-nograd.stream").read_bytes()
    header, *chunks = text.split(b"----- Begin chunk -----\n")
    parts = [header]
    for chunk in chunks[:2]:
        rows, end = chunk.split(b"End of reflections\n")
        lines = rows.split(b"\n")
        first = next(i for i, line in enumerate(lines) if line.startswith(b"   h    k    l")) + 1
        kept = lines[: first + 30]
        short = b"\n".join(kept) + b"\nEnd of reflections\n" + end
        count = b"num_reflections = %d\n" % (len(lines) - first - 1)
        assert count in short
        parts.append(b"----- Begin chunk -----\n" + short.replace(count, b"num_reflections = 30\n"))
    return b"".join(parts)


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH)))
def test_mutated_streams_are_read_or_refused_in_one_line_and_in_time(data, tmp_path, batch):
    good = short_stream(data)
    path = tmp_path / "bad.stream"
    memory = most_memory()
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        text = mutate(good, seed)
        path.write_bytes(text)
        began = time.process_time()
        try:
            with StreamFile(path) as stream:
                findings = list(check_stream(stream))
                for chunk in stream.chunks():
                    for crystal in chunk.crystals:
                        assert crystal.axes is None or crystal.axes.shape == (3, 3)
                        assert crystal.reflections["panel"].max(initial=-1) < len(crystal.panel_names)
            assert all(finding.line >= 1 and finding.offset <= len(text) for finding in findings)
        except WaterbgError as err:
            assert "\n" not in str(err)
        assert time.process_time() - began < SECONDS + SECONDS_PER_BYTE * len(text), f"seed {seed}"
    assert most_memory() - memory < MEMORY_OF_A_BATCH


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH // 3)))
def test_the_main_job_on_mutated_streams_ends_in_an_honest_output_or_one_line(data, tmp_path, batch, said):
    good = short_stream(data)
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(data / "golden/small" / name)
    path, out = tmp_path / "bad.stream", tmp_path / "out.stream"
    done = 0
    memory = 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        if seed == batch * BATCH + 4:
            memory = most_memory()  # kernels are loaded by now
        path.write_bytes(mutate(good, 100_000 + seed))
        method = ("--integration=rings", "--integration=profile")[seed % 2]
        began = time.process_time()
        status = run(["waterbg", "subtract", str(path), "-o", str(out), method])
        message = said()
        if memory:
            assert time.process_time() - began < SECONDS_OF_A_RUN, seed
        assert status in (0, 1), (seed, message)
        if status == 0:
            done += 1
            assert list(find_differences(str(path), str(out))) == [], seed
            with StreamFile(path) as before, StreamFile(out) as after:
                known = {finding.check for finding in check_stream(before)}
                assert {finding.check for finding in check_stream(after)} <= known - LOSSES, seed
            out.unlink()
        else:
            assert message.count("\n") == 1, (seed, message)
            assert not out.exists()
    assert done
    assert most_memory() - memory < 2 * MEMORY_OF_A_BATCH


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH // 5)))
def test_the_main_job_with_mutated_geometries_ends_in_an_honest_output_or_one_line(data, tmp_path, batch, said):
    golden = data / "golden/small"
    good = (golden / "det.geom").read_bytes()
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(golden / name)
    stream, geometry, out = tmp_path / "good.stream", tmp_path / "bad.geom", tmp_path / "out.stream"
    stream.write_bytes(short_stream(data))
    files, done, memory = {"images.h5", "mask.h5", "good.stream", "bad.geom", "out.stream.model.json"}, 0, 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        if seed == batch * BATCH + 4:
            memory = most_memory()
        geometry.write_bytes(mutate(good, 300_000 + seed))
        began = time.process_time()
        method = ("--integration=rings", "--integration=profile")[seed % 2]
        words = ["subtract", str(stream), "-o", str(out), "-g", str(geometry), method]
        status = run(["waterbg", *words])
        message = said()
        if memory:
            assert time.process_time() - began < SECONDS_OF_A_RUN, seed
        assert status in (0, 1), (seed, message)
        if status == 0:
            done += 1
            assert list(find_differences(str(stream), str(out))) == [], seed
            out.unlink()
        else:
            assert message.count("\n") == 1, (seed, message)
        assert set(os.listdir(tmp_path)) <= files, seed
    assert done
    assert most_memory() - memory < 2 * MEMORY_OF_A_BATCH


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH // 2)))
def test_mutated_geometries_are_read_or_refused_in_one_line(data, batch):
    good = (data / "golden/small/det.geom").read_bytes()
    memory = most_memory()
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        for lenient in (False, True):
            text = mutate(good, 200_000 + seed)
            began = time.process_time()
            try:
                parse_geometry(text, lenient=lenient)
            except WaterbgError as err:
                assert "\n" not in str(err), seed
            assert time.process_time() - began < SECONDS + SECONDS_PER_BYTE * len(text), seed
    assert most_memory() - memory < MEMORY_OF_A_BATCH


def test_a_line_of_fifty_megabytes_is_no_problem(tmp_path):
    path = tmp_path / "long.stream"
    path.write_bytes(factory.stream([factory.chunk()]) + b"x" * 50_000_000 + b"\n" + factory.chunk(1))
    began = time.process_time()
    with StreamFile(path) as stream:
        assert len(list(stream.chunks())) == 2
    assert time.process_time() - began < 5


def test_a_chunk_that_never_ends_is_refused_before_memory_runs_out(tmp_path, monkeypatch):
    monkeypatch.setattr("waterbg.stream.reader._LONGEST_CHUNK", 8 << 20)
    path = tmp_path / "endless.stream"
    with path.open("wb") as file:
        file.write(factory.stream() + factory.chunk()[:-40])
        for _ in range(20):
            file.write(b"note = nothing that ends a chunk stands here\n" * 20_000)
    with StreamFile(path) as stream, pytest.raises(WaterbgError, match="8 MiB"):
        list(stream.chunks())


@pytest.mark.parametrize("before", [b"", factory.chunk()], ids=["header", "gap"])
def test_text_without_end_before_a_chunk_is_refused_before_memory_runs_out(tmp_path, monkeypatch, before):
    monkeypatch.setattr("waterbg.stream.reader._LONGEST_CHUNK", 8 << 20)
    path = tmp_path / "gap.stream"
    with path.open("wb") as file:
        file.write(factory.stream() + before)
        for _ in range(20):
            file.write(b"nothing that begins a chunk stands here\n" * 20_000)
        file.write(factory.chunk(1))
    with pytest.raises(WaterbgError, match="8 MiB"), StreamFile(path) as stream:
        list(check_stream(stream))


def test_text_without_end_behind_the_last_chunk_takes_no_memory(tmp_path):
    path = tmp_path / "tail.stream"
    with path.open("wb") as file:
        file.write(factory.stream([factory.chunk()]))
        for _ in range(40):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    with StreamFile(path) as stream:
        assert not [finding for finding in check_stream(stream) if finding.check != "long_line"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30e6
