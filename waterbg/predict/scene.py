"""Everything predicted on one frame, paired with what the stream has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.predict.lattice import reduced_errors
from waterbg.predict.refine import refine_crystal
from waterbg.predict.spots import LIMIT, NEAR, SPOT, predict, project, wavenumber

if TYPE_CHECKING:
    from waterbg.geometry import Detector
    from waterbg.stream import Crystal

_OVERPREDICTED = 5.0  # --overpredict predicts with five times the profile radius it prints (integrate_all_5)
_SHARE_OVERPREDICTED = 0.2  # without the option rounding puts a hundredth of the reflections beyond the limit, at most
_LIMIT_ROUNDING = 0.005  # nm⁻¹, of diffraction_resolution_limit
_HIGHEST_KEY = 1 << 20  # three indices below it make one int64


@dataclass(frozen=True)
class Scene:
    """Everything predicted on one frame, for all of its crystals.

    Attributes
    ----------
    spots : (n,) SPOT
        Reflections predicted by CrystFEL's rule, printed in the stream or not, and printed ones that are not predicted.
        panel is -1 and fs, ss NaN for a printed one that misses the detector.
    crystal : (n,) int32
        Number of the crystal in the chunk.
    printed : (n,) int32
        Row in that crystal's reflections, the first of those with the same indices; -1 where the stream has none.
    near : (m,) SPOT
        Reflections just outside CrystFEL's rule: in the image, never in the list.
    rows : tuple of (n_reflections,) int32
        For each crystal, the spot that belongs to each printed row.
    det_shift : (n_crystals, 2) float64
        mm, refined.
    off : (n_crystals,) float64
        Median distance of a crystal's predictions from the positions in the stream, pixels; inf for those on another
        panel or on none, 0 without reflections.
    crystals : tuple of Crystal
    """

    spots: NDArray[np.void]
    crystal: NDArray[np.int32]
    printed: NDArray[np.int32]
    near: NDArray[np.void]
    rows: tuple[NDArray[np.int32], ...]
    det_shift: NDArray[np.float64]
    off: NDArray[np.float64]
    crystals: tuple[Crystal, ...]


def build_scene(
    crystals: Sequence[Crystal],
    detector: Detector,
    clen: float,
    photon_energy_eV: float,
    push_res: float = math.inf,
) -> Scene:
    """Predict all reflections of all crystals of one chunk.

    Parameters
    ----------
    crystals : sequence of Crystal
    detector : Detector
    clen : float
        m.
    photon_energy_eV : float
    push_res : float
        How far beyond a crystal's resolution limit reflections are predicted, nm⁻¹ (``--push-res``); CrystFEL's default
        is no limit. ``--overpredict`` is recognised by the reflections.

    Returns
    -------
    Scene
        A crystal that cannot be predicted (no axes, no profile radius) has its printed reflections only.
    """
    parts, nears, owner, printed, rows, shifts, off = [], [], [], [], [], [], []
    n_spots = 0
    for number, crystal in enumerate(crystals):
        here = _Crystal(crystal, detector, clen, photon_energy_eV)
        spots, near = here.predict(push_res)
        row_of_spot, spot_of_row, extra = _match(spots, crystal.reflections)
        if len(extra):
            lacking, which = here.lacking(extra)
            spot_of_row[extra] = len(spots) + which
            first = np.zeros(len(lacking), np.int32)
            first[which[::-1]] = extra[::-1]
            spots = np.concatenate([spots, lacking])
            row_of_spot = np.concatenate([row_of_spot, first])
        parts.append(spots)
        nears.append(near)
        owner.append(np.full(len(spots), number, np.int32))
        printed.append(row_of_spot)
        rows.append((spot_of_row + n_spots).astype(np.int32))
        shifts.append(here.shift)
        off.append(here.distance(spots[spot_of_row]))
        n_spots += len(spots)
    return Scene(
        spots=np.concatenate(parts) if parts else np.zeros(0, SPOT),
        crystal=np.concatenate(owner) if owner else np.zeros(0, np.int32),
        printed=np.concatenate(printed) if printed else np.zeros(0, np.int32),
        near=np.concatenate(nears) if nears else np.zeros(0, SPOT),
        rows=tuple(rows),
        det_shift=np.array(shifts, float).reshape(-1, 2),
        off=np.array(off, float),
        crystals=tuple(crystals),
    )


class _Crystal:
    """One crystal on its way into a scene: its axes and shift refined, its printed rows at hand."""

    def __init__(self, crystal: Crystal, detector: Detector, clen: float, photon_energy_eV: float) -> None:
        self.detector, self.clen, self.photon_energy_eV = detector, clen, photon_energy_eV
        self.listed = crystal.reflections
        self.indices = np.stack([self.listed["h"], self.listed["k"], self.listed["l"]], axis=1).astype(float)
        numbers = detector.panel_numbers(crystal.panel_names)
        self.panels = numbers[self.listed["panel"]] if len(self.listed) else np.zeros(0, np.int32)
        self.centering = crystal.centering or "P"
        self.resolution_limit = crystal.resolution_limit
        self.radius = abs(crystal.profile_radius or 0.0)
        x, y = crystal.det_shift or (0.0, 0.0)
        self.shift = (float(x) if math.isfinite(x) else 0.0, float(y) if math.isfinite(y) else 0.0)
        self.axes = crystal.axes if crystal.axes is not None and np.isfinite(crystal.axes).all() else None
        self.width = self.radius  # what the crystal was predicted with
        if self.axes is not None:
            if self._is_overpredicted(self.axes):
                self.width *= _OVERPREDICTED
            self.axes, self.shift = refine_crystal(
                self.shift, self.listed, self.panels, self.axes, detector, clen, photon_energy_eV, self.width
            )

    def predict(self, push_res: float) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Spots that CrystFEL predicted, and spots beyond them that may still be seen."""
        if self.axes is None or not self.radius > 0:
            return np.zeros(0, SPOT), np.zeros(0, SPOT)
        points = self.indices @ self.axes
        reach = math.inf
        if math.isfinite(push_res) and self.resolution_limit is not None:
            reach = self.resolution_limit + push_res
            seen = np.sqrt((points**2).sum(axis=1))
            reach = max(reach, float(seen[seen <= reach + _LIMIT_ROUNDING].max(initial=0.0)))
        limit = max(LIMIT, NEAR * self.radius / self.width)
        spots = predict(
            self.axes,
            self.centering,
            self.detector,
            self.clen,
            self.photon_energy_eV,
            self.width,
            math.inf,
            self.shift,
            limit,
        )
        inside = (spots["reduced"] <= LIMIT) & (spots["inv_d"] <= reach)
        spots["reduced"] *= self.width / self.radius
        return spots[inside], spots[~inside]

    def lacking(self, which: NDArray[np.int64]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        """Spots of printed rows that the prediction does not have, and which spot each of these rows has."""
        if self.axes is None:
            return self._as_printed(which), np.arange(len(which))
        hkl, spot_of_row = np.unique(self.indices[which], axis=0, return_inverse=True)
        spots = project(
            hkl, self.axes, self.detector, self.clen, self.photon_energy_eV, self.shift, profile_radius=self.width
        )
        return spots, spot_of_row.reshape(-1)

    def distance(self, spots: NDArray[np.void]) -> float:
        """Median distance of the listed reflections' spots, in their order, from where the list has them; pixels."""
        if not len(spots):
            return 0.0
        apart = np.full(len(spots), np.inf)
        same = (spots["panel"] == self.panels) & (self.panels >= 0)
        fs, ss = self.detector.to_panel(self.panels[same], self.listed["fs"][same], self.listed["ss"][same])
        apart[same] = np.hypot(spots["fs"][same] - fs, spots["ss"][same] - ss)
        return float(np.partition(apart, len(apart) // 2)[len(apart) // 2])

    def _is_overpredicted(self, axes: NDArray[np.float64]) -> bool:
        """Whether many of the printed reflections need five times the printed radius, but no more.

        They are four fifths of a monochromatic beam's, and less than a fifth only where the bandwidth makes the sphere
        so thick that the radius hardly matters.
        """
        if not (len(self.indices) and self.radius > 0):
            return False
        points = self.indices @ axes
        k = wavenumber(self.photon_energy_eV)
        spread = self.detector.bandwidth * k
        narrow = reduced_errors(points, k, spread, self.radius)
        wide = reduced_errors(points, k, spread, _OVERPREDICTED * self.radius)
        return bool(np.mean((narrow > LIMIT) & (wide < 1.02 * LIMIT)) > _SHARE_OVERPREDICTED)

    def _as_printed(self, which: NDArray[np.int64]) -> NDArray[np.void]:
        """Spots of a crystal without axes: the printed position, known to 0.1 px, is all there is."""
        rows, panels = self.listed[which], self.panels[which]
        spots = np.zeros(len(rows), SPOT)
        for name in "hkl":
            spots[name] = rows[name]
        spots["panel"] = -1
        spots["fs"] = spots["ss"] = np.nan
        if not len(self.detector.panels):
            return spots
        fs, ss = self.detector.to_panel(np.maximum(panels, 0), rows["fs"], rows["ss"])
        n_ss, n_fs = self.detector.shapes[np.maximum(panels, 0)].T
        on = (panels >= 0) & (fs >= 0) & (fs < n_fs) & (ss >= 0) & (ss < n_ss)
        x, y, z = self.detector.lab(panels[on], fs[on], ss[on], self.clen, self.shift)
        two_theta = np.arctan2(np.hypot(x, y), z)
        spots["panel"][on], spots["fs"][on], spots["ss"][on] = panels[on], fs[on], ss[on]
        spots["inv_d"][on] = 2 * wavenumber(self.photon_energy_eV) * np.sin(two_theta / 2)
        return spots


def _match(
    spots: NDArray[np.void], listed: NDArray[np.void]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Pair predicted and printed reflections by their indices.

    Returns
    -------
    row_of_spot : (n_spots,) int32
        -1 for none; the first of rows with the same indices.
    spot_of_row : (n_rows,) int32
        -1 for none.
    lacking : (m,) int64
        Printed rows without a prediction.
    """
    row_of_spot = np.full(len(spots), -1, np.int32)
    spot_of_row = np.full(len(listed), -1, np.int32)
    if len(listed) and len(spots):
        keys, wanted = _keys(spots), _keys(listed)  # spots are ordered by h, k, l, hence by key
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = keys[at] == wanted
        spot_of_row[found] = at[found]
        row_of_spot[at[found][::-1]] = np.flatnonzero(found)[::-1]
    return row_of_spot, spot_of_row, np.flatnonzero(spot_of_row < 0)


def _keys(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """One number for h, k, l that orders as they do; -1 for indices that no prediction has."""
    h, k, l = (rows[name].astype(np.int64) for name in "hkl")
    half = _HIGHEST_KEY
    within = (np.abs(h) < half) & (np.abs(k) < half) & (np.abs(l) < half)
    return np.where(within, ((h + half) * 2 * half + (k + half)) * 2 * half + l + half, -1)
