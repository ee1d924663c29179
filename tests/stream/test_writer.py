"""Splicing, and the provenance line."""

import re

import numpy as np
import pytest

from waterbg.errors import StreamError
from waterbg.stream import NUMBERS, SPLICED, StreamFile, add_provenance, splice_reflections

from . import factory


def new_values(crystal, **changes):
    values = np.zeros(len(crystal.reflections), SPLICED)
    for name in NUMBERS:
        values[name] = crystal.reflections[name]
    values["keep"] = True
    for name, value in changes.items():
        values[name] = value
    return values


def one_chunk(tmp_path, *crystals):
    path = tmp_path / "a.stream"
    path.write_bytes(factory.stream([factory.chunk(0, crystals)]))
    with StreamFile(path) as stream:
        return next(stream.chunks())


def test_only_the_four_numbers_of_a_row_change(tmp_path):
    chunk = one_chunk(tmp_path, factory.crystal([factory.row(h=1), factory.row(h=2, panel=b"q7")]))
    out = splice_reflections(chunk, [new_values(chunk.crystals[0], I=[-1.5, 2e8], background=7.125)])
    assert out == chunk.bytes.replace(factory.row(h=1), factory.row(h=1, I=-1.5, background=7.125)).replace(
        factory.row(h=2, panel=b"q7"), factory.row(h=2, I=2e8, background=7.125, panel=b"q7")
    )


def test_dropped_rows_are_gone_and_counted_out(tmp_path):
    rows = [factory.row(h=h) for h in range(5)]
    chunk = one_chunk(tmp_path, factory.crystal(rows), factory.crystal(rows[:2]))
    keep = np.array([True, False, True, False, True])
    out = splice_reflections(
        chunk,
        [new_values(chunk.crystals[0], keep=keep), new_values(chunk.crystals[1])],
        saturated=[1, 0],
        implausible=[1, 0],
    )
    expected = factory.chunk(0, [factory.crystal(rows[::2]), factory.crystal(rows[:2])])
    expected = expected.replace(b"saturated_reflections = 0", b"saturated_reflections = 1", 1)
    assert out == expected.replace(b"implausible_reflections = 0", b"implausible_reflections = 1", 1)


@pytest.mark.parametrize("count", [b"", b"num_reflections = many\n", b"num_reflections  = 2\n"])
def test_a_count_that_is_not_there_or_no_number_is_left_as_it_is(tmp_path, count):
    rows = [factory.row(h=h) for h in range(2)]
    uncounted = re.sub(rb"(?m)^num_.*\n", b"", factory.crystal(rows)).replace(
        b"profile_radius", count + b"profile_radius"
    )
    chunk = one_chunk(tmp_path, uncounted)
    out = splice_reflections(chunk, [new_values(chunk.crystals[0], keep=[True, False])], saturated=[1], implausible=[1])
    assert out == chunk.bytes.replace(rows[1], b"")


def test_new_rows_for_another_number_of_reflections_are_a_mistake_of_the_caller(tmp_path):
    chunk = one_chunk(tmp_path, factory.crystal([factory.row(), factory.row(h=2)]))
    with pytest.raises(ValueError, match="crystal 0: 1 new rows for 2 reflections"):
        splice_reflections(chunk, [new_values(chunk.crystals[0])[:1]])


def test_a_list_that_loses_all_its_rows_stays_a_valid_empty_list(tmp_path):
    chunk = one_chunk(tmp_path, factory.crystal([factory.row()]))
    out = splice_reflections(chunk, [new_values(chunk.crystals[0], keep=False)])
    assert out == factory.chunk(0, [factory.crystal([])])


def test_rows_of_another_layout_keep_what_surrounds_their_numbers(tmp_path):
    odd = b"1\t2 3   4.0 5.5 6 7e0    8.25 9 p0 and more\n"
    chunk = one_chunk(tmp_path, factory.crystal([odd, factory.row()]))
    same = splice_reflections(chunk, [new_values(chunk.crystals[0])])
    assert same == chunk.bytes
    out = splice_reflections(chunk, [new_values(chunk.crystals[0], I=1.0)])
    assert b"1\t2 3       1.00       5.50       6.00       7.00    8.25 9 p0 and more\n" in out


def test_the_provenance_stands_directly_before_the_geometry(tmp_path):
    header = factory.stream()
    line = b"waterbg 1.0 subtract --integration=profile"
    out = add_provenance(header, line)
    assert out == header.replace(b"----- Begin geometry", line + b"\n----- Begin geometry")


def test_a_provenance_line_for_which_there_is_no_room_is_refused():
    header = factory.stream(audit=b"x" * 1000 + b"\n" + b"y" * 1000 + b"\n" + b"z" * 1000 + b"\n" + b"z" * 1000 + b"\n")
    with pytest.raises(StreamError, match=r"4090 that CrystFEL reads.*; shorten it in a copy of the stream"):
        add_provenance(header, b"waterbg " + b"w" * 100)


def test_a_provenance_that_is_no_line_or_has_no_geometry_to_stand_before_is_refused():
    for line in (b"waterbg 1.0\nsubtract", b"waterbg " + b"w" * 1014):
        with pytest.raises(ValueError, match="one line of at most 1021 bytes"):
            add_provenance(factory.stream(), line)
    assert add_provenance(factory.stream(), b"waterbg " + b"w" * 1013)
    with pytest.raises(StreamError, match="there is no geometry"):
        add_provenance(b"CrystFEL stream format 2.3\n", b"waterbg 1.0")
