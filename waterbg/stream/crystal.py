"""One crystal of a chunk: what libcrystfel's ``read_crystal`` takes from its lines."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from waterbg.stream.grammar import REFLECTION
from waterbg.stream.rows import Rows
from waterbg.stream.scanf import scan

NO_ROWS = Rows(np.zeros(0, REFLECTION), (), np.zeros(0, np.int64), np.zeros(0, np.int64), None)


def text_of(line: bytes) -> str:
    """Bytes of a file name or event as Python keeps them: exact also where they are not UTF-8."""
    return line.decode("utf-8", "surrogateescape")


def by_word(lines: list[tuple[int, bytes]]) -> dict[bytes, list[tuple[int, bytes]]]:
    """Lines by what stands before their first white space or equals sign: ``astar=`` and a tab do for sscanf."""
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for at, line in lines:
        words = line.split(None, 1)
        if words:
            found.setdefault(words[0].partition(b"=")[0], []).append((at, line))
    return found


def changed_line(lines: dict[bytes, list[tuple[int, bytes]]], names: tuple[bytes, ...]) -> tuple[int, bytes] | None:
    """Byte and name of the first line that stands there again, with another value than the first of its name."""
    again = []
    for name in names:
        of_name = lines.get(name, [])
        again += [(at, name) for at, line in of_name if line != of_name[0][1]]
    return min(again, default=None)


_ONCE = (
    *(b"Cell", b"astar", b"bstar", b"cstar", b"num_reflections"),
    *(b"profile_radius", b"predict_refine/det_shift", b"diffraction_resolution_limit"),
)


class Crystal:
    """One crystal of a chunk.

    Attributes
    ----------
    start, stop : int
        Bytes within the chunk, from its begin marker to behind its end marker.
    lost : bool
        True when libcrystfel could not read its reflection list.
    has_list : bool
        False for "No integrated reflections" (or nothing at all).
    rows : Rows
        Reflections and where they lie within the chunk's bytes.
    lines : list of (int, bytes)
        What stands outside of the list: byte within the chunk, and text.
    """

    def __init__(self, start: int) -> None:
        self.start, self.stop = start, start
        self.rows = NO_ROWS
        self.has_list = self.lost = False
        self.lines: list[tuple[int, bytes]] = []

    @property
    def reflections(self) -> NDArray[np.void]:
        """(n,) REFLECTION; fs and ss as printed, in the data coordinates of the file."""
        return self.rows.values

    @property
    def panel_names(self) -> tuple[bytes, ...]:
        """Names that the ``panel`` field of the reflections counts."""
        return self.rows.panel_names

    @property
    def block(self) -> tuple[int, int]:
        """Bytes of the rows within the chunk, without column header and end marker."""
        return (int(self.rows.begin[0]), int(self.rows.end[-1])) if len(self.rows.begin) else (self.stop, self.stop)

    @cached_property
    def axes(self) -> NDArray[np.float64] | None:
        """(3, 3) astar, bstar, cstar in nm⁻¹; None unless all three are there."""
        rows = [self._last(name + " = %f %f %f") for name in ("astar", "bstar", "cstar")]
        return None if None in rows else np.array(rows, float)

    @cached_property
    def det_shift(self) -> tuple[float, float]:
        """Shift of the detector in x and y, mm; 0 where the stream has none."""
        x, y = self._last("predict_refine/det_shift x = %f y = %f") or (0.0, 0.0)
        return float(x), float(y)

    @cached_property
    def profile_radius(self) -> float | None:
        """nm⁻¹."""
        return self._number("profile_radius = %f nm^-1")

    @cached_property
    def resolution_limit(self) -> float | None:
        """1/d in nm⁻¹."""
        return self._number("diffraction_resolution_limit = %f nm^-1")

    @cached_property
    def centering(self) -> str:
        """P, A, B, C, I, F, R or H; P unless centring, unique axis and lattice type are all there (as libcrystfel)."""
        found = self._first("centering = %c")
        complete = found and self._first("unique_axis = %c") and self._text(b"lattice_type = ")
        return str(found[0], "latin-1") if found and complete else "P"  # type: ignore[arg-type]

    @cached_property
    def lattice_type(self) -> str | None:
        """As printed."""
        return self._text(b"lattice_type = ")

    @cached_property
    def unique_axis(self) -> str | None:
        """a, b, c, ? or *."""
        found = self._first("unique_axis = %c")
        return str(found[0], "latin-1") if found else None  # type: ignore[arg-type]

    @cached_property
    def cell(self) -> tuple[float, ...] | None:
        """A, b, c in nm and the angles in degrees, as printed."""
        found = self._last("Cell parameters %f %f %f nm, %f %f %f deg")
        return tuple(float(value) for value in found) if found else None

    def count_line(self, name: bytes) -> tuple[int, bytes] | None:
        """Byte within the chunk and text of a line like ``num_reflections = 12``."""
        return next(((at, line) for at, line in self._by_word.get(name, ()) if line.startswith(name + b" = ")), None)

    @cached_property
    def _by_word(self) -> dict[bytes, list[tuple[int, bytes]]]:
        return by_word(self.lines)

    def changed_line(self) -> tuple[int, bytes] | None:
        """The first line that a crystal has once and that stands here again with another value: byte, and its name."""
        return changed_line(self._by_word, _ONCE)

    def _number(self, layout: str) -> float | None:
        found = self._last(layout)
        return float(found[0]) if found else None

    def _last(self, layout: str) -> list[float | int | bytes] | None:
        return self._scan(layout, -1)

    def _first(self, layout: str) -> list[float | int | bytes] | None:
        return self._scan(layout, 1)

    def _scan(self, layout: str, step: int) -> list[float | int | bytes] | None:
        """Values of the first line of a layout, or of the last one (with a step of -1)."""
        for _, line in self._by_word.get(layout.partition(" ")[0].encode(), [])[::step]:
            if (values := scan(line, layout)) is not None:
                return values
        return None

    def _text(self, prefix: bytes) -> str | None:
        lines = self._by_word.get(prefix.partition(b" ")[0], ())
        return next((text_of(line[len(prefix) :]) for _, line in lines if line.startswith(prefix)), None)
