"""Numbers as printf lays them out, eight characters at a time, each piece of text as one 64-bit word.

The first character is the lowest byte of a word (little-endian, whatever the machine). All bytes of a word are worked
on at once by ordinary integer arithmetic; no byte ever overflows into the next, as the comments show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_u8 = np.uint64
_0, _1, _3, _8, _15, _16, _32 = (_u8(bits) for bits in (0, 1, 3, 8, 15, 16, 32))
_EACH = 0x0101010101010101
_ZEROS, _MINUS = _u8(0x30 * _EACH), _u8(0x0D)  # "0", "-" ^ " "
_HIGH, _FIRST_HIGH = _u8(0x80 * _EACH), _u8(0x80)
_ABOVE_NINE = _u8(0x76 * _EACH)  # what is 10 or more carries into the highest bit
_ABOVE_ZERO = _u8(0x7F * _EACH + (1 << 56))  # what is 1 or more does, and all in the last byte
_PAIRS, _FOURS = _u8(0x00FF00FF00FF00FF), _u8(0x0000FFFF0000FFFF)
_10, _100, _10000 = _u8(10), _u8(100), _u8(10000)


def read_whole(words: Words) -> tuple[Words, NDArray[np.bool_] | None] | None:
    """Read right-aligned whole numbers: blanks, at most one minus, digits to the last character.

    A zero before other digits is refused: it means octal to ``%i``, and printf would not write it again.

    Parameters
    ----------
    words : (...) uint64
        Eight ASCII characters each.

    Returns
    -------
    value : (...) uint64
        Without sign.
    negative : (...) bool or None
        None when there is no minus.
    None
        Instead of both, when a word is anything else.
    """
    digits = words ^ _ZEROS  # digits become 0 ... 9, a blank 0x10
    other = digits + _ABOVE_NINE  # at most 0x7F + 0x76: stays in its byte
    other &= _HIGH  # the highest bit of each byte that is no digit
    first = other << _8
    first |= _FIRST_HIGH
    first ^= other  # of each byte that is a digit and the one before is not, or the other way round
    sign = first >> _15
    sign &= digits  # the lowest bit of the byte before: a minus has it, a blank has not
    negative = None
    if np.count_nonzero(sign):
        negative = sign != _0
        sign *= _MINUS
        digits ^= sign  # such a minus becomes a blank
    np.right_shift(other, _3, out=sign)
    digits ^= sign  # blanks become 0, and nothing else that is no digit does
    above = digits + _ABOVE_ZERO  # at most 0x7F + 0x80
    wrong = above | first  # no digit must be left that is not 0, stand behind a digit, or at the end
    wrong &= other
    above &= first  # the first digit is not 0, or it is the only one
    if np.count_nonzero(wrong) or np.count_nonzero(above) != above.size:
        return None
    # each lane takes the one before it ten, a hundred, ten thousand times; every other lane is what is wanted
    digits *= _u8(10 << 8 | 1)
    digits >>= _8
    digits &= _PAIRS  # at most 99
    digits *= _u8(100 << 16 | 1)
    digits >>= _16
    digits &= _FOURS  # at most 9999
    digits *= _u8(10000 << 32 | 1)
    digits >>= _32
    return digits, negative


def digits_of(value: Words) -> Words:
    """Eight decimal digits of numbers below 10^8, one in a byte, the first in the lowest; overwrites ``value``."""
    high = value // _10000
    value -= high * _10000
    value <<= _32
    value |= high
    # x / 100 is x * 5243 >> 19 below 10^4, and x / 10 is x * 103 >> 10 below 100
    for factor, places, keep, base, lane in (
        (_u8(5243), _u8(19), _u8(0x0000007F0000007F), _100, _16),
        (_u8(103), _u8(10), _u8(0x000F000F000F000F), _10, _8),
    ):
        high = value * factor
        high >>= places
        high &= keep
        value -= high * base
        value <<= lane
        value |= high
    return value


def write_whole(value: Words, negative: NDArray[np.bool_]) -> tuple[Words, NDArray[np.bool_]]:
    """Write whole numbers right-aligned in eight characters, as ``%8d`` would.

    Parameters
    ----------
    value : (...) uint64
        Below 10^8; overwritten.
    negative : (...) bool
        Where a minus belongs before it, also before 0.

    Returns
    -------
    words : (...) uint64
    full : (...) bool
        Where there was no room for the minus.
    """
    digits = digits_of(value)
    # the lowest bit that is set lies in the first digit that is not 0; below it, less its own byte, all are blank
    blank = digits & (~digits + _1)
    blank -= _1
    blank &= _u8(0x0010101010101010)  # the last digit always shows
    digits |= _ZEROS
    digits ^= blank
    top = blank >> _8
    top ^= blank  # the last blank
    top >>= _u8(4)
    top *= _u8(0x0D)
    digits ^= np.where(negative, top, _0)
    return digits, negative & (blank == _0)


_ODD = _u8(0x9E3779B97F4A7C15)
_SLOTS = 4096


def number_words(words: Words) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number texts by first use.

    Parameters
    ----------
    words : (k, n) uint64
        Each column is a text.

    Returns
    -------
    number : (n,) int32
    firsts : (m,) int64
        Where each text is used first.
    """
    n = words.shape[1]
    if not np.count_nonzero(words != words[:, :1]):
        return np.zeros(n, np.int32), np.zeros(1, np.int64)
    key = words[0] * _ODD
    for word in words[1:]:
        key ^= key >> _u8(29)
        key += word
        key *= _ODD
    slot = (key >> _u8(52)).astype(np.intp)
    # each slot remembers the first row of its text: of several assignments the last one counts
    table, rows = np.empty(_SLOTS, np.int64), np.arange(n)
    table[slot[::-1]] = rows[::-1]
    leader = table.take(slot)
    if np.count_nonzero(words.take(leader, axis=1) != words):  # two texts in one slot
        _, first, inverse = np.unique(words, axis=1, return_index=True, return_inverse=True)
        leader = first[inverse.ravel()]
    is_first = leader == rows
    number = np.cumsum(is_first, dtype=np.int32)
    number -= 1
    return number.take(leader), np.flatnonzero(is_first)
