"""A block of reflection rows <-> structured array, exact both ways.

The fast path reads rows of CrystFEL's own layout, ``%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f %s``, by
column arithmetic, and checks every byte of them; rows that are anything else go through ``sscanf``'s rules one by one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.stream.grammar import (
    END_PEAKS,
    END_REFLECTIONS,
    LONGEST_PANEL_NAME,
    LONGEST_PIECE,
    PEAK,
    REFLECTION,
    REFLECTION_COLUMNS,
    pieces,
    scan_columns,
)

NUMBERS = ("I", "sigma", "peak", "background")
_NUMBERS_BEGIN, _NUMBERS_END = 14, 58


@dataclass(frozen=True)
class Rows:
    """Rows of a list and where they lie.

    Attributes
    ----------
    values : (n,) REFLECTION or PEAK
        ``panel`` counts `panel_names`.
    panel_names : tuple of bytes
        In the order of their first use; cut after 63 characters, as libcrystfel cuts them.
    begin, end : (n,) int64
        Bytes of each row, newline included.
    numbers : (n, 2) int64 or None
        For reflections: where in a row I, sigma, peak and background begin (with the blank before) and end;
        None when that is at CrystFEL's own columns in every row.
    """

    values: NDArray[np.void]
    panel_names: tuple[bytes, ...]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    numbers: NDArray[np.int64] | None


@dataclass(frozen=True)
class BlockEnd:
    """How the reading of a list ended.

    Attributes
    ----------
    rows : Rows or None
        None when libcrystfel loses the list.
    stop : int
        Byte behind the last line that was read.
    reason : str
        Why the list is lost, empty when it is not.
    fault : int
        Byte where the line at fault begins.
    """

    rows: Rows | None
    stop: int
    reason: str = ""
    fault: int = 0
    plain: bool = True
    """False when a line was out of the ordinary."""


def read_reflections(data: bytes, start: int, stop: int) -> BlockEnd:
    """Read the list whose first line (the column header) begins at ``start`` (``read_stream_reflections_2_3``)."""
    return _read_fast(data, start, stop, REFLECTIONS) or _read_slow(data, start, stop, REFLECTIONS)


def read_peaks(data: bytes, start: int, stop: int) -> BlockEnd:
    """Read the peak list whose first line begins at ``start`` (``read_peaks``)."""
    return _read_fast(data, start, stop, PEAKS) or _read_slow(data, start, stop, PEAKS)


class _Layout:
    """The columns printf gives the rows of one kind of list, and how to check and read a table of them at once.

    Parameters
    ----------
    fields : tuple of (name, first byte, width, decimals)
        The bytes between the fields are blanks, the panel's name follows the last of them.
    """

    def __init__(
        self,
        what: str,
        dtype: np.dtype,
        fields: tuple[tuple[str, int, int, int], ...],
        name: int,
        end_marker: bytes,
        header: bytes | None,
        longest_name: int,
    ) -> None:
        self.what, self.dtype, self.fields, self.name = what, dtype, fields, name
        self.end_marker, self.header, self.longest_name = end_marker, header, longest_name
        self.integers = sum(decimals == 0 for _, _, _, decimals in fields)
        self.scales = np.array([10.0**decimals for _, _, _, decimals in fields])
        self.weights = np.zeros((len(fields), name))
        self.starts = [first for _, first, _, _ in fields]
        blank = set(range(name))
        whole: list[int] = []
        digit: list[int] = []
        point: list[int] = []
        for row, (_, first, width, decimals) in enumerate(fields):
            dot = first + width - decimals - 1 if decimals else first + width
            blank -= set(range(first, first + width))
            whole += range(first, dot)
            digit += [dot - 1, *range(dot + 1, first + width)]
            point += [dot] if decimals else []
            places = [at for at in range(first, first + width) if at != dot]
            self.weights[row, places] = 10.0 ** np.arange(len(places) - 1, -1, -1)
        self.blank, self.digit, self.point = (np.array(sorted(rows)) for rows in (blank, digit, point))
        self.whole = np.array(whole)
        # 1 where the next column is of the same whole number
        self.ordered = np.isin(np.arange(name - 1), whole) & np.isin(np.arange(1, name), whole)

    def read(self, columns: NDArray[np.uint8]) -> NDArray[np.void] | None:
        """Numbers of a (name, n) table of bytes, a row for each column of the text; None if a byte is not printf's."""
        digits = columns - np.uint8(48)  # wraps: what is no digit is above 9
        is_digit = digits <= 9
        minus, blank = columns == 45, columns == 32
        if not (
            blank[self.blank].all()
            and is_digit[self.digit].all()
            and (columns[self.point] == 46).all()
            and (is_digit | minus | blank)[self.whole].all()
        ):
            return None
        # within a whole number: blanks, then at most one minus, then digits
        kind = (is_digit.view(np.uint8) << 1) | minus.view(np.uint8)
        left, right = kind[:-1], kind[1:]
        if (((left > right) | ((left & right & 1) == 1))[self.ordered]).any():
            return None
        if self.integers:
            leading = (columns[:14] == 48) & is_digit[1:15] & self.ordered[:14, None]  # means octal to %i
            leading[1:] &= ~is_digit[:13]
            if leading.any():
                return None
        digits *= is_digit
        # sums of whole numbers below 2^53, so the product is exact; then one correctly rounded division, which gives
        # the double nearest to the printed decimal
        numbers = (self.weights @ digits.astype(np.float64)) / self.scales[:, None]
        for column in np.flatnonzero(minus.any(axis=1)):
            number = numbers[bisect_right(self.starts, column) - 1]
            np.negative(number, out=number, where=minus[column])
        values = np.zeros(columns.shape[1], self.dtype)
        for row, (name, _, _, _) in enumerate(self.fields):
            values[name] = numbers[row]
        return values


REFLECTIONS = _Layout(
    "reflection",
    REFLECTION,
    (
        ("h", 0, 4, 0),
        ("k", 5, 4, 0),
        ("l", 10, 4, 0),
        ("I", 15, 10, 2),
        ("sigma", 26, 10, 2),
        ("peak", 37, 10, 2),
        ("background", 48, 10, 2),
        ("fs", 59, 6, 1),
        ("ss", 66, 6, 1),
    ),
    73,
    END_REFLECTIONS,
    REFLECTION_COLUMNS,
    LONGEST_PANEL_NAME,
)
PEAKS = _Layout(
    "peak",
    PEAK,
    (("fs", 0, 7, 2), ("ss", 8, 7, 2), ("inv_d", 16, 10, 2), ("intensity", 28, 10, 2)),
    41,
    END_PEAKS,
    None,
    LONGEST_PANEL_NAME + 1,
)


def _read_fast(data: bytes, start: int, stop: int, layout: _Layout) -> BlockEnd | None:
    """Rows of exactly CrystFEL's layout; None when anything is out of the ordinary."""
    first_end = data.find(b"\n", start, min(start + LONGEST_PIECE, stop))
    if first_end < 0 or (layout.header is not None and data[start:first_end] != layout.header):
        return None
    if b"\0" in data[start:first_end] or b"\r" in data[start:first_end]:
        return None
    body = first_end + 1
    marker = layout.end_marker + b"\n"
    if data.startswith(marker, body):
        return BlockEnd(_no_rows(layout), body + len(marker))
    end = data.find(b"\n" + marker, body - 1, stop)
    if end < 0:
        return None
    block = np.frombuffer(data, np.uint8, end + 1 - body, body)
    first = data.find(b"\n", body) + 1 - body
    n = len(block) // first
    # rows of one length are the rule, and checked at once
    if n * first == len(block) and (block[first - 1 :: first] == 10).all() and data.count(b"\n", body, end + 1) == n:
        begins = np.arange(n) * first
        ends = begins + first
        shortest = longest = first - 1
    else:
        ends = np.flatnonzero(block == 10) + 1
        begins = np.concatenate([[0], ends[:-1]])
        lengths = ends - begins - 1
        shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest <= layout.name or longest - layout.name > LONGEST_PANEL_NAME:
        return None
    if shortest == longest:
        table = block.reshape(len(begins), longest + 1)
        names = table[:, layout.name : longest]
    else:
        table = block[begins[:, None] + np.arange(layout.name)]
        width = longest - layout.name
        at = begins[:, None] + np.arange(layout.name, longest)
        inside = np.arange(width) < (lengths - layout.name)[:, None]
        names = np.where(inside, block[np.where(inside, at, 0)], 0).astype(np.uint8)
    unprintable = (names <= 32) & (names != 0) if shortest != longest else names <= 32
    if unprintable.any() or (names == 127).any():
        return None
    values = layout.read(np.ascontiguousarray(table[:, : layout.name].T))
    if values is None:
        return None
    panel, panel_names = _number_names(names)
    values["panel"] = panel
    rows = Rows(values, panel_names, body + begins, body + ends, None)
    return BlockEnd(rows, end + 1 + len(marker))


def _no_rows(layout: _Layout) -> Rows:
    none = np.zeros(0, np.int64)
    return Rows(np.zeros(0, layout.dtype), (), none, none, None)


def _number_names(names: NDArray[np.uint8]) -> tuple[NDArray[np.int32], tuple[bytes, ...]]:
    """Number the names by first use."""
    joined = np.ascontiguousarray(names).view(f"S{names.shape[1]}").ravel()
    if (names == names[0]).all():
        return np.zeros(len(joined), np.int32), (bytes(joined[0]),)
    unique, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    return rank[inverse], tuple(bytes(name) for name in unique[order])


def _read_slow(data: bytes, start: int, stop: int, layout: _Layout) -> BlockEnd:
    """Row by row, as libcrystfel: the first line may be anything, a later one must have all its columns."""
    values: list[tuple[float | int, ...]] = []
    begins: list[int] = []
    ends: list[int] = []
    places: list[tuple[int, int]] = []
    names: dict[bytes, int] = {}
    first = True
    end = start
    for begin, end, line in pieces(data, start, stop):
        if line == layout.end_marker:
            rows = np.zeros(len(values), layout.dtype)
            for i, row in enumerate(values):
                rows[i] = row
            numbers = np.array(places, np.int64).reshape(-1, 2) if layout.integers else None
            found = Rows(rows, tuple(names), np.array(begins, np.int64), np.array(ends, np.int64), numbers)
            return BlockEnd(found, end, plain=False)
        if first and layout.header is None:
            first = False
            continue
        columns = scan_columns(line, layout.integers, len(layout.fields) - layout.integers)
        if columns is None:
            if not first:
                wanted = len(layout.fields) + 1
                return BlockEnd(
                    None, end, f"{wanted} columns of a {layout.what} expected, found {_found(line)}", begin, False
                )
        else:
            numbers_of_row, name, where = columns
            values.append((*numbers_of_row, names.setdefault(name[: layout.longest_name], len(names))))
            begins.append(begin)
            ends.append(end)
            if layout.integers:
                places.append((where[3][0], where[6][1]))
        first = False
    return BlockEnd(None, end, f"no line {layout.end_marker.decode()!r} behind the {layout.what} list", end, False)


def _found(line: bytes) -> str:
    if not line.strip():
        return "a blank line"
    shown = line[:60].decode("latin-1")
    return repr(shown) + ("…" if len(line) > 60 else "")


def format_numbers(values: NDArray[np.void]) -> NDArray[np.uint8]:
    """Write I, sigma, peak and background as `` %10.2f`` each.

    Parameters
    ----------
    values : (n,) structured
        With fields I, sigma, peak and background.

    Returns
    -------
    text : (n, 44) uint8, or an object array of bytes where a number overflows its ten columns.
    """
    table = np.stack([values[name] for name in NUMBERS], axis=1).astype(np.float64)
    text = np.full((len(table), 4, 11), 32, np.uint8)
    with np.errstate(all="ignore"):
        scaled = np.abs(table) * 100.0
        nearest = np.rint(scaled)
        # printf rounds the exact value; the product is off by half an ulp at most, which matters near a tie only
        unsure = ~(scaled < 1e8) | (np.abs(np.abs(scaled - nearest) - 0.5) < 1e-6)
    whole = np.where(unsure, 0, nearest).astype(np.uint32)
    negative = np.signbit(table)
    rest = whole
    for place in range(10, 0, -1):
        if place == 8:
            text[:, :, 8] = 46
            continue
        higher = rest // np.uint32(10)
        last, rest = rest - higher * np.uint32(10), higher
        shown = (place >= 7) | (rest > 0) | (last > 0)
        text[:, :, place] = np.where(shown, last + 48, 32)
    digits = np.maximum(1, (whole >= 1000).astype(np.int64) + 1)
    for power in range(4, 9):
        digits = np.where(whole >= 10**power, power - 1, digits)
    row, column = np.nonzero(negative & ~unsure)
    text[row, column, 7 - digits[row, column]] = 45
    bad = np.argwhere(unsure)
    if len(bad):
        written = {(i, j): b" %10.2f" % table[i, j] for i, j in bad}
        if all(len(word) == 11 for word in written.values()):
            for (i, j), word in written.items():
                text[i, j] = np.frombuffer(word, np.uint8)
        else:
            return np.array([_row(row, table[i], written, i) for i, row in enumerate(text)], object)
    return text.reshape(len(table), 44)


def _row(text: NDArray[np.uint8], numbers: NDArray[np.float64], written: dict[tuple[int, int], bytes], i: int) -> bytes:
    return b"".join(written.get((i, j), bytes(text[j])) for j in range(4))


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
    lengths = rows.end - rows.begin
    numbers = format_numbers(_settle_ties(values, rows.values))
    uniform = rows.numbers is None and numbers.dtype != object and (lengths == lengths[0]).all()
    if uniform and (np.diff(rows.begin) == lengths[0]).all():
        table = np.frombuffer(data, np.uint8, len(lengths) * int(lengths[0]), int(rows.begin[0]))
        new = table.reshape(len(lengths), -1).copy()
        new[:, _NUMBERS_BEGIN:_NUMBERS_END] = numbers
        return (new if keep.all() else new[keep]).tobytes()
    parts = []
    for i in np.flatnonzero(keep):
        begin, end = int(rows.begin[i]), int(rows.end[i])
        first, last = (_NUMBERS_BEGIN, _NUMBERS_END) if rows.numbers is None else map(int, rows.numbers[i])
        if rows.numbers is not None and _same(rows.values[i], values[i]):
            parts.append(data[begin:end])
            continue
        parts += [data[begin : begin + first], bytes(numbers[i]), data[begin + last : end]]
    return b"".join(parts)


def _settle_ties(values: NDArray[np.void], old: NDArray[np.void]) -> NDArray[np.void]:
    """New numbers, but for one halfway between two hundredths: there the stream's own digit stays if it is one of them.

    Sums of counts over a ring give such numbers often, and then the last bit of an intermediate result decides what is
    printed. A byte should not change for that.
    """
    settled = np.empty(len(values), [(name, "f8") for name in NUMBERS])
    with np.errstate(invalid="ignore"):  # inf - inf
        for name in NUMBERS:
            same = np.abs(values[name] - old[name]) <= 0.005 + 1e-8
            settled[name] = np.where(same, old[name], values[name])
    return settled


def _same(old: np.void, new: np.void) -> bool:
    return all(float(old[name]) == float(new[name]) or b"%.2f" % old[name] == b"%.2f" % new[name] for name in NUMBERS)
