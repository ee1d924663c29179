"""Geometry files changed line by line: statements that need not change stay, comments and all.

What a change did is read back with the geometry parser, and what the lines alone could not say (a panel that takes its
value from a default) is added at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from waterbg.errors import GeometryError
from waterbg.geometry import Detector, parse_geometry
from waterbg.small_file import read_geometry_file
from waterbg.stream.scanf import strtod

# CrystFEL: a panel's name goes up to the first slash; a statement ends at the comment
_STATEMENT = re.compile(
    rb"^(?P<head>\s*(?:(?P<panel>[^/;=\s][^/;=]*?)/)?(?P<name>[A-Za-z_0-9]+)\s*=\s*)(?P<value>[^;\r\n]*)"
)
_PLACES = ("corner_x", "corner_y", "fs", "ss", "coffset")


@dataclass(frozen=True)
class Statement:
    """One line: the panel it is about (empty for a default), what it sets, and its parts around the value."""

    panel: bytes
    name: str
    value: bytes
    head: bytes
    tail: bytes

    def with_value(self, value: bytes) -> bytes:
        """The line with another value."""
        blanks = self.value[len(self.value.rstrip()) :]
        return self.head + value + blanks + self.tail


def statements(text: bytes) -> Iterator[tuple[bytes, Statement | None]]:
    """Lines of a geometry, with their line ends, and the statement of each that has one."""
    for line in re.findall(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text):
        found = _STATEMENT.match(line)
        panel = (found["panel"] or b"") if found else b""
        if found is None or panel.startswith((b"bad", b"group", b"rigid_group")):
            yield line, None
        else:
            value = found["value"]
            yield line, Statement(panel, found["name"].decode(), value, found["head"], line[found.end("value") :])


def read_geometry(path: str) -> tuple[bytes, Detector]:
    """Text and detector of a geometry file.

    Raises
    ------
    GeometryError
    """
    text = read_geometry_file(path)
    return text, parse_geometry(text, path, lenient=True)


def move_detector(text: bytes, x: float, y: float, z: float, path: str = "geometry") -> bytes:
    """Move all panels.

    Parameters
    ----------
    text : bytes
        Geometry.
    x, y, z : float
        m, in the laboratory: +z along the beam, +y up. z goes into ``coffset``; ``clen`` stays.
    path : str
        For messages.

    Returns
    -------
    bytes

    Raises
    ------
    GeometryError
        When the geometry cannot be read, or the result is not the detector moved by that much.
    """
    before = parse_geometry(text, path, lenient=True)
    size = {panel.name.encode("utf-8", "surrogateescape"): panel.pixel_size for panel in before.panels}
    # in pixels of each panel, and metres
    lines = []
    for line, said in statements(text):
        shift = {"corner_x": x, "corner_y": y, "coffset": z}.get(said.name, 0.0) if said else 0.0
        if said is None or not shift or (said.panel not in size):
            lines.append(line)
            continue
        step = shift if said.name == "coffset" else shift / size[said.panel]
        number, rest = _number(said, path)
        lines.append(said.with_value(_text(number + step) + rest))
    moved = b"".join(lines)
    after = parse_geometry(moved, path, lenient=True)
    added = []
    for old, new in zip(before.panels, after.panels):
        for name, wanted, found in (
            ("corner_x", old.corner_x + x / old.pixel_size, new.corner_x),
            ("corner_y", old.corner_y + y / old.pixel_size, new.corner_y),
            ("coffset", old.coffset + z, new.coffset),
        ):
            if not np.isclose(found, wanted, rtol=0, atol=1e-6 if name != "coffset" else 1e-9):
                added.append(_line(old.name, name, wanted))
    return _checked(_append(moved, added), before, np.array([x, y, z]), path)


def _checked(text: bytes, before: Detector, shift: np.ndarray, path: str) -> bytes:
    after = parse_geometry(text, path, lenient=True)
    same = len(after.panels) == len(before.panels) and np.allclose(after.axes, before.axes)
    if not same or not np.allclose(after.corners, before.corners + shift, rtol=0, atol=1e-9):
        raise GeometryError("could not be moved: its statements contradict each other", path=path)
    return text


def transfer_geometry(source: bytes, template: bytes, paths: tuple[str, str]) -> bytes:
    """Put the positions of the panels of one geometry into another.

    Parameters
    ----------
    source : bytes
        Where the panels are: corner_x, corner_y, fs, ss and coffset are taken from here.
    template : bytes
        Everything else.
    paths : (str, str)
        For messages.

    Returns
    -------
    bytes

    Raises
    ------
    GeometryError
        When a panel of the template is not in the source, has another pixel size there, or one cannot be read.
    """
    there = parse_geometry(source, paths[0], lenient=True)
    here = parse_geometry(template, paths[1], lenient=True)
    for panel in here.panels:
        number = there.panel_index.get(panel.name)
        if number is None:
            raise GeometryError(f"panel {panel.name} of {paths[1]} is not in it", path=paths[0])
        if not np.isclose(there.panels[number].pixel_size, panel.pixel_size, rtol=1e-6):
            raise GeometryError(f"panel {panel.name} has another pixel size than in {paths[1]}", path=paths[0])
    values: dict[tuple[bytes, str], bytes] = {}
    for _, said in statements(source):
        number = None if said is None else there.panel_index.get(said.panel.decode("utf-8", "surrogateescape"))
        if said is not None and number is not None and said.name in _PLACES:
            value = getattr(there.panels[number], said.name)
            # as it is written there, unless that is a statement which CrystFEL passes over
            values[said.panel, said.name] = said.value.strip() if _says(said, value) else _text(value)
    lines = []
    for line, said in statements(template):
        value = values.get((said.panel, said.name)) if said is not None and said.panel else None
        lines.append(line if said is None or value is None else said.with_value(value))
    text = b"".join(lines)
    result = parse_geometry(text, paths[1], lenient=True)
    pairs = [(panel, there.panels[there.panel_index[panel.name]]) for panel in result.panels]
    added = [
        _line(panel.name, what, getattr(wanted, what))
        for panel, wanted in pairs
        for what in _PLACES
        if getattr(panel, what) != getattr(wanted, what)
    ]
    text = _append(text, added)
    result = parse_geometry(text, paths[1], lenient=True)
    for panel in result.panels:
        wanted = there.panels[there.panel_index[panel.name]]
        if any(not np.allclose(getattr(panel, what), getattr(wanted, what), rtol=0, atol=1e-9) for what in _PLACES):
            raise GeometryError(f"panel {panel.name} could not be placed: its statements contradict", path=paths[1])
    return text


def _append(text: bytes, lines: list[bytes]) -> bytes:
    if not lines:
        return text
    return text + (b"" if text.endswith((b"\n", b"\r")) else b"\n") + b"".join(lines)


def _line(panel: str, name: str, value: float | tuple[float, ...]) -> bytes:
    return f"{panel}/{name} = ".encode("utf-8", "surrogateescape") + _text(value) + b"\n"


def _text(value: float | tuple[float, ...]) -> bytes:
    """A number, or a direction, to ten digits; CrystFEL knows no exponents in a direction."""
    if not isinstance(value, tuple):
        return f"{value:.10g}".encode()
    parts = (f"{part:+.10f}".rstrip("0").rstrip(".") + axis for part, axis in zip(value, "xyz") if part)
    return " ".join(parts).encode() or b"+0x"


def _says(said: Statement, value: float | tuple[float, ...]) -> bool:
    """Whether a statement's text is what gave a panel this value."""
    try:
        if not isinstance(value, tuple):
            return float(said.value) == value
        parts = re.findall(rb"([+-]?[0-9.]*)([xyz])", said.value.replace(b" ", b""))
        if b"".join(number + axis for number, axis in parts) != said.value.replace(b" ", b"").strip():
            return False
        found = dict.fromkeys(b"xyz", 0.0)
        for number, axis in parts:
            found[axis[0]] = float(number + b"1" if number in (b"", b"+", b"-") else number)
        return tuple(found.values()) == value
    except ValueError:
        return False


def _number(said: Statement, path: str) -> tuple[float, bytes]:
    """The number that CrystFEL reads, and what it passes over behind it: a unit, a comment with ``#``."""
    number, end = strtod(said.value)
    if not end:
        where = said.panel.decode("utf-8", "replace")
        raise GeometryError(f"{where}/{said.name} = {said.value.decode('utf-8', 'replace')}: no number", path=path)
    return number, said.value[end:].rstrip()
