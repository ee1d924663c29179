"""Files that appear whole or not at all."""

import os

import pytest

from waterbg.errors import OutputError
from waterbg.stream import OutputFile


def test_an_output_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "out.stream"
    with OutputFile(path).begin() as out:
        out.write(b"whole")
        assert not path.exists()
        out.finish()
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out.stream"]


def test_an_interrupted_output_leaves_its_part_to_go_on_with(tmp_path):
    path = tmp_path / "out.stream"
    with pytest.raises(RuntimeError), OutputFile(path).begin() as out:
        out.write(b"half of it")
        raise RuntimeError
    assert not path.exists()
    with OutputFile(path).begin(keep=4) as out:
        out.write(b"!")
        out.finish()
    assert path.read_bytes() == b"half!"


def test_an_existing_output_is_refused_without_force(tmp_path):
    path = tmp_path / "out.stream"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists; --force"):
        OutputFile(path)
    with OutputFile(path, force=True).begin() as out:
        out.write(b"new")
        assert path.read_bytes() == b"old"
        out.finish()
    assert path.read_bytes() == b"new"


def test_an_output_that_appeared_while_the_new_one_was_made_is_not_replaced(tmp_path):
    path = tmp_path / "out.stream"

    def pieces():
        yield b"new"
        path.write_bytes(b"another's")

    with pytest.raises(OutputError, match=r"has appeared meanwhile; --force replaces it$"):
        OutputFile(path).write_whole(pieces())
    assert path.read_bytes() == b"another's"
    assert os.listdir(tmp_path) == ["out.stream"]


def test_two_runs_cannot_write_one_output(tmp_path):
    path = tmp_path / "out.stream"
    with OutputFile(path).begin(), pytest.raises(OutputError, match="another run"):
        OutputFile(path).begin()


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        OutputFile(tmp_path / "none" / "out.stream")


KINDS = {
    "images": b"\x89HDF\r\n\x1a\n and more than begins a stream",
    "a stream": b"CrystFEL stream format 2.3\n",
    "a text": b"h k l\n",
    "nothing": b"",
}


@pytest.mark.parametrize("new", KINDS)
@pytest.mark.parametrize("old", KINDS)
def test_images_and_streams_are_replaced_by_their_like_alone(tmp_path, old, new):
    path = tmp_path / "out"
    path.write_bytes(KINDS[old])
    output = OutputFile(path, force=True)
    if old == new or old in ("a text", "nothing"):
        output.write_whole([KINDS[new]])
        assert path.read_bytes() == KINDS[new]
    else:
        with pytest.raises(OutputError, match=f"holds {old}.*, which nothing else replaces"):
            output.write_whole([KINDS[new]])
        assert path.read_bytes() == KINDS[old]
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_is_a_pipe_is_not_written_into(tmp_path):
    output = OutputFile(tmp_path / "out")
    os.mkfifo(output.partial)
    with pytest.raises(OutputError, match=r"out\.part beside it is no file; remove that"):
        output.begin()
