"""The indexing solutions of a stream, in the form that ``indexamajig --indexing=file`` reads.

One line per crystal: ``file event``, then the nine components of astar, bstar, cstar in nm⁻¹, the shift of the
detector in mm, and a code for lattice type, centering and unique axis; parsed by ``fromfile_prepare`` in CrystFEL's
``libcrystfel/src/indexers/fromfile.c``, whose fixed sizes are the limits below.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from waterbg.errors import GeometryError, StreamError

if TYPE_CHECKING:
    from waterbg.geometry import Detector
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


def frame_of(line: str) -> tuple[str, str | None]:
    """File and event of a line of an input list, which is not blank; None: all events of the file."""
    name, _, event = line.strip().rpartition(" ")
    return (name.rstrip(), event) if "//" in event and name else (line.strip(), None)


def lattice_code(crystal: Crystal) -> str:
    """Two or three characters for lattice type, centering and unique axis.

    A stream from before these were written gives ``aP``. An unknown unique axis stays ``?``, as CrystFEL has it.
    """
    letter = LATTICE_LETTER.get(crystal.lattice_type or "triclinic", "a")
    axis = (crystal.unique_axis or "?") if letter in _WITH_AXIS else ""
    return f"{letter}{crystal.centering or 'P'}{axis}"


def solution_line(
    filename: str, event: str, crystal: Crystal, det_shift: tuple[float, float] | None = None
) -> str | None:
    """Line of a solution file for one crystal; None when the stream does not have its axes.

    ``det_shift`` in mm is taken instead of the printed one, see `Shifts`.
    """
    if crystal.axes is None:
        return None
    vectors = " ".join(f"{component:+.7f}" for component in crystal.axes.ravel())
    x, y = crystal.det_shift if det_shift is None else det_shift
    return f"{filename} {event} {vectors} {x:.6f} {y:.6f} {lattice_code(crystal)}"


class Shifts:
    """Detector shifts more exact than a stream prints them, from its printed positions.

    A stream rounds the shift to 0.001 mm, which moves every hundredth reflection into the next pixel of a ring. Where
    the geometry says all that is needed, the positions themselves give the shift back.

    Parameters
    ----------
    geometry : bytes
        Text of the geometry that the positions were predicted with.
    path : str
        For messages.
    """

    def __init__(self, geometry: bytes, path: str) -> None:
        from waterbg.geometry import parse_geometry

        self.clen = math.nan
        try:
            self.detector: Detector | None = parse_geometry(geometry, path, lenient=True)
        except GeometryError:
            self.detector = None  # indexamajig will say it better, if it matters to it at all
            return
        length = self.detector.clen
        moves = self.detector.shift_x is not None or self.detector.shift_y is not None
        if length is not None and length.number is not None and not moves:
            self.clen = length.metres(lambda place: math.nan)

    def of(self, crystal: Crystal, photon_energy_eV: float) -> tuple[float, float]:
        """Shift of one crystal in mm; the printed one where the geometry depends on the image."""
        if self.detector is None or math.isnan(self.clen) or crystal.axes is None or not photon_energy_eV > 0:
            return crystal.det_shift
        from waterbg.predict import refine_det_shift

        rows = crystal.reflections
        panels = self.detector.panel_numbers(crystal.panel_names)[rows["panel"]]
        return refine_det_shift(
            crystal.det_shift, rows, panels, crystal.axes, self.detector, self.clen, photon_energy_eV
        )


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
