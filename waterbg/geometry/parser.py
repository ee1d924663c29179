"""The reader of geometry files: mirrors ``data_template_new_from_string`` of CrystFEL 0.12 (datatemplate.c)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

from waterbg.errors import GeometryError
from waterbg.geometry.cnumbers import strtod, whole_float
from waterbg.geometry.detector import BadRegion, Detector
from waterbg.geometry.draft import PanelDraft, Refused, RegionDraft
from waterbg.geometry.sources import Length, Wavelength

MAX_GROUPS = 512
MAX_GROUP_MEMBERS = 64
MAX_GROUP_LINES = 1024

_WAVELENGTH_UNITS = {
    "photon_energy": ("eV", "keV"),
    "electron_voltage": ("V", "kV"),
    "wavelength": ("m", "A"),
}


def parse_geometry(
    text: str | bytes, path: str = "geometry", lenient: bool = False, *, first_line: int = 1
) -> Detector:
    """Read a geometry.

    Parameters
    ----------
    text : str or bytes
        Contents of a geometry file, or the geometry embedded in a stream.
    path : str
        For messages.
    lenient : bool
        Read what older CrystFEL versions wrote and 0.12 refuses (no wavelength, ``#`` comments, a bad region outside
        its panel, a camera length for each panel, ...): such things become warnings. Without it they are errors.
    first_line : int
        Number of the text's first line in ``path``, for messages; more than 1 for a geometry embedded in a stream.

    Returns
    -------
    Detector
        ``warnings`` holds what CrystFEL complains about, and what was read leniently; each names its line.

    Raises
    ------
    GeometryError
        With the 1-based line, if CrystFEL would refuse the geometry, or if it cannot be used even leniently.
    """
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
    reader = _Reader(str(path), lenient, first_line)
    reader.read(data.partition(b"\0")[0].decode("utf-8", "surrogateescape"))
    return reader.finish(hashlib.sha256(data).hexdigest())


@dataclass
class _Reader:
    path: str
    lenient: bool
    first_line: int = 1
    panels: dict[str, PanelDraft] = field(default_factory=dict)
    regions: dict[str, RegionDraft] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    group_lines: list[tuple[int, str, str]] = field(default_factory=list)
    defaults: PanelDraft = field(default_factory=PanelDraft)
    unused_default: int = 0  # line of the first default that no panel has taken up yet
    wavelength: Wavelength | None = None
    clen: Length | None = None
    shift_x: Length | None = None
    shift_y: Length | None = None
    bandwidth: float = 1e-8
    peak_list: str | None = None
    warnings: list[str] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    line: int = 0
    last_line: int = 0

    # Reading -------------------------------------------------------------------------------------------------------

    def read(self, text: str) -> None:
        # \r ends a line for CrystFEL; \r\n is one line end for people, who count lines in an editor
        self.last_line = self.first_line - 1
        if text.startswith("\ufeff"):  # part of the first statement for CrystFEL; nobody would see it in a message
            text = "(byte order mark)" + text[1:]
        for whole in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            self.line = self.last_line = self.last_line + 1
            statement = whole.lstrip(" \t").partition(";")[0]
            if self.lenient and statement.startswith("#"):
                self.complain("comment with '#' instead of ';'")
            elif statement:
                try:
                    self.statement(statement)
                except Refused as problem:
                    self.refuse(str(problem))
        for line, name, members in self.group_lines:
            self.line = line
            try:
                self.group(name, [m for m in members.split(",") if m])
            except Refused as problem:
                self.refuse(str(problem))

    def statement(self, statement: str) -> None:
        left, equals, value = statement.partition("=")
        if not equals:
            raise Refused(f"'{_short(statement)}' is not of the form name = value")
        value, left = value.strip(" \t"), left.rstrip(" \t")
        if self.lenient and "#" in value:
            value = value.partition("#")[0].rstrip(" \t")
            self.complain("comment with '#' instead of ';'")
        name, slash, key = left.partition("/")
        if not slash:
            self.top_level(left, value)
        elif name.startswith("bad"):
            self.regions.setdefault(name, RegionDraft(name, self.line)).say(key, value, self.complain)
        else:
            panel = self.panels.get(name)
            if panel is None:
                panel = self.panels[name] = self.defaults.renamed(name, self.line)
                self.unused_default = 0
                if (meant := self.panels.get(name.strip("# \t"))) is not None and meant is not panel:
                    meant.ignored = meant.ignored or (self.line, f"'{_short(name)}' is another panel")
                if len(self.groups) < MAX_GROUPS:
                    self.groups[name] = ()
            panel.say(key, value, self.complain, self.line)

    def top_level(self, key: str, value: str) -> None:
        if key == "detector_shift_x":
            self.shift_x = Length.parse(value, 1.0, self.line)
        elif key == "detector_shift_y":
            self.shift_y = Length.parse(value, 1.0, self.line)
        elif key == "clen":
            self.clen = Length.parse(value, 1e-3, self.line)
        elif key in _WAVELENGTH_UNITS:
            self.beam(key, value)
        elif key == "peak_list":
            self.peak_list = value
        elif key == "peak_list_type":
            if value not in ("auto", "cxi", "list3"):
                raise Refused(f"peak_list_type must be auto, cxi or list3, found '{value}'")
        elif key == "bandwidth":
            number, rest = strtod(value)
            if value and not rest:
                self.bandwidth = number
            else:
                self.complain(f"bandwidth must be a number, found '{value}'; ignored")
        elif key.startswith("rigid_group"):
            pass  # CrystFEL ignores them since 0.11
        elif key.startswith("group_"):
            if len(self.group_lines) < MAX_GROUP_LINES:
                self.group_lines.append((self.line, key[len("group_") :], value))
            else:
                self.complain(f"more than {MAX_GROUP_LINES} group lines; ignored")
        else:
            self.defaults.say(key, value, self.complain, self.line)
            self.unused_default = self.unused_default or self.line

    def beam(self, key: str, value: str) -> None:
        units = _WAVELENGTH_UNITS[key]
        number, space, unit = value.partition(" ")
        if not space and key == "photon_energy":
            unit = "eV"
        elif unit not in units:
            found = f"'{unit}'" if unit else "none"
            raise Refused(f"{key} needs the unit {units[0]} or {units[1]}, found {found}")
        self.wavelength = Wavelength(number, unit, whole_float(number), self.line)

    def group(self, name: str, members: list[str]) -> None:
        if not members:
            raise Refused(f"group '{name}' has no members")
        if len(members) > MAX_GROUP_MEMBERS:
            raise Refused(f"group '{name}' has {len(members)} members, CrystFEL takes {MAX_GROUP_MEMBERS}")
        if len(set(members)) < len(members):
            twice = next(m for i, m in enumerate(members) if m in members[:i])
            raise Refused(f"group '{name}' names '{twice}' twice")
        if name in self.groups:
            raise Refused(f"there is a group or panel '{name}' already")
        if len(self.groups) >= MAX_GROUPS:
            raise Refused(f"more than {MAX_GROUPS} groups and panels")
        if name in members:  # CrystFEL adds the group before it looks for the members
            self.complain(f"group '{name}' is a member of itself")
        unknown = next((m for m in members if m not in self.groups and m != name), None)
        if unknown is not None:
            raise Refused(f"group '{name}' names '{unknown}', which is no panel and no group defined before")
        self.groups[name] = tuple(members)

    def complain(self, what: str) -> None:
        self.warnings.append(f"{self.path}:{self.line}: {what}")

    def refuse(self, what: str, line: int | None = None) -> None:
        """CrystFEL refuses the geometry for this; it is read to the end first, as CrystFEL does."""
        self.problems.append((self.line if line is None else line, what))

    # Judging the whole -----------------------------------------------------------------------------------------------

    def finish(self, digest: str) -> Detector:
        if not self.panels:
            raise self.error(
                self.problems[0] if self.problems else (self.last_line, "the geometry ends without a panel")
            )
        if self.lenient:
            self.old_camera_lengths()
        fatal: list[tuple[int, str]] = []
        for panel in self.panels.values():
            fatal += _unusable(panel)
            self.check_panel(panel)
        if fatal:
            raise self.error((self.problems + fatal)[0] if not self.lenient else self.cause(fatal[0]))
        panels = tuple(panel.finished() for panel in self.panels.values())
        numbers = {name: number for number, name in enumerate(self.panels)}
        regions = tuple(r for r in (self.region(draft, numbers) for draft in self.regions.values()) if r is not None)
        if self.unused_default:
            self.refuse("this has no effect, for no panel is first mentioned after it", self.unused_default)
        self.check_beam()
        if self.problems and not self.lenient:
            raise self.error(self.problems[0])
        self.warnings += [f"{self.path}:{line}: {what}" for line, what in self.problems]
        if len(self.groups) == len(self.panels) <= MAX_GROUP_MEMBERS and "all" not in self.groups:
            self.groups["all"] = tuple(self.groups)
        return Detector(
            panels=panels,
            bad_regions=regions,
            groups=self.groups,
            wavelength=self.wavelength,
            clen=self.clen,
            shift_x=self.shift_x,
            shift_y=self.shift_y,
            bandwidth=self.bandwidth,
            peak_list=self.peak_list,
            warnings=tuple(self.warnings),
            path=self.path,
            digest=digest,
        )

    def error(self, problem: tuple[int, str]) -> GeometryError:
        return GeometryError(problem[1], path=self.path, line=problem[0])

    def cause(self, fatal: tuple[int, str]) -> tuple[int, str]:
        """What a panel lacks, with the refused statement of the panel that may be why."""
        after = [problem for problem in self.problems if problem[0] >= fatal[0]]
        return (after[0][0], f"{after[0][1]}; {fatal[1]}") if after else fatal

    def old_camera_lengths(self) -> None:
        """Before CrystFEL 0.10 each panel had its own camera length; offsets hold what differs."""
        old = [p for p in self.panels.values() if p.old_clen is not None]
        if self.clen is not None or not old:
            return
        self.clen = old[0].old_clen
        assert self.clen is not None
        if self.clen.number is None:
            return
        base = self.clen.metres(_no_header)
        for panel in old:
            if panel.old_clen is not None and panel.old_clen.number is not None:
                panel.coffset += panel.old_clen.metres(_no_header) - base

    def check_beam(self) -> None:
        lacks = ["wavelength, photon_energy or electron_voltage"] * (self.wavelength is None)
        lacks += ["a camera length (clen)"] * (self.clen is None)
        for what in lacks:
            self.refuse(f"the geometry ends without {what}{_why(self.defaults)}", self.last_line)

    def check_panel(self, panel: PanelDraft) -> None:
        if math.isnan(panel.adu):
            self.refuse(f"panel {panel.name} has no adu_per_photon or adu_per_eV{_why(panel)}", panel.line)
            panel.adu = 1.0
        placeholders = panel.data.count("%")
        paths = [("saturation map", panel.saturation_map), *((f"mask {n}", m.data) for n, m in panel.masks.items())]
        for what, place in paths:
            if place is not None and place.count("%") > placeholders:
                self.refuse(f"the {what} of panel {panel.name} has more '%' in its path than the data", panel.line)
        for number, mask in panel.masks.items():
            if mask.data is None and (mask.file is not None or mask.good_bits or mask.bad_bits):
                self.refuse(f"mask {number} of panel {panel.name} has no mask{number}_data", panel.line)

    def region(self, draft: RegionDraft, numbers: dict[str, int]) -> BadRegion | None:
        if draft.in_panel is None:
            self.refuse(f"bad region '{draft.name}' has no extent", draft.line)
        elif not draft.in_panel:
            return BadRegion(
                draft.name, None, min_x=draft.min_x, max_x=draft.max_x, min_y=draft.min_y, max_y=draft.max_y
            )
        if draft.panel is None:
            if len(numbers) > 1:
                self.refuse(f"bad region '{draft.name}' names no panel", draft.line)
                return None
            self.warnings.append(
                f"{self.path}:{draft.line}: bad region '{draft.name}' is taken to be on panel {next(iter(numbers))}"
            )
            # CrystFEL forgets to subtract the panel's first pixel here (try_guess_panel)
            return BadRegion(draft.name, 0, draft.min_fs, draft.max_fs, draft.min_ss, draft.max_ss)
        panel = self.panels.get(draft.panel)
        if panel is None:
            self.refuse(f"bad region '{draft.name}' is on panel '{draft.panel}', which does not exist", draft.line)
            return None
        low_fs, high_fs, low_ss, high_ss = draft.min_fs, draft.max_fs, draft.min_ss, draft.max_ss
        if low_fs < panel.min_fs or low_ss < panel.min_ss or high_fs > panel.max_fs or high_ss > panel.max_ss:
            self.refuse(
                f"bad region '{draft.name}' (fs {low_fs} to {high_fs}, ss {low_ss} to {high_ss}) is not inside panel "
                f"{panel.name} (fs {panel.min_fs} to {panel.max_fs}, ss {panel.min_ss} to {panel.max_ss})",
                draft.line,
            )
            # read leniently: what lies on the panel is bad
            low_fs, high_fs = max(low_fs, panel.min_fs), min(high_fs, panel.max_fs)
            low_ss, high_ss = max(low_ss, panel.min_ss), min(high_ss, panel.max_ss)
        return BadRegion(
            draft.name,
            numbers[draft.panel],
            low_fs - panel.min_fs,
            high_fs - panel.min_fs,
            low_ss - panel.min_ss,
            high_ss - panel.min_ss,
        )


def _unusable(panel: PanelDraft) -> list[tuple[int, str]]:
    """What a panel lacks so that nothing can be done with it, in CrystFEL's order."""
    lacks = []
    known = panel.dims[: panel.dims.index(None)] if None in panel.dims else panel.dims
    if "fs" not in known or "ss" not in known:
        lacks.append("no dimension that is fs, or none that is ss")
    elif known.index("ss") > known.index("fs"):
        lacks.append("the dimension of fs before that of ss")
    lacks += [f"no {name} direction" for name in ("fs", "ss") if math.isnan(getattr(panel, name)[0])]
    why = _why(panel)
    found = [(panel.line, f"panel {panel.name} has {what}{why}") for what in lacks]
    wrong = [name for name in ("min_fs", "max_fs", "min_ss", "max_ss") if getattr(panel, name) < 0]
    wrong += [name for name in ("corner_x", "corner_y") if math.isnan(getattr(panel, name))]
    wrong += ["res"] * (panel.pixel_size < 0)
    for name in wrong:
        if name in panel.places:
            line, text = panel.places[name]
            good = "more than 0" if name == "res" else "a number" if name.startswith("corner") else "0 or more"
            found.append((line, f"{name} of panel {panel.name} must be {good}, found '{_short(text)}'"))
        else:
            what = "pixel size (res)" if name == "res" else name
            found.append((panel.line, f"panel {panel.name} has no {what}{why}"))
    return found


def _why(panel: PanelDraft) -> str:
    """The statement that was ignored, for a message about what is lacking."""
    return "; line {}: {}".format(*panel.ignored) if panel.ignored else ""


def _no_header(place: str) -> float:
    raise AssertionError(place)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
