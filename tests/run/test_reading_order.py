"""waterbg.run.worker: frames are read HDF5 chunk by HDF5 chunk, whatever the order of the stream."""

from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from waterbg.run import resolve_job
from waterbg.run.follow import Span
from waterbg.run.worker import FEW, Worker, chunks_per_span
from waterbg.stream import StreamFile

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden/small"
FRAMES, TOGETHER = 24, 8


def bytes_read():
    """Bytes this process has read from files so far: HDF5 reads a chunk whenever it decodes it."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    raise AssertionError("no rchar")


@pytest.fixture(params=[1, TOGETHER])
def shuffled(request, tmp_path):
    """A stream in random order over 24 frames, of which an HDF5 chunk holds one or eight; frames a chunk."""
    (tmp_path / "mask.h5").write_bytes((GOLDEN / "mask.h5").read_bytes())
    with h5py.File(GOLDEN / "images.h5") as old, h5py.File(tmp_path / "images.h5", "w") as new:
        name = "/entry/data/data"
        frames = np.resize(old[name][()], (FRAMES, *old[name].shape[1:]))
        chunks = (request.param, *frames.shape[1:])
        new.create_dataset(name, data=frames, chunks=chunks, compression="gzip", compression_opts=1)
    text = (GOLDEN / "rings-nocen-nosat-nograd.stream").read_bytes()
    begin = b"----- Begin chunk -----\n"
    header, *bodies = text.split(begin)
    order = np.random.default_rng(7).permutation(FRAMES)
    parts = [header]
    for event in order:
        body = bodies[event % len(bodies)]
        was = body[body.index(b"Event: ") :].split(b"\n", 1)[0]
        parts.append(body.replace(was, b"Event: //%d" % event, 1))
    path = tmp_path / "run.stream"
    path.write_bytes(begin.join(parts))
    return path, request.param


def spans(job):
    with StreamFile(job.input) as stream:
        found = list(stream.chunks())
    return Span(job.header_end, found[-1].stop, len(found)), [Span(c.start, c.stop, 1) for c in found]


def test_each_hdf5_chunk_is_decoded_once_in_a_span_and_the_text_keeps_its_order(shuffled):
    path, _ = shuffled
    job = resolve_job(str(path), settings={"integration": "rings"})
    whole, single = spans(job)
    with closing(Worker(job)) as worker:
        worker.process(single[0])  # modules and kernels are loaded by now
    with closing(Worker(job)) as worker:
        before = bytes_read()
        piece = worker.process(whole)
        spent = bytes_read() - before
    size = sum((path.parent / name).stat().st_size for name in ("images.h5", "mask.h5", "run.stream"))
    assert spent < 1.5 * size  # with frames in the order of the stream it is several times as much
    with closing(Worker(job)) as worker:
        pieces = [worker.process(span) for span in single]
    assert piece.text == b"".join(each.text for each in pieces)
    assert piece.tally.integrated == sum(each.tally.integrated for each in pieces) > 0


def test_spans_grow_with_what_an_hdf5_chunk_holds(shuffled):
    path, together = shuffled
    job = resolve_job(str(path), settings={"integration": "rings"})
    assert chunks_per_span(Worker(job)) == (FEW if together == 1 else FEW * together)
