"""Panels and bad regions while a geometry is being read, and the statements that change them.

Mirrors ``parse_field_for_panel``, ``parse_mask``, ``set_dim``, ``dir_conv`` and ``parse_field_bad`` of CrystFEL's
datatemplate.c. What CrystFEL refuses is a :class:`Refused`; what it complains about and reads all the same goes to
``complain``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, fields

from waterbg.geometry.cnumbers import atof, atoi, int_of, single, strtod, unsigned_of, whole_int, whole_unsigned
from waterbg.geometry.detector import Dim, Mask, Panel, Vector
from waterbg.geometry.sources import Length

MAX_DIMS = 16
MAX_MASKS = 8
MAX_FLAGS = 16

Complain = Callable[[str], None]

# the negative numbers stand for these names inside CrystFEL, and a geometry may write them as numbers
_DIM_CODES: dict[int, Dim] = {-1: "fs", -2: "ss", -3: None, -4: "%"}
_MASK_KEY = re.compile(r"mask(\d)_(file|data|goodbits|badbits)", re.ASCII)
_MASK_ALIASES = {"mask": "data", "mask_file": "file", "mask_good": "goodbits", "mask_bad": "badbits"}
_EXTENTS = ("min_fs", "max_fs", "min_ss", "max_ss")
_PLACES = frozenset((*_EXTENTS, "corner_x", "corner_y", "res"))
_LAB_EXTENTS = ("min_x", "max_x", "min_y", "max_y")
_TERM = re.compile(r"[+-][^+-]*")
_NO_VECTOR = (math.nan, math.nan, math.nan)


class Refused(Exception):
    """A statement CrystFEL refuses; the text says why."""


@dataclass
class MaskDraft:
    """A mask with the parts named so far."""

    data: str | None = None
    file: str | None = None
    good_bits: int = 0
    bad_bits: int = 0


@dataclass
class PanelDraft:
    """A panel with what has been said so far; the defaults for new panels are one of these, too."""

    name: str = ""
    line: int = 0
    min_fs: int = -1
    max_fs: int = -1
    min_ss: int = -1
    max_ss: int = -1
    corner_x: float = math.nan
    corner_y: float = math.nan
    coffset: float = 0.0
    fs: Vector = _NO_VECTOR
    ss: Vector = _NO_VECTOR
    pixel_size: float = -1.0
    adu: float = math.nan
    adu_per: str = "photon"
    max_adu: float = math.inf
    no_index: bool = False
    mask_edge_pixels: int = 0
    flags: list[tuple[str, int]] = field(default_factory=list)
    masks: dict[int, MaskDraft] = field(default_factory=dict)
    saturation_map: str | None = None
    saturation_map_file: str | None = None
    data: str = "/data/data"
    dims: list[Dim] = field(default_factory=lambda: ["ss", "fs"] + [None] * (MAX_DIMS - 2))
    old_clen: Length | None = None  # per panel before 0.10; refused now, read leniently
    places: dict[str, tuple[int, str]] = field(default_factory=dict)  # line and text of what says where the panel is
    ignored: tuple[int, str] | None = None  # line of the first statement that was, and why: for what is lacking

    def renamed(self, name: str, line: int) -> PanelDraft:
        """A new panel that starts from these values."""
        new = copy(self)
        new.name, new.line = name, line
        new.flags, new.dims = list(self.flags), list(self.dims)
        new.places = dict(self.places)
        new.masks = {number: copy(mask) for number, mask in self.masks.items()}
        return new

    def finished(self) -> Panel:
        """The panel as everyone else sees it."""
        last = max((i for i, dim in enumerate(self.dims) if dim is not None), default=-1)
        said = {field.name: getattr(self, field.name) for field in fields(Panel)}
        said["flags"], said["dims"] = tuple(self.flags), tuple(self.dims[: last + 1])
        said["masks"] = tuple(
            Mask(number, mask.data, mask.file, mask.good_bits, mask.bad_bits)
            for number, mask in sorted(self.masks.items())
            if mask.data is not None
        )
        return Panel(**said)

    def say(self, key: str, value: str, complain: Complain, line: int = 0) -> None:
        """Take one statement ``key = value``.

        Raises
        ------
        Refused
            If CrystFEL refuses the geometry for it.
        """
        if key in _PLACES:
            self.places[key] = line, value
        if key in _EXTENTS:
            setattr(self, key, int_of(atof(value)))
        elif key in ("corner_x", "corner_y", "coffset"):
            setattr(self, key, atof(value))
        elif key in ("adu_per_eV", "adu_per_photon"):
            self.adu, self.adu_per = atof(value), key[len("adu_per_") :]
        elif key == "data":
            self.data = value
        elif key in ("fs", "ss"):
            setattr(self, key, direction(value, complain))
        elif key == "res":
            per_metre = atof(value)
            self.pixel_size = 1.0 / per_metre if per_metre else math.copysign(math.inf, per_metre)
        elif key == "no_index":
            self.no_index = bool({"true": 1, "false": 0}.get(value.lower(), atoi(value)))
        elif key == "mask_edge_pixels":
            width = whole_int(value)
            if width is None:
                raise Refused(f"mask_edge_pixels must be a whole number, found '{value}'")
            self.mask_edge_pixels = width
        elif key == "max_adu":
            self.max_adu = atof(value)
            complain("it is usually better to give --max-adu when merging than max_adu in the geometry")
        elif key in ("saturation_map", "saturation_map_file"):
            setattr(self, key, value)
        elif key.startswith("flag_") and key[5:] in ("equal", "lessthan", "morethan"):
            if len(self.flags) == MAX_FLAGS:
                raise Refused(f"more than {MAX_FLAGS} flag values")
            # CrystFEL hands the value through a float into an int (add_flag_value)
            self.flags.append((key[5:], int_of(single(atof(value)))))
        elif key in _MASK_ALIASES:
            try:
                self._say_mask(0, _MASK_ALIASES[key], value)
            except Refused as problem:  # CrystFEL forgets the refusal of its older spellings
                complain(f"{problem}; ignored")
        elif key.startswith("mask"):
            match = _MASK_KEY.fullmatch(key)
            if match is None:
                raise Refused(
                    f"'{key}' is not a mask statement (maskN_data, _file, _goodbits, _badbits with N from 0 to 7)"
                )
            number = int(match[1])
            self._say_mask(number, match[2], value)
            if number >= MAX_MASKS:  # CrystFEL writes past the end of its masks here; nobody can want what follows
                del self.masks[number]
                complain(f"'{key}' ignored, masks are numbered from 0 to {MAX_MASKS - 1}")
        elif key == "clen":
            self.old_clen = Length.parse(value, 1e-3, line)
            raise Refused(
                "'clen' of one panel; the camera length is given once, without a panel (use coffset for offsets)"
            )
        elif key == "badrow_direction":
            complain("'badrow_direction' is ignored")
        elif key.startswith("dim"):
            self._say_dim(key[3:], value, complain, line)
        else:
            self._ignore(f"unknown statement '{key}' ignored", complain, line)

    def _ignore(self, why: str, complain: Complain, line: int) -> None:
        self.ignored = self.ignored or (line, why)
        complain(why)

    def _say_mask(self, number: int, part: str, value: str) -> None:
        mask = self.masks.setdefault(number, MaskDraft())
        if part == "file":
            mask.file = value
        elif part == "data":
            if not value.startswith("/"):
                raise Refused(f"the place of a mask must start with '/', found '{value}'")
            mask.data = value
        else:
            bits, rest = strtod(value)
            if rest == value:
                raise Refused(f"mask bits must be a number, found '{value}'")
            setattr(mask, "good_bits" if part == "goodbits" else "bad_bits", unsigned_of(bits))

    def _say_dim(self, which: str, value: str, complain: Complain, line: int) -> None:
        number = whole_unsigned(which) if which else None
        if number is None or not 0 <= number < MAX_DIMS:
            self._ignore(f"'dim{which}' ignored, dimensions are dim0 to dim{MAX_DIMS - 1}", complain, line)
        elif value in ("fs", "ss", "%"):
            self.dims[number] = value
        else:
            index = whole_unsigned(value)
            if index is None:
                self._ignore(f"dim{which} must be ss, fs, % or a number, found '{value}'; ignored", complain, line)
            else:
                self.dims[number] = _DIM_CODES.get(index, index)


@dataclass
class RegionDraft:
    """A bad region with what has been said so far."""

    name: str
    line: int
    in_panel: bool | None = None  # fs and ss of a panel, or x and y of the laboratory; None: nothing said yet
    panel: str | None = None
    min_fs: int = 0
    max_fs: int = 0
    min_ss: int = 0
    max_ss: int = 0
    min_x: float = math.nan
    max_x: float = math.nan
    min_y: float = math.nan
    max_y: float = math.nan

    def say(self, key: str, value: str, complain: Complain) -> None:
        """Take one statement ``key = value``; raises :class:`Refused` as CrystFEL does."""
        if key == "panel":
            self.panel = value
            return
        if key not in _EXTENTS and key not in _LAB_EXTENTS:
            complain(f"unknown statement '{key}' of a bad region ignored")
            return
        in_panel = key in _EXTENTS
        setattr(self, key, int_of(atof(value)) if in_panel else atof(value))
        if self.in_panel is None:
            self.in_panel = in_panel
        elif self.in_panel != in_panel:
            raise Refused(f"bad region '{self.name}' mixes x/y with fs/ss")


def direction(text: str, complain: Complain) -> Vector:
    """Vector of a text like ``+0.1x -0.9y``: any order, missing parts are zero, repeated ones add up."""
    if not text.startswith(("+", "-")):
        text = "+" + text
    strange = re.search(r"[^0-9.+\-xyz ]", text)
    if strange:
        raise Refused(f"'{strange[0]}' in the direction '{text}'; expected something like +0.1x -0.9y")
    parts = {"x": 0.0, "y": 0.0, "z": 0.0}
    for term in _TERM.findall(text.replace(" ", "")):
        number, axis = term[:-1], term[-1]
        if axis not in parts:
            raise Refused(f"'{term}' in the direction '{text}' must end with x, y or z")
        if re.search("[xyz]", number):
            complain(f"'{number}' in the direction '{text}' is no number")
        parts[axis] += {"+": 1.0, "-": -1.0}[number] if len(number) == 1 else atof(number)
    return parts["x"], parts["y"], parts["z"]
