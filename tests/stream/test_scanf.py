"""Our sscanf takes what C's takes, character by character."""

import ctypes
import math
import re
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from waterbg.stream import scanf

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is what CrystFEL runs on")

TOKENS = (
    b"1 -2 +3 0 -0 0x 0x1f -0x1F 0x. 0x.8p1 0x1p 0x1p+ 0x1p-3 0xp 0b11 089 007 1e 1e+ 1e5 1E-3 1d5 .5 5. . -.e1 1.2.3"
    b" nan -NaN nan(1) inf -INF infi infinity INFx - +-1 --1 x p0 e5 , 1_0 4294967297 99999999999999999999"
    b" 1e999 -1e-999"
).split()
LINES = st.lists(
    st.tuples(st.sampled_from(TOKENS) | st.binary(max_size=3), st.sampled_from([b"", b" ", b" ", b"  ", b"\t", b"\v"])),
    min_size=1,
    max_size=12,
).map(lambda parts: b"".join(word + blank for word, blank in parts).split(b"\0")[0])
HALF_NUMBERS = re.compile(rb"0x(?!\.?[0-9a-f])|[ep][+-]?(?![0-9])|nan\(", re.IGNORECASE)


@pytest.fixture(scope="module")
def libc():
    return ctypes.CDLL(None)


@pytest.fixture(scope="module")
def takes_half_numbers(libc):
    """Whether this glibc's sscanf is one that takes what only begins a number; strtod is the same in all."""
    return libc.sscanf(b"1e", b"%lf", ctypes.byref(ctypes.c_double())) == 1


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


@given(line=LINES)
@settings(deadline=None, max_examples=2000)
def test_rows_are_read_as_sscanf_reads_them(libc, takes_half_numbers, line):
    assume(takes_half_numbers or not HALF_NUMBERS.search(line))
    integers, floats = [ctypes.c_int() for _ in range(3)], [ctypes.c_double() for _ in range(6)]
    word = ctypes.create_string_buffer(64)
    places = [ctypes.byref(value) for value in integers + floats]
    read = libc.sscanf(line, b"%i %i %i %lf %lf %lf %lf %lf %lf %63s", *places, word)
    mine = scanf.scan_columns(line, 3, 6)
    assert (mine is not None) == (read == 10)
    if mine is not None:
        assert mine[1][:63] == word.value
        assert all(same(a, b.value) for a, b in zip(mine[0], integers + floats))


@given(line=LINES, blank=st.sampled_from([b"", b" ", b"\t  "]))
@settings(deadline=None, max_examples=1000)
def test_key_lines_are_read_as_sscanf_reads_them(libc, takes_half_numbers, line, blank):
    assume(takes_half_numbers or not HALF_NUMBERS.search(line))
    text = b"astar" + blank + b"=" + line
    values = [ctypes.c_double() for _ in range(3)]
    read = libc.sscanf(text, b"astar = %lf %lf %lf", *map(ctypes.byref, values))
    mine = scanf.scan(text, "astar = %f %f %f")
    assert (mine is not None) == (read == 3)
    if mine is not None:
        assert all(same(a, b.value) for a, b in zip(mine, values))


@given(line=LINES)
@settings(deadline=None, max_examples=1000)
def test_single_numbers_are_read_as_strtod_and_strtoll_read_them(libc, line):
    libc.strtod.restype, libc.strtoll.restype = ctypes.c_double, ctypes.c_longlong
    line = ctypes.create_string_buffer(line)
    rest = ctypes.c_void_p()
    value = libc.strtod(line, ctypes.byref(rest))
    whole = rest.value == ctypes.addressof(line) + len(line.value)
    assert same(scanf.atof(line.value), value)
    mine = scanf.convert_float(line.value)
    assert (mine is not None) == whole
    assert mine is None or same(mine, value)
    value = libc.strtoll(line, ctypes.byref(rest), 10)
    whole = rest.value == ctypes.addressof(line) + len(line.value)
    assert scanf.convert_long_int(line.value) == (value if whole else None)
