"""A block of rows <-> array: the fast path equals the slow one, and both ways are exact."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.stream import NUMBERS, REFLECTION
from waterbg.stream.reflections import (
    REFLECTIONS,
    _read_fast,
    _read_slow,
    format_numbers,
    read_reflections,
    replace_numbers,
)

from .factory import COLUMNS, row

finite = st.floats(-1e8, 1e9, allow_nan=False)
rows = st.lists(
    st.builds(
        row,
        h=st.integers(-12000, 12000),
        k=st.integers(-511, 511),
        l=st.integers(-511, 511),
        I=st.floats(-1e9, 1e9) | st.sampled_from([-0.0, -0.001, 0.005, float("nan"), float("inf")]),
        sigma=finite,
        peak=finite,
        background=finite,
        fs=st.floats(-100, 12000),
        ss=st.floats(-100, 12000),
        panel=st.sampled_from([b"p0", b"q0a1", b"asic_12", b"p" * 63]),
    ),
    max_size=20,
)


def block(rows):
    return COLUMNS + b"".join(rows) + b"End of reflections\n--- End crystal\n"


@given(rows)
@settings(deadline=None, max_examples=150)
def test_the_fast_path_gives_what_sscanf_gives_or_stands_aside(rows):
    data = block(rows)
    fast, slow = (read(data, 0, len(data), REFLECTIONS) for read in (_read_fast, _read_slow))
    if fast is None:
        return
    assert fast.stop == slow.stop
    np.testing.assert_array_equal(fast.rows.values, slow.rows.values)
    assert fast.rows.panel_names == slow.rows.panel_names
    np.testing.assert_array_equal(fast.rows.begin, slow.rows.begin)
    np.testing.assert_array_equal(fast.rows.end, slow.rows.end)


@given(st.lists(st.builds(row, I=st.floats(-9e5, 9e6)), min_size=1, max_size=5), st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_byte_never_makes_the_fast_path_read_other_numbers_than_sscanf(rows, data):
    text = bytearray(block(rows))
    at = data.draw(st.integers(len(COLUMNS), len(text) - 1))
    text[at] = data.draw(st.sampled_from(list(b" -+.0123456789eExan\t\n\r\0p;")))
    text = bytes(text)
    fast, slow = (read(text, 0, len(text), REFLECTIONS) for read in (_read_fast, _read_slow))
    if fast is not None:
        assert slow.rows is not None
        assert fast.stop == slow.stop
        np.testing.assert_array_equal(fast.rows.values, slow.rows.values)


def test_crystfels_own_layout_takes_the_fast_path():
    data = block([row(h=-12, I=-0.05), row(h=5, panel=b"q1")])
    assert _read_fast(data, 0, len(data), REFLECTIONS) is not None


@given(rows)
@settings(deadline=None, max_examples=150)
def test_putting_its_own_numbers_back_changes_no_byte(rows):
    data = block(rows)
    found = read_reflections(data, 0, len(data)).rows
    if len(found.values):
        begin, end = int(found.begin[0]), int(found.end[-1])
        assert replace_numbers(data, found, found.values, np.ones(len(found.values), bool)) == data[begin:end]


@given(st.lists(st.floats(-1e12, 1e12) | st.integers(-(10**6), 10**6).map(lambda n: n / 800), min_size=4, max_size=40))
@settings(deadline=None, max_examples=200)
def test_numbers_are_written_as_printf_writes_them(numbers):
    values = np.zeros(len(numbers) // 4, REFLECTION)
    for column, name in enumerate(NUMBERS):
        values[name] = numbers[column : 4 * len(values) : 4]
    for line, value in zip(format_numbers(values), values):
        assert bytes(line) == b"".join(b" %10.2f" % value[name] for name in NUMBERS)


def test_octal_and_hexadecimal_indices_are_read_as_sscanf_reads_them():
    data = COLUMNS + b" 010 0x1f   -3 1 2 3 4 5 6 p0\n" + b"End of reflections\n"
    values = read_reflections(data, 0, len(data)).rows.values
    assert [values[name][0] for name in "hkl"] == [8, 31, -3]


def test_a_leading_zero_in_crystfels_columns_is_octal_too():
    data = block([row()]).replace(b"   1    2    3", b" 017    2    3")
    assert read_reflections(data, 0, len(data)).rows.values["h"][0] == 15
