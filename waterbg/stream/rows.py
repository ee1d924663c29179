"""Rows of reflection and peak lists -> structured arrays, exactly as libcrystfel reads them.

Three readers, from fast to exact. Rows of one length in printf's own columns are read by column arithmetic; other rows
of plain numbers between blanks by their tokens; whatever is left row by row, by ``sscanf``'s rules. The first two
check every byte and stand aside when anything is out of the ordinary, so all three give the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.stream.grammar import (
    END_PEAKS,
    END_REFLECTIONS,
    LARGEST_INDEX,
    LONGEST_LINE,
    LONGEST_PANEL_NAME,
    LONGEST_PIECE,
    PEAK,
    REFLECTION,
    REFLECTION_COLUMNS,
    pieces,
)
from waterbg.stream.scanf import scan_columns
from waterbg.stream.words import number_words, read_whole

NUMBERS_BEGIN, NUMBERS_END = 14, 58  # where printf puts I, sigma, peak and background, the blank before them included
_NO_NAME = re.compile(rb"[\0- \x7f]")  # bytes that no panel name has; libcrystfel is asked about them one by one


@dataclass(frozen=True)
class Rows:
    """Rows of a list and where they lie.

    Attributes
    ----------
    values : (n,) REFLECTION or PEAK
        ``panel`` counts `panel_names`.
    panel_names : tuple of bytes
        In the order of their first use; cut after 63 characters (peaks: 64), as libcrystfel cuts them.
    begin, end : (n,) int64
        Bytes of each row, newline included.
    numbers : (n, 2) int64 or None
        For reflections: where in a row I, sigma, peak and background begin (with the blank before) and end;
        None when that is at printf's own columns in every row.
    """

    values: NDArray[np.void]
    panel_names: tuple[bytes, ...]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    numbers: NDArray[np.int64] | None = None


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
    plain : bool
        False when a line was out of the ordinary.
    beyond : int or None
        Of a lost list: byte where a row begins whose index is so large that libcrystfel aborts before it is lost.
    """

    rows: Rows | None
    stop: int
    reason: str = ""
    fault: int = 0
    plain: bool = True
    beyond: int | None = None


class Layout:
    """The columns printf gives the rows of one kind of list.

    Parameters
    ----------
    what : str
        What a row is called in messages.
    runs : tuple of (fields, first byte, bytes to the next, characters before the point, decimals)
        Neighbouring fields of one kind, in the order of the row; 4 or 7 characters, 0 to 2 decimals. A blank follows
        each field; one with 7 characters also has a blank before it.
    blanks : tuple of int
        Where more than one blank follows a field, the last two of them.
    name : int
        Column of the panel's name.
    header : bytes or None
        Column header; None when the first line of a list is never a row.
    longest_name : int
        What libcrystfel keeps of a name.
    """

    def __init__(
        self,
        what: str,
        dtype: np.dtype,
        runs: tuple[tuple[int, int, int, int, int], ...],
        blanks: tuple[int, ...],
        name: int,
        end_marker: bytes,
        header: bytes | None,
        longest_name: int,
    ) -> None:
        self.what, self.dtype, self.runs, self.blanks, self.name = what, dtype, runs, blanks, name
        self.end_marker, self.header, self.longest_name = end_marker, header, longest_name
        decimals = [decimals for n, *_, decimals in runs for _ in range(n)]
        self.integers, self.fields = decimals.count(0), len(decimals)
        self.names = dtype.names or ()
        self.tail = np.array([places + (places > 0) for places in decimals])[:, None]  # from the point on
        # a point, its digits and the blank behind them as one word: what each byte should be, what makes its
        # difference from that overflow into the highest bit if it is not, and which bytes count
        words = {
            0: (b" \0\0\0", b"\x7f\0\0\0", b"\xff\0\0\0"),
            1: (b".0 \0", b"\x7f\x76\x7f\0", b"\xff\xff\xff\0"),
            2: (b".00 ", b"\x7f\x76\x76\x7f", b"\xff" * 4),
        }
        self.wanted, self.excess, self.counts = (
            np.array([int.from_bytes(words[places][i], "little") for places in decimals], np.uint32)[:, None]
            for i in range(3)
        )


REFLECTIONS = Layout(
    "reflection",
    REFLECTION,
    ((3, 0, 5, 4, 0), (4, 15, 11, 7, 2), (2, 59, 7, 4, 1)),
    (),
    73,
    END_REFLECTIONS,
    REFLECTION_COLUMNS,
    LONGEST_PANEL_NAME,
)
PEAKS = Layout(
    "peak",
    PEAK,
    ((2, 0, 8, 4, 2), (2, 16, 12, 7, 2)),
    (26, 39),
    41,
    END_PEAKS,
    None,
    LONGEST_PANEL_NAME + 1,
)


def read_reflections(data: bytes, start: int, stop: int) -> BlockEnd:
    """Read the list whose first line (the column header) begins at ``start`` (``read_stream_reflections_2_3``)."""
    return read_fast(data, start, stop, REFLECTIONS) or read_slow(data, start, stop, REFLECTIONS)


def read_peaks(data: bytes, start: int, stop: int) -> BlockEnd:
    """Read the peak list whose first line begins at ``start`` (``read_peaks``)."""
    return read_fast(data, start, stop, PEAKS) or read_slow(data, start, stop, PEAKS)


def read_fast(data: bytes, start: int, stop: int, layout: Layout) -> BlockEnd | None:
    """Read plain rows; None when anything is out of the ordinary."""
    marker = layout.end_marker + b"\n"
    if data.startswith(marker, start, stop):
        return BlockEnd(_no_rows(layout), start + len(marker))
    body = data.find(b"\n", start, min(start + LONGEST_PIECE, stop)) + 1
    if not body:
        return None
    header = data[start : body - 1]
    if header != layout.header and (
        b"\0" in header or b"\r" in header or (layout.header is not None and _scan(header, layout) is not None)
    ):
        return None
    end = data.find(b"\n" + marker, body - 1, stop) + 1
    if not end:
        return None
    if end == body:
        return BlockEnd(_no_rows(layout), end + len(marker))
    if not data.isascii() and not data[body:end].isascii():
        return None
    rows = _read_printed(data, body, end, layout) or _read_tokens(data, body, end, layout)
    return None if rows is None else BlockEnd(rows, end + len(marker))


def beyond_limit(rows: Rows) -> NDArray[np.intp]:
    """Numbers of the reflections with an index at which libcrystfel aborts (``add_refl``)."""
    wrong = np.zeros(len(rows.values), bool)
    for name in "hkl":
        # what is below the range is far above it as an unsigned number; abs() leaves the lowest integer as it is
        wrong |= (rows.values[name] + np.int32(LARGEST_INDEX)).view(np.uint32) > 2 * LARGEST_INDEX
    return np.flatnonzero(wrong)


def _no_rows(layout: Layout) -> Rows:
    none = np.zeros(0, np.int64)
    return Rows(np.zeros(0, layout.dtype), (), none, none)


def _read_printed(data: bytes, body: int, end: int, layout: Layout) -> Rows | None:
    """Read rows that have each field in printf's own columns; None if a byte is not printf's."""
    shortest = longest = step = data.find(b"\n", body, end) + 1 - body
    newlines = np.ndarray(((end - body) // step,), np.uint8, data, body + step - 1, (step,))
    if (end - body) % step == 0 and np.count_nonzero(newlines == 10) == len(newlines):  # rows of one length
        begins = np.arange(body, end, step)
        ends = begins + step
        lengths = ends[:1] - body
    else:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8, end - body, body) == 10) + (body + 1)
        begins = np.empty_like(ends)
        begins[0], begins[1:] = body, ends[:-1]
        lengths = ends - begins
        shortest, longest = int(lengths.min()), int(lengths.max())
    if not layout.name + 1 < shortest <= longest <= layout.name + LONGEST_PANEL_NAME + 1:
        return None
    table: bytes | NDArray[np.void] = data
    eights = -(-(longest - layout.name) // 8)
    if shortest < longest:
        body, step = 0, layout.name + 8 * eights
        table = _gather(data, begins, step)
    values = _read_columns(table, body, len(ends), step, layout)
    if values is None:
        return None
    names = _words_of(table, body + layout.name, step, (eights, len(ends)), lengths - layout.name)
    values["panel"], firsts = number_words(names)
    where = zip((begins[firsts] + layout.name).tolist(), (ends[firsts] - 1).tolist())
    found = tuple(data[begin:end] for begin, end in where)
    return None if _NO_NAME.search(b"".join(found)) else Rows(values, found, begins, ends)


def _read_columns(data: Any, body: int, n: int, length: int, layout: Layout) -> NDArray[np.void] | None:
    """Read the numbers of ``n`` rows, ``length`` bytes apart; None if a byte is not where printf puts it."""

    def columns(count: int, at: int, step: int, kind: str) -> NDArray[Any]:
        return np.ndarray((count, n), kind, data, body + at, (step, length))

    for at in layout.blanks:
        if np.count_nonzero(columns(1, at, 0, "<u2") != _TWO_BLANKS):
            return None
    words, fractions = np.empty((layout.fields, n), "<u8"), np.empty((layout.fields, n), "<u4")
    row = 0
    for count, first, step, whole, _ in layout.runs:
        rows = slice(row, row + count)
        fractions[rows] = columns(count, first + whole, step, "<u4")
        if whole == 7:
            words[rows] = columns(count, first - 1, step, "<u8")
        else:
            words[rows] = columns(count, first, step, "<u4")
            words[rows] <<= np.uint64(32)
            words[rows] |= _FOUR_BLANKS
        row += count
    hundredths = _hundredths(fractions, layout)
    if hundredths is None:
        return None
    found = read_whole(words)
    return None if found is None else _values(layout, found, hundredths)


def _gather(data: bytes, begins: NDArray[np.int64], room: int) -> NDArray[np.void]:
    """Bytes from several places on, as rows of a table."""
    if begins[-1] + room > len(data):
        data += bytes(room)
    return np.ndarray((len(data) - room + 1,), f"V{room}", data, 0, (1,))[begins]


def _words_of(data: Any, at: int, step: int, shape: tuple[int, int], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Texts, ``step`` bytes apart, as columns of words of eight bytes, zero behind their end."""
    words = np.empty(shape, "<u8")
    words[:] = np.ndarray(shape, "<u8", data, at, (8, step))
    words &= _FIRST[: len(words), lengths]
    return words


_KEEP = np.array([(2**64 - 1) ^ (2 ** (8 * (8 - m)) - 1) for m in range(9)], np.uint64)  # the last m bytes of a word
_BLANK = np.array([0x2020202020202020 & (2 ** (8 * (8 - m)) - 1) for m in range(9)], np.uint64)  # blanks before them
_FIRST = np.array(  # of each word of a text, the bytes before the text's end
    [[2 ** (8 * min(max(m - at, 0), 8)) - 1 for m in range(LONGEST_PANEL_NAME + 2)] for at in range(0, 64, 8)],
    np.uint64,
)
_TWO_BLANKS, _FOUR_BLANKS = np.uint16(0x2020), np.uint64(0x20202020)


def _read_tokens(data: bytes, body: int, end: int, layout: Layout) -> Rows | None:
    """Read rows of plain numbers between blanks, of any width; None if a row has anything else."""
    raw = np.frombuffer(data, np.uint8, end - body, body)
    visible = raw > 32
    n = data.count(b"\n", body, end)
    if body < 8 or np.count_nonzero(visible) + np.count_nonzero(raw == 32) + n != len(raw):
        return None
    edges = np.flatnonzero(visible[1:] != visible[:-1]) + 1
    if visible[0]:
        edges = np.concatenate([[0], edges])
    columns = layout.fields + 1
    if len(edges) != 2 * columns * n:
        return None
    edges = edges.reshape(n, 2 * columns).T
    starts, ends = edges[0::2], edges[1::2]
    row_ends = ends[-1] + 1
    if (raw[ends[-1]] != 10).any():
        return None  # a row of two lines, or a blank at its end
    begins = np.concatenate([[0], row_ends[:-1]])
    lengths = row_ends - begins
    name_lengths = ends[-1] - starts[-1]
    points = ends[:-1] - layout.tail
    whole = points - starts[:-1]
    if lengths.max() > LONGEST_PIECE or name_lengths.max() > LONGEST_PANEL_NAME or whole.min() < 1 or whole.max() > 8:
        return None
    fours = np.ndarray((len(data) - 3,), "<u4", data, 0, (1,))
    eights = np.ndarray((len(data) - 7,), "<u8", data, 0, (1,))
    hundredths = _hundredths(fours[body + points], layout)
    if hundredths is None:
        return None
    words = eights[body + points - 8]
    words &= _KEEP[whole]
    words |= _BLANK[whole]
    found = read_whole(words)
    if found is None:
        return None
    values = _values(layout, found, hundredths)
    eights = -(-int(name_lengths.max()) // 8)
    names = _words_of(_gather(data, body + starts[-1], 8 * eights), 0, 8 * eights, (eights, n), name_lengths)
    values["panel"], firsts = number_words(names)
    panel_names = tuple(data[body + starts[-1, i] : body + ends[-1, i]] for i in firsts)
    numbers = None
    if layout.integers:
        numbers = np.stack([ends[2], ends[6]], axis=1) - begins[:, None]
        if (numbers == (NUMBERS_BEGIN, NUMBERS_END)).all():
            numbers = None
    return Rows(values, panel_names, begins + body, row_ends + body, numbers)


def _hundredths(words: NDArray[Any], layout: Layout) -> NDArray[Any] | None:
    """Decimals, in hundredths, of ASCII words like ``.25 ``, ``.5 ?`` or `` ???``; None if one is anything else."""
    words ^= layout.wanted
    words &= layout.counts
    wrong = words + layout.excess  # at most 0x7F + 0x7F: stays in its byte
    wrong &= np.uint32(0x80808080)
    if np.count_nonzero(wrong):
        return None
    words = words[layout.integers :]
    words *= np.uint32(10 << 8 | 1)  # each byte ten times the one before it, plus itself
    words >>= np.uint32(16)
    words &= np.uint32(0xFF)
    return words.astype(np.float64)


def _values(
    layout: Layout, found: tuple[NDArray[np.uint64], NDArray[np.bool_] | None], hundredths: NDArray[Any]
) -> NDArray[np.void]:
    """Put the fields together from whole numbers, their signs, and hundredths."""
    whole, minus = found
    k = layout.integers
    values = np.empty(whole.shape[1], layout.dtype)
    integers, number = whole[:k].view(np.int64), whole[k:].astype(np.float64)
    # whole numbers below 2^53, then one correctly rounded division: the doubles nearest to the printed decimals
    number *= 100.0
    number += hundredths
    if minus is None:
        number /= 100.0
    else:  # a zero keeps its minus
        number /= np.where(minus[k:], -100.0, 100.0)
        integers = np.where(minus[:k], -integers, integers)
    for name, row in zip(layout.names, (*integers, *number)):
        values[name] = row
    return values


def _scan(line: bytes, layout: Layout) -> tuple[list[float | int], bytes, list[int]] | None:
    return scan_columns(line, layout.integers, layout.fields - layout.integers)


def read_slow(data: bytes, start: int, stop: int, layout: Layout) -> BlockEnd:
    """Read row by row, as libcrystfel: the first line may be anything, a later one must have all its columns."""
    values: list[tuple[float | int, ...]] = []
    begins: list[int] = []
    ends: list[int] = []
    places: list[tuple[int, int]] = []
    names: dict[bytes, int] = {}
    first = True
    end = start
    for begin, end, line in pieces(data, start, stop):
        if line == layout.end_marker:
            rows = np.array(values, layout.dtype) if values else np.zeros(0, layout.dtype)
            numbers = np.array(places, np.int64).reshape(-1, 2) if layout.integers else None
            found = Rows(rows, tuple(names), np.array(begins, np.int64), np.array(ends, np.int64), numbers)
            return BlockEnd(found, end, plain=False)
        columns = _scan(line, layout) if layout.header is not None or not first else None
        if columns is not None:
            numbers_of_row, name, stops = columns
            values.append((*numbers_of_row, names.setdefault(name[: layout.longest_name], len(names))))
            begins.append(begin)
            ends.append(end)
            if layout.integers:
                places.append((stops[2], stops[6]))
        elif not first:
            found_here = _found(line) if data[begin - 1] == 10 else f"what is left of a line over {LONGEST_LINE} bytes"
            reason = f"{layout.fields + 1} columns of a {layout.what} expected, found {found_here}"
            return BlockEnd(None, end, reason, begin, False, _first_beyond(values, begins, layout))
        first = False
    reason = f"no line {layout.end_marker.decode()!r} behind the {layout.what} list"
    return BlockEnd(None, end, reason, end, False, _first_beyond(values, begins, layout))


def _first_beyond(values: list[tuple[float | int, ...]], begins: list[int], layout: Layout) -> int | None:
    for row, begin in zip(values, begins):
        if any(abs(index) > LARGEST_INDEX for index in row[: layout.integers]):
            return begin
    return None


def _found(line: bytes) -> str:
    if not line.strip():
        return "a blank line"
    shown = line[:60].decode("latin-1")
    return repr(shown) + ("…" if len(line) > 60 else "")
