"""The indexing solutions of a stream, in the form that ``indexamajig --indexing=file`` reads.

One line per crystal: ``file event``, then the nine components of astar, bstar, cstar in nm⁻¹, the shift of the
detector in mm, and a code for lattice type, centering and unique axis; parsed by ``fromfile_prepare`` in CrystFEL's
``libcrystfel/src/indexers/fromfile.c``, whose fixed sizes are the limits below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from waterbg.errors import StreamError

if TYPE_CHECKING:
    from waterbg.stream import Chunk, Crystal

LATTICE_LETTER = {"triclinic": "a", "monoclinic": "m", "orthorhombic": "o", "tetragonal": "t", "cubic": "c",
                  "rhombohedral": "r", "hexagonal": "h"}  # fmt: skip
_WITH_AXIS = "mth"
MOST_CRYSTALS = 16  # per image
LONGEST_KEY = 255  # bytes of a file name, or of an event
LONGEST_LINE = 1021  # bytes of a line, without its newline
NO_EVENT = "//"  # what indexamajig calls the only frame of a file; streams before 0.10 leave it out


def event_of(chunk: Chunk) -> str:
    """Event of a chunk as indexamajig knows it."""
    return chunk.event or NO_EVENT


def list_line(filename: str, event: str) -> str:
    """Line of an input list for one frame: ``file event``."""
    return f"{filename} {event}"


def lattice_code(crystal: Crystal) -> str:
    """Two or three characters for lattice type, centering and unique axis.

    A stream from before these were written gives ``aP``. An unknown unique axis stays ``?``, as CrystFEL has it.
    """
    letter = LATTICE_LETTER.get(crystal.lattice_type or "triclinic", "a")
    axis = (crystal.unique_axis or "?") if letter in _WITH_AXIS else ""
    return f"{letter}{crystal.centering or 'P'}{axis}"


def solution_line(filename: str, event: str, crystal: Crystal) -> str | None:
    """Line of a solution file for one crystal; None when the stream does not have its axes."""
    if crystal.axes is None:
        return None
    vectors = " ".join(f"{component:+.7f}" for component in crystal.axes.ravel())
    x, y = crystal.det_shift
    return f"{filename} {event} {vectors} {x:.6f} {y:.6f} {lattice_code(crystal)}"


def check_name(filename: str, event: str, *, path: str, offset: int) -> None:
    """Refuse a frame that indexamajig could not be told of.

    Raises
    ------
    StreamError
        When name or event is too long for CrystFEL's solution file, or would be read as something else.
    """
    for what, text in (("file name", filename), ("event", event)):
        if len(text.encode(errors="surrogateescape")) > LONGEST_KEY:
            raise StreamError(
                f"the {what} is longer than the {LONGEST_KEY} bytes that --indexing=file can hold: {text[:60]}…",
                path=path,
                offset=offset,
            )
    if any(blank in event for blank in " \t,") or "//" not in event:
        raise StreamError(
            f"{event!r} is no event (text//numbers) that an input list can hold", path=path, offset=offset
        )
