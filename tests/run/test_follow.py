"""waterbg.run.follow: which bytes are ready."""

import os
import subprocess
import sys
import threading
import time

import pytest

from waterbg.errors import StreamError
from waterbg.run.follow import Follow, Spans

HEADER = b"CrystFEL stream format 2.3\n"


def chunk(number, end=b"\n"):
    return end.join([b"----- Begin chunk -----", b"Image filename: %d.h5" % number, b"----- End chunk -----", b""])


def spans_of(path, **kwargs):
    return [span for span in Spans(str(path), **kwargs) if span is not None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_spans_cover_every_byte_behind_the_header_once_and_end_at_ends_of_chunks(tmp_path, end):
    path = tmp_path / "a.stream"
    body = b"".join(chunk(i, end) for i in range(10)) + b"comment\n" + chunk(10, end)
    path.write_bytes(HEADER + body)
    spans = spans_of(path, start=len(HEADER), chunks_per_span=4)
    assert [span.chunks for span in spans] == [4, 4, 3]
    assert spans[0].start == len(HEADER)
    assert all(a.stop == b.start for a, b in zip(spans, spans[1:]))
    assert spans[-1].stop == path.stat().st_size


def test_what_lies_behind_the_last_complete_chunk_is_a_span_without_chunks(tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + chunk(1) + b"----- Begin chunk -----\nImage fil")
    spans = spans_of(path, start=len(HEADER))
    assert [span.chunks for span in spans] == [1, 0]
    assert spans[-1].stop == path.stat().st_size


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_last_chunk_that_lacks_only_its_newline_is_whole(tmp_path, end, number):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + b"".join(chunk(i, end) for i in range(number)).removesuffix(b"\n"))
    spans = spans_of(path, start=len(HEADER), chunks_per_span=1)
    assert [span.chunks for span in spans] == [1] * number
    assert spans[-1].stop == path.stat().st_size


def test_a_block_ends_with_the_first_chunk_that_reaches_its_end(tmp_path):
    path = tmp_path / "a.stream"
    one = chunk(1)
    path.write_bytes(one * 10)
    spans = spans_of(path, start=0, stop=len(one) * 3 - 5, chunks_per_span=2)
    assert [(span.start, span.stop) for span in spans] == [(0, 2 * len(one)), (2 * len(one), 3 * len(one))]


@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_a_stream_written_in_odd_pieces_gives_only_complete_chunks(tmp_path, piece):
    path = tmp_path / "a.stream"
    whole = HEADER + b"".join(chunk(i) for i in range(30))
    path.write_bytes(whole[:40])
    done = threading.Event()

    def write():
        with path.open("ab") as file:
            for at in range(40, len(whole), piece):
                file.write(whole[at : at + piece])
                file.flush()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    parts = [
        whole[span.start : span.stop]
        for span in Spans(str(path), len(HEADER), follow=Follow(stopped=done.is_set))
        if span is not None
    ]
    writer.join()
    assert b"".join(parts) == whole[len(HEADER) :]
    assert all(part.endswith(b"----- End chunk -----\n") for part in parts)


def test_following_ends_when_the_stream_has_been_idle_for_the_time_given(tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + chunk(1))
    began = time.monotonic()
    assert len(spans_of(path, start=len(HEADER), follow=Follow(until_idle=0.5))) == 1
    assert 0.5 <= time.monotonic() - began < 5


def test_following_ends_when_the_writing_process_has_ended_even_as_our_own_unreaped_child(tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + chunk(1))
    writer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    assert len(spans_of(path, start=len(HEADER), follow=Follow(until_pid=writer.pid))) == 1
    assert writer.wait() == 0


@pytest.mark.parametrize(("harm", "words"), [("truncate", "truncated"), ("replace", "replaced"), ("remove", "removed")])
def test_truncation_replacement_and_removal_of_a_followed_stream_are_noticed(tmp_path, harm, words):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + chunk(1) * 3)
    with pytest.raises(StreamError, match=words):
        for span in Spans(str(path), len(HEADER), follow=Follow(until_idle=10)):
            if span is not None:
                continue
            if harm == "truncate":
                os.truncate(path, len(HEADER))
            elif harm == "remove":
                path.unlink(missing_ok=True)
            else:
                other = tmp_path / "other"
                other.write_bytes(HEADER + chunk(1) * 5)
                other.replace(path)


def test_a_stream_is_finished_when_its_writer_has_ended_and_not_before():
    writer = subprocess.Popen(["sleep", "60"])
    follow = Follow(until_pid=writer.pid)
    assert not follow.finished(1e9)
    writer.kill()
    if sys.platform.startswith("linux"):  # elsewhere it is not told before somebody has waited for it
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
        assert follow.finished(0)
    writer.wait()
    assert follow.finished(0)


@pytest.mark.parametrize("behind", [b"x", b" ", b"\r\r"])
def test_what_only_begins_as_the_end_of_a_chunk_ends_none(tmp_path, behind):
    odd = chunk(1).replace(b"Image", b"----- End chunk -----" + behind + b"\nImage")
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER + odd * 2)
    spans = spans_of(path, start=len(HEADER), chunks_per_span=1)
    assert [span.stop - span.start for span in spans] == [len(odd)] * 2


def test_a_stream_that_grows_slowly_is_not_idle(tmp_path):
    path = tmp_path / "a.stream"
    path.write_bytes(HEADER)

    def write():
        for number in range(5):
            time.sleep(0.4)
            with path.open("ab") as file:
                file.write(chunk(number))

    writer = threading.Thread(target=write)
    writer.start()
    spans = spans_of(path, start=len(HEADER), follow=Follow(until_idle=1.5))
    writer.join()
    assert sum(span.chunks for span in spans) == 5
