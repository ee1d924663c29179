"""Put the intensities of one stream into another: the original repository's third tool.

It was written for two simulations of the same crystals, at high and at low intensity: the stream HIGH keeps everything
of its own but the numbers that are taken from LOW. x and y are fs (column) and ss (row) of the image array.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.crystfel.pairing import PAIRS
from waterbg.donors import AnyPath, CrystalFinder, Finder, IndexFinder, OrderFinder, Rows, choose_pairing
from waterbg.errors import OutputError, StreamError, UsageError
from waterbg.image_values import intensity_finder, populate_intensity_array
from waterbg.stream import NUMBERS, SPLICED, OutputFile, StreamFile, splice_reflections
from waterbg.stream.check import first_loss
from waterbg.stream.reader import refuse_pipes
from waterbg.stream_columns import COLUMNS, StreamColumns, UnknownColumnError, load_stream, retrieve

__all__ = [
    "COLUMNS",
    "Overwritten",
    "StreamColumns",
    "compare_high_low",
    "duplicate_before_overwrite",
    "intensity_finder",
    "load_stream",
    "main",
    "overwrite_low_in_high",
    "overwrite_stream",
    "populate_intensity_array",
    "retrieve",
]

MATCHES = ("crystal", "order", "hkl", "all")
_BLOCK = 4 << 20


@dataclass
class Overwritten:
    """What became of an overwriting.

    Attributes
    ----------
    output : str
        The stream that was written.
    copy : str or None
        The copy of the old one, when that was replaced.
    match, pair : str
        How reflections and images were matched; ``pair`` is empty where images do not matter.
    reflections : int
        Of HIGH.
    matched, changed : int
        Those found in LOW, and those that look different now.
    unmatched : int
        Those not found: kept as they were, or dropped.
    dropped : bool
        Whether the unmatched lost their lines.
    unused : int
        Reflections of LOW nobody asked for (with ``match="all"``: different h, k, l).
    crystals, crystals_matched : int
        Of HIGH.
    other_indices : int
        With ``match="order"``: pairs that are not of the same h, k, l.
    damage : list of str
        Of HIGH and LOW, the first thing that CrystFEL would lose: lists that cannot be read keep their old numbers, and
        are no partners.
    """

    output: str = ""
    copy: str | None = None
    match: str = ""
    pair: str = ""
    reflections: int = 0
    matched: int = 0
    changed: int = 0
    unmatched: int = 0
    dropped: bool = False
    unused: int = 0
    crystals: int = 0
    crystals_matched: int = 0
    other_indices: int = 0
    damage: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Lines for people."""
        by = f", images by {self.pair}" if self.pair else ""
        lines = [
            (
                f"matched by {self.match}{by}: {self.matched} of {self.reflections} reflections, "
                f"{self.crystals_matched} of {self.crystals} crystals; {self.changed} changed"
            )
        ]
        if self.unmatched:
            lines.append(f"{self.unmatched} without a partner, {'dropped' if self.dropped else 'kept as they were'}")
        if self.unused:
            lines.append(f"{self.unused} of the other stream were not used")
        if self.other_indices:
            lines.append(f"{self.other_indices} pairs are not of the same h, k, l")
        lines += [f"not read to the last reflection: {what}" for what in self.damage]
        if self.copy:
            lines.append(f"the old stream is {self.copy}")
        return "\n".join([*lines, f"wrote {self.output}"])


def duplicate_before_overwrite(filename: str | os.PathLike[str]) -> str:
    """Copy a file beside itself: ``run.stream`` to ``run_copy.stream``, or to ``run_copy2.stream`` if that exists …

    Returns
    -------
    str
        The copy's name; an earlier copy is never overwritten.

    Raises
    ------
    StreamError
        When the file cannot be read, or the copy not be written.
    """
    path = pathlib.Path(filename)
    number = 1
    while True:
        copy = path.with_name(f"{path.stem}_copy{number if number > 1 else ''}{path.suffix}")
        try:
            _copy_whole(path, copy)
        except FileExistsError:
            number += 1
            continue
        except OSError as err:
            raise StreamError(f"cannot be copied to {copy.name} ({err.strerror})", path=str(path)) from None
        return str(copy)


def _copy_whole(path: pathlib.Path, copy: pathlib.Path) -> None:
    """Copy a file to a name that nobody has: all of it, or nothing is left."""
    with open(path, "rb") as old, open(copy, "xb") as new:
        try:
            shutil.copyfileobj(old, new, _BLOCK)
            new.flush()
            os.fsync(new.fileno())
            shutil.copystat(path, copy)
        except BaseException:
            copy.unlink()
            raise


def compare_high_low(
    high_data: Mapping[str, Any], low_data: Mapping[str, Any], *columns: str
) -> dict[str, tuple[Any, Any]]:
    """Columns of two streams side by side.

    Parameters
    ----------
    high_data, low_data : mapping
        See `load_stream`.
    *columns : str
        Default: all ten.

    Returns
    -------
    dict
        Column name -> (high's, low's). Nothing is matched here: see ``waterbg compare`` for the same reflections in two
        streams.

    Raises
    ------
    UnknownColumnError
    """
    names = columns or COLUMNS
    return dict(zip(names, zip(retrieve(high_data, *names), retrieve(low_data, *names))))


def overwrite_low_in_high(
    filename: str | os.PathLike[str],
    overwrite_data: Mapping[str, Sequence[Any]],
    output: str | os.PathLike[str] | None = None,
    **how: Any,
) -> Overwritten:
    """Put the numbers of ``overwrite_data`` into the stream ``filename``.

    Parameters
    ----------
    filename : str or path
        The stream HIGH. Without ``output`` it is replaced, after a copy of it was made.
    overwrite_data : mapping of columns
        LOW: what `load_stream` gives, or any mapping of lists with h, k, l and the columns to take.
    output : str or path, optional
        Write the result here and leave HIGH alone; must not exist.
    **how
        As `overwrite_stream`.

    Returns
    -------
    Overwritten

    Raises
    ------
    StreamError, OutputError, UsageError, ValueError
    """
    return overwrite_stream(filename, overwrite_data, output, **how)


def overwrite_stream(
    high: AnyPath,
    low: Mapping[str, Sequence[Any]] | AnyPath,
    output: AnyPath | None = None,
    *,
    match: str | None = None,
    pair: str | None = None,
    columns: Sequence[str] = NUMBERS,
    drop_unmatched: bool = False,
    force: bool = False,
    on_unmatched: Callable[[str], object] | None = None,
) -> Overwritten:
    """Write HIGH with numbers of LOW.

    Parameters
    ----------
    high : str or path
    low : str, path, or mapping of columns
    output : str or path, optional
        Default: HIGH itself, of which a copy is made first.
    match : str, optional
        ``crystal`` (the default where LOW knows its crystals): the same h, k, l of the same crystal of the same image.
        ``order``: the n-th reflection of the n-th crystal. ``hkl`` (the default otherwise): the same h, k, l, whatever
        crystal; the first time it stands in HIGH takes the first in LOW, and so on. ``all``: the mean of all of LOW
        that have the same h, k, l.
    pair : str, optional
        For ``crystal``: what makes two images the same, one of `PAIRS`; default: the first that fits.
    columns : sequence of str
        Any of I, sigma (or sigmaI), peak, background.
    drop_unmatched : bool
        Reflections of HIGH without partner lose their line; by default they stay as they are.
    force : bool
        Replace ``output`` if it exists.
    on_unmatched : callable, optional
        Called with a line (image, event, crystal, h, k, l, separated by tabs) for each reflection without partner.

    Returns
    -------
    Overwritten

    Raises
    ------
    StreamError, OutputError, UsageError, ValueError

    Notes
    -----
    Every other byte of HIGH stays. A reflection of LOW whose number is not finite is no partner.
    """
    names = _chosen(columns)
    match, finder, pair = _finder(high, low, match, pair, names)
    report = Overwritten(match=match, pair=pair, dropped=drop_unmatched)
    try:
        for source in (high, low):
            if not isinstance(source, Mapping):
                with StreamFile(source) as stream:
                    loss = first_loss(stream)
                if loss is not None:
                    report.damage.append(str(loss))
        with StreamFile(high) as stream:
            target = pathlib.Path(os.path.realpath(high)) if output is None else pathlib.Path(output)
            file = OutputFile(target, force=force or output is None)
            if target.exists():
                if not target.is_file():
                    raise OutputError("is no regular file", path=str(target))
                if not isinstance(low, Mapping) and os.path.samefile(target, low):
                    raise UsageError(f"{target} is the stream the numbers come from")
                if os.path.samefile(target, high):
                    report.copy = duplicate_before_overwrite(target)
            report.output = str(target)
            file.write_whole(_pieces(stream, finder, names, report, on_unmatched))
        if report.copy is not None:
            shutil.copymode(report.copy, target)
        report.unused = finder.left()
    finally:
        finder.close()
    return report


def _chosen(columns: Sequence[str]) -> list[str]:
    names = ["sigma" if name == "sigmaI" else name for name in columns]
    for name in names:
        if name not in NUMBERS:
            raise UnknownColumnError(f"column {name!r} cannot be overwritten; choose among {', '.join(NUMBERS)}")
    if not names:
        raise UsageError("no columns to overwrite")
    return names


def _finder(
    high: AnyPath,
    low: Mapping[str, Sequence[Any]] | AnyPath,
    match: str | None,
    pair: str | None,
    names: Sequence[str],
) -> tuple[str, Finder, str]:
    """What is matched by, who finds it, and how images are paired."""
    knows_crystals = not isinstance(low, Mapping) or (
        isinstance(low, StreamColumns) and len(low.get("h", ())) == (low.crystals[-1].stop if low.crystals else 0)
    )
    match = match or ("crystal" if knows_crystals else "hkl")
    if match not in MATCHES:
        raise UsageError(f"no way to match named {match!r}; there are {', '.join(MATCHES)}")
    if pair is not None and pair not in PAIRS:
        raise UsageError(f"no way to pair images named {pair!r}; there are {', '.join(PAIRS)}")
    if pair is not None and match != "crystal":
        raise UsageError(f"--pair={pair} has no meaning with --match={match}: only crystals are looked for by image")
    if match in ("crystal", "order") and not knows_crystals:
        raise UsageError(f"to match by {match} the data must know their crystals: give what load_stream gave, uncut")
    refuse_pipes("overwrite", *[source for source in (high, low) if not isinstance(source, Mapping)])
    if match in ("hkl", "all"):
        return match, IndexFinder(low, match == "all", names), ""
    assert isinstance(low, StreamColumns | str | os.PathLike)
    if match == "order":
        return match, OrderFinder(low), ""
    pair = pair or choose_pairing(high, low)
    return match, CrystalFinder(low, pair), pair


def _pieces(
    stream: StreamFile,
    finder: Finder,
    names: Sequence[str],
    report: Overwritten,
    on_unmatched: Callable[[str], object] | None,
) -> Iterator[bytes]:
    """Bytes of the new stream, from the first to the last."""
    yield stream.header
    at = stream.header_end
    for number, chunk in enumerate(stream.chunks()):
        yield stream.read(at, chunk.start)
        at = chunk.stop
        new = []
        for place, (crystal, (found, there)) in enumerate(zip(chunk.crystals, finder.find(chunk, number))):
            rows = crystal.reflections
            for name in names:
                there = there & np.isfinite(found[name])
            values = np.zeros(len(rows), SPLICED)
            for name in NUMBERS:
                values[name] = np.where(there, found[name], rows[name]) if name in names else rows[name]
            values["keep"] = True if not report.dropped else there
            new.append(values)
            _count(report, rows, found, there, values)
            if on_unmatched is not None:
                image = f"{chunk.filename}\t{chunk.event or '//'}\t{place}"
                for row in rows[~there]:
                    on_unmatched(f"{image}\t{row['h']}\t{row['k']}\t{row['l']}")
        yield splice_reflections(chunk, new)
    yield from (piece for _, piece in stream.rest(at))


def _count(report: Overwritten, rows: Rows, found: Rows, there: NDArray[np.bool_], values: Rows) -> None:
    n = int(np.count_nonzero(there))
    report.crystals += 1
    report.crystals_matched += n > 0
    report.reflections += len(rows)
    report.matched += n
    report.unmatched += len(rows) - n
    differs, other = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for name in NUMBERS:
        with np.errstate(invalid="ignore"):
            differs |= np.abs(values[name] - rows[name]) >= 0.005  # what two decimals show
    for name in "hkl":
        other |= found[name] != rows[name]
    report.changed += int(np.count_nonzero(differs & there))
    report.other_indices += int(np.count_nonzero(other & there))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``waterbg overwrite`` with these arguments (default: those of the program) and give back its exit status."""
    # a room asks the command line here: the tool was a program, and is one still
    from waterbg.cli.base import run

    return run(["waterbg", "overwrite", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
