"""What decides the numbers of a run, with CrystFEL's names for what CrystFEL has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from waterbg.errors import UsageError

PROFILE, SUM = "profile", "sum"
Radii = tuple[float, float, float]
BACKGROUNDS = ("water", "radial", "ring", "plane")


@dataclass(frozen=True)
class Settings:
    """The choices that decide a reflection's new numbers.

    Attributes
    ----------
    integration : str
        ``profile`` (weighted fit), ``sum`` (summation over the same background), or CrystFEL's own ``rings-…``.
    background : str
        Estimator for ``profile`` and ``sum``: one of `BACKGROUNDS`.
    int_radius : tuple of float
        Inner, middle and outer radius in pixels.
    push_res : float
        How far beyond the crystal's resolution limit reflections are predicted, nm⁻¹; CrystFEL's default is no limit.
    polarisation : str
        CrystFEL's syntax: ``horiz``, ``vert``, ``none``, ``horiz90``, ``45deg70`` …
    joint : bool
        Fit overlapping neighbours together instead of leaving their shared pixels out.
    decoys : bool
        Calibrate sigma by decoys, and report them.
    """

    integration: str = PROFILE
    background: str = "water"
    int_radius: Radii = (4.0, 5.0, 7.0)
    push_res: float = math.inf
    polarisation: str = "horiz"
    joint: bool = False
    decoys: bool = True

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise UsageError(f"--background={self.background}: one of {', '.join(BACKGROUNDS)} is needed")
        # not at the top: the compiler comes with them, and is wanted by no program that leaves the defaults
        if self.polarisation != "horiz":
            from waterbg.background.rays import parse_polarisation

            parse_polarisation(self.polarisation)
        if not self.uses_model:
            from waterbg.integrate.rings import parse_integration

            parse_integration(self.integration)

    @property
    def uses_model(self) -> bool:
        """Whether something must be learnt from the run before its first reflection is integrated."""
        return self.integration in (PROFILE, SUM)

    @classmethod
    def from_command_line(cls, command_line: str, *, without_radii: bool = False) -> Settings:
        """Take what the stream's own command line says; what it does not say is CrystFEL's default.

        Parameters
        ----------
        command_line : str
            As indexamajig wrote it into the stream: unquoted, separated by blanks.
        without_radii : bool
            Others are given: pass over what it says.

        Raises
        ------
        UsageError
            When the radii it says cannot be used.
        """
        said: dict[str, object] = {}
        for name, value in _options_of(command_line):
            try:
                if _means(name, "--int-radius", 7):  # streams say --int-rad=2,4,6
                    radii = _three_numbers(value)
                    if not without_radii:
                        said["int_radius"] = _usable(radii, f"--int-radius={value}")
                elif _means(name, "--push-res", 4):
                    said["push_res"] = float(value)
            except ValueError:
                continue  # an option's value with blanks in it; indexamajig itself would have refused a wrong number
        return cls(**said)  # type: ignore[arg-type]

    def replace(self, **changes: object) -> Settings:
        """Copy with some fields changed, as the user wants them.

        Raises
        ------
        UsageError
        """
        if math.isnan(changes.get("push_res", 0.0)):  # type: ignore[arg-type]
            raise UsageError("--push-res=nan: a number is needed; inf is no limit")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def as_options(self) -> list[str]:
        """Options that give the same numbers again; for the provenance line."""
        options = [f"--integration={self.integration}"]
        if self.uses_model:
            options.append(f"--background={self.background}")
            options.append(f"--polarisation={self.polarisation}")
        options.append("--int-radius=" + ",".join(f"{radius:g}" for radius in self.int_radius))
        if math.isfinite(self.push_res):
            options.append(f"--push-res={self.push_res:g}")
        if self.uses_model and self.joint:
            options.append("--joint")
        if self.uses_model and not self.decoys:
            options.append("--no-decoys")
        return options

    @classmethod
    def from_options(cls, options: Sequence[str]) -> Settings:
        """Inverse of :meth:`as_options`; other words are passed over.

        Raises
        ------
        UsageError
            When a value is none that :meth:`as_options` writes.
        """
        said: dict[str, object] = {"joint": "--joint" in options, "decoys": "--no-decoys" not in options}
        for option in options:
            name, _, value = option.partition("=")
            if name in ("--integration", "--background", "--polarisation"):
                said[name[2:]] = value
            elif name == "--int-radius":
                said["int_radius"] = parse_int_radius(value)
            elif name == "--push-res":
                try:
                    said["push_res"] = float(value)
                except ValueError:
                    raise UsageError(f"{option}: a number is needed") from None
        return cls(**said)  # type: ignore[arg-type]


def _options_of(command_line: str) -> Iterator[tuple[str, str]]:
    """Name and value of each option, and of whatever else stands there."""
    words = command_line.split()
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        yield name, value if equals else following


def _means(name: str, option: str, fewest: int) -> bool:
    """Whether this is the option or a beginning of it, which argp takes when no other option has the same."""
    return len(name) >= fewest and option.startswith(name)


@dataclass(frozen=True)
class OwnRun:
    """What the run that made a stream did with pixels and counts, as its own command line says.

    Attributes
    ----------
    masks : bool
        Whether it read the masks of its geometry; not with ``--no-mask-data``.
    max_inv_d : float
        nm⁻¹; pixels there and beyond were bad (``--highres``), inf without.
    counts_kept : bool
        Whether reflections that the stream has are among its counts of saturated ones: with ``rings-sat``. ``prof2d``
        counts none (``integrate_prof2d`` in integration.c).
    """

    masks: bool = True
    max_inv_d: float = math.inf
    counts_kept: bool = False

    @classmethod
    def from_command_line(cls, command_line: str) -> OwnRun:
        """Take what the command line in a stream's header says."""
        masks, max_inv_d, counts_kept = True, math.inf, False
        for name, value in _options_of(command_line):
            if _means(name, "--no-mask-data", 7):
                masks = False
            elif _means(name, "--highres", 4):
                with suppress(ValueError, ZeroDivisionError):
                    max_inv_d = 10.0 / float(value)
            elif _means(name, "--integration", 6):
                counts_kept = _counts_kept(value)
        return cls(masks, max_inv_d, counts_kept)


def _counts_kept(integration: str) -> bool:
    rings = counts = False
    for word in integration.replace(",", "-").split("-"):
        if word in ("rings", "prof2d"):
            rings, counts = word == "rings", False  # each sets nosat
        elif word in ("sat", "nosat"):
            counts = rings and word == "sat"
    return counts


def refuse_without_say(given: Mapping[str, object], model: str | None = None, *, dashes: str = "--") -> None:
    """Refuse what the user gave for a background model beside CrystFEL's own rings, which have none.

    Parameters
    ----------
    given : mapping
        Fields of `Settings`.
    model : str, optional
        Run model.
    dashes : str
        How the options begin.

    Raises
    ------
    UsageError
    """
    integration = given.get("integration", PROFILE)
    if integration in (PROFILE, SUM):
        return
    named = [name for name in ("background", "polarisation", "joint") if name in given]
    for name in named + ["model"] * (model is not None):
        raise UsageError(f"{dashes}{name} has no say in {dashes}integration={integration}: leave one of them out")


def parse_int_radius(text: str) -> Radii:
    """Read ``inner,middle,outer`` in pixels, as indexamajig's ``--int-radius``.

    Raises
    ------
    UsageError
    """
    try:
        radii = _three_numbers(text)
    except ValueError:
        raise UsageError(f"--int-radius={text}: three numbers are needed, for example 4,5,7") from None
    return _usable(radii, f"--int-radius={text}")


def _three_numbers(text: str) -> Radii:
    """Read three numbers with commas between them, or raise ValueError."""
    inner, middle, outer = (float(word) for word in text.split(","))
    return inner, middle, outer


def _usable(radii: Radii, option: str) -> Radii:
    """Give the radii back, or raise UsageError, naming the option."""
    inner, middle, outer = radii
    if not 1 <= inner <= middle < outer <= 64:  # a smaller disc than of five pixels has none of the four it must have
        raise UsageError(f"{option}: 1 <= inner <= middle < outer <= 64 pixels is needed")
    return radii
