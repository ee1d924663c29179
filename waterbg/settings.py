"""What decides the numbers of a run, with CrystFEL's names for what CrystFEL has."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from waterbg.errors import UsageError

PROFILE, SUM = "profile", "sum"
Radii = tuple[float, float, float]
Polarisation = tuple[float, float, float]
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
        parse_polarisation(self.polarisation)
        if not self.uses_model:
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
            options.append(f"--push-res={self.push_res:.15g}")
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
    keeps_marred : bool
        Whether it kept reflections with bad pixels in the peak: CrystFEL before 0.12 (``check_box`` in integration.c).
    """

    masks: bool = True
    max_inv_d: float = math.inf
    counts_kept: bool = False
    keeps_marred: bool = False

    @classmethod
    def from_command_line(cls, command_line: str, version: tuple[int, int] | None = None) -> OwnRun:
        """Take what the command line in a stream's header says, and CrystFEL's version where it is known."""
        masks, max_inv_d, counts_kept = True, math.inf, False
        for name, value in _options_of(command_line):
            if _means(name, "--no-mask-data", 7):
                masks = False
            elif _means(name, "--highres", 4):
                with suppress(ValueError, ZeroDivisionError):
                    max_inv_d = 10.0 / float(value)
            elif _means(name, "--integration", 6):
                counts_kept = _counts_kept(value)
        return cls(masks, max_inv_d, counts_kept, version is not None and version < (0, 12))


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


@dataclass(frozen=True)
class Rings:
    """Which of the variants of ``rings``: a plane instead of the mean; saturated reflections kept."""

    gradient: bool = False
    saturated: bool = False


def parse_integration(text: str) -> Rings:
    """Read CrystFEL's ``--integration`` syntax, as ``integration_method`` in integration.c does.

    Words are separated by ``-`` or ``,`` and the last of contradicting ones counts. ``rings`` sets
    ``nocen-nosat-nograd``, also when flags stood before it.

    Raises
    ------
    UsageError
        For what is not ``rings`` without ``cen`` in the end, and for unknown words.
    """
    option = f"--integration={text}"
    if len(text) > 100:
        raise UsageError(f"--integration={text[:20]}…: too long")
    method, centred, saturated, gradient = "", False, False, False
    for word in text.replace(",", "-").split("-"):
        if word in ("rings", "prof2d"):
            method, centred, saturated, gradient = word, word == "prof2d", False, False
        elif word in ("cen", "nocen"):
            centred = word == "cen"
        elif word in ("sat", "nosat"):
            saturated = word == "sat"
        elif word in ("grad", "nograd"):
            gradient = word == "grad"
        elif word in ("rescut", "norescut"):
            raise UsageError(f"{option}: {word} is no longer a word of CrystFEL's; use --push-res")
        elif word:
            raise UsageError(
                f"{option}: {word!r} is not known; rings-nocen with sat or nosat, grad or nograd can be done"
            )
    if method != "rings":
        raise UsageError(f"{option}: only rings can be repeated exactly; use rings-nocen, or leave the option out")
    if centred:
        raise UsageError(f"{option}: cen moves reflections to their brightest pixels and is not done; use rings-nocen")
    return Rings(gradient, saturated)


def parse_polarisation(text: str) -> Polarisation:
    """Read CrystFEL's ``--polarisation`` (``parse_polarisation`` in geometry.c).

    Parameters
    ----------
    text : str
        ``none``, ``horiz``, ``vert`` or ``<angle>deg``, then optionally the polarised percentage: ``horiz98``,
        ``45deg70``.

    Returns
    -------
    a, b, c : float
        Quadratic form of the factor 1 - (a x² + b x y + c y²)/|s|²; an electric field along e takes (e·s)²/|s|² away.

    Raises
    ------
    UsageError
    """
    if text == "none":
        return 0.0, 0.0, 0.0
    found = re.fullmatch(r"(?:(horiz|vert)|([0-9]{1,6})deg)([0-9]{0,6})", text)
    percent = int(found[3]) if found and found[3] else 100
    if not found or percent > 100:
        raise UsageError(
            f"--polarisation={text}: none, horiz, vert or <angle>deg is needed, then the percentage: horiz98"
        )
    angle = {"horiz": 0.0, "vert": math.pi / 2}.get(found[1] or "", math.radians(int(found[2] or 0)))
    fraction = percent / 100
    cos2, sin2 = math.cos(angle) ** 2, math.sin(angle) ** 2
    return (
        fraction * cos2 + (1 - fraction) * sin2,
        2 * (2 * fraction - 1) * math.sin(angle) * math.cos(angle),
        fraction * sin2 + (1 - fraction) * cos2,
    )


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
