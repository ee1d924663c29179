"""waterbg.run.sample: any number of processes learns the same."""

from pathlib import Path

import pytest

from waterbg.errors import ImageError
from waterbg.model import learn
from waterbg.run import Images, resolve_job
from waterbg.run.local import learn_run_model
from waterbg.run.worker import Worker

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden/small"


@pytest.fixture
def job():
    return resolve_job(str(GOLDEN / "rings-nocen-nosat-nograd.stream"))


def silent(message):
    raise AssertionError(message)


@pytest.mark.parametrize("enough", [learn.ENOUGH_FRAMES, 2])
def test_two_and_five_processes_learn_what_one_learns(job, monkeypatch, enough):
    # with 2 the walks end while frames are still under way
    monkeypatch.setattr(learn, "ENOUGH_FRAMES", enough)
    monkeypatch.setattr(learn, "ENOUGH_SPOTS", 0)
    monkeypatch.setattr(learn, "ENOUGH_DECOYS", 0)
    alone = learn_run_model(Worker(job), None, None, 1, silent)
    assert alone.frames == enough
    for jobs in (2, 5):
        assert learn_run_model(Worker(job), None, None, jobs, silent) == alone


@pytest.mark.parametrize("jobs", [1, 3])
def test_frames_that_cannot_be_read_are_left_out_or_end_the_run(job, tmp_path, jobs):
    text = Path(job.input).read_bytes().replace(b"Event: //3", b"Event: //99")
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(GOLDEN / name)
    (tmp_path / "a.stream").write_bytes(text)
    with pytest.raises(ImageError, match="there is no frame 99"):
        learn_run_model(Worker(resolve_job(str(tmp_path / "a.stream"))), None, None, jobs, silent)
    lenient = resolve_job(str(tmp_path / "a.stream"), images=Images(on_missing="keep"))
    assert learn_run_model(Worker(lenient), None, None, jobs, silent).frames == 5
