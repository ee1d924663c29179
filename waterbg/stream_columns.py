"""The reflections of a whole stream as ten plain columns: what the original repository's tools work on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import UsageError

if TYPE_CHECKING:
    from waterbg.stream import Chunk, Crystal

COLUMNS = ("h", "k", "l", "I", "sigmaI", "peak", "background", "fs", "ss", "panel")
FIELDS = {"sigmaI": "sigma"}  # where the original's name differs from ours


class UnknownColumnError(UsageError, KeyError):
    """A column that a stream, or what was given as one, does not have."""

    __str__ = UsageError.__str__  # KeyError's would put quotes round the message


@dataclass(frozen=True)
class CrystalRows:
    """Which rows of the columns are one crystal's, and what tells it from the others.

    Attributes
    ----------
    filename : str
    event : str or None
    serial : int or None
    chunk : int
        Which chunk of the stream, from 0 on, images without crystals among them.
    axes : (3, 3) float64 or None
        As `waterbg.stream.Crystal.axes`.
    start, stop : int
        Rows.
    """

    filename: str
    event: str | None
    serial: int | None
    chunk: int
    axes: NDArray[np.float64] | None
    start: int
    stop: int


class StreamColumns(dict[str, list[Any]]):
    """Column name -> list, one entry for each reflection of the stream; remembers which rows are which crystal's.

    Attributes
    ----------
    crystals : list of CrystalRows
        In the order of the file.
    """

    def __init__(self) -> None:
        super().__init__({name: [] for name in COLUMNS})
        self.crystals: list[CrystalRows] = []

    def append_crystal(self, chunk: Chunk, number: int, crystal: Crystal) -> None:
        """Add the reflections of one crystal of the stream's ``number``-th chunk."""
        rows = crystal.reflections
        start = len(self["h"])
        for name in COLUMNS[:-1]:
            self[name] += rows[FIELDS.get(name, name)].tolist()
        names = [name.decode("utf-8", "surrogateescape") for name in crystal.panel_names]
        self["panel"] += [names[i] for i in rows["panel"].tolist()]
        stop = start + len(rows)
        self.crystals.append(CrystalRows(chunk.filename, chunk.event, chunk.serial, number, crystal.axes, start, stop))


def retrieve(data_columns: Mapping[str, Any], *columns: str) -> list[Any]:
    """Chosen columns, in the order asked for.

    Raises
    ------
    UnknownColumnError
        When there is no such column (it is a `KeyError`, too).
    """
    for name in columns:
        if name not in data_columns:
            raise UnknownColumnError(f"no column {name!r}; there are {', '.join(map(str, data_columns))}")
    return [data_columns[name] for name in columns]


def load_stream(stream_path: str | os.PathLike[str]) -> StreamColumns:
    """Read the reflections of a stream.

    Parameters
    ----------
    stream_path : str or path
        ``-`` is standard input.

    Returns
    -------
    StreamColumns
        A dict of the columns h, k, l (int), I, sigmaI, peak, background (float, ADU), fs, ss (float, pixels, in the
        data coordinates of the file, as printed) and panel (str): lists of one length, crystal after crystal. Held in
        memory as Python objects, so for streams of the size of a test; `waterbg.stream.StreamFile` has no such limit.

    Raises
    ------
    StreamError
        When the file is missing or no stream.
    """
    from waterbg.stream import StreamFile

    columns = StreamColumns()
    with StreamFile(stream_path) as stream:
        for number, chunk in enumerate(stream.chunks()):
            for crystal in chunk.crystals:
                columns.append_crystal(chunk, number, crystal)
    return columns
