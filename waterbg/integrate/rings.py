"""CrystFEL's three-ring integration, exactly: ``integrate_rings_once`` and what it calls in integration.c.

Works in ADU, as CrystFEL does. Peak pixels lie within the inner radius of the pixel the position falls into, the
background is the mean (or a plane) over the ring between the middle and the outer radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from waterbg.errors import UsageError
from waterbg.integrate.result import INTEGRATED, Status

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

_OFF_PANEL, _EDGE, _BAD_PIXEL = int(Status.OFF_PANEL), int(Status.EDGE), int(Status.BAD_PIXEL)
_FEW_PIXELS, _SATURATED = int(Status.FEW_PIXELS), int(Status.SATURATED)
_BACKGROUND, _IMPLAUSIBLE = int(Status.BACKGROUND), int(Status.IMPLAUSIBLE)
_IGNORED, _PEAK, _RING = 0, 1, 2


@dataclass(frozen=True)
class Rings:
    """Which of the variants of ``rings``: a plane instead of the mean; saturated reflections kept."""

    gradient: bool = False
    saturated: bool = False


def parse_integration(text: str) -> Rings:
    """Read CrystFEL's ``--integration`` syntax for ``rings`` (``integration_method`` in integration.c).

    Words are separated by ``-`` or ``,`` and a later one overrides an earlier one; ``rings`` alone means
    ``rings-nocen-nosat-nograd``.

    Raises
    ------
    UsageError
        For ``cen`` and ``prof2d``, which re-centre or learn from printed positions, and for unknown words.
    """
    words = [word for word in text.replace(",", "-").split("-") if word]
    if words[:1] == ["prof2d"]:
        raise UsageError(f"--integration={text}: prof2d is not repeated here; use profile, sum or rings")
    if words[:1] != ["rings"]:
        raise UsageError(f"--integration={text}: profile, sum or rings (with sat, nosat, grad, nograd) is needed")
    gradient = saturated = False
    for word in words[1:]:
        if word in ("grad", "nograd"):
            gradient = word == "grad"
        elif word in ("sat", "nosat"):
            saturated = word == "sat"
        elif word == "cen":
            raise UsageError(f"--integration={text}: cen moves reflections to the brightest pixels; only nocen is done")
        elif word != "nocen":
            raise UsageError(f"--integration={text}: unknown word {word!r}")
    return Rings(gradient, saturated)


def integrate_rings(
    frame: Frame,
    scene: Scene,
    radii: tuple[float, float, float],
    gradient: bool = False,
    saturated: bool = False,
) -> NDArray[np.void]:
    """Integrate the printed reflections of a scene as indexamajig does.

    Parameters
    ----------
    frame : Frame
        ADU, float32.
    scene : Scene
        Its unprinted reflections count for the peak mask and are not integrated.
    radii : tuple of float
        Inner, middle and outer radius in pixels. CrystFEL cuts them to whole pixels for the rings, but not for the
        peak mask.
    gradient : bool
        Plane through the ring instead of its mean (``grad``).
    saturated : bool
        Keep reflections with a pixel above ``max_adu`` or its saturation map (``sat``).

    Returns
    -------
    result : (n,) INTEGRATED
        Aligned with ``scene.spots``; ADU.
    """
    spots = scene.spots
    detector = frame.detector
    result = np.zeros(len(spots), INTEGRATED)
    result["status"] = Status.NOT_DONE
    wanted = np.flatnonzero(scene.printed >= 0)
    mask = peak_mask(spots, detector.shapes, detector.offsets, radii[0])
    has_map = frame.saturation is not None
    saturation = frame.saturation if has_map else np.zeros(0, np.float32)
    numbers, status = _rings(
        frame.data,
        frame.bad,
        mask,
        saturation,
        has_map,
        np.ascontiguousarray(frame.max_adu, np.float64),
        np.ascontiguousarray(frame.adu_per_photon, np.float64),
        detector.shapes,
        detector.offsets,
        np.ascontiguousarray(spots["panel"][wanted]),
        np.ascontiguousarray(spots["fs"][wanted]),
        np.ascontiguousarray(spots["ss"][wanted]),
        tuple(int(radius) for radius in radii),
        gradient,
        saturated,
    )
    for column, name in enumerate(("I", "sigma", "peak", "background")):
        result[name][wanted] = numbers[:, column]
    result["status"][wanted] = status
    return result


def peak_mask(
    spots: NDArray[np.void], shapes: NDArray[np.int64], offsets: NDArray[np.int64], inner: float
) -> NDArray[np.uint8]:
    """Count, for every pixel of a frame, the peak discs it lies in (``make_BgMask`` in peaks.c).

    Returns
    -------
    mask : (n_pixels,) uint8
        0, 1, or 2 for more than one.
    """
    mask = np.zeros(int(offsets[-1]), np.uint8)
    _fill_mask(
        mask,
        shapes,
        offsets,
        np.ascontiguousarray(spots["panel"]),
        np.ascontiguousarray(spots["fs"]),
        np.ascontiguousarray(spots["ss"]),
        float(inner),
    )
    return mask


@njit(cache=True, nogil=True)
def _fill_mask(mask, shapes, offsets, panel, fs, ss, inner):
    reach = int(inner)
    for n in range(panel.size):
        p = panel[n]
        if p < 0:
            continue
        rows, columns = shapes[p, 0], shapes[p, 1]
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                if i * i + j * j > inner * inner:
                    continue
                # cut toward zero after the sum, as libcrystfel: at the low edges a pixel is then met twice
                x, y = int(fs[n] + j), int(ss[n] + i)
                if 0 <= x < columns and 0 <= y < rows:
                    at = offsets[p] + y * columns + x
                    if mask[at] < 2:
                        mask[at] += 1


@njit(cache=True, nogil=True)
def _rings(
    data,
    bad,
    mask,
    saturation,
    has_map,
    max_adu,
    adu_per_photon,
    shapes,
    offsets,
    panel,
    fs,
    ss,
    radii,
    gradient,
    keep_sat,
):
    inner, middle, outer = radii
    width = 2 * outer + 1
    region = np.zeros((width, width), np.uint8)
    for i in range(width):
        for j in range(width):
            r2 = (i - outer) * (i - outer) + (j - outer) * (j - outer)
            if r2 > outer * outer:
                region[i, j] = _IGNORED
            elif r2 >= middle * middle:
                region[i, j] = _RING
            elif r2 <= inner * inner:
                region[i, j] = _PEAK
    box = np.zeros((width, width), np.uint8)
    numbers = np.zeros((panel.size, 4))
    status = np.zeros(panel.size, np.uint8)
    for n in range(panel.size):
        p = panel[n]
        if p < 0:
            status[n] = _OFF_PANEL
            continue
        rows, columns = shapes[p, 0], shapes[p, 1]
        left, top = int(fs[n]) - outer, int(ss[n]) - outer
        if left < 0 or top < 0 or left + width > columns or top + width > rows:
            status[n] = _EDGE
            continue
        start = offsets[p] + top * columns + left
        code, is_saturated, n_peak, n_ring, highest = _check(
            data, bad, mask, saturation, has_map, max_adu[p], columns, start, region, box
        )
        if code != 0:
            status[n] = code
            continue
        a, b, c = _plane(data, columns, start, box) if gradient else (0.0, 0.0, _mean(data, columns, start, box, _RING))
        # Sums run column by column and in the order of integration.c: many I lie exactly between two printed hundredths,
        # and the last bit decides which one is printed.
        intensity, under, tallest = 0.0, 0.0, 0.0
        columns_sum = rows_sum = 0
        for j in range(width):
            for i in range(width):
                if box[i, j] == _PEAK:
                    value = np.float64(data[start + i * columns + j])
                    intensity += value
                    under += a * j + b * i + c
                    columns_sum += j
                    rows_sum += i
                    tallest = max(tallest, value)
        # bg_ok: the plane may not be steeper than a tenth of the peak's height over the background
        steepest = abs(tallest - under / n_peak) / 10.0
        if abs(a) > steepest or abs(b) > steepest:
            status[n] = _BACKGROUND
            continue
        if is_saturated and not keep_sat:
            status[n] = _SATURATED
            continue
        intensity -= a * columns_sum
        intensity -= b * rows_sum
        intensity -= c * n_peak
        mean = _mean(data, columns, start, box, _RING)
        variance = 0.0
        for j in range(width):
            for i in range(width):
                if box[i, j] == _RING:
                    variance += (data[start + i * columns + j] - mean) ** 2
        variance /= n_ring
        gain = adu_per_photon[p]
        poisson = gain * intensity
        if abs(intensity / gain) < 1.0:
            poisson = gain * gain
        if intensity < -gain:
            poisson = -gain * intensity
        sigma = math.sqrt(poisson + n_peak * variance)
        numbers[n, 0], numbers[n, 1], numbers[n, 2], numbers[n, 3] = intensity, sigma, highest, mean
        if intensity < -5.0 * sigma:
            status[n] = _IMPLAUSIBLE
    return numbers, status


@njit(cache=True, nogil=True)
def _check(data, bad, mask, saturation, has_map, max_adu, columns, start, region, box):
    """Fill ``box`` with what each pixel counts as (``check_box``); code, saturated, pixels in peak and ring, highest."""
    width = region.shape[0]
    is_saturated = False
    n_peak = n_ring = 0
    highest = -np.inf
    for i in range(width):
        for j in range(width):
            at = start + i * columns + j
            kind = region[i, j]
            if bad[at]:
                if kind == _PEAK:
                    return _BAD_PIXEL, False, 0, 0, highest
                kind = _IGNORED
            if (kind == _RING and mask[at] > 0) or (kind == _PEAK and mask[at] > 1):
                kind = _IGNORED
            box[i, j] = kind
            if kind == _IGNORED:
                continue
            value = data[at]
            if value > max_adu or (has_map and value > saturation[at]):
                is_saturated = True
            highest = max(highest, np.float64(value))
            if kind == _PEAK:
                n_peak += 1
            else:
                n_ring += 1
    if n_peak < 4 or n_ring < 4:
        return _FEW_PIXELS, False, n_peak, n_ring, highest
    return 0, is_saturated, n_peak, n_ring, highest


@njit(cache=True, nogil=True)
def _mean(data, columns, start, box, kind):
    total = np.float64(0)
    n = 0
    for j in range(box.shape[1]):
        for i in range(box.shape[0]):
            if box[i, j] == kind:
                total += data[start + i * columns + j]
                n += 1
    return total / n


@njit(cache=True, nogil=True)
def _plane(data, columns, start, box):
    """Least-squares plane a*fs + b*ss + c over the ring, coordinates from the corner of the box (``fit_gradient_bg``).

    Solved about the ring's centroid, where the two slopes separate from the mean.
    """
    n = 0
    sum_j = sum_i = total = np.float64(0)
    for i in range(box.shape[0]):
        for j in range(box.shape[1]):
            if box[i, j] == _RING:
                n += 1
                sum_j += j
                sum_i += i
                total += data[start + i * columns + j]
    mid_j, mid_i, mean = sum_j / n, sum_i / n, total / n
    jj = ii = ij = jv = iv = np.float64(0)
    for i in range(box.shape[0]):
        for j in range(box.shape[1]):
            if box[i, j] == _RING:
                u, v, value = j - mid_j, i - mid_i, data[start + i * columns + j] - mean
                jj += u * u
                ii += v * v
                ij += u * v
                jv += u * value
                iv += v * value
    determinant = jj * ii - ij * ij
    if determinant <= 1e-9 * max(jj, ii, 1.0) ** 2:  # ring pixels on one line: no plane
        return 0.0, 0.0, mean
    a = (ii * jv - ij * iv) / determinant
    b = (jj * iv - ij * jv) / determinant
    return a, b, mean - a * mid_j - b * mid_i
