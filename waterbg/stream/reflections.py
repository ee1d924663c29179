"""Reflections -> rows of text, exactly as printf writes them; and new numbers into old rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterbg.stream.rows import NUMBERS_BEGIN, NUMBERS_END, Rows
from waterbg.stream.words import write_whole

NUMBERS = ("I", "sigma", "peak", "background")
_WIDTH = NUMBERS_END - NUMBERS_BEGIN
_TWO_DIGITS = np.frombuffer(b"".join(b"%02d" % i for i in range(100)), "<u2")


def format_numbers(values: NDArray[np.void]) -> tuple[NDArray[np.uint8], dict[int, bytes]]:
    """Write I, sigma, peak and background as `` %10.2f`` each.

    Parameters
    ----------
    values : (n,) structured
        With fields I, sigma, peak and background.

    Returns
    -------
    text : (n, 44) uint8
    longer : dict of int to bytes
        Text of the rows in which a number overflows its ten columns; what stands for them in ``text`` means nothing.
    """
    n = len(values)
    table = np.empty((4, n))
    for row, name in zip(table, NUMBERS):
        row[:] = values[name]
    negative = np.signbit(table)
    with np.errstate(all="ignore"):
        scaled = np.abs(table)
        scaled *= 100.0
        nearest = np.rint(scaled)
        # printf rounds the exact value; the product is off by half an ulp (below 1e-7), which matters near a tie only
        np.subtract(scaled, nearest, out=scaled)
        np.abs(scaled, out=scaled)
        unsure = ~(scaled < 0.5 - 1e-6) | ~(nearest < 1e9)
    nearest[unsure] = 0
    hundredths = nearest.astype(np.uint64)
    whole = hundredths // np.uint64(100)
    hundredths -= whole * np.uint64(100)
    words, full = write_whole(whole, negative)
    unsure |= full
    unsure |= negative & ((words & np.uint64(0xFF)) != 32)  # the first of the eight is not printed
    words >>= np.uint64(8)
    words |= np.uint64(ord(".") << 56)
    text = np.full((n, _WIDTH), 32, np.uint8)
    decimals = _TWO_DIGITS.take(hundredths.view(np.int64))
    for i in range(4):  # one after the other: NumPy would go through them row by row
        np.ndarray((n,), "<u8", text, 11 * i + 1, (_WIDTH,))[:] = words[i]
        np.ndarray((n,), "<u2", text, 11 * i + 9, (_WIDTH,))[:] = decimals[i]
    longer: dict[int, bytes] = {}
    for i in np.flatnonzero(unsure.any(axis=0)).tolist():
        row_text = b"".join(_printf(number) for number in table[:, i].tolist())
        if len(row_text) == _WIDTH:
            text[i] = np.frombuffer(row_text, np.uint8)
        else:
            longer[i] = row_text
    return text, longer


def _printf(number: float) -> bytes:
    text = b" %10.2f" % number
    if number != number and np.signbit(number):
        return b"       -nan"  # as C writes it
    return text


def replace_numbers(data: bytes, rows: Rows, values: NDArray[np.void], keep: NDArray[np.bool_]) -> bytes:
    """Rows with new numbers; every other byte of a kept row stays, dropped rows are gone.

    Parameters
    ----------
    data : bytes
        What ``rows.begin`` counts in.
    rows : Rows
    values : (n,) structured
        I, sigma, peak, background.
    keep : (n,) bool
    """
    if not keep.any():
        return b""
    settled = _settle_ties(values, rows.values)
    text, longer = format_numbers(settled)
    if longer or (rows.numbers is not None and (np.diff(rows.numbers, axis=1) != _WIDTH).any()):
        return _replace_one_by_one(data, rows, settled, keep, text, longer)
    first, last = int(rows.begin[0]), int(rows.end[-1])
    block = np.frombuffer(data, np.uint8, last - first, first).copy()
    at = rows.begin - first + (NUMBERS_BEGIN if rows.numbers is None else rows.numbers[:, 0])
    lengths = rows.end - rows.begin
    uniform = (lengths == lengths[0]).all()
    if rows.numbers is None and uniform:
        block.reshape(len(lengths), -1)[:, NUMBERS_BEGIN:NUMBERS_END] = text
    else:
        if rows.numbers is not None:  # not all of it need be what printf would write
            changed = ~_same(settled, rows.values)
            at, text = at[changed], text[changed]
        np.ndarray((len(block) - _WIDTH + 1, _WIDTH), np.uint8, block, 0, (1, 1))[at] = text
    if keep.all():
        return block.tobytes()
    return block[np.repeat(keep, lengths)].tobytes()


def _replace_one_by_one(
    data: bytes,
    rows: Rows,
    settled: NDArray[np.void],
    keep: NDArray[np.bool_],
    text: NDArray[np.uint8],
    longer: dict[int, bytes],
) -> bytes:
    same = _same(settled, rows.values)
    parts = []
    for i in np.flatnonzero(keep).tolist():
        begin, end = int(rows.begin[i]), int(rows.end[i])
        if same[i]:
            parts.append(data[begin:end])
            continue
        first, last = (NUMBERS_BEGIN, NUMBERS_END) if rows.numbers is None else rows.numbers[i].tolist()
        parts += [data[begin : begin + first], longer.get(i) or text[i].tobytes(), data[begin + last : end]]
    return b"".join(parts)


def _settle_ties(values: NDArray[np.void], old: NDArray[np.void]) -> NDArray[np.void]:
    """New numbers, but for those that may print as the old ones: there the stream's own digits stay.

    Sums of counts over a ring often lie halfway between two hundredths, and then the last bit of an intermediate
    result decides what is printed. A byte should not change for that.
    """
    settled = np.empty(len(values), [(name, "f8") for name in NUMBERS])
    with np.errstate(invalid="ignore"):  # inf - inf
        for name in NUMBERS:
            same = np.abs(values[name] - old[name]) <= 0.005 + 1e-8
            settled[name] = np.where(same, old[name], values[name])
    return settled


def _same(new: NDArray[np.void], old: NDArray[np.void]) -> NDArray[np.bool_]:
    """Where all four numbers are what they were: also NaN."""
    same = np.ones(len(new), bool)
    for name in NUMBERS:
        same &= (new[name] == old[name]) | (np.isnan(new[name]) & np.isnan(old[name]))
    return same
