"""Where `waterbg.overwrite` finds new numbers for a crystal: in another stream, or in columns held in memory.

Each finder is asked for the chunks of a stream one after the other, and gives for every crystal rows aligned with its
reflections and a mask of those that were found.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waterbg.crystfel.pairing import PAIRS, chunk_key, index_codes, pair_crystals
from waterbg.errors import UsageError
from waterbg.stream import NUMBERS, REFLECTION, Chunk, StreamFile
from waterbg.stream_columns import COLUMNS, FIELDS, CrystalRows, StreamColumns, UnknownColumnError

Rows = NDArray[np.void]
Mask = NDArray[np.bool_]
AnyPath = str | os.PathLike[str]
Known = tuple[NDArray[np.float64] | None, Rows]  # axes and reflections of a crystal


class Finder(Protocol):
    """What all finders do."""

    def find(self, chunk: Chunk, number: int) -> list[tuple[Rows, Mask]]:
        """Rows for the reflections of each crystal of the ``number``-th chunk, and which of them were found."""

    def left(self) -> int:
        """How many reflections nobody has asked for."""

    def close(self) -> None:
        """Let go of files."""


class CrystalFinder:
    """The same h, k, l of the same crystal of the same image.

    Parameters
    ----------
    source : StreamColumns or path
    pair : str
        One of `PAIRS`: what makes two images the same. Crystals of one image are paired by their axes; an image
        without a serial number is paired with none by that.
    """

    def __init__(self, source: StreamColumns | AnyPath, pair: str) -> None:
        self._pair = pair
        self._images: dict[Any, list[Any]] = defaultdict(list)
        self._file: Any = None
        self._unused = 0
        if isinstance(source, StreamColumns):
            self._rows = table_of(source)
            for crystals in _by_image(source.crystals):
                one = crystals[0]
                self._images[chunk_key(pair, one.filename, one.event, one.serial, one.chunk)].append(crystals)
            return
        with StreamFile(source) as stream:
            for number, chunk in enumerate(stream.chunks()):
                key = chunk_key(pair, chunk.filename, chunk.event, chunk.serial, number)
                self._images[key].append((chunk.start, chunk.stop))
        self._file = open(source, "rb")  # noqa: SIM115 (closed by `close`)

    def close(self) -> None:
        """Close the stream."""
        if self._file is not None:
            self._file.close()

    def find(self, chunk: Chunk, number: int) -> list[tuple[Rows, Mask]]:
        """See `Finder`; each image is given once."""
        key = chunk_key(self._pair, chunk.filename, chunk.event, chunk.serial, number)
        waiting = self._images.get(key) if key is not None else None
        known = self._read(waiting.pop(0)) if waiting else []
        partner = dict(pair_crystals([crystal.axes for crystal in chunk.crystals], [axes for axes, _ in known]))
        self._unused += sum(len(rows) for j, (_, rows) in enumerate(known) if j not in partner.values())
        answers = []
        for i, crystal in enumerate(chunk.crystals):
            rows = known[partner[i]][1] if i in partner else np.zeros(0, REFLECTION)
            mine, theirs = match_rows(crystal.reflections, rows)
            self._unused += len(rows) - len(theirs)
            answers.append(_aligned(len(crystal.reflections), mine, rows[theirs]))
        return answers

    def left(self) -> int:
        """See `Finder`."""
        waiting = [place for places in self._images.values() for place in places]
        return self._unused + sum(len(rows) for place in waiting for _, rows in self._read(place))

    def _read(self, place: Any) -> list[Known]:
        if self._file is None:
            return [(one.axes, self._rows[one.start : one.stop]) for one in place]
        start, stop = place
        self._file.seek(start)
        return [(crystal.axes, crystal.reflections) for crystal in Chunk(self._file.read(stop - start), start).crystals]


class OrderFinder:
    """The n-th reflection of the n-th crystal, whatever its indices."""

    def __init__(self, source: StreamColumns | AnyPath) -> None:
        self._crystals = _crystals(source)
        self._unused = 0

    def close(self) -> None:
        """Close the stream."""
        self._crystals.close()

    def find(self, chunk: Chunk, number: int) -> list[tuple[Rows, Mask]]:
        """See `Finder`."""
        answers = []
        for crystal in chunk.crystals:
            rows = next(self._crystals, np.zeros(0, REFLECTION))
            count = min(len(rows), len(crystal.reflections))
            self._unused += len(rows) - count
            answers.append(_aligned(len(crystal.reflections), np.arange(count), rows[:count]))
        return answers

    def left(self) -> int:
        """See `Finder`."""
        return self._unused + sum(map(len, self._crystals))


class IndexFinder:
    """The same h, k, l, whatever the crystal.

    Parameters
    ----------
    source : mapping of columns, or path
    average : bool
        True: the mean of all that have it, with the sigma of that mean. False: the first who asks gets the first, the
        second the second, and so on.
    names : sequence of str
        Columns that must be finite: without, a reflection is nobody's partner, nor part of a mean.
    """

    def __init__(self, source: Mapping[str, Sequence[Any]] | AnyPath, average: bool, names: Sequence[str]) -> None:
        if isinstance(source, Mapping):
            rows = table_of(source)
        else:
            rows = np.concatenate([np.zeros(0, REFLECTION), *_crystals(source)])
        finite = np.logical_and.reduce([np.isfinite(rows[name]) for name in names])
        self._never = int(np.count_nonzero(~finite))
        rows = rows[finite]
        self._average = average
        self._rows = _mean_rows(rows) if average else rows
        codes = index_codes(self._rows)
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]
        self._taken = np.zeros(len(self._rows), bool)
        self._asked: dict[int, int] = defaultdict(int)

    def close(self) -> None:
        """Nothing is open."""

    def find(self, chunk: Chunk, number: int) -> list[tuple[Rows, Mask]]:
        """See `Finder`."""
        return [self._find(crystal.reflections) for crystal in chunk.crystals]

    def _find(self, reflections: Rows) -> tuple[Rows, Mask]:
        wanted = index_codes(reflections)
        place = np.searchsorted(self._codes, wanted)
        if not self._average:
            for i, code in enumerate(wanted.tolist()):
                place[i] += self._asked[code]
                self._asked[code] += 1
        there = place < len(self._codes)
        there[there] = self._codes[place[there]] == wanted[there]
        chosen = self._order[place[there]]
        self._taken[chosen] = True
        return _aligned(len(reflections), np.flatnonzero(there), self._rows[chosen])

    def left(self) -> int:
        """See `Finder`; with ``average``, different h, k, l."""
        return self._never + int(np.count_nonzero(~self._taken))


def choose_pairing(high: AnyPath, low: StreamColumns | AnyPath) -> str:
    """What the images of two streams have in common: file name and event, the event, or the serial number.

    Simulated or reprocessed runs rarely share the names of their images; the first of the three by which any image of
    one is one of the other is taken, provided that it tells the images of each stream apart; the first without images.

    Raises
    ------
    UsageError
        When they have nothing in common.
    """
    both = [_names(high), _names(low)]
    if not all(both):
        return PAIRS[0]
    for pair in PAIRS[:-1]:
        keys = [[chunk_key(pair, *name, 0) for name in names] for names in both]
        distinct = pair == "image" or all(len(set(one)) == len(one) for one in keys)
        if distinct and (set(keys[0]) & set(keys[1])) - {None}:
            return pair
    raise UsageError("no image of one stream is one of the other, by name, event or serial number; --pair=order?")


def _names(source: StreamColumns | AnyPath) -> list[tuple[str, str | None, int | None]]:
    if isinstance(source, StreamColumns):
        return [(one[0].filename, one[0].event, one[0].serial) for one in _by_image(source.crystals)]
    with StreamFile(source) as stream:
        return [(chunk.filename, chunk.event, chunk.serial) for chunk in stream.chunks()]


def _by_image(crystals: Sequence[CrystalRows]) -> Iterator[list[CrystalRows]]:
    """Crystals that belong to one image."""
    for _, group in groupby(crystals, lambda crystal: crystal.chunk):
        yield list(group)


def _crystals(source: StreamColumns | AnyPath) -> Any:
    """Reflections of each crystal of a stream."""
    if isinstance(source, StreamColumns):
        rows = table_of(source)
        yield from (rows[one.start : one.stop] for one in source.crystals)
        return
    with StreamFile(source) as stream:
        for chunk in stream.chunks():
            for crystal in chunk.crystals:
                yield crystal.reflections


def _aligned(n: int, places: NDArray[np.int64], rows: Rows) -> tuple[Rows, Mask]:
    """Spread rows over the places they were found for."""
    found, there = np.zeros(n, REFLECTION), np.zeros(n, bool)
    found[places], there[places] = rows, True
    return found, there


def match_rows(high: Rows, low: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two lists with the same h, k, l; those that stand several times are paired in their order."""
    _, code = np.unique(np.concatenate([index_codes(high), index_codes(low)]), return_inverse=True)
    most = len(code) + 1
    mine, theirs = (part * most + _occurrence(part) for part in (code[: len(high)], code[len(high) :]))
    _, i, j = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    return i, j


def _occurrence(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the same stand before each."""
    order = np.argsort(codes, kind="stable")
    at = np.arange(len(codes))
    first = np.ones(len(codes), bool)
    first[1:] = codes[order][1:] != codes[order][:-1]
    before = np.empty(len(codes), np.int64)
    before[order] = at - np.maximum.accumulate(np.where(first, at, 0))
    return before


def table_of(columns: Mapping[str, Sequence[Any]]) -> Rows:
    """Columns as rows.

    Parameters
    ----------
    columns : mapping
        h, k, l and any of I, sigmaI (or sigma), peak, background; what lacks is NaN.

    Raises
    ------
    UnknownColumnError
        Without h, k or l.
    ValueError
        When the columns differ in length, or hold something that is no number.
    """
    for name in "hkl":
        if name not in columns:
            raise UnknownColumnError(f"no column {name!r} in what to overwrite with (it has {', '.join(columns)})")
    known = {name: columns[name] for name in COLUMNS[:-1] if name in columns}
    if "sigma" in columns:
        known["sigmaI"] = columns["sigma"]
    lengths = {name: len(values) for name, values in known.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of different lengths: {', '.join(f'{k} {v}' for k, v in lengths.items())}")
    rows = np.zeros(lengths["h"], REFLECTION)
    for name in NUMBERS:
        rows[name] = np.nan
    for name, values in known.items():
        try:
            rows[FIELDS.get(name, name)] = values
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"column {name} holds something that is no number") from None
    return rows


def _mean_rows(rows: Rows) -> Rows:
    """One row for each h, k, l: plain means, and the sigma of the mean."""
    codes, first, inverse = np.unique(index_codes(rows), return_index=True, return_inverse=True)
    mean = rows[first].copy()
    count = np.bincount(inverse, minlength=len(codes))
    for name in NUMBERS:
        power = 2 if name == "sigma" else 1
        total = np.bincount(inverse, weights=rows[name] ** power, minlength=len(codes))
        mean[name] = np.sqrt(total) / count if power == 2 else total / count
    return mean
