"""CrystFEL's three-ring integration, exactly: ``integrate_rings_once`` and what it calls in integration.c.

Works in ADU, as CrystFEL does. Peak pixels lie within the inner radius of the pixel the position falls into, the
background is the mean (or a plane) over the ring between the middle and the outer radius.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import UsageError
from waterbg.integrate.plane import fit_plane
from waterbg.integrate.result import INTEGRATED, Status
from waterbg.kernel import kernel
from waterbg.predict import columns_of, wavenumber

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

_OFF_PANEL, _EDGE, _BAD_PIXEL = int(Status.OFF_PANEL), int(Status.EDGE), int(Status.BAD_PIXEL)
_FEW_PIXELS, _SATURATED = int(Status.FEW_PIXELS), int(Status.SATURATED)
_BACKGROUND, _IMPLAUSIBLE = int(Status.BACKGROUND), int(Status.IMPLAUSIBLE)
_IGNORED, _PEAK, _RING = 0, 1, 2


def integrate_rings(
    frame: Frame,
    scene: Scene,
    radii: tuple[float, float, float],
    gradient: bool = False,
    saturated: bool = False,
    max_inv_d: float = math.inf,
    marred: bool = False,
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
    max_inv_d : float
        nm⁻¹; pixels there and beyond are bad (``--highres``).
    marred : bool
        Keep reflections with bad pixels in the peak, and sum the others, as CrystFEL did before 0.12.

    Returns
    -------
    result : (n,) INTEGRATED
        Aligned with ``scene.spots``; ADU. Numbers are 0 for what is dropped before it was integrated.

    Raises
    ------
    UsageError
        When the radii are no rings.
    """
    inner, middle, outer = radii
    if not (inner >= 0 and middle >= 0 and 1 <= outer < math.inf):
        raise UsageError(f"radii {radii}: inner, middle and outer radius of the rings in pixels are needed, as 4, 5, 7")
    spots = scene.spots
    detector = frame.detector
    result = np.zeros(len(spots), INTEGRATED)
    result["status"] = Status.NOT_DONE
    wanted = np.flatnonzero(scene.printed >= 0)
    mask = peak_mask(spots, detector.shapes, detector.offsets, radii[0])
    bad = frame.bad
    if max_inv_d < math.inf:
        bad = bad.copy()
        wavelength = 1.0 / wavenumber(frame.photon_energy_eV)
        _mark_beyond(
            bad, detector.shapes, detector.offsets, detector.corners, detector.axes, frame.clen, max_inv_d * wavelength
        )
    has_map = frame.saturation is not None
    saturation = frame.saturation if has_map else np.zeros(0, np.float32)
    numbers, status = _rings(
        frame.data,
        bad,
        mask,
        saturation,
        has_map,
        np.ascontiguousarray(frame.max_adu, np.float64),
        np.ascontiguousarray(frame.adu_per_photon, np.float64),
        detector.shapes,
        detector.offsets,
        *columns_of(spots[wanted]),
        tuple(int(radius) for radius in radii),
        gradient,
        saturated,
        marred,
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
        *columns_of(spots),
        float(inner),
    )
    return mask


@kernel
def _mark_beyond(bad, shapes, offsets, corners, axes, clen, limit):
    """Mark pixels whose corner has 1/d of ``limit`` wavenumbers or more (``mark_resolution_range_as_bad``)."""
    for p in range(len(shapes)):
        at = offsets[p]
        for i in range(shapes[p, 0]):
            for j in range(shapes[p, 1]):
                x = corners[p, 0] + j * axes[p, 0, 0] + i * axes[p, 1, 0]
                y = corners[p, 1] + j * axes[p, 0, 1] + i * axes[p, 1, 1]
                z = corners[p, 2] + j * axes[p, 0, 2] + i * axes[p, 1, 2] + clen
                r = math.sqrt(x * x + y * y + z * z)
                if math.sqrt((x * x + y * y) / (r * r) + (z / r - 1.0) ** 2) >= limit:
                    bad[at] = 1
                at += 1


@kernel
def _fill_mask(mask, shapes, offsets, panel, fs, ss, inner):
    reach = int(inner)
    for n in range(panel.size):
        p = panel[n]
        if p < 0:
            continue
        rows, columns = shapes[p, 0], shapes[p, 1]
        if not (0.0 <= fs[n] < columns and 0.0 <= ss[n] < rows):
            continue
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


@kernel
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
    keep_marred,
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
        if not (0.0 <= fs[n] < columns and 0.0 <= ss[n] < rows):
            status[n] = _OFF_PANEL
            continue
        left, top = int(fs[n]) - outer, int(ss[n]) - outer
        if left < 0 or top < 0 or left + width > columns or top + width > rows:
            status[n] = _EDGE
            continue
        start = offsets[p] + top * columns + left
        code, is_saturated, n_peak, n_ring, highest = _check(
            data, bad, mask, saturation, has_map, max_adu[p], columns, start, region, box, keep_marred
        )
        if code != 0:
            status[n] = code
            continue
        # Sums run column by column and in the order of integration.c: many I lie exactly between two printed
        # hundredths, and the last bit decides which one is printed.
        mean = _mean(data, columns, start, box, _RING)
        a, b, c = fit_plane(data, columns, start, box, _RING) if gradient else (0.0, 0.0, mean)
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
        variance = 0.0
        for j in range(width):
            for i in range(width):
                if box[i, j] == _RING:
                    variance += (data[start + i * columns + j] - mean) ** 2
        variance /= n_ring
        gain = adu_per_photon[p]
        poisson = gain * intensity
        if abs(intensity) < abs(gain):  # within one photon of nothing
            poisson = gain * gain
        if intensity < -gain:
            poisson = -gain * intensity
        sigma2 = poisson + n_peak * variance
        sigma = math.sqrt(sigma2) if sigma2 >= 0.0 else np.nan
        numbers[n, 0], numbers[n, 1], numbers[n, 2], numbers[n, 3] = intensity, sigma, highest, mean
        if intensity < -5.0 * sigma:
            status[n] = _IMPLAUSIBLE
    return numbers, status


@kernel
def _check(data, bad, mask, saturation, has_map, max_adu, columns, start, region, box, keep_marred):
    """Fill ``box`` with what each pixel counts as (``check_box``).

    Returns why the reflection is dropped or 0, whether it is saturated, pixels in peak and ring, the highest value.
    """
    width = region.shape[0]
    is_saturated = False
    n_peak = n_ring = 0
    highest = -np.inf
    for i in range(width):
        for j in range(width):
            at = start + i * columns + j
            kind = region[i, j]
            if bad[at]:
                if kind == _PEAK and not keep_marred:
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


@kernel
def _mean(data, columns, start, box, kind):
    total = np.float64(0)
    n = 0
    for j in range(box.shape[1]):
        for i in range(box.shape[0]):
            if box[i, j] == kind:
                total += data[start + i * columns + j]
                n += 1
    return total / n
