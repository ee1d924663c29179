"""waterbg.run.sweep: what is found in pieces is what one process finds in the whole."""

import multiprocessing
from types import SimpleNamespace

import pytest

from waterbg.errors import WaterbgError
from waterbg.run import Images, local, resolve_job, run_subtract, sweep
from waterbg.run.local import prove
from waterbg.stream import StreamFile, check_stream, find_differences, reader
from waterbg.stream.check import CHECKS, LOSSES

from ..stream import factory

CHUNKS = [factory.chunk(i, [factory.crystal([factory.row(h=h) for h in range(3)])]) for i in range(7)]
HEADER = factory.stream()
WHOLE = HEADER + b"".join(CHUNKS)
NEW_HEADER = HEADER.replace(b"----- Begin geometry", b"waterbg 0.1.0 subtract\n----- Begin geometry")
DONE = [text.replace(b"      10.00", b"      -3.25") for text in CHUNKS]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Pieces of two chunks, and processes for any length."""
    monkeypatch.setattr(sweep, "_CHUNKS", 2)
    monkeypatch.setattr(sweep, "_WORTH", 0)


def silent(message):
    raise AssertionError(message)


def images_of(path, jobs):
    with StreamFile(str(path)) as stream:
        return sweep.find_images(str(path), stream.header_end, jobs, silent)


@pytest.mark.parametrize("jobs", [1, 3])
def test_images_come_in_the_order_of_the_stream_with_their_first_and_highest_events(tmp_path, jobs):
    path = tmp_path / "a.stream"
    path.write_bytes(WHOLE)
    expected = {}
    with StreamFile(str(path)) as stream:
        for chunk in stream.chunks():
            sweep.add_image(expected, chunk.filename, chunk.event)
    assert expected
    assert list(images_of(path, jobs).items()) == list(expected.items())


def test_the_highest_event_is_that_of_the_highest_numbers():
    images = {}
    for event in ("//9", "//10", "//2", "a//1//0", None, "//10/0", "//10"):
        sweep.add_image(images, "a.h5", event)
    sweep.add_image(images, "b.h5", None)
    assert images == {"a.h5": ("//9", "//10/0"), "b.h5": (None, None)}


def harmed():
    """Streams cut anywhere, without any one of their lines, and with a line twice."""
    lines = WHOLE[len(HEADER) :].splitlines(True)
    yield HEADER + lines[-1] + b"".join(lines)
    yield from (WHOLE[:cut] for cut in range(len(HEADER), len(WHOLE), 61))
    yield from (HEADER + b"".join(lines[:i] + lines[i + 1 :]) for i in range(0, len(lines), 3))
    yield from (HEADER + b"".join(lines[:i] + lines[i : i + 1] + lines[i:]) for i in range(0, len(lines), 5))


def test_a_stream_in_which_something_is_lost_never_passes(tmp_path):
    path = tmp_path / "a.stream"
    refused = passed = 0
    for text in harmed():
        path.write_bytes(text)
        with StreamFile(str(path)) as stream:
            lost = any(check_stream(stream, skip=set(CHECKS) - LOSSES))
        found = images_of(path, 1)
        assert found is None or not lost
        refused += lost
        passed += found is not None
    assert refused > 20
    assert passed > 20


def agreement(tmp_path, after, jobs=1):
    for name, text in (("a", WHOLE), ("b", after)):
        (tmp_path / name).write_bytes(text)
    paths = str(tmp_path / "a"), str(tmp_path / "b")
    with StreamFile(paths[1]) as stream:
        starts = len(HEADER), stream.header_end
    agreed = sweep.agree(*paths, starts, jobs, silent)
    assert not (agreed and list(find_differences(*paths)))
    return agreed


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_honest_output_agrees(tmp_path, jobs):
    assert agreement(tmp_path, NEW_HEADER + b"".join(DONE), jobs)


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_output_that_differs_elsewhere_does_not(tmp_path, jobs):
    whole = NEW_HEADER + b"".join(DONE)
    assert not agreement(tmp_path, whole.replace(b"num_peaks = ", b"num_peaks =  ", 1), jobs)
    assert not agreement(tmp_path, NEW_HEADER + b"".join(DONE[:-1]), jobs)
    assert not agreement(tmp_path, NEW_HEADER + b"".join([*DONE[:3], *DONE[4:]]), jobs)
    assert not agreement(tmp_path, NEW_HEADER + b"".join([*DONE, DONE[0]]), jobs)
    assert not agreement(tmp_path, NEW_HEADER + b"".join([*DONE[:4], b"a line\n", *DONE[4:]]), jobs)
    assert not agreement(tmp_path, whole[:-5], jobs)


@pytest.mark.parametrize("harm", [b"num_peaks = ", b"Event: ", b"----- Begin geometry"])
def test_several_processes_refuse_what_one_refuses_in_the_same_words(tmp_path, harm):
    whole = NEW_HEADER + b"".join(DONE)
    at = whole.rindex(harm)
    (tmp_path / "a.stream").write_bytes(WHOLE)
    job = SimpleNamespace(input=str(tmp_path / "a.stream"), header_end=len(HEADER), images=Images())
    out = SimpleNamespace(partial=tmp_path / "part", path=tmp_path / "out.stream")
    out.partial.write_bytes(whole)
    for jobs in (1, 3):
        prove(job, out, jobs, silent)
    out.partial.write_bytes(whole[:at] + b"x" + whole[at:])
    said = []
    for jobs in (1, 3):
        with pytest.raises(WaterbgError) as refused:
            prove(job, out, jobs, silent)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_what_is_the_same_is_not_parsed(tmp_path, monkeypatch):
    before, after = tmp_path / "a.stream", tmp_path / "b.stream"
    before.write_bytes(WHOLE)
    after.write_bytes(NEW_HEADER + b"".join(CHUNKS[:6] + DONE[6:]))
    parsed, parse = [], reader.parse_chunk
    monkeypatch.setattr(reader, "parse_chunk", lambda data: parsed.append(data) or parse(data))
    assert sweep.agree(str(before), str(after), (len(HEADER), len(NEW_HEADER)), 1, silent)
    assert parsed == [CHUNKS[6], DONE[6]]


def test_the_workers_have_ended_when_the_proof_starts_its_own(stream, tmp_path, monkeypatch):
    there = []
    monkeypatch.setattr(local, "prove", lambda *_: there.append(multiprocessing.active_children()))
    job = resolve_job(str(stream), settings={"integration": "rings-nograd"})
    run_subtract(job, str(tmp_path / "out.stream"), jobs=3, report=silent)
    assert there == [[]]
