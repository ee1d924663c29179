"""waterbg.run.local.refuse_missing_images: many files are opened by many processes, and said is what one would say."""

import os

import pytest

from waterbg.errors import ImageError
from waterbg.frames import FrameReader
from waterbg.run import local, resolve_job
from waterbg.run.worker import Worker


def silent(message):
    raise AssertionError(message)


@pytest.fixture
def worker(stream):
    return Worker(resolve_job(str(stream)))


def many(stream, n):
    """Names of as many files, each with its first and its last event."""
    for number in range(n):
        (stream.parent / f"{number}.h5").symlink_to("images.h5")
    return {f"{number}.h5": ("//0", "//5") for number in range(n)}


def test_files_are_opened_by_all_processes_each_once(stream, worker, monkeypatch):
    images = many(stream, 5 * local._FILES)
    log = stream.parent / "log"
    opened = FrameReader.check

    def note(self, name, event=None):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {name} {event}\n")
        opened(self, name, event)

    monkeypatch.setattr(FrameReader, "check", note)
    local.refuse_missing_images(worker, images, 3, silent)
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len({process for process, _, _ in lines} - {str(os.getpid())}) == 3
    assert sorted(line[1:] for line in lines) == sorted([name, event] for name in images for event in images[name])


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_first_that_is_unfit_is_named(stream, worker, jobs):
    images = many(stream, 3 * local._FILES)
    names = list(images)
    for number in (local._FILES + 3, 2 * local._FILES, 2 * local._FILES + 1):
        (stream.parent / names[number]).unlink()
    with pytest.raises(ImageError, match="no such file") as caught:
        local.refuse_missing_images(worker, images, jobs, silent)
    assert caught.value.path == names[local._FILES + 3]
    images = {names[0]: ("//0", "//5"), names[1]: ("//0", "//6"), names[2]: ("//7", "//7")}
    with pytest.raises(ImageError, match="there is no frame 6"):
        local.refuse_missing_images(worker, images, jobs, silent)


def test_a_run_that_needs_no_image_opens_none(worker):
    local.refuse_missing_images(worker, {}, 3, silent)
