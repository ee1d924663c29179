"""waterbg.run.sample: any number of processes learns the same."""

import multiprocessing
from functools import partial
from pathlib import Path

import pytest

from waterbg.errors import ImageError
from waterbg.model import calibrate
from waterbg.model import learn as learning
from waterbg.run import Images, resolve_job
from waterbg.run.local import learn_run_model
from waterbg.run.pool import Pool
from waterbg.run.sample import Sample
from waterbg.run.worker import Worker, prepare
from waterbg.stream import reader

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden/small"


@pytest.fixture
def job():
    return resolve_job(str(GOLDEN / "rings-nocen-nosat-nograd.stream"))


def silent(message):
    raise AssertionError(message)


def learn(job, jobs):
    worker = Worker(job)
    with Pool(jobs, partial(prepare, worker), silent) as pool:
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
