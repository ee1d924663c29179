"""What a report says in words: what was done, what was gained, and what looks wrong."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from waterbg.model.decoys import DecoyShell
from waterbg.model.quality import RATIO
from waterbg.plots.look import readable
from waterbg.plots.report_bins import STRONG, Shell
from waterbg.plots.report_figures import mean_of
from waterbg.plots.report_numbers import COUNTED, Numbers, Provenance
from waterbg.plots.report_sample import Sample, WaterRing, find_ring
from waterbg.subtract import ASTRAY

METHODS = {"profile": "a weighted profile fit", "sum": "summation"}
BACKGROUNDS = {
    "water": "the water-ring model of each frame, scaled in each reflection's own ring",
    "radial": "the radial profile of each frame",
    "ring": "the mean of each reflection's own ring",
    "plane": "a plane through each reflection's own ring",
}
MEAN_WRONG, SCATTER_RIGHT = 0.1, (0.93, 1.07)  # of decoys' I/sigma
MUCH_DROPPED = 0.05  # of all reflections
SCALE_RIGHT = (0.8, 1.25)  # strong reflections, after over before


@dataclass
class Findings:
    """Everything a report is made of.

    Attributes
    ----------
    numbers : Numbers
    provenance : Provenance
    sample : Sample
    shells : list of Shell
    whole : Shell
    geometry_sum : str or None
        First digits of the SHA-256 of the geometry given now.
    """

    numbers: Numbers
    provenance: Provenance
    sample: Sample
    shells: list[Shell]
    whole: Shell
    geometry_sum: str | None = None

    @property
    def ring(self) -> WaterRing | None:
        """The water ring of the sample's mean profile."""
        profile = self.sample.profile
        return None if profile is None else find_ring(profile.middles, mean_of(profile.observed))


def name_of(path: str) -> str:
    """Name of a file without its folder, as text."""
    return readable(os.path.basename(path))


def count(number: int, what: str = "") -> str:
    """``12 345 crystals``."""
    digits = f"{number:,}".replace(",", "\u202f")
    return f"{digits} {what}{'s' if number != 1 else ''}" if what else digits


def done(findings: Findings) -> str:
    """What was done, in two sentences."""
    numbers, settings = findings.numbers, findings.provenance.settings
    radii = ", ".join(f"{radius:g}" for radius in settings.int_radius)
    if settings.uses_model:
        how = f"by {METHODS[settings.integration]} over {BACKGROUNDS[settings.background]} (radii {radii} px)"
    else:
        how = f"by CrystFEL's own {settings.integration} (radii {radii} px)"
    return (
        f"waterbg {findings.provenance.version} integrated the reflections of {name_of(numbers.before)} again, {how}. "
        f"The stream has {count(numbers.chunks, 'frame')}, {count(numbers.indexed)} of them indexed, with "
        f"{count(numbers.crystals, 'crystal')} and {count(numbers.listed, 'reflection')}; "
        f"{count(numbers.kept)} of these are in {name_of(numbers.after)}."
    )


def signed(value: float, form: str) -> str:
    """A number with its sign, and a minus that is one."""
    return format(value, f"+{form}").replace("-", "−")


@dataclass(frozen=True)
class Tile:
    """One number that matters, with its name and what it means."""

    value: str
    name: str
    meaning: str


def tiles(findings: Findings) -> list[Tile]:
    """What was gained, in a few numbers."""
    found = []
    decoys = pooled_decoys(findings)
    if decoys is not None:
        ours, rings = decoys
        if ours.rms and rings.rms:
            meaning = f"relative to CrystFEL's rings, from {count(ours.n, 'decoy')}; smaller is better"
            found.append(Tile(f"{ours.rms / rings.rms:.2f} ×", "error of a reflection without signal", meaning))
        if ours.z_std is not None and rings.z_std is not None:
            meaning = f"1 means that σ says what it means; CrystFEL's rings: {rings.z_std:.2f}"
            found.append(Tile(f"{ours.z_std:.2f}", "scatter of decoys' I/σ", meaning))
    whole = findings.whole
    if whole.n:
        found.append(Tile(f"{whole.sigma[1]:.2f} ×", "σ after / σ before", "median of the reflections in both streams"))
        before, after = findings.numbers.resolution.median_snr()
        found.append(Tile(f"{before:.2f} → {after:.2f}", "median I/σ", "before and after, of all reflections in both"))
    if findings.numbers.listed:
        share = 100 * findings.numbers.kept / findings.numbers.listed
        found.append(Tile(f"{_percent(share)} %", "reflections kept", f"{count(findings.numbers.dropped)} dropped"))
    return found


def _percent(share: float) -> str:
    """Never 100 unless it is all of them."""
    return "100" if share == 100 else f"{min(share, 99.99):.2f}" if share > 99 else f"{share:.1f}"


def pooled_decoys(findings: Findings) -> tuple[DecoyShell, DecoyShell] | None:
    """All decoys of the kind the verdict is about, ours and CrystFEL's rings; None without enough of them."""
    quality = findings.sample.quality
    return None if quality is None else quality.pooled


def doubts(findings: Findings) -> list[str]:
    """What looks wrong, a sentence each; empty when nothing does."""
    return [*_doubts_of_streams(findings), *_doubts_of_sample(findings), *_doubts_of_numbers(findings)]


def not_looked_at(findings: Findings) -> str:
    """Which images were not looked at, and why; empty when all were that should be."""
    sample = findings.sample
    if findings.numbers.listed and not sample.wanted:
        left = f"as no reflection is left in {name_of(findings.numbers.after)}"
        why = "as asked for (--frames=0)" if findings.numbers.kept else left
        return f"No images were looked at, {why}, so the parts that need them are left out."
    if not sample.unreadable:
        return ""
    first = readable(sample.unreadable[0])
    if not sample.read:
        return (
            "No image of the sample could be read, so the parts that need images are left out (water-ring profile, "
            f"reasons from the sample, worked example): {first}"
        )
    number = f"{count(len(sample.unreadable))} of {count(sample.wanted, 'sample frame')}"
    return f"{number} could not be read and are left out: {first}"


def all_is_well(findings: Findings) -> str:
    """What is said where there is no doubt."""
    return "Nothing looks wrong" + (" in what was looked at" if not_looked_at(findings) else "")


def _doubts_of_streams(findings: Findings) -> list[str]:
    numbers, settings = findings.numbers, findings.provenance.settings
    found = [f"A stream cannot be read to its end: {reason}." for reason in numbers.ended]
    if numbers.left_out:
        found.append(
            f"{count(numbers.left_out, 'frame')} of {name_of(numbers.before)} "
            f"{'is' if numbers.left_out == 1 else 'are'} not in {name_of(numbers.after)} "
            f"({count(numbers.left_out_listed, 'reflection')}): left out for want of the image, or the run did not end."
        )
    if numbers.untouched and settings.uses_model:
        found.append(
            f"{count(numbers.untouched, 'frame')} with reflections came through without a changed byte: kept as "
            f"{'it was' if numbers.untouched == 1 else 'they were'}, probably for want of the image."
        )
    if numbers.listed and numbers.dropped > MUCH_DROPPED * numbers.listed:
        share = 100 * numbers.dropped / numbers.listed
        found.append(f"{share:.1f} % of the reflections were dropped; see “Dropped reflections” for the reasons.")
    if numbers.resolution.odd:
        found.append(
            f"{count(numbers.resolution.odd, 'reflection')} could not be compared: I or σ is not a number, σ is not "
            "positive, or the crystal has no cell."
        )
    if not numbers.crystals:
        found.append("The stream has no crystals: there was nothing to integrate.")
    return found


def _doubts_of_sample(findings: Findings) -> list[str]:
    sample, provenance = findings.sample, findings.provenance
    found = []
    if sample.read and sample.differ:
        found.append(
            f"{count(sample.differ)} of {count(len(sample.read), 'frame')} integrated again for this report did not "
            f"give the numbers of {name_of(findings.numbers.after)}: images, geometry, run model or waterbg's version "
            "are not those of that run, and what is said below of the sample is not quite about it."
        )
    if sample.again.astray:
        found.append(
            f"Predictions of {count(sample.again.astray, 'crystal')} of the sample lie more than {ASTRAY:g} px from "
            "the positions in the stream: the geometry is not that of these images."
        )
    if provenance.geometry != findings.geometry_sum:
        said = (
            f"a geometry of its own (sha256 {provenance.geometry})" if provenance.geometry else "the stream's geometry"
        )
        now = "another one (-g)" if findings.geometry_sum else "the stream's (no -g)"
        found.append(f"The run used {said}, this report {now}.")
    if provenance.model and sample.model_sum != provenance.model and sample.model is not None:
        which = "another one" if sample.model_sum else "one learnt again from the first frames"
        found.append(f"The run was given a run model (sha256 {provenance.model}), this report used {which}.")
    return found


def _doubts_of_numbers(findings: Findings) -> list[str]:
    found = []
    decoys = pooled_decoys(findings)
    if decoys is not None:
        ours, _ = decoys
        error = 1 / math.sqrt(max(ours.n, 1))
        if abs(ours.z_mean or 0) > MEAN_WRONG + 3 * error:
            found.append(f"Decoys' I/σ has mean {signed(ours.z_mean or 0, '.2f')}, not 0: the background is off.")
        wide = 3 * 0.96 * error  # standard error of half the distance of the two quantiles
        if not SCATTER_RIGHT[0] - wide < (ours.z_std or 1) < SCATTER_RIGHT[1] + wide:
            which = "small" if (ours.z_std or 1) > 1 else "large"
            found.append(f"Decoys' I/σ scatters by {ours.z_std:.2f}, not 1: σ is too {which}.")
    quality = findings.sample.quality
    if quality is not None and quality.ratio is not None and not RATIO[0] <= quality.ratio <= RATIO[1]:
        found.append(
            f"Profile fit over summation of {count(quality.strong, 'strong spot')} is {quality.ratio:.3f}, beyond "
            f"{RATIO[0]:g} to {RATIO[1]:g}: the profile does not fit these spots."
        )
    whole = findings.whole
    if whole.n_strong >= 20 and not SCALE_RIGHT[0] <= whole.strong <= SCALE_RIGHT[1]:
        found.append(
            f"Reflections of I/σ ≥ {STRONG:g} changed by a factor of {whole.strong:.2f} (median): more than another "
            "background or profile explains."
        )
    return found


def reasons(findings: Findings) -> list[tuple[str, str, str]]:
    """Rows of the table of dropped reflections: reason, number, and what the number is of."""
    numbers, sample = findings.numbers, findings.sample
    rows, rest, known = [], numbers.dropped, True
    for name in COUNTED:
        number = numbers.counted[name]
        if number is None or number < 0:
            known = False
            continue
        rest -= number
        rows.append((name, count(number), "whole stream, counted in its lines"))
    if known and rest >= 0:
        rows.append(("all other reasons", count(rest), "whole stream: the rest"))
    if sample.read:
        what = f"{count(len(sample.read), 'sample frame')} integrated again"
        rows += [(name, count(number), what) for name, number in sample.again.dropped.most_common()]
        if not sample.again.dropped:
            rows.append(("none", "0", what))
    return rows
