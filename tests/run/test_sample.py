"""waterbg.run.sample: any number of processes learns the same."""

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from waterbg.errors import ImageError
from waterbg.model import calibrate
from waterbg.model import learn as learning
from waterbg.run import Images, resolve_job
from waterbg.run.local import learn_run_model
from waterbg.run.pool import Pool
from waterbg.run.sample import Sample
from waterbg.run.shelf import LARGE, Shelf
from waterbg.run.worker import Worker, lay, prepare
from waterbg.stream import reader

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden/small"


@pytest.fixture
def job():
    return resolve_job(str(GOLDEN / "rings-nocen-nosat-nograd.stream"))


def silent(message):
    raise AssertionError(message)


def learn(job, jobs, report=silent):
    worker = Worker(job)
    with Pool(jobs, partial(prepare, worker), report) as pool:
        found = learn_run_model(worker, None, None, pool)
        assert bool(multiprocessing.active_children()) == (jobs > 1)
        return found


@pytest.mark.parametrize("enough", [learning.ENOUGH_FRAMES, 2])
def test_two_and_five_processes_learn_what_one_learns(job, monkeypatch, enough):
    # with 2 the walks end while frames are still under way
    monkeypatch.setattr(learning, "ENOUGH_FRAMES", enough)
    monkeypatch.setattr(learning, "ENOUGH_SPOTS", 0)
    for walk in (learning, calibrate):
        monkeypatch.setattr(walk, "ENOUGH_DECOYS", 0)
    alone = learn(job, 1)
    assert alone.frames == enough
    for jobs in (2, 5):
        assert learn(job, jobs) == alone


@pytest.mark.parametrize("compiled", [False, True])
def test_frames_are_worked_on_here_while_others_would_compile_as_well(job, monkeypatch, compiled):
    here = []
    monkeypatch.setattr("waterbg.run.sample.has_compiled", lambda: compiled)
    monkeypatch.setattr(Sample, "_load", lambda self, chunks: here.append(len(chunks)) or map(self.worker.load, chunks))
    learn(job, 2)
    assert here == [1, int(compiled)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_frames_that_cannot_be_read_are_left_out_or_end_the_run(job, tmp_path, jobs):
    text = Path(job.input).read_bytes().replace(b"Event: //3", b"Event: //99")
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    (tmp_path / "a.stream").write_bytes(text)
    with pytest.raises(ImageError, match="there is no frame 99"):
        learn(resolve_job(str(tmp_path / "a.stream")), jobs)
    lenient = resolve_job(str(tmp_path / "a.stream"), images=Images(on_missing="keep"))
    assert learn(lenient, jobs).frames == 5


def test_a_run_whose_first_images_have_gone_learns_from_those_that_are_there(job, tmp_path, monkeypatch):
    monkeypatch.setattr("waterbg.model.SAMPLE_FRAMES", 2)
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    text = Path(job.input).read_bytes()
    (tmp_path / "a.stream").write_bytes(text.replace(b": images.h5", b": gone.h5", 3))
    lenient = resolve_job(str(tmp_path / "a.stream"), images=Images(on_missing="keep"))
    found = learn(lenient, 1)
    assert found.frames == 2
    assert learn(lenient, 3) == found
    with pytest.raises(ImageError, match=r"gone\.h5: no such file"):
        learn(resolve_job(str(tmp_path / "a.stream")), 1)


def test_chunks_without_crystals_are_not_parsed(job, tmp_path, monkeypatch):
    text = Path(job.input).read_bytes()
    at = text.index(b"----- Begin chunk")
    first = text[at : text.index(b"----- End chunk -----\n") + len("----- End chunk -----\n")]
    blank = first[: first.index(b"--- Begin crystal")] + b"----- End chunk -----\n"
    (tmp_path / "a.stream").write_bytes(text[:at] + 20 * blank + first + 20 * blank + first)
    parsed, parse = [], reader.parse_chunk
    worker = Worker(resolve_job(str(tmp_path / "a.stream")))
    monkeypatch.setattr(reader, "parse_chunk", lambda data: parsed.append(data) or parse(data))
    assert [chunk.bytes for chunk in Sample(worker, 3).chunks] == parsed == [first, first]


@pytest.fixture
def all_is_large(monkeypatch):
    monkeypatch.setattr("waterbg.run.shelf.LARGE", 1)


@pytest.mark.usefixtures("all_is_large")
def test_two_and_five_processes_learn_what_one_learns_from_arrays_in_shared_memory(job):
    alone = learn(job, 1)
    for jobs in (2, 5):
        assert learn(job, jobs) == alone


@pytest.mark.usefixtures("all_is_large")
def test_a_worker_that_dies_over_what_it_lays_down_leaves_nothing_of_it(job, tmp_path, monkeypatch):
    def lay_and_die(result, place):
        with contextlib.suppress(FileExistsError):
            (tmp_path / "died").touch(exist_ok=False)
            lay(dataclasses.replace(result, groups=np.full_like(result.groups, 7.0)), place)
            os.kill(os.getpid(), signal.SIGKILL)
        return lay(result, place)

    monkeypatch.setattr("waterbg.run.sample.lay", lay_and_die)
    said = []
    found = learn(job, 2, said.append)
    assert len(said) == 1
    assert "a worker died; trying the chunk at byte" in said[0]
    assert found == learn(job, 1)


def number_after(frame, scene, value, seconds):
    time.sleep(seconds if frame.event == "//2" else 0)
    return np.full(1000, value)


@pytest.mark.usefixtures("all_is_large")
def test_what_one_walk_ended_without_is_not_taken_for_what_the_next_one_found(job):
    worker = Worker(job)
    with Pool(2, partial(prepare, worker), silent) as pool:
        sample = Sample(worker, 6)
        walk = sample.walk(pool)
        first = walk(sample, number_after, 1, 1.0)
        assert [next(first)[0] for _ in range(2)] == [1, 1]
        first.close()  # the third is on its way, and comes a second later
        second = walk(sample, number_after, 2, 0.0)
        found = [next(second) for _ in range(2)]
        time.sleep(1.5)
        found += second
    assert [set(one) for one in found] == [{2}] * 6


def test_where_there_is_no_memory_for_a_shelf_all_goes_through_the_pipe():
    shelf = Shelf(1 << 40, large(0))
    np.testing.assert_array_equal(shelf.take(shelf.lay(large(3), 1 << 39))["more"], large(3)["more"])


def large(value, n=LARGE):
    return {"some": value, "many": np.full(n, value, np.int8), "more": np.full((2, n), value, np.int8)}


def test_large_arrays_are_laid_on_a_shelf_and_not_into_the_pipe():
    shelf = Shelf(2, large(0))
    laid = [shelf.lay(large(value), value % 2) for value in (6, 7)]
    assert all(len(pickle.dumps(one)) < 1000 for one in laid)
    for one, value in zip(laid, (6, 7), strict=True):
        found = shelf.take(one)
        assert found["some"] == value
        for name in ("many", "more"):
            np.testing.assert_array_equal(found[name], large(value)[name])


def test_what_a_shelf_has_no_room_for_goes_through_the_pipe():
    shelf = Shelf(1, large(0))
    np.testing.assert_array_equal(shelf.take(shelf.lay(large(3, 4 * LARGE), 0))["more"], large(3, 4 * LARGE)["more"])
    assert Shelf(3, None).lay(large(1), 2).sizes == []


def test_a_shelf_that_was_cleared_can_be_used_again():
    shelf = Shelf(1, large(0))
    shelf.lay(large(3), 0)
    shelf.clear()
    assert shelf.take(shelf.lay(large(4), 0))["many"].tolist() == [4] * LARGE
