"""Pixels that are wrong in all frames of a run, and that no mask knows: dead, stuck and warm ones, and lines of them.

Each frame says how far its clean pixels are from its surface. What is far off in one frame may be a zinger, or a spot
that nobody indexed, so one frame has little say; what is off in most of them is the pixel's fault, and surely so where
it shows the same in all of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.dead import LIGHTLESS
from waterbg.background.masks import NOT_CLEAN, TAIL, WIDE, Pixels
from waterbg.background.rays import column_middles, trace_radius, trace_row
from waterbg.background.scan import HALF, blend_rows, expected_row
from waterbg.background.surface import Surface
from waterbg.background.tiles import TILE, middle_of
from waterbg.kernel import kernel

if TYPE_CHECKING:
    from waterbg.frames import Frame

MOST = 4.0  # standard deviations that one frame may count for
FEWEST = 3  # frames that must have seen a pixel
SURE = 6.0  # standard deviations from the pixels around; of nine million one is there by chance
LEAST = 1.0  # standard deviations of a single frame that a pixel is off by on average, and
LEAST_OF_LINE = 0.25  # those of a line: it lies in many a disc with seven pixels of thirty
LINE, FEWEST_OF_LINE = 32, 8  # pixels of a row or column that are looked at together; that must have been seen
BESIDE, AROUND = 4, 3  # lines on either side of a line, and pixels on every side of a pixel, that it is compared with
LINES, FEWEST_LINES = 64, 32  # lines beside each other whose scatter is looked at; fewer say nothing
TOO_MANY = 0.1  # share of the pixels: it is the surfaces that are wrong
ALONE = 3.0  # times what half of those around differ by: beside a beamstop all do
_STEPS = 31  # of a number, to a standard deviation
_UNSEEN, _CHANGING = -128, -1
_SAMPLE = 20_000  # pixels a panel's spread is learnt from


def deviations(frame: Frame, flags: NDArray[np.uint8], surface: Surface) -> NDArray[np.int8]:
    """How far each pixel of a frame is from its surface.

    The root of counts, the variance of which hardly depends on how many there are (Anscombe 1948, Biometrika 35, 246):
    few counts have a long tail, and are no fault.

    Parameters
    ----------
    frame : Frame
    flags : (n_pixels,) uint8
        See :mod:`waterbg.background.masks`; as the surface was fitted with.
    surface : Surface
        Of the frame.

    Returns
    -------
    (2, n_pixels) int8
        For `Faults.add`: standard deviations in steps, no more than MOST; and what tells counts apart, 0 for no light.
        Of pixels that may lie in a spot the former is known of dark ones alone, for light of spots adds to what is
        there.
    """
    out = np.full((2, len(flags)), _UNSEEN, np.int8)
    if not surface.usable:
        return out
    gain, read2 = map(np.float32, surface.noise)
    pixels = Pixels.of(frame, flags)
    _deviations(pixels, surface.rays, surface.profile, surface.grid.shapes, surface.ratio, gain, read2, *out)
    return out


class Faults:
    """What a run's frames say about its pixels.

    Parameters
    ----------
    shapes : (n_panels, 2) int64
    """

    def __init__(self, shapes: NDArray[np.int64]) -> None:
        self.shapes = shapes
        n_pixels = int((shapes[:, 0] * shapes[:, 1]).sum())
        self._sums, self._seen = np.zeros(n_pixels, np.int16), np.zeros(n_pixels, np.uint8)
        self._shown = np.full(n_pixels, _UNSEEN, np.int8)

    def add(self, found: NDArray[np.int8]) -> None:
        """Add a frame's `deviations`; of 255 frames at most."""
        _add(*found, self._sums, self._seen, self._shown)

    def pixels(self) -> NDArray[np.int64]:
        """Numbers of the pixels that are wrong, panel after panel, ascending.

        A pixel is wrong where its mean deviation leaves the median of the 7 × 7 around it by SURE standard deviations;
        so is a line of pixels, across four of its neighbours on either side. Where those of a panel scatter by more
        than counts do (no detector is quite even, and bright light shows it), by SURE times that; and by ALONE times
        what those around differ by. One that shows the same in all frames is wrong whatever those around do.
        """
        wrong = np.zeros(len(self._seen), np.uint8)
        first = 0
        for n_ss, n_fs in self.shapes:
            here = slice(first, first + n_ss * n_fs)
            first = here.stop
            some = slice(here.start, here.stop, n_ss * n_fs // _SAMPLE + 1)
            scores = _scores(self._sums[some], self._seen[some])
            sums, seen, shown, faults = (
                array[here].reshape(n_ss, n_fs) for array in (self._sums, self._seen, self._shown, wrong)
            )
            _find_pixels(sums, seen, shown, _sure(scores), faults)
            _find_beside(shown, faults)
            columns = _stretches(n_ss, n_fs)
            rows = _stretches(n_fs, n_ss)
            _sum_lines(sums, seen, faults, columns, rows)
            for stretches, faults_of in ((columns, faults), (rows, faults.T)):
                _compare_lines(stretches)
                _find_lines(stretches, _sure_around(stretches["off"], _sure(stretches["off"])), faults_of)
        found = np.flatnonzero(wrong)
        return found if len(found) <= TOO_MANY * len(wrong) else found[:0]


_STRETCH = np.dtype(
    [
        ("off", "f4"),  # from the median of this line and those around, standard deviations; NaN: not known
        ("alone", "u1"),  # whether these agree among each other by far more, and there is a step
        ("total", "f4"),  # of the scores
        ("squares", "f4"),  # of the scores, added up
        ("frames", "i4"),  # in which its pixels were seen, added up
        ("n", "i4"),  # pixels
        ("wrong", "i4"),  # pixels that are wrong by themselves, and in none of the above; too dark ones count down
    ]
)


def _stretches(along: int, across: int) -> NDArray[np.void]:
    """(n_stretches, across) _STRETCH; nothing added up yet."""
    return np.zeros((-(-along // LINE), across), _STRETCH).view(np.recarray)


def _sure(values: NDArray[np.float32]) -> float:
    """From where on a value is no accident, by a robust standard deviation of them all."""
    known = values[np.isfinite(values)]
    if not len(known):
        return math.inf
    low, high = np.quantile(known, (0.158655, 0.841345))
    return SURE * max(float(high - low) / 2, 1.0)


@kernel
def _score(total, times):
    """Mean deviation of a pixel in its own standard deviations, of a sum over so many frames."""
    return total / (_STEPS * np.sqrt(float(times)))


@kernel
def _scores(sums, seen):
    """Of many pixels; NaN where hardly a frame has seen one."""
    out = np.empty(sums.size, np.float32)
    for at in range(sums.size):
        out[at] = _score(sums[at], seen[at]) if seen[at] >= FEWEST else np.nan
    return out


def text_of(pixels: NDArray[np.int64]) -> str:
    """Numbers of pixels as people write them: ``17 40-47 1003``."""
    runs = np.split(pixels, np.flatnonzero(np.diff(pixels) > 1) + 1) if len(pixels) else []
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@lru_cache(maxsize=2)
def runs_of(text: str) -> NDArray[np.int64]:
    """(n, 2) first and last pixel of each run in a text that `text_of` made.

    Raises
    ------
    ValueError
        For any other text.
    """
    words = [word.split("-") for word in text.split()]
    runs = np.array([(int(word[0]), int(word[-1])) for word in words], np.int64).reshape(-1, 2)
    if max(map(len, words), default=0) > 2 or not (np.diff(np.append(-1, runs)) >= np.tile([1, 0], len(runs))).all():
        raise ValueError(f"{text!r}: no numbers of pixels")
    return runs


@lru_cache(maxsize=2)
def pixels_of(text: str) -> NDArray[np.int64]:
    """(n,) the pixels themselves, ascending."""
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(first, last + 1) for first, last in runs_of(text))])


@kernel
def _deviations(pixels, rays, profile, grid_shapes, ratio, gain, read2, out, shown):
    counts, photons_per_adu, flags, _, shapes = pixels
    widest = 0
    for p in range(shapes.shape[0]):
        widest = max(widest, shapes[p, 1])
    n_most = widest // TILE + 4
    r, expected = np.empty(widest, np.float32), np.zeros(widest + 2 * TILE, np.float32)
    far, g, blended = np.empty(n_most, np.float32), np.empty(n_most, np.float32), np.empty(n_most, np.float32)
    middles, rises = np.empty(n_most, np.float32), np.empty(n_most, np.float32)
    pieces = np.empty(widest, np.int32)
    columns, tile_columns = column_middles(widest), column_middles(n_most, -0.5 * TILE - 0.5, TILE)
    zero, two, steps, most = np.float32(0), np.float32(2), np.float32(_STEPS), np.float32(_STEPS * MOST)
    beneath, not_clean, wide = np.float32(0.375) * gain * gain + read2, np.uint8(NOT_CLEAN), np.uint8(WIDE)
    unseen, lightless = np.float32(_UNSEEN), np.float32(LIGHTLESS)
    least = np.float32(0.5) * gain + np.float32(TAIL) * np.sqrt(read2)  # half a photon, for a trace of a pedestal
    first_pixel = first_tile = 0
    for p in range(shapes.shape[0]):
        n_ss, n_fs = shapes[p]
        n_ts, n_tf = grid_shapes[p]
        to_photons = photons_per_adu[p]
        for ss in range(n_ss):
            trace_row(rays.panel[p], ss, tile_columns[: n_tf + 2], rays.length, rays.polarisation, far, g)
            trace_radius(rays.panel[p], ss, columns[:n_fs], rays.length, r)
            blend_rows(ratio, first_tile, n_ts, n_tf, ss, blended)
            expected_row(profile, r, g, blended[:n_tf], 0, n_fs, pieces, middles, rises, expected)
            begin = first_pixel + ss * n_fs
            row, flag, here = counts[begin : begin + n_fs], flags[begin : begin + n_fs], out[begin : begin + n_fs]
            shows = shown[begin : begin + n_fs]
            S = expected[HALF : HALF + n_fs]
            for i in range(n_fs):
                n = row[i] * to_photons
                roots = np.sqrt(max(gain * n, zero) + beneath) + np.sqrt(gain * S[i] + beneath)
                off = min(max(steps * two * (n - S[i]) / roots, -most), most)
                is_dark, is_clean = n <= lightless * S[i] + least, flag[i] & not_clean == 0
                may_lie_in_spot = flag[i] & not_clean == wide
                here[i] = np.int8(off if (is_clean | may_lie_in_spot & is_dark) & (roots > zero) else unseen)
                code = zero if is_dark else np.float32(1 + (np.int32(row[i]) & 63))
                shows[i] = np.int8(code if is_clean | may_lie_in_spot else unseen)
        first_pixel += n_ss * n_fs
        first_tile += n_ts * n_tf


@kernel
def _add(off, shows, sums, seen, shown):
    # in single bytes and without branches, so that it becomes vector instructions
    unseen, changing, nothing = np.int8(_UNSEEN), np.int8(_CHANGING), np.int8(0)
    for at in range(off.size):
        sums[at] += off[at] if off[at] != unseen else nothing
        seen[at] += np.uint8(off[at] != unseen)
    for at in range(off.size):
        before, now = shown[at], shows[at]
        both = now if (before == unseen) | (before == now) else changing
        shown[at] = before if now == unseen else both


@kernel
def _find_pixels(sums, seen, shown, sure, wrong):
    """Flag single pixels of a panel."""
    around = np.empty((2 * AROUND + 1) ** 2, np.float32)
    n_ss, n_fs = sums.shape
    least = int(SURE * _STEPS * np.sqrt(float(FEWEST)))  # no sum of less is sure
    for j in range(n_ss):
        for i in range(n_fs):
            if abs(sums[j, i]) <= least or seen[j, i] < FEWEST:
                continue
            score = _score(sums[j, i], seen[j, i])
            if abs(score) <= sure:
                continue
            if shown[j, i] != _CHANGING:
                wrong[j, i] = 1
                continue
            n = 0
            for jj in range(max(j - AROUND, 0), min(j + AROUND + 1, n_ss)):
                for ii in range(max(i - AROUND, 0), min(i + AROUND + 1, n_fs)):
                    if seen[jj, ii] >= FEWEST:
                        around[n] = _score(sums[jj, ii], seen[jj, ii])
                        n += 1
            off = abs(score - middle_of(around, n))
            if off > max(sure, LEAST * np.sqrt(float(seen[j, i])), ALONE * (around[3 * n // 4] - around[n // 4])):
                wrong[j, i] = 1


@kernel
def _find_beside(shown, wrong):
    """Flag what shows the same light in all frames beside three wrong pixels: spots hid it too often to be sure."""
    n_ss, n_fs = wrong.shape
    goes_on = True
    while goes_on:
        goes_on = False
        for j in range(n_ss):
            for i in range(n_fs):
                if shown[j, i] > 0 and not wrong[j, i]:
                    beside = wrong[max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2]
                    if beside.sum() >= 3:
                        wrong[j, i] = 1
                        goes_on = True


@kernel
def _sum_lines(sums, seen, wrong, columns, rows):
    """Add up the scores of a panel's stretches of columns (n_stretches, n_fs) and of rows (n_stretches, n_ss).

    Without pixels that are wrong by themselves: three of a cluster are no line.
    """
    scale = np.zeros(256, np.float32)
    for k in range(FEWEST, 256):
        scale[k] = _score(1.0, k)
    n_ss, n_fs = sums.shape
    for j in range(n_ss):
        along = columns[j // LINE]
        for k in range(rows.shape[0]):
            total, squares, frames, n = np.float32(0), np.float32(0), 0, 0
            for i in range(k * LINE, min((k + 1) * LINE, n_fs)):
                times = seen[j, i]
                if times < FEWEST:
                    continue
                if wrong[j, i]:
                    side = 1 if sums[j, i] > 0 else -1
                    rows[k, j].wrong += side
                    along[i].wrong += side
                    continue
                score = sums[j, i] * scale[times]
                total, squares, frames, n = total + score, squares + score * score, frames + times, n + 1
                along[i].total += score
                along[i].squares += score * score
                along[i].frames += times
                along[i].n += 1
            rows[k, j].total, rows[k, j].squares, rows[k, j].frames, rows[k, j].n = total, squares, frames, n


@kernel
def _sorted_windows(values, size):
    """Every ``size`` values beside each other in ascending order, (size, n); anything where one is NaN.

    A row holds one rank of all windows, so that neighbours change places by vector instructions.
    """
    n = max(values.size - size + 1, 0)
    ranks = np.empty((size, n), np.float32)
    for k in range(size):
        ranks[k] = values[k : k + n]
    for turn in range(size):
        for k in range(turn % 2, size - 1, 2):
            low, high = ranks[k], ranks[k + 1]
            for i in range(n):
                one, other = low[i], high[i]
                low[i], high[i] = min(one, other), max(one, other)
    return ranks


@kernel
def _compare_lines(stretches):
    """Find how far each stretch is off."""
    n_lines, size = stretches.shape[1], 2 * BESIDE + 1
    sums, around = np.empty(n_lines, np.float32), np.empty(size, np.float32)
    for here in stretches:
        for i in range(n_lines):
            enough = here[i].n >= FEWEST_OF_LINE
            sums[i] = here[i].total / np.sqrt(float(here[i].n)) if enough else np.nan
        ranks = _sorted_windows(sums, size)
        for i in range(n_lines):
            n, step, before = 0, np.float32(0), np.float32(np.nan)
            first = max(min(i - BESIDE, n_lines - size), 0)  # as many at an edge
            for k in range(first, min(first + size, n_lines)):
                if not np.isnan(sums[k]):
                    around[n] = sums[k]
                    step = max(step, abs(sums[k] - before)) if n else step
                    before = sums[k]
                    n += 1
            if n == size:
                for k in range(size):
                    around[k] = ranks[k, first]
            middle = middle_of(around, n) if n else np.float32(np.nan)
            here[i].off = sums[i] - middle if n >= 3 else np.nan
            width, most = np.float32(np.inf), n // 2 + 1
            for k in range(n - most + 1):  # of the shortest interval that holds more than half of them
                width = min(width, around[k + most - 1] - around[k])
            off = abs(here[i].off)
            here[i].alone = (off > ALONE * width) & (step > 0.5 * off)  # what is smooth is the surface's fault


@kernel
def _sure_around(off, sure):
    """From where on each stretch is no accident: as on the panel, or more where those beside it scatter by more.

    Lines that are not quite alike differ by more standard deviations the brighter it is.
    """
    out = np.full(off.shape, sure, np.float32)
    for k in range(off.shape[0]):
        for first in range(0, off.shape[1], LINES):
            if not np.any(np.abs(off[k, first : first + LINES]) > 0.5 * sure):
                continue
            known = off[k, max(first - LINES // 4, 0) : first + LINES + LINES // 4]
            known = np.sort(known[~np.isnan(known)])
            if known.size >= FEWEST_LINES:
                spread = (known[int(0.841345 * known.size)] - known[int(0.158655 * known.size)]) / 2
                out[k, first : first + LINES] = max(sure, SURE * spread)
    return out


@kernel
def _find_lines(stretches, sure, wrong):
    """Flag stretches of columns of a panel, and those they go on in: half as far off to the same side, or not seen."""
    n_stretches, n_ss = stretches.shape[0], wrong.shape[0]
    for i in range(stretches.shape[1]):
        for step in (1, -1):
            side = 0.0  # to which the stretch before is off
            for k in range(n_stretches):
                number = k if step > 0 else n_stretches - 1 - k
                here = stretches[number, i]
                if abs(here.off) <= 0.5 * sure[number, i]:  # nearly all: not even what goes on is so little off
                    side = 0.0
                elif here.n < FEWEST_OF_LINE <= abs(here.wrong):  # nearly all of its pixels are
                    side = float(np.sign(here.wrong))
                elif not np.isnan(here.off):
                    # a shadow or a spot that crosses the line moves its mean, too, but some of its pixels alone
                    scatter = np.sqrt(max(here.squares / here.n - (here.total / here.n) ** 2, 1.0))
                    least = sure[number, i] * scatter
                    goes_on = abs(here.off) > least or side * here.off > 0.5 * least
                    # it is those around that are off where this line is as the surface says
                    goes_on &= here.total / np.sqrt(float(here.n)) * np.sign(here.off) > 0.5 * abs(here.off)
                    # a score is the mean deviation times the root of the frames, off the sum of n over the root of n
                    is_much = abs(here.off) > LEAST_OF_LINE * np.sqrt(float(here.frames))
                    side = np.sign(here.off) if goes_on and is_much and here.alone else 0.0
                if side != 0:
                    wrong[number * LINE : min((number + 1) * LINE, n_ss), i] = 1
