"""waterbg.run.resume: the partial output alone says where to go on."""

import pytest

from waterbg.errors import OutputError
from waterbg.run.resume import Restart, find_restart

from ..stream import factory

CHUNKS = [factory.chunk(i, [factory.crystal([factory.row(h=h) for h in range(3)])]) for i in range(5)]
HEADER = factory.stream()
NEW_HEADER = HEADER.replace(b"----- Begin geometry", b"waterbg 0.1.0 subtract\n----- Begin geometry")
DONE = [text.replace(b"      10.00", b"      -3.25") for text in CHUNKS]


@pytest.fixture
def streams(tmp_path):
    original = tmp_path / "a.stream"
    original.write_bytes(HEADER + b"".join(CHUNKS))
    return str(original), tmp_path / ".out.stream.part"


def restart(streams, text, may_lack=False):
    original, partial = streams
    partial.write_bytes(text)
    return find_restart(str(partial), NEW_HEADER, original, len(HEADER), chunks_may_lack=may_lack)


def test_every_possible_cut_goes_on_behind_the_last_complete_chunk(streams):
    whole = NEW_HEADER + b"".join(DONE)
    for cut in range(len(NEW_HEADER), len(whole) + 1, 31):
        n = sum(len(NEW_HEADER + b"".join(DONE[:i])) <= cut for i in range(1, 6))
        expected = Restart(len(NEW_HEADER + b"".join(DONE[:n])), len(HEADER + b"".join(CHUNKS[:n])), n)
        assert restart(streams, whole[:cut]) == expected


def test_a_part_that_ends_before_the_newline_of_its_chunk_goes_on_before_that_chunk(streams):
    begun = NEW_HEADER + DONE[0]
    expected = Restart(len(begun), len(HEADER + CHUNKS[0]), 1)
    assert restart(streams, (begun + DONE[1]).removesuffix(b"\n")) == expected


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_run_killed_in_the_header_begins_anew(streams, cut):
    assert restart(streams, NEW_HEADER[:cut]) == Restart(0, len(HEADER), 0)


@pytest.mark.parametrize("at", [b"Image serial number: 3", b"      -3.25"])
@pytest.mark.parametrize("length", [1, 12, 700, 5000])
def test_a_part_in_which_a_power_cut_left_zeros_is_trusted_up_to_them(streams, at, length):
    """File systems may give back zeros for bytes that had not reached the disk, with good ones behind."""
    good = len(NEW_HEADER) + sum(map(len, DONE[:2]))
    hole = good + DONE[2].index(at)
    text = bytearray(NEW_HEADER + b"".join(DONE))
    text[hole : hole + length] = bytes(min(length, len(text) - hole))
    found = restart(streams, bytes(text))
    assert found == Restart(good, len(HEADER) + sum(map(len, CHUNKS[:2])), 2)


def test_a_part_made_with_other_options_is_refused(streams):
    with pytest.raises(OutputError, match="other options"):
        restart(streams, NEW_HEADER.replace(b"0.1.0 subtract", b"0.1.0 subtract --int-radius=2,3,4") + DONE[0])


def test_a_part_of_another_stream_is_refused(streams):
    with pytest.raises(OutputError, match="not the stream's"):
        restart(streams, NEW_HEADER + DONE[1])


@pytest.mark.parametrize("may_lack", [False, True])
def test_a_part_with_more_chunks_than_the_stream_is_refused(streams, may_lack):
    with pytest.raises(OutputError, match="chunk 6 is not in the stream"):
        restart(streams, NEW_HEADER + b"".join([*DONE, DONE[0]]), may_lack)


def test_chunks_that_were_dropped_are_passed_over(streams):
    found = restart(streams, NEW_HEADER + DONE[1] + DONE[3] + b"----- Begin ch", may_lack=True)
    assert found == Restart(len(NEW_HEADER + DONE[1] + DONE[3]), len(HEADER + b"".join(CHUNKS[:4])), 2)


def test_what_stands_before_a_dropped_chunk_is_in_the_part(streams):
    original, _ = streams
    with open(original, "wb") as file:
        file.write(HEADER + b"".join(b"note %d\n" % i + text for i, text in enumerate(CHUNKS)))
    written = NEW_HEADER + b"note 0\nnote 1\n" + DONE[1] + b"note 2\nnote 3\n" + DONE[3]
    found = restart(streams, written + b"note 4\n", may_lack=True)
    assert (found.partial, found.chunks) == (len(written), 2)
