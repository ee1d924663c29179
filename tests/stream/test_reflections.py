"""A block of rows <-> array: the fast paths equal the slow one, and both ways are exact."""

import ctypes
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.stream import NUMBERS, REFLECTION
from waterbg.stream.grammar import PEAK
from waterbg.stream.reflections import format_numbers, replace_numbers
from waterbg.stream.rows import PEAKS, REFLECTIONS, _read_printed, _read_tokens, read_fast, read_reflections, read_slow

from .factory import COLUMNS, row

finite = st.floats(-1e8, 1e9, allow_nan=False)
small = st.floats(-9e3, 9e3, allow_nan=False)
names = st.sampled_from([b"p0", b"q0a1", b"q0a15", b"asic_12", b"panel_13", b"a/long_name_of_a_panel", b"p" * 63])
odd_rows = st.builds(
    row,
    h=st.integers(-12000, 12000),
    k=st.integers(-511, 511),
    l=st.integers(-511, 511),
    I=st.floats(-1e9, 1e9) | st.sampled_from([-0.0, -0.001, 0.005, float("nan"), float("inf")]),
    sigma=finite,
    peak=finite,
    background=finite,
    fs=st.floats(-100, 120000),
    ss=st.floats(-100, 120000),
    panel=names,
)
plain_rows = st.builds(
    row, I=small, sigma=small, peak=small, background=small, fs=st.floats(0, 9000), ss=st.floats(0, 9000), panel=names
)
peak_rows = st.builds(
    lambda fs, ss, inv_d, intensity, panel: b"%7.2f %7.2f %10.2f  %10.2f   %s\n" % (fs, ss, inv_d, intensity, panel),
    *(st.floats(-99, 12000), st.floats(0, 9000), st.floats(0, 90), small | st.floats(-9e6, 9e7), names),
)
rows = st.lists(odd_rows | plain_rows, max_size=20) | st.lists(plain_rows, max_size=20)
peaks = st.lists(peak_rows, max_size=20)


def block(rows, header=COLUMNS, marker=b"End of reflections\n"):
    return b"a line before\n" + header + b"".join(rows) + marker + b"--- End crystal\n"


def peak_block(rows):
    return block(rows, b"  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel\n", b"End of peak list\n")


def agree(fast, slow):
    assert slow.rows is not None
    assert fast.stop == slow.stop
    np.testing.assert_array_equal(fast.rows.values, slow.rows.values)
    for name in fast.rows.values.dtype.names[3:]:
        np.testing.assert_array_equal(np.signbit(fast.rows.values[name]), np.signbit(slow.rows.values[name]))
    assert fast.rows.panel_names == slow.rows.panel_names
    np.testing.assert_array_equal(fast.rows.begin, slow.rows.begin)
    np.testing.assert_array_equal(fast.rows.end, slow.rows.end)
    if fast.rows.numbers is not None:
        np.testing.assert_array_equal(fast.rows.numbers, slow.rows.numbers)
    elif slow.rows.numbers is not None:
        assert (slow.rows.numbers == (14, 58)).all()


@given(rows)
@settings(deadline=None, max_examples=300)
def test_the_fast_path_gives_what_sscanf_gives_or_stands_aside(rows):
    data = block(rows)
    fast, slow = (read(data, 14, len(data), REFLECTIONS) for read in (read_fast, read_slow))
    if fast is not None:
        agree(fast, slow)


@given(peaks)
@settings(deadline=None, max_examples=200)
def test_the_fast_path_gives_what_sscanf_gives_for_peaks(rows):
    data = peak_block(rows)
    fast, slow = (read(data, 14, len(data), PEAKS) for read in (read_fast, read_slow))
    assert fast is not None
    agree(fast, slow)


@given(st.lists(plain_rows, min_size=1, max_size=5) | st.lists(odd_rows, min_size=1, max_size=3), st.data())
@settings(deadline=None, max_examples=600)
def test_a_damaged_byte_never_makes_the_fast_path_read_other_numbers_than_sscanf(rows, data):
    text = bytearray(block(rows))
    at = data.draw(st.integers(14 + len(COLUMNS), len(text) - 1))
    text[at] = data.draw(st.sampled_from(list(b" -+.0123456789eExan\t\n\r\0p;\x7f\xff\x1f")))
    text = bytes(text)
    fast, slow = (read(text, 14, len(text), REFLECTIONS) for read in (read_fast, read_slow))
    if fast is not None:
        agree(fast, slow)


@given(peaks.filter(bool), st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_byte_never_makes_the_fast_path_read_other_peaks_than_sscanf(rows, data):
    text = bytearray(peak_block(rows))
    at = data.draw(st.integers(14, len(text) - 1))
    text[at] = data.draw(st.sampled_from(list(b" -+.0123456789eExan\t\n\r\0p;\x7f\xff\x1f")))
    text = bytes(text)
    fast, slow = (read(text, 14, len(text), PEAKS) for read in (read_fast, read_slow))
    if fast is not None:
        agree(fast, slow)


@given(st.lists(plain_rows, min_size=1, max_size=20))
@settings(deadline=None)
def test_crystfels_own_layout_takes_the_fastest_path_whatever_the_length_of_names(rows):
    data = block(rows)
    body = 14 + len(COLUMNS)
    end = data.index(b"End of")
    found = _read_printed(data, body, end, REFLECTIONS)
    again = _read_tokens(data, body, end, REFLECTIONS)
    np.testing.assert_array_equal(found.values, again.values)
    assert found.panel_names == again.panel_names


def test_numbers_that_overflow_their_columns_still_need_no_sscanf():
    data = block([row(I=-1234567.25, ss=16383.5), row(h=-1000, panel=b"other"), row(fs=123456.5)])
    found = read_fast(data, 14, len(data), REFLECTIONS)
    assert found.rows.values["I"].tolist() == [-1234567.25, 10.0, 10.0]
    assert found.rows.values["h"].tolist() == [1, -1000, 1]
    assert found.rows.numbers.tolist() == [[14, 59], [15, 59], [14, 58]]


@pytest.mark.parametrize("text", [b" 010", b"0x1f", b"  +1", b"-010"])
def test_an_index_that_is_not_plain_is_left_to_sscanf(text):
    data = block([row().replace(b"   1", text, 1)])
    assert read_fast(data, 14, len(data), REFLECTIONS) is None
    assert read_reflections(data, 14, len(data)).rows.values["h"].tolist() == [
        {b" 010": 8, b"0x1f": 31, b"  +1": 1}.get(text, -8)
    ]


def test_octal_and_hexadecimal_indices_are_read_as_sscanf_reads_them():
    data = COLUMNS + b" 010 0x1f   -3 1 2 3 4 5 6 p0\n" + b"End of reflections\n"
    values = read_reflections(data, 0, len(data)).rows.values
    assert [values[name][0] for name in "hkl"] == [8, 31, -3]


def test_the_first_line_may_be_anything_and_may_be_a_row():
    for first, n in ((b"x\n", 1), (b"\n", 1), (COLUMNS, 1), (row(), 2), (b"", 1)):
        data = block([row()], header=first)
        assert len(read_reflections(data, 14, len(data)).rows.values) == n
    data = block([], header=b"")
    assert len(read_reflections(data, 14, len(data)).rows.values) == 0


@given(rows, st.data())
@settings(deadline=None, max_examples=300)
def test_putting_its_own_numbers_back_changes_no_byte_and_dropping_rows_no_other_row(rows, data):
    text = block(rows)
    found = read_reflections(text, 14, len(text)).rows
    n = len(found.values)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    kept = b"".join(one for one, stays in zip(rows, keep) if stays)
    assert replace_numbers(text, found, found.values, keep) == kept


@given(st.lists(odd_rows | plain_rows, min_size=1, max_size=8), st.data())
@settings(deadline=None, max_examples=200)
def test_new_numbers_stand_where_the_old_ones_stood(rows, data):
    text = block(rows)
    found = read_reflections(text, 14, len(text)).rows
    new = found.values.copy()
    for name in NUMBERS:
        new[name] = data.draw(
            st.lists(st.floats(-1e7, 1e8).map(lambda x: round(x, 2)), min_size=len(new), max_size=len(new))
        )
    out = replace_numbers(text, found, new, np.ones(len(new), bool))
    again = block([out])
    read = read_reflections(again, 14, len(again)).rows
    for name in REFLECTION.names:
        if name == "panel":
            assert [read.panel_names[i] for i in read.values[name]] == [found.panel_names[i] for i in new[name]]
        else:
            np.testing.assert_allclose(read.values[name], new[name], atol=0.0050001)


numbers = (
    st.floats()
    | st.floats(-1e9, 1e9)
    | st.integers(-(10**9), 10**9).map(lambda n: n / 800)
    | st.integers(-(10**9), 10**9).map(lambda n: (n + 0.5) / 100)
    | st.sampled_from([-0.0, 999999.995, 9999999.99, 9999999.995, -999999.99, -999999.996, -1e6, 5e-324, 0.005, 2.675])
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is what CrystFEL runs on")
@given(st.lists(numbers, min_size=4, max_size=40))
@settings(deadline=None, max_examples=1000)
def test_numbers_are_written_as_printf_writes_them(numbers):
    values = np.zeros(len(numbers) // 4, REFLECTION)
    for i, name in enumerate(NUMBERS):
        values[name] = numbers[i : 4 * len(values) : 4]
    text, longer = format_numbers(values)
    buffer = ctypes.create_string_buffer(400)
    for i, one in enumerate(values):
        expected = b""
        for name in NUMBERS:
            ctypes.CDLL(None).snprintf(buffer, 400, b" %10.2f", ctypes.c_double(one[name]))
            expected += buffer.value
        assert (longer.get(i) or text[i].tobytes()) == expected


def test_peaks_are_read_with_their_panels():
    data = peak_block(
        [b"  10.00   20.00       1.50      300.00   p0\n", b"9999.00   20.00       1.50  1234567.25   q1\n"]
    )
    found = read_fast(data, 14, len(data), PEAKS).rows
    assert found.values.dtype == PEAK
    assert found.values["intensity"].tolist() == [300.0, 1234567.25]
    assert found.panel_names == (b"p0", b"q1")
