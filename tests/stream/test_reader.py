"""StreamFile reads what libcrystfel reads."""

import importlib.util
import io
import json
import re
import sys
import tracemalloc

import numpy as np
import pytest

from waterbg.errors import StreamError
from waterbg.stream import NUMBERS, StreamFile, check_stream, splice_reflections

from . import factory
from .dump import dump


def write(path, data):
    path.write_bytes(data)
    return path


def rewritten(path):
    """The stream with its own numbers put back."""
    with StreamFile(path) as stream:
        parts, at = [stream.header], stream.header_end
        for chunk in stream.chunks():
            new = []
            for crystal in chunk.crystals:
                values = np.zeros(len(crystal.reflections), [(name, "f8") for name in NUMBERS] + [("keep", "?")])
                for name in NUMBERS:
                    values[name] = crystal.reflections[name]
                values["keep"] = True
                new.append(values)
            parts += [stream.read(at, chunk.start), splice_reflections(chunk, new)]
            at = chunk.stop
        parts.append(stream.read(at, path.stat().st_size))
    return b"".join(parts)


def oracle(shared):
    spec = importlib.util.spec_from_file_location("compare", shared / "conformance" / "compare_conformance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.shared
def test_every_conformance_stream_gives_what_libcrystfel_makes_of_it(shared):
    compare = oracle(shared).compare
    wrong = {}
    for path in sorted((shared / "conformance").glob("*.stream")):
        expected = json.loads(path.with_suffix(".json").read_text())
        differences = compare(dump(path), expected, True)
        if differences:
            wrong[path.stem] = differences
    assert not wrong


@pytest.mark.shared
def test_every_stream_libcrystfel_reads_whole_comes_back_byte_for_byte(shared):
    folders = ("conformance", "streams", "golden/small", "golden/small_gain", "real/thaumatin", "real/thermolysin")
    done = 0
    for path in (path for folder in folders for path in sorted((shared / folder).glob("*.stream"))):
        try:
            with StreamFile(path) as stream:
                if any(chunk.faults for chunk in stream.all_chunks()) or stream.ended:
                    continue
        except StreamError:
            continue
        assert rewritten(path) == path.read_bytes(), path
        done += 1
    assert done > 100


def test_a_golden_stream_comes_back_byte_for_byte(data):
    path = data / "golden/small/rings-nocen-nosat-nograd.stream"
    assert rewritten(path) == path.read_bytes()


def test_chunk_and_crystal_give_what_is_printed(tmp_path):
    rows = [factory.row(h=-4, I=12.34, panel=b"p0"), factory.row(h=5, panel=b"q0")]
    text = factory.stream([factory.chunk(3, [factory.crystal(rows), factory.crystal(None)])])
    with StreamFile(write(tmp_path / "a.stream", text)) as stream:
        assert stream.geometry_text == factory.GEOMETRY
        assert stream.command_line == "indexamajig -i a.lst --int-radius=3,5,7"
        (chunk,) = stream.chunks()
    assert (chunk.filename, chunk.event, chunk.serial, chunk.photon_energy_eV) == ("images.h5", "//3", 4, 9500.0)
    assert chunk.camera_length == 0.1
    assert chunk.value("hit") == "1"
    assert chunk.peaks["intensity"].tolist() == [300.0]
    first, second = chunk.crystals
    assert first.axes.tolist() == [[0.2222222, 0, 0], [0, 0.2222222, 0], [0, 0, 0.2604167]]
    assert (first.centering, first.lattice_type, first.unique_axis) == ("P", "tetragonal", "c")
    assert first.det_shift == (0.01, -0.02)
    assert (first.profile_radius, first.resolution_limit) == (0.03, 4.0)
    assert first.cell == (4.5, 4.5, 3.84, 90.0, 90.0, 90.0)
    assert first.reflections["I"].tolist() == [12.34, 10.0]
    assert [first.panel_names[panel] for panel in first.reflections["panel"]] == [b"p0", b"q0"]
    assert len(second.reflections) == 0
    assert not second.has_list


def test_a_detector_of_which_no_shift_is_printed_has_none(tmp_path):
    lacking = re.sub(rb"predict_refine/.*\n", b"", factory.crystal())
    with StreamFile(write(tmp_path / "a.stream", factory.stream([factory.chunk(0, [lacking])]))) as stream:
        (crystal,) = next(stream.chunks()).crystals
    assert crystal.det_shift == (0.0, 0.0)


@pytest.mark.parametrize("equals", [b"=", b"\t=\t", b"  =", b" \v= "])
def test_numbers_of_a_crystal_are_read_whatever_white_space_is_about_their_equals_sign(tmp_path, equals):
    text = factory.stream([factory.chunk(0, [factory.crystal()])])
    for name in (b"astar", b"bstar", b"cstar", b"profile_radius", b"diffraction_resolution_limit"):
        text = text.replace(name + b" =", name + equals)
    with StreamFile(write(tmp_path / "a.stream", text)) as stream:
        (crystal,) = next(stream.chunks()).crystals
    assert crystal.axes.tolist() == [[0.2222222, 0, 0], [0, 0.2222222, 0], [0, 0, 0.2604167]]
    assert (crystal.profile_radius, crystal.resolution_limit) == (0.03, 4.0)


def test_a_copied_whole_number_without_a_number_is_none(tmp_path):
    lines = b"header/int/a = \nheader/int/b = 5\nheader/float/c = \n"
    text = factory.stream([factory.chunk().replace(b"hit = 1\n", lines)])
    with StreamFile(write(tmp_path / "a.stream", text)) as stream:
        (chunk,) = stream.chunks()
    assert chunk.headers == [("b", "int", 5), ("c", "float", 0.0)]
    assert [fault.check for fault in chunk.faults] == ["header_line"]


def test_byte_ranges_that_touch_share_no_chunk_and_lose_none(tmp_path):
    text = factory.stream([factory.chunk(i, [factory.crystal([factory.row(h=i)])]) for i in range(12)])
    path = write(tmp_path / "a.stream", text)
    for cut in range(0, len(text), 97):
        with StreamFile(path) as stream:
            events = [c.event for c in stream.chunks(0, cut)] + [c.event for c in stream.chunks(cut)]
        assert events == [f"//{i}" for i in range(12)]


def test_standard_input_is_read_once(tmp_path, monkeypatch):
    text = factory.stream([factory.chunk(i) for i in range(3)])

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(text)})())
    with StreamFile("-") as stream:
        assert [chunk.event for chunk in stream.chunks()] == ["//0", "//1", "//2"]


class Pipe(io.BytesIO):
    """Bytes that come once, and in pieces, as from a pipe."""

    def seekable(self):
        return False

    def readinto(self, buffer):
        return super().readinto(memoryview(buffer)[:10_000])


def test_what_stands_between_chunks_is_seen_in_a_pipe_wherever_its_pieces_end(monkeypatch):
    geometry = factory.GEOMETRY + b"; a long comment\n" * 20_000
    chunks = [b"a line between\n" + factory.chunk(i) for i in range(4000)]
    text = factory.stream(chunks, geometry=geometry)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pipe(text)})())
    with StreamFile("-") as stream:
        assert list(check_stream(stream)) == []
        assert stream.geometry_text == geometry


def test_memory_does_not_grow_with_the_stream(tmp_path):
    one = factory.chunk(1, [factory.crystal([factory.row(h=i) for i in range(500)])])
    path = tmp_path / "a.stream"
    with path.open("wb") as file:
        file.write(factory.stream())
        for _ in range(1500):
            file.write(one)
    tracemalloc.start()
    with StreamFile(path) as stream:
        n = sum(1 for _ in stream.chunks())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 1500
    assert path.stat().st_size > 50e6
    assert most < 25e6


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: b"", "is empty"),
        (lambda text: text.replace(b"2.3", b"2.1", 1), "not a stream"),
        (lambda text: b"\x1f\x8b" + text, "compressed"),
        (lambda text: text.replace(b"Begin geometry", b"Began geometry"), "no geometry"),
        (lambda text: text.replace(b"End geometry", b"Ended geometry"), "no end"),
        (lambda text: text.replace(b"\n", b"\r\n"), "no geometry|CRLF"),
        (lambda text: text.replace(b"Generated", b"x\n" * 3000 + b"Generated"), "4090"),
        (lambda text: text.replace(b"clen", b"; padding\n" * 110000 + b"clen"), "1 MiB"),
    ],
)
def test_what_libcrystfel_refuses_is_refused_in_one_line_with_line_and_byte(tmp_path, damage, words):
    path = write(tmp_path / "a.stream", damage(factory.stream([factory.chunk()])))
    with pytest.raises(StreamError, match=words) as caught:
        StreamFile(path)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
    assert caught.value.line >= 1


def test_a_missing_stream_is_one_clear_line(tmp_path):
    with pytest.raises(StreamError, match="No such file"):
        StreamFile(tmp_path / "none.stream")
