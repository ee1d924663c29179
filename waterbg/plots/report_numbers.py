"""Two streams side by side, before and after, read once from beginning to end in memory that does not grow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import StreamError, UsageError
from waterbg.plots.report_bins import MEASURED, Resolution, TimeLine
from waterbg.settings import Settings
from waterbg.stream import StreamFile
from waterbg.stream.differences import places_in_order

if TYPE_CHECKING:
    from waterbg.geometry import Detector
    from waterbg.stream import Chunk, Crystal

COUNTED = {"saturated": b"num_saturated_reflections", "I < -5 sigma": b"num_implausible_reflections"}
"""Reasons to drop a reflection that a stream itself counts, by their lines."""
_SUM = r"=.*? \(sha256 ([0-9a-f]{12})\)"
_GIVEN = re.compile(rf"(?: --geometry{_SUM})?(?: --model{_SUM})?$")  # names may hold blanks


@dataclass(frozen=True)
class Provenance:
    """What the second stream says of how it came about.

    Attributes
    ----------
    line : str
        As it stands before the geometry.
    version : str
        Of waterbg.
    settings : Settings
    geometry, model : str or None
        First digits of the SHA-256 of the geometry and run model that were given, None when none were.
    """

    line: str
    version: str
    settings: Settings
    geometry: str | None
    model: str | None


def read_provenance(path: str) -> Provenance:
    """Read the line that `waterbg subtract` writes before the geometry.

    Raises
    ------
    StreamError
        When there is none, or none that can be understood.
    """
    with StreamFile(path) as stream:
        lines = stream.audit.decode("utf-8", "replace").splitlines()
        offset = len(stream.audit)
    found = re.fullmatch(r"waterbg (\S+) subtract( .*)?", lines[-1]) if lines else None
    if found is None:
        raise StreamError(
            "no line before its geometry says that waterbg subtract wrote it; report takes the stream before and "
            "the one after, in this order",
            path=path,
            offset=offset,
        )
    version, options = found[1], found[2] or ""
    given = _GIVEN.search(options)
    assert given is not None  # nothing at the end is enough
    try:
        settings = Settings.from_options(options[: given.start()].split())
    except UsageError as err:
        raise StreamError(
            f"its line of waterbg subtract cannot be understood ({err})", path=path, offset=offset
        ) from None
    return Provenance(lines[-1], version, settings, given[1], given[2])


@dataclass(frozen=True)
class Place:
    """Where a chunk is: its position in the first stream from 1 on, and its bytes in both."""

    number: int
    before: tuple[int, int]
    after: tuple[int, int]


class Spread:
    """Some chunks with reflections, spread evenly over the stream; at most twice as many as are wanted are held."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self._stride, self._seen = wanted, 1, 0
        self._places: list[Place] = []

    def add(self, place: Place) -> None:
        """Offer a chunk."""
        if self._seen % self._stride == 0:
            self._places.append(place)
            if len(self._places) > 2 * self.wanted:
                self._places = self._places[::2]
                self._stride *= 2
        self._seen += 1

    @property
    def places(self) -> list[Place]:
        """Those chosen, in order."""
        n = len(self._places)
        if n <= self.wanted:
            return list(self._places)
        return [self._places[(2 * i + 1) * n // (2 * self.wanted)] for i in range(self.wanted)]


@dataclass
class Numbers:
    """What two streams say, whole.

    Attributes
    ----------
    before, after : str
        Paths.
    chunks, indexed, crystals, listed, kept : int
        In the first stream; ``kept``: of its reflections in the second.
    left_out : int
        Chunks that the second stream lacks; ``left_out_listed`` reflections are in them.
    untouched : int
        Chunks with reflections that have the same bytes in both.
    counted : dict of str to int or None
        Dropped reflections by COUNTED; None when the lines are missing.
    resolution : Resolution
    time : TimeLine
    sample : list of Place
    ended : list of str
        Why a stream is not read to its end.
    """

    before: str
    after: str
    chunks: int = 0
    indexed: int = 0
    crystals: int = 0
    listed: int = 0
    kept: int = 0
    left_out: int = 0
    left_out_listed: int = 0
    untouched: int = 0
    counted: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    resolution: Resolution = field(default_factory=Resolution)
    time: TimeLine = field(default_factory=TimeLine)
    sample: list[Place] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def dropped(self) -> int:
        """Reflections that the second stream lacks though it has their chunks."""
        return self.listed - self.left_out_listed - self.kept


def gather(before: str, after: str, detector: Detector, frames: int) -> Numbers:
    """Read both streams once.

    Parameters
    ----------
    before, after : str
        Paths.
    detector : Detector
        For ADU a photon.
    frames : int
        How many chunks to choose for a closer look.

    Raises
    ------
    StreamError
        When ``after`` does not come from ``before``: another chunk, crystal or reflection, or another order.
    """
    numbers, spread, photons = Numbers(before, after), Spread(frames), _Photons(detector)
    with StreamFile(before) as first, StreamFile(after) as second:
        for one, other in _paired(first, second):
            _count_chunk(numbers, one, other, photons)
            if other is not None and other.n_reflections:
                spread.add(Place(numbers.chunks, (one.start, one.stop), (other.start, other.stop)))
        for stream in (first, second):
            if stream.ended is not None:
                numbers.ended.append(f"{stream.path}: {stream.ended.reason} (byte {stream.ended.offset})")
    numbers.resolution.flush()
    numbers.sample = spread.places
    return numbers


def _paired(first: StreamFile, second: StreamFile) -> Iterator[tuple[Chunk, Chunk | None]]:
    """Every chunk of the first stream, with that of the second or None where it was left out."""
    ahead = first.chunks()
    for number, other in enumerate(second.chunks(), 1):
        wanted = (other.filename, other.event, other.serial)
        for one in ahead:
            if (one.filename, one.event, one.serial) == wanted:
                yield one, other
                break
            yield one, None
        else:
            name = f"{other.filename} {other.event or ''}".rstrip()
            raise StreamError(
                f"does not come from {first.path}: its chunk {number} ({name}) is not there, or not in this order",
                path=second.path,
                offset=other.start,
            )
    for one in ahead:
        yield one, None


def _count_chunk(numbers: Numbers, one: Chunk, other: Chunk | None, photons: _Photons) -> None:
    listed = one.n_reflections
    numbers.chunks += 1
    numbers.indexed += bool(one.crystals)
    numbers.crystals += len(one.crystals)
    numbers.listed += listed
    if other is None:
        numbers.left_out += 1
        numbers.left_out_listed += listed
        numbers.time.add((1, len(one.crystals), listed, 0, 0, 0, 0, 0, 0))
        return
    numbers.untouched += listed > 0 and one.bytes == other.bytes
    parts = [np.zeros(0, MEASURED)]
    same = len(one.crystals) == len(other.crystals)
    for old, new in zip(one.crystals, other.crystals):
        kept = kept_rows(old.reflections, new.reflections)
        if kept is None:
            same = False
            break
        rows, dropped = _measured(old, new, kept, photons, one)
        numbers.resolution.add(rows, dropped)
        parts.append(rows)
        for name, line in COUNTED.items():
            numbers.counted[name] = _sum(numbers.counted[name], _more(old, new, line))
    if not same:
        raise StreamError(
            f"does not come from {numbers.before}: its chunk {f'{other.filename} {other.event or str()}'.rstrip()} has "
            "crystals or reflections that are not there",
            path=numbers.after,
            offset=other.start,
        )
    rows = np.concatenate(parts)
    numbers.kept += len(rows)
    numbers.time.add((1, len(one.crystals), listed, len(rows), *_typical(rows)))


def _typical(rows: NDArray[np.void]) -> tuple[float, ...]:
    """1, mean background and median I/sigma before and after; zeros where there is nothing to say."""
    good = (rows["s0"] > 0) & (rows["s1"] > 0)
    for name in MEASURED.names or ():
        good &= np.isfinite(rows[name]) | (name == "inv_d")
    rows = rows[good]
    if not len(rows):
        return (0.0,) * 5
    z0, z1 = (float(np.median(rows[f"I{i}"] / rows[f"s{i}"])) for i in (0, 1))
    return 1.0, float(rows["b0"].mean()), float(rows["b1"].mean()), z0, z1


def kept_rows(old: NDArray[np.void], new: NDArray[np.void]) -> NDArray[np.int64] | None:
    """Which rows of a list another still has.

    Parameters
    ----------
    old, new : (n,), (m,) REFLECTION

    Returns
    -------
    (m,) int64 or None
        None when ``new`` has a reflection that ``old`` does not, or not in this order.
    """
    a, b = (_identity(rows) for rows in (old, new))
    if len(a) == len(b):
        return np.arange(len(a)) if (a == b).all() else None
    # the same index may stand twice, on two panels or none; so row for row
    return places_in_order(a.tolist(), b.tolist())


def _identity(rows: NDArray[np.void]) -> NDArray[np.void]:
    names = ("h", "k", "l", "fs", "ss")
    out = np.empty(len(rows), [(name, rows.dtype[name]) for name in names])
    for name in names:
        out[name] = rows[name]
    return out


class _Photons:
    """Photons an ADU for the rows of a crystal."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._known: dict[float, NDArray[np.float64]] = {}

    def of(self, crystal: Crystal, chunk: Chunk) -> NDArray[np.float64]:
        """(n,) photons an ADU; NaN where panel or photon energy is not known."""
        energy = float(chunk.photon_energy_eV or math.nan)
        if energy not in self._known:
            adu = self._detector.adu_per_photon(energy)
            # one at a time: pulses differ in energy
            self._known = {energy: 1 / np.where(adu > 0, adu, np.nan)}
        numbers = self._detector.panel_numbers(crystal.panel_names)
        if not len(numbers):
            return np.full(len(crystal.reflections), np.nan)
        panel = numbers[crystal.reflections["panel"]]
        return np.where(panel >= 0, self._known[energy][panel], np.nan)


def _measured(
    old: Crystal, new: Crystal, kept: NDArray[np.int64], photons: _Photons, chunk: Chunk
) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """MEASURED of what both have, and 1/d of what the second lacks."""
    before, after = old.reflections, new.reflections
    inv_d = np.full(len(before), np.nan)
    if old.axes is not None:
        inv_d = np.linalg.norm(np.stack([before[name] for name in "hkl"], axis=1) @ old.axes, axis=1)
    rows = np.empty(len(kept), MEASURED)
    per_adu = photons.of(old, chunk)[kept]
    rows["inv_d"] = inv_d[kept]
    for i, source in enumerate((before[kept], after)):
        rows[f"I{i}"], rows[f"s{i}"] = source["I"], source["sigma"]
        rows[f"b{i}"] = source["background"] * per_adu
    gone = np.ones(len(before), bool)
    gone[kept] = False
    return rows, inv_d[gone]


def _more(old: Crystal, new: Crystal, line: bytes) -> int | None:
    """How much larger a count is; None when a crystal with reflections does not have its line."""
    if not len(old.reflections):
        return 0
    values = []
    for crystal in (old, new):
        found = crystal.count_line(line)
        digits = re.match(rb"\d+", found[1][len(line) + 3 :]) if found else None
        if digits is None:
            return None
        values.append(int(digits[0]))
    return values[1] - values[0]


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
