"""Decoys: places where no Bragg reflection can be, integrated like reflections. Their true intensity is 0.

The first kind are the lattice points shifted by half an index in each direction; the second are displaced from a
predicted reflection by one and a half to two outer radii. Both stay clear of everything predicted within four profile
radii of the Ewald sphere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import WIDE, add_wide
from waterbg.integrate.result import Status
from waterbg.integrate.rings import integrate_rings
from waterbg.integrate.robust import robust_std
from waterbg.kernel import kernel
from waterbg.predict import SPOT, columns_of, predict
from waterbg.settings import Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

LEAST_OF_SHELL, MOST_SHELLS = 200, 8
CLEAR = 4.0  # px beyond the peak disc that must be free of predictions
_GOLDEN = math.pi * (3 - math.sqrt(5))  # angle that spreads directions evenly


def half_index_decoys(frame: Frame, scene: Scene, radii: Radii) -> NDArray[np.void]:
    """Decoys at (h + ½, k + ½, l + ½), predicted as reflections are.

    Parameters
    ----------
    frame : Frame
    scene : Scene
    radii : 3 floats
        Peak disc and ring, pixels.

    Returns
    -------
    (n,) SPOT
        Indices are those of the lattice point below.
    """
    found = []
    listed = scene.spots["inv_d"][scene.printed >= 0]
    farthest = listed.max() if len(listed) else -1.0  # where reflections are listed, not beyond
    for crystal, shift in zip(scene.crystals, scene.det_shift, strict=True):
        if crystal.axes is None or not crystal.profile_radius:
            continue
        # on a lattice of half the spacing these are the points with three odd indices
        doubled = predict(
            np.asarray(crystal.axes) / 2,
            "P",
            frame.detector,
            frame.clen,
            frame.photon_energy_eV,
            abs(crystal.profile_radius),
            det_shift_mm=(float(shift[0]), float(shift[1])),
        )
        odd = (doubled["h"] % 2 != 0) & (doubled["k"] % 2 != 0) & (doubled["l"] % 2 != 0)
        decoys = doubled[odd]
        for name in "hkl":
            decoys[name] //= 2
        found.append(decoys[decoys["inv_d"] <= farthest])
    return _clear(frame, scene, np.concatenate(found) if found else np.zeros(0, SPOT), radii)


def displaced_decoys(frame: Frame, scene: Scene, radii: Radii) -> NDArray[np.void]:
    """Decoys beside the printed reflections; parameters and result as :func:`half_index_decoys`."""
    decoys = scene.spots[(scene.printed >= 0) & (scene.spots["panel"] >= 0)].copy()
    number = np.arange(len(decoys))
    distance = (1.5 + 0.5 * ((number * 0.6180339887) % 1)) * radii[2]
    decoys["fs"] += distance * np.cos(number * _GOLDEN)
    decoys["ss"] += distance * np.sin(number * _GOLDEN)
    n_ss, n_fs = frame.detector.shapes[decoys["panel"]].T
    inside = (decoys["fs"] >= 0) & (decoys["fs"] < n_fs) & (decoys["ss"] >= 0) & (decoys["ss"] < n_ss)
    return _clear(frame, scene, decoys[inside], radii)


def _clear(frame: Frame, scene: Scene, decoys: NDArray[np.void], radii: Radii) -> NDArray[np.void]:
    """Those far from all that may scatter, and from each other: one decoy's peak is not in another's ring."""
    flags = np.zeros(len(frame.bad), np.uint8)
    for rows in (scene.spots, scene.near):
        add_wide(flags, frame.detector, *columns_of(rows), int(radii[0]) + CLEAR)
    keep = _pick(flags, frame.detector.offsets, frame.detector.shapes, *columns_of(decoys), int(radii[0] + radii[2]))
    return decoys[keep]


@kernel
def _pick(flags, offsets, shapes, panel, fs, ss, apart):
    keep = np.zeros(panel.size, np.bool_)
    for k in range(panel.size):
        p = panel[k]
        n_ss, n_fs = shapes[p]
        cf, cs = int(fs[k]), int(ss[k])
        if flags[offsets[p] + cs * n_fs + cf]:
            continue
        keep[k] = True
        for j in range(max(cs - apart, 0), min(cs + apart, n_ss - 1) + 1):
            for i in range(max(cf - apart, 0), min(cf + apart, n_fs - 1) + 1):
                if (i - cf) ** 2 + (j - cs) ** 2 <= apart * apart:
                    flags[offsets[p] + j * n_fs + i] |= WIDE
    return keep


DECOY = np.dtype(
    [
        ("inv_d", "f8"),
        ("I", "f8"),
        ("sigma", "f8"),
        ("sigma_zero", "f8"),  # what sigma should be, as the true intensity is known to be 0
        ("stray", "f8"),  # what was taken off I for light that the frame's model leaves out
        ("lit", "f8"),  # share of that light in the variance of pixels
        ("rings", "f8"),
        ("rings_sigma", "f8"),
    ]
)
"""A decoy by our method and by CrystFEL's rings, photons; NaN where a method has no answer."""


def rings_on_decoys(frame: Frame, scene: Scene, decoys: NDArray[np.void], radii: Radii) -> NDArray[np.void]:
    """CrystFEL's rings on decoys, with the scene's reflections masked: (n,) INTEGRATED, ADU."""
    n = len(scene.spots)
    both = replace(
        scene,
        spots=np.concatenate([scene.spots, decoys]),
        crystal=np.concatenate([scene.crystal, np.zeros(len(decoys), np.int32)]),
        printed=np.concatenate([np.full(n, -1, np.int32), np.arange(len(decoys), dtype=np.int32)]),
    )
    return integrate_rings(frame, both, radii)[n:]


def paired(
    frame: Frame,
    decoys: NDArray[np.void],
    ours: NDArray[np.void],
    sigma_zero: NDArray[np.float64],
    stray: NDArray[np.float64],
    lit: NDArray[np.float64],
    rings: NDArray[np.void],
) -> NDArray[np.void]:
    """Put both methods' numbers side by side: (n,) DECOY; ``sigma_zero`` and ``stray`` (n,) are in photons, as what is
    given back.

    Ours also where it is implausibly low: with all stray light taken off, discs that have none of it are, and the
    others would say that there is more.
    """
    adu = np.asarray(frame.adu_per_photon, float)[decoys["panel"]]
    out = np.zeros(len(decoys), DECOY)
    out["inv_d"], out["sigma_zero"], out["stray"], out["lit"] = decoys["inv_d"], sigma_zero, stray, lit
    for name, result, answers in (("I", ours, (Status.OK, Status.IMPLAUSIBLE)), ("rings", rings, (Status.OK,))):
        out[name] = np.where(np.isin(result["status"], answers), result["I"] / adu, np.nan)
    out["sigma"], out["rings_sigma"] = ours["sigma"] / adu, rings["sigma"] / adu
    return out


def with_stray(decoys: NDArray[np.void], share: float, least: float) -> None:
    """Give decoys off which all stray light was taken what they are if ``share`` of it is; no sigma is below ``least``.

    Light that is not expected adds no variance either: beside strong spots and hardly any background it is most of it.
    """
    narrower = np.sqrt(1 - (1 - share) * decoys["lit"])
    decoys["I"] += (1 - share) * decoys["stray"]
    decoys["stray"] *= share
    decoys["sigma_zero"] *= narrower
    decoys["sigma"] = np.maximum(decoys["sigma"] * narrower, least)


@dataclass(frozen=True)
class DecoyShell:
    """Decoys of one resolution shell, by one method.

    Attributes
    ----------
    low, high : float
        1/d in nm⁻¹.
    n : int
    z_mean : float or None
        Mean of I/sigma, without those beyond five robust standard deviations. As the few discs that stray light falls
        into are among these, what all discs are given less for it is not counted. None where there are too few
        decoys, or hardly one of them has a count; so are the others then.
    z_std : float or None
        Robust standard deviation of I/sigma: 1 means that sigma says what it means.
    rms : float or None
        Root mean square of I in photons, of the decoys whose I and I/sigma both methods find within five robust
        standard deviations: a zinger in a ring would else decide it.
    """

    low: float
    high: float
    n: int
    z_mean: float | None
    z_std: float | None
    rms: float | None


def shells(decoys: NDArray[np.void], edges: Sequence[float]) -> tuple[list[DecoyShell], list[DecoyShell]]:
    """Statistics by resolution shell: our method's, and those of CrystFEL's rings on the same decoys.

    Parameters
    ----------
    decoys : (n,) DECOY
    edges : sequence of float
        Ascending 1/d in nm⁻¹, one more than shells.
    """
    both = np.isfinite(decoys["I"]) & np.isfinite(decoys["rings"]) & (decoys["sigma"] > 0) & (decoys["rings_sigma"] > 0)
    d = decoys[both]
    z, z_rings = d["I"] / d["sigma"], d["rings"] / d["rings_sigma"]
    ours: list[DecoyShell] = []
    rings: list[DecoyShell] = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = (d["inv_d"] >= low) & (d["inv_d"] < high)
        columns = [v[here] for v in (z, z_rings, d["I"], d["rings"])]
        left_in = d["stray"][here] / d["sigma"][here], np.zeros(len(columns[1]))
        common = np.logical_and.reduce([_inliers(column) for column in columns])
        # where hardly a decoy has a count there is no spread that an outlier could be told by
        enough = common.sum() >= 3 and all(robust_std(column) > 0 for column in columns)
        for out, scores, values, light in zip((ours, rings), columns[:2], columns[2:], left_in, strict=True):
            if not enough:
                out.append(DecoyShell(float(low), float(high), int(here.sum()), None, None, None))
                continue
            rms = float(np.sqrt((values[common] ** 2).mean()))
            mean, std = float((scores + light)[common].mean()), robust_std(scores)
            out.append(DecoyShell(float(low), float(high), int(here.sum()), mean, std, rms))
    return ours, rings


def equal_edges(inv_d: NDArray[np.float64]) -> list[float]:
    """Edges of shells with equal numbers of decoys: at least LEAST_OF_SHELL in each, at most MOST_SHELLS of them."""
    if not len(inv_d):
        return [0.0, 1e3]
    n = min(MOST_SHELLS, max(1, len(inv_d) // LEAST_OF_SHELL))
    inner = np.quantile(inv_d, np.arange(1, n) / n)
    return [0.0, *map(float, inner), float(inv_d.max()) * 1.001]


def _inliers(z: NDArray[np.float64]) -> NDArray[np.bool_]:
    if len(z) < 3:
        return np.ones(len(z), bool)
    return np.abs(z - np.median(z)) <= 5 * max(robust_std(z), 1e-9)
