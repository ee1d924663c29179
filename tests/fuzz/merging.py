"""What process_hkl merges from a stream, and the same from what waterbg reads: two dictionaries to compare."""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass

import numpy as np

from waterbg.errors import WaterbgError
from waterbg.geometry import parse_geometry
from waterbg.stream import StreamFile

EVERYTHING = ("--min-snr=nan", "--min-res=-0", "--min-measurements=1", "--no-polarisation", "-y", "1")
"""Options with which merge_crystal (src/process_hkl.c) leaves nothing out: with its default of -inf for the signal to
noise a negative sigma drops a reflection, and its default resolution drops a crystal whose limit is negative."""


@dataclass(frozen=True)
class Cuts:
    """What process_hkl is told to leave out: makes it look at sigma and peak, which it does not write."""

    min_snr: float = math.nan
    max_adu: float = math.inf

    @property
    def options(self):
        return (*EVERYTHING, f"--min-snr={self.min_snr:g}", f"--max-adu={self.max_adu:g}")


@dataclass(frozen=True)
class Outcome:
    """How process_hkl ended: ``merged``, ``refused`` (status 1) or ``crashed`` (a signal)."""

    how: str
    table: dict[tuple[int, int, int], tuple[float, float, int]]
    said: str


def process_hkl(path, out, cuts=Cuts()):
    """Run the real program; ``table`` is {hkl: (mean I, its error, number of measurements)}."""
    out.unlink(missing_ok=True)
    done = subprocess.run(
        ["process_hkl", *cuts.options, "-i", str(path), "-o", str(out)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=out.parent,
    )
    said = done.stderr.decode("latin-1")
    if done.returncode < 0:
        return Outcome("crashed", {}, said)
    if done.returncode:
        return Outcome("refused", {}, said)
    table = {}
    lines = out.read_text("latin-1").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("   h    k    l"))
    for line in lines[first + 1 :]:
        if line == "End of reflections":
            break
        h, k, l, mean, _, error, n = line.split()
        table[int(h), int(k), int(l)] = float(mean), float(error), int(n)
    return Outcome("merged", table, said)


def refusal(path):
    """Why waterbg would not open a stream, as ``waterbg verify`` says it; None when it does."""
    try:
        with StreamFile(path) as stream:
            parse_geometry(stream.geometry_text)
    except WaterbgError as err:
        return str(err)
    return None


def merge(path, cuts=Cuts()):
    """Merge what waterbg reads in the way of process_hkl: {hkl: (mean, error, number)}, and why reading ended."""
    totals = {}
    with StreamFile(path) as stream:
        for chunk in stream.chunks():
            for crystal in chunk.crystals:
                # "limit >= min_res" with a limit that is not a number is false, whatever min_res
                if crystal.resolution_limit is None or not math.isnan(crystal.resolution_limit):
                    _add(totals, crystal.reflections, cuts)
        ended = stream.ended
    table = {}
    for indices, (mean, m2, n) in totals.items():
        table[indices] = mean, math.sqrt(m2 / n) / math.sqrt(n) if not m2 < 0 else math.nan, n
    return table, ended


def _add(totals, rows, cuts):
    """merge_crystal with weights 1: running mean and sum of squares, in double precision of numbers read as float."""
    with np.errstate(over="ignore"):
        I, sigma, peak = (rows[name].astype(np.float32).astype(float) for name in ("I", "sigma", "peak"))
    for i, (h, k, l) in enumerate(zip(rows["h"].tolist(), rows["k"].tolist(), rows["l"].tolist())):
        if cuts.min_snr > -math.inf and math.isnan(sigma[i]):
            continue
        if I[i] < cuts.min_snr * sigma[i] or peak[i] > cuts.max_adu:
            continue
        mean, m2, n = totals.get((h, k, l), (0.0, 0.0, 0))
        delta = float(I[i]) - mean
        step = delta / (n + 1)
        totals[h, k, l] = mean + step, m2 + n * delta * step, n + 1


def differences(mine, theirs, most=5):
    """Lines that say where two tables differ; none when they agree to what ``%.2f`` prints."""
    out = []
    for indices in sorted(set(mine) | set(theirs)):
        a, b = mine.get(indices), theirs.get(indices)
        if a is None or b is None or a[2] != b[2] or not all(_same(x, y, a[0]) for x, y in zip(a[:2], b[:2])):
            out.append(f"{indices}: waterbg {a}, process_hkl {b}")
            if len(out) == most:
                break
    return out


def _same(x, y, size):
    if not (math.isfinite(x) and math.isfinite(y)):
        return x == y or (math.isnan(x) and math.isnan(y))
    # half of the last digit printed, and a float's precision of what was averaged
    return abs(x - y) <= 0.0051 + 1e-6 * max(abs(x), abs(size) if math.isfinite(size) else 0.0)
