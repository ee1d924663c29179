"""One chunk: what libcrystfel makes of the lines between two markers (``stream_read_chunk``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from waterbg.stream import grammar as g
from waterbg.stream.crystal import NO_ROWS, Crystal, text_of
from waterbg.stream.rows import Rows, beyond_limit, read_peaks, read_reflections
from waterbg.stream.scanf import atof, convert_float, convert_long_int, scan, scan_columns

Header = tuple[str, str, float | int]
_Value = TypeVar("_Value")


@dataclass
class Fault:
    """Something libcrystfel loses: which check it belongs to, in words, and the byte of the line."""

    check: str
    reason: str
    offset: int


@dataclass
class Parsed:
    """What a chunk holds, read."""

    stop: int = 0
    complete: bool = False
    filename: str | None = None
    event: str | None = None
    serial: int | None = None
    photon_energy_eV: float | None = None
    headers: list[Header] = field(default_factory=list)
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    peaks: Rows | None = None
    crystals: list[Crystal] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ran_out: bool = False
    """The bytes ended inside the chunk."""
    plain: bool = True
    """False when a line was too long for one piece, or a list out of the ordinary: worth a closer look."""
    checks: set[str] = field(default_factory=set)
    """Of all faults."""
    unowned: bool = False
    """A crystal's lines stand outside of all crystals."""

    def fault(self, check: str, reason: str, offset: int) -> None:
        """Add one."""
        self.faults.append(Fault(check, reason, offset))
        self.checks.add(check)


def parse_chunk(data: bytes) -> Parsed:
    """Read the chunk that the bytes begin with; more may follow its end.

    Never fails: what libcrystfel would lose is listed in ``faults``, and ``complete`` is False when libcrystfel would
    stop reading here.
    """
    chunk = Parsed()
    lines = _Lines(data)
    lines.next()
    while (line := lines.next()) is not None:
        if line == g.BEGIN_PEAKS:
            _lost_peaks(data, lines, chunk)
            block = read_peaks(data, lines.end, len(data))
            lines.move(block.stop)
            chunk.plain &= block.plain
            if block.rows is None:
                # a whole line that is no row is at fault itself, the last one as well
                cut = block.fault >= len(data) or data[-1:] != b"\n"
                chunk.stop, chunk.ran_out = block.stop, block.stop >= len(data) and cut
                chunk.fault("peak_list", f"{block.reason}: reading ends here", block.fault)
                return chunk
            chunk.peaks = block.rows
        elif line == g.BEGIN_CRYSTAL:
            _read_crystal(data, lines, chunk)
        elif line == g.END_CHUNK:
            chunk.stop = lines.end
            chunk.plain &= lines.plain
            chunk.complete = chunk.filename is not None and chunk.photon_energy_eV is not None
            if not chunk.complete:
                lacking = "Image filename" if chunk.filename is None else "photon_energy_eV"
                chunk.fault("incomplete_chunk", f"the chunk has no {lacking}: reading ends here", 0)
            else:
                _unread_rows(chunk.lines, chunk)
            return chunk
        else:
            if line == g.BEGIN_CHUNK:
                chunk.fault(
                    "end_chunk", "a chunk begins before the last one has ended: two images become one", lines.begin
                )
            _read_header_line(line, lines.begin, chunk)
    chunk.stop, chunk.ran_out = len(data), True
    chunk.plain &= lines.plain
    return chunk


def _read_header_line(line: bytes, at: int, chunk: Parsed) -> None:
    start = line[:6]
    if start == b"Image ":
        if line.startswith(b"Image filename: "):
            chunk.filename = _once("Image filename", chunk.filename, text_of(line[16:]), at, chunk)
        elif (found := scan(line, "Image serial number: %i")) is not None:
            chunk.serial = _once("Image serial number", chunk.serial, int(found[0]), at, chunk)
    elif start == b"Event:" and line.startswith(b"Event: "):
        chunk.event = _once("Event", chunk.event, text_of(line[7:]), at, chunk)
    elif start == b"photon" and line.startswith(b"photon_energy_eV = "):
        chunk.photon_energy_eV = _once("photon_energy_eV", chunk.photon_energy_eV, atof(line[19:]), at, chunk)
    elif line.startswith((b"header/", b"hdf5/")):
        _read_copied_header(line, at, chunk)
    else:
        if line in _STRAY_IN_CHUNK:
            _stray(line, at, chunk, _repeats(line, chunk))
        elif line.startswith((b"astar", b"Cell parameters")):
            chunk.unowned = True
        chunk.lines.append((at, line))


def _once(name: str, old: _Value | None, new: _Value, at: int, chunk: Parsed) -> _Value:
    """The new value, as libcrystfel takes it; one that differs shows that the end and beginning between are lost."""
    if old is not None and old != new and "end_chunk" not in chunk.checks:
        chunk.fault("end_chunk", f"a second {name!r} in one chunk, not as the first: two images become one", at)
    return new


def _lost_peaks(data: bytes, lines: _Lines, chunk: Parsed) -> None:
    """Peaks that libcrystfel passes over without a word."""
    if chunk.peaks is not None and len(chunk.peaks.values) and "end_chunk" not in chunk.checks:
        chunk.fault("lost_peaks", "a second peak list in one chunk: the first is lost", lines.begin)
    first = data[lines.end : data.find(b"\n", lines.end)]
    if first[:1] in _BEGIN_ROW and scan_columns(first, 0, 4) is not None:
        chunk.fault("lost_peaks", "a peak where the column header should be, which is passed over", lines.end)


_STRAY_IN_CHUNK = frozenset((g.END_PEAKS, g.END_CRYSTAL, g.BEGIN_REFLECTIONS, g.END_REFLECTIONS))
_STRAY_IN_CRYSTAL = frozenset((g.BEGIN_PEAKS, g.END_PEAKS, g.END_REFLECTIONS))


def _stray(line: bytes, at: int, chunk: Parsed, repeats: bool) -> None:
    """A marker where libcrystfel does not look for it, once, and unless it only follows from what is already said."""
    if chunk.checks & _LEAVE_STRAYS:
        return
    if not repeats:
        chunk.fault("stray_end", f"{line.decode()!r} where nothing reads it: its list or crystal is lost", at)
    elif "repeated_end" not in chunk.checks:
        chunk.fault("repeated_end", f"{line.decode()!r} once more, which is passed over", at)


_LEAVE_STRAYS = {"reflection_list", "end_crystal", "end_chunk", "stray_end"}


def _repeats(line: bytes, chunk: Parsed) -> bool:
    """Whether an end marker between crystals ends nothing once more; False when it shows that a beginning is lost."""
    if line == g.END_PEAKS:
        return chunk.peaks is not None
    return line in (g.END_CRYSTAL, g.END_REFLECTIONS) and bool(chunk.crystals) and not chunk.unowned


def _read_copied_header(line: bytes, at: int, chunk: Parsed) -> None:
    """``header/float/PATH = value`` (``parse_header``); strings are written by CrystFEL but never read back."""
    if line.startswith(b"hdf5/"):
        kind, rest = "float", line[4:]
    elif line.startswith(b"header/int/"):
        kind, rest = "int", line[11:]
    elif line.startswith(b"header/float/"):
        kind, rest = "float", line[13:]
    else:
        return
    name, blank, tail = rest.partition(b" ")
    found = None
    if blank and tail.startswith(b"= "):
        # convert_float and convert_long_int want the number and nothing else; the latter gets the blank, too
        found = convert_float(tail[2:]) if kind == "float" else convert_long_int(tail[1:])
    if found is None:
        chunk.fault("header_line", f"a copied header that cannot be read: {text_of(line)[:60]!r}", at)
    else:
        chunk.headers.append((text_of(name), kind, found))


def _read_crystal(data: bytes, lines: _Lines, chunk: Parsed) -> None:
    crystal = Crystal(lines.begin)
    chunk.crystals.append(crystal)
    while (line := lines.next()) is not None:
        if line == g.BEGIN_REFLECTIONS:
            if crystal.has_list:
                chunk.fault("reflection_list", "a second list in one crystal: its first list is lost", lines.begin)
                if len(rows := beyond_limit(crystal.rows)):
                    _abort(int(crystal.rows.begin[rows[0]]), chunk)
            crystal.has_list = True
            block = read_reflections(data, lines.end, len(data))
            crystal.stop = block.stop
            lines.move(block.stop)
            chunk.plain &= block.plain
            if block.rows is None:
                # libcrystfel leaves the crystal here, and reads on in the chunk
                crystal.rows, crystal.lost = NO_ROWS, True
                chunk.fault("reflection_list", f"{block.reason}: the crystal's whole list is lost", block.fault)
                if block.beyond is not None:
                    _abort(block.beyond, chunk)
                return
            crystal.rows = block.rows
            continue
        if line == g.END_CRYSTAL:
            crystal.stop = lines.end
            _unread_rows(crystal.lines, chunk)
            return
        if line in (g.END_CHUNK, g.BEGIN_CHUNK, g.BEGIN_CRYSTAL):
            chunk.fault(
                "end_crystal",
                f"{line.decode()!r} inside a crystal: what follows is taken for this crystal",
                lines.begin,
            )
        elif line in _STRAY_IN_CRYSTAL:
            repeats = crystal.has_list if line == g.END_REFLECTIONS else line == g.END_PEAKS and chunk.peaks is not None
            _stray(line, lines.begin, chunk, repeats)
        crystal.lines.append((lines.begin, line))
    crystal.stop = len(data)


def _unread_rows(lines: list[tuple[int, bytes]], chunk: Parsed) -> None:
    """Rows of a list among lines that nobody reads: both markers of the list are lost."""
    for at, line in lines:
        # letters begin nearly all lines
        if line[:1] in _BEGIN_ROW and scan_columns(line, 3, 6) is not None:
            if not chunk.checks & _LEAVE_STRAYS:
                chunk.fault("reflection_list", "rows outside of a list, which nothing reads", at)
            return


_BEGIN_ROW = frozenset(b"%c" % character for character in b" -0123456789")


def _abort(at: int, chunk: Parsed) -> None:
    reason = f"a reflection of a list that is lost is beyond ±{g.LARGEST_INDEX}"
    chunk.fault("index", reason, at)


class _Lines:
    """Lines one by one, from a place that can be moved (behind a list).

    Attributes
    ----------
    begin, end : int
        Where the last line lies, newline included.
    plain : bool
        False once a line was too long for one piece.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.begin, self.end = data, 0, 0
        self.plain = True
        self._ready: list[bytes] = []

    def move(self, to: int) -> None:
        """Go on with the line that begins at ``to``."""
        self.end = to
        self._ready = []

    def next(self) -> bytes | None:
        """One more line as libcrystfel sees it; None at the end."""
        if not self._ready:
            self._split_ahead()
        self.begin = begin = self.end
        if self._ready:
            line = self._ready.pop()
            self.end = begin + len(line) + 1
            return line
        data = self.data
        if begin >= len(data):
            return None
        newline = data.find(b"\n", begin, begin + g.LONGEST_PIECE)
        if newline >= 0:
            self.end = newline + 1
        else:
            self.end, self.plain = min(begin + g.LONGEST_PIECE, len(data)), False
        return g.chomp(data[begin : self.end])

    def _split_ahead(self) -> None:
        """Split a stretch without anything odd at once: shorter than a piece, so no line in it can be too long."""
        stretch = self.data[self.end : self.end + g.LONGEST_PIECE]
        whole = stretch.rfind(b"\n")
        if whole >= 0 and b"\r" not in stretch and b"\0" not in stretch:
            self._ready = stretch[:whole].split(b"\n")
            self._ready.reverse()


class Chunk:
    """A view of a chunk's bytes; parsed when something in it is asked for.

    Attributes
    ----------
    start, stop : int
        Byte range in the stream, from the begin marker to behind the line of the end marker.
    bytes : bytes
    """

    def __init__(self, data: bytes, start: int, parsed: Parsed | None = None) -> None:
        self.bytes, self.start, self.stop = data, start, start + len(data)
        self._given = parsed

    @cached_property
    def parsed(self) -> Parsed:
        """All of it, read."""
        return self._given or parse_chunk(self.bytes)

    @property
    def n_reflections(self) -> int:
        """How many all of its crystals list."""
        return sum(len(crystal.reflections) for crystal in self.crystals)

    @property
    def filename(self) -> str:
        """Image file, as written."""
        return self.parsed.filename or ""

    @property
    def event(self) -> str | None:
        """``path/parts//dim/indices``; None in streams that have none."""
        return self.parsed.event

    @property
    def serial(self) -> int | None:
        """Image serial number."""
        return self.parsed.serial

    @property
    def photon_energy_eV(self) -> float:
        """As indexamajig resolved it for this event."""
        return self.parsed.photon_energy_eV or 0.0

    @property
    def camera_length(self) -> float | None:
        """``average_camera_length`` in m."""
        for _, line in self.parsed.lines:
            if line.startswith(b"average_camera_length"):
                found = scan(line, "average_camera_length = %f m")
                return float(found[0]) if found else None
        return None

    @property
    def headers(self) -> list[Header]:
        """Copied headers: path, kind ("float" or "int"), value."""
        return self.parsed.headers

    @property
    def peaks(self) -> NDArray[np.void]:
        """(n,) PEAK, empty without a list."""
        return self.parsed.peaks.values if self.parsed.peaks else np.zeros(0, g.PEAK)

    @property
    def peak_panel_names(self) -> tuple[bytes, ...]:
        """Names that the ``panel`` field of the peaks counts."""
        return self.parsed.peaks.panel_names if self.parsed.peaks else ()

    @property
    def crystals(self) -> list[Crystal]:
        """In the order of the file."""
        return self.parsed.crystals

    @property
    def faults(self) -> list[Fault]:
        """What libcrystfel would lose; offsets are bytes within the chunk."""
        return self.parsed.faults

    def value(self, name: str) -> str | None:
        """Text behind ``NAME = `` among the chunk's own lines (``hit``, ``indexed_by``, ``peak_resolution`` …)."""
        prefix = name.encode() + b" = "
        return next((text_of(line[len(prefix) :]) for _, line in self.parsed.lines if line.startswith(prefix)), None)
