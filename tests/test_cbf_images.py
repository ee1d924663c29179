"""The main job on CBF images, one frame a file."""

import gzip

import h5py

from tests.frames.frame_factory import cbf_bytes
from tests.test_subtract import reflections, subtract


def test_frames_in_cbf_files_give_the_numbers_of_the_same_frames_in_hdf5(small, monkeypatch):
    monkeypatch.chdir(small)
    text = (small / "rings-nocen-nosat-nograd.stream").read_bytes()
    with h5py.File("images.h5") as file:
        for number, frame in enumerate(file["entry/data/data"]):
            name = f"frame_{number}.cbf" + (".gz" if number % 2 else "")
            written = cbf_bytes(frame)
            (small / name).write_bytes(gzip.compress(written) if number % 2 else written)
            text = text.replace(b"images.h5\nEvent: //%d\n" % number, b"%s\nEvent: //\n" % name.encode())
    (small / "cbf.stream").write_bytes(text)
    assert b"images.h5\n" not in text

    assert subtract("cbf.stream", "-o", "out.stream") == 0
    assert subtract("rings-nocen-nosat-nograd.stream", "-o", "hdf5.stream") == 0
    found, wanted = ([*reflections(small / name).items()] for name in ("out.stream", "hdf5.stream"))
    assert len(found) == len(wanted) > 3000
    for (key, numbers), (other_key, other_numbers) in zip(found, wanted, strict=True):
        assert key[2:] == other_key[2:]
        assert numbers == other_numbers


def test_a_cbf_file_that_was_cut_short_ends_the_run_before_it_begins(small, monkeypatch, capsys):
    monkeypatch.chdir(small)
    text = (small / "rings-nocen-nosat-nograd.stream").read_bytes()
    with h5py.File("images.h5") as file:
        (small / "frame.cbf").write_bytes(cbf_bytes(file["entry/data/data"][0])[:-5000])
    (small / "cbf.stream").write_bytes(text.replace(b"images.h5\nEvent: //0\n", b"frame.cbf\nEvent: //\n"))
    assert subtract("cbf.stream", "-o", "out.stream") == 1
    said = capsys.readouterr().err
    assert said.startswith("waterbg: error: frame.cbf: ends before the last of its 504 x 512 pixels")
    assert not list(small.glob("out.stream*"))
