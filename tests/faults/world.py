"""A run of a few small frames to do harm to, and what must hold however it ends."""

import itertools
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from waterbg.cli.base import run
from waterbg.simulate import Experiment, write_dataset
from waterbg.stream import NUMBERS, OutputFile, StreamFile, check_stream, find_differences

DATA = "/entry/data/data"
FRAMES = 5
# two panels of 224 by 110 pixels with the water ring on them: about 200 reflections a frame, 10 ms each
EXPERIMENT = Experiment(
    seed=11,
    panel_shape=(110, 224),
    gap=4.0,
    camera_length=0.034425,
    dead_pixels=10,
    hot_pixels=2,
    zingers=1,
    beamstop=8.0,
    detector_shift=0.3,
    cell=(45.0, 45.0, 38.4, 90.0, 90.0, 90.0),
)


def make(folder):
    """Write the run that the tests copy."""
    write_dataset(EXPERIMENT, FRAMES, folder, "run")


@dataclass
class World:
    """A copy of the run: ``run.stream`` and ``run.h5`` in a folder of their own; ``out.stream`` is to be written."""

    folder: Path

    @classmethod
    def copy(cls, source, folder):
        """Copy stream and images to a new folder."""
        folder.mkdir(parents=True)
        for name in ("run.stream", "run.h5"):
            shutil.copyfile(source / name, folder / name)
        return cls(folder)

    @property
    def stream(self):
        """Path of the stream."""
        return self.folder / "run.stream"

    @property
    def images(self):
        """Path of the images."""
        return self.folder / "run.h5"

    @property
    def out(self):
        """Path of the output."""
        return self.folder / "out.stream"

    def subtract(self, *words, out=None):
        """Run the main job in this process; its exit status."""
        return run(["waterbg", "subtract", str(self.stream), "-o", str(out or self.out), *map(str, words)])

    def edit(self, change):
        """Replace the stream's bytes by what ``change`` makes of them."""
        before = self.stream.read_bytes()
        after = change(before)
        assert after != before
        self.stream.write_bytes(after)

    def pixels(self, change, **options):
        """Replace the images by what ``change`` makes of them, stored with other options."""
        with h5py.File(self.images, "r+") as file:
            data = change(file[DATA][()])
            del file[DATA]
            file.create_dataset(DATA, data=data, **{"chunks": (1, *data.shape[1:]), **options})

    def spoil_chunk(self, frame, rng):
        """Overwrite the stored bytes of one frame by others."""
        with h5py.File(self.images) as file:
            where = file[DATA].id.get_chunk_info(frame)
        with self.images.open("r+b") as raw:
            raw.seek(where.byte_offset)
            raw.write(rng.integers(0, 256, where.size, np.uint8).tobytes())

    def repeat(self, times):
        """Make the stream longer by repeating its chunks."""
        self.edit(lambda text: text + text[text.index(b"----- Begin chunk") :] * (times - 1))

    def whole(self, *words):
        """Bytes of the output of an undisturbed run, whose files are removed again."""
        assert self.subtract(*words) == 0
        text = self.out.read_bytes()
        for name in self.left():
            (self.folder / name).unlink()
        return text

    def left(self):
        """Names of what lies in the folder beside the input."""
        return sorted(set(os.listdir(self.folder)) - {"run.stream", "run.h5"})


def harm_at(monkeypatch, call, harm, target=OutputFile, name="write"):
    """Do ``harm`` before the given call of a method, counted from 1, in this process and those it forks."""
    original, calls = getattr(target, name), itertools.count(1)

    def counted(*args, **keywords):
        if next(calls) == call:
            harm()
        return original(*args, **keywords)

    monkeypatch.setattr(target, name, counted)


def per_event(path):
    """{event: [(h, k, l, I, sigma, peak, background)]} of all crystals."""
    found = {}
    with StreamFile(path) as stream:
        for chunk in stream.chunks():
            rows = found.setdefault(chunk.event, [])
            for crystal in chunk.crystals:
                rows += [tuple(row[name].item() for name in ("h", "k", "l", *NUMBERS)) for row in crystal.reflections]
    return found


def assert_honest(before, after, may_lack=False):
    """An output that libcrystfel reads whole, differs only where it may, and holds no number that is none."""
    assert list(find_differences(str(before), str(after), may_lack)) == []
    with StreamFile(before) as old, StreamFile(after) as new:
        assert {finding.check for finding in check_stream(new)} <= {finding.check for finding in check_stream(old)}
    for rows in per_event(after).values():
        for row in rows:
            assert np.isfinite(row).all(), row
            assert row[4] >= 0, row  # sigma


def assert_one_line(said):
    """What a user's fault sounds like."""
    assert re.fullmatch(r"waterbg: error: [^\n]+\n", said), said
    assert "Traceback" not in said
