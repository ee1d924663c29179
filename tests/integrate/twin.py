"""CrystFEL's rings once more, slowly and plainly, to hold the kernels against."""

import numpy as np

from waterbg.integrate import INTEGRATED, Status


def count_peaks(scene, shapes, inner):
    """For each panel, of how many peak discs each pixel is part."""
    counts = [np.zeros(tuple(shape), int) for shape in shapes]
    steps = np.arange(-int(inner), int(inner) + 1)
    for panel, fs, ss in scene.spots[["panel", "fs", "ss"]].tolist():
        if panel < 0 or not (0 <= fs < shapes[panel][1] and 0 <= ss < shapes[panel][0]):
            continue
        for i in steps:
            for j in steps:
                x, y = np.trunc(fs + j), np.trunc(ss + i)
                if i * i + j * j <= inner * inner and 0 <= x < shapes[panel][1] and 0 <= y < shapes[panel][0]:
                    counts[panel][int(y), int(x)] += 1
    return counts


def solve(matrix, right):
    """Normal equations, scaled to a diagonal of 1 and without singular values below 1e-6 of the largest."""
    scale = np.diag(matrix) ** -0.5
    left, values, right_vectors = np.linalg.svd(matrix * scale[:, None] * scale)
    kept = values >= values.max() / 1e6
    return scale * (right_vectors[kept].T @ ((left.T @ (right * scale))[kept] / values[kept]))


def integrate_rings(frame, scene, radii, gradient=False, saturated=False):
    """As :func:`waterbg.integrate.rings.integrate_rings`."""
    detector = frame.detector
    counts = count_peaks(scene, detector.shapes, radii[0])
    inner, middle, outer = (int(radius) for radius in radii)
    y, x = np.mgrid[-outer : outer + 1, -outer : outer + 1]
    r2 = x * x + y * y
    ring_shape = (r2 >= middle**2) & (r2 <= outer**2)
    peak_shape = (r2 <= inner**2) & ~ring_shape & (r2 <= outer**2)
    result = np.zeros(len(scene.spots), INTEGRATED)
    for n, spot in enumerate(scene.spots):
        panel = spot["panel"]
        if scene.printed[n] < 0:
            result[n]["status"] = Status.NOT_DONE
            continue
        inside = (
            panel >= 0 and 0 <= spot["fs"] < detector.shapes[panel, 1] and 0 <= spot["ss"] < detector.shapes[panel, 0]
        )
        if not inside:
            result[n]["status"] = Status.OFF_PANEL
            continue
        data, bad = frame.panel(panel)
        top, left = int(spot["ss"]) - outer, int(spot["fs"]) - outer
        box = np.s_[top : top + 2 * outer + 1, left : left + 2 * outer + 1]
        if top < 0 or left < 0 or data[box].shape != r2.shape:
            result[n]["status"] = Status.EDGE
            continue
        bad, count = bad[box] != 0, counts[panel][box]
        if (bad & peak_shape).any():
            result[n]["status"] = Status.BAD_PIXEL
            continue
        peak, ring = peak_shape & (count <= 1), ring_shape & ~bad & (count == 0)
        if peak.sum() < 4 or ring.sum() < 4:
            result[n]["status"] = Status.FEW_PIXELS
            continue
        values = data[box].astype(float)
        mean = values[ring].mean()
        plane = np.full(values.shape, mean)
        if gradient:
            terms = np.stack([x + outer, y + outer, np.ones_like(x)], axis=-1).astype(float)
            a, b, c = solve(terms[ring].T @ terms[ring], terms[ring].T @ values[ring])
            plane = a * terms[..., 0] + b * terms[..., 1] + c
            steepest = abs(max(values[peak].max(), 0) - plane[peak].mean()) / 10
            if abs(a) > steepest or abs(b) > steepest:
                result[n]["status"] = Status.BACKGROUND
                continue
        over = values > frame.max_adu[panel]
        if frame.saturation is not None:
            start, stop = detector.offsets[panel : panel + 2]
            over |= values > frame.saturation[start:stop].reshape(data.shape)[box]
        if (over & (peak | ring)).any() and not saturated:
            result[n]["status"] = Status.SATURATED
            continue
        gain = frame.adu_per_photon[panel]
        intensity = (values - plane)[peak].sum()
        poisson = gain * max(abs(intensity), gain)
        sigma = np.sqrt(poisson + peak.sum() * values[ring].var())
        status = Status.IMPLAUSIBLE if intensity < -5 * sigma else Status.OK
        result[n] = (intensity, sigma, values[peak | ring].max(), mean, status)
    return result
