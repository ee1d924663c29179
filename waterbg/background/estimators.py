"""The estimators behind ``--background``: ring, plane, radial, water."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import BackgroundEstimate, Estimator, Noise, Radii, Trust, box_half, count_constant
from waterbg.background.local import ring_planes, ring_scale
from waterbg.background.masks import add_wide, spot_mask
from waterbg.background.rays import Rays, make_rays
from waterbg.background.surface import Surface, fit_surface
from waterbg.errors import UsageError

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

WIDE_MARGIN = 3.5  # px beyond the peak disc that the frame's model keeps clear of anything that may scatter


@dataclass(frozen=True)
class Ring:
    """Mean of the reflection's own ring, CrystFEL's background (``nograd``)."""

    noise: Noise = field(default_factory=Noise)
    name: str = "ring"
    gradient: bool = False

    def estimate(self, frame: Frame, scene: Scene, radii: Radii) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        spots, detector = scene.spots, frame.detector
        flags = spot_mask(frame.bad, detector, spots["panel"], spots["fs"], spots["ss"], radii[0])
        half = box_half(radii)
        expected = np.empty((len(spots), 2 * half + 1, 2 * half + 1), np.float32)
        spread = np.empty((len(spots), 2))
        ring_planes(
            frame.data, count_constant(frame), flags, detector.offsets, detector.shapes, *_places(spots),
            int(radii[1]), int(radii[2]), self.gradient, expected, spread,
        )  # fmt: skip
        level = np.maximum(np.abs(expected[:, half, half].astype(float)), 1e-6)
        model = self.noise.gain * level + self.noise.read2
        nothing = np.full(len(spots), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            # the scatter of some fifty pixels is too loose by itself: model and measurement share the weight
            factor = (model * 50 + spread[:, 0] * spread[:, 1]) / (model * (50 + spread[:, 1]))
            variance = factor * model / spread[:, 1] / level**2
        factor = np.where(np.isfinite(factor), factor, 1.0)
        return BackgroundEstimate(expected, variance, factor, self.noise, nothing, nothing)


@dataclass(frozen=True)
class Plane(Ring):
    """Least-squares plane through the reflection's own ring (``grad``)."""

    name: str = "plane"
    gradient: bool = True


@dataclass(frozen=True)
class Radial:
    """Radial profile of the frame alone."""

    noise: Noise = field(default_factory=Noise)
    polarisation: str = "horiz"
    name: str = "radial"

    def estimate(self, frame: Frame, scene: Scene, radii: Radii) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        surface, _ = _frame_surface(frame, scene, radii, self.noise, self.polarisation)
        surface.ratio[:] = 1
        expected, factor = surface.boxes(*_places(scene.spots), box_half(radii), frame.detector.shapes)
        nothing = np.full(len(expected), np.nan)
        return BackgroundEstimate(
            expected, np.zeros(len(expected)), factor, self.noise, nothing, nothing, surface.fallbacks
        )


@dataclass(frozen=True)
class Water:
    """Radial profile × smooth two-dimensional ratio × local scale, shrunk towards 1 (the default)."""

    noise: Noise = field(default_factory=Noise)
    polarisation: str = "horiz"
    trust: Trust = field(default_factory=Trust)
    name: str = "water"

    def estimate(self, frame: Frame, scene: Scene, radii: Radii) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        spots, detector = scene.spots, frame.detector
        surface, flags = _frame_surface(frame, scene, radii, self.noise, self.polarisation)
        expected, factor = surface.boxes(*_places(spots), box_half(radii), detector.shapes)
        scale, ring_variance = ring_scale(
            frame.data, count_constant(frame), flags, detector.offsets, detector.shapes, spots,
            (int(radii[1]), int(radii[2])), expected, factor, self.noise.gain, self.noise.read2,
        )  # fmt: skip
        tau2 = self.trust.at(spots["inv_d"])
        weight = tau2 / (tau2 + ring_variance)
        known = np.isfinite(scale)
        shrunk = np.where(known, 1 + weight * (np.where(known, scale, 1) - 1), 1)
        expected *= shrunk[:, None, None].astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.where(known, weight * ring_variance, tau2) / shrunk**2
        return BackgroundEstimate(expected, variance, factor, self.noise, scale, ring_variance, surface.fallbacks)


def make_estimator(
    name: str, noise: Noise | None = None, polarisation: str = "horiz", trust: Trust | None = None
) -> Estimator:
    """Make the estimator that ``--background=NAME`` asks for.

    Parameters
    ----------
    name : str
        ``ring``, ``plane``, ``radial`` or ``water``.
    noise : Noise, optional
        Of the detector; default: counted photons.
    polarisation : str
        CrystFEL's syntax; for ``radial`` and ``water``.
    trust : Trust, optional
        How far ``water`` trusts the frame's surface against a reflection's own ring.

    Raises
    ------
    UsageError
    """
    noise = noise or Noise()
    if name == "ring":
        return Ring(noise)
    if name == "plane":
        return Plane(noise)
    if name == "radial":
        return Radial(noise, polarisation)
    if name == "water":
        return Water(noise, polarisation, trust or Trust())
    raise UsageError(f"--background={name}: ring, plane, radial or water is needed")


def frame_rays(frame: Frame, scene: Scene, polarisation: str) -> Rays:
    """Rays of a frame; the beam's centre is where the crystals, by their number of reflections, say it is."""
    shift = (0.0, 0.0)
    if len(scene.det_shift):
        weight = [max(len(crystal.reflections), 1) for crystal in scene.crystals]
        x, y = np.average(scene.det_shift, axis=0, weights=weight)
        shift = (float(x), float(y))
    return make_rays(frame.detector, frame.clen, shift, polarisation)


def _frame_surface(
    frame: Frame, scene: Scene, radii: Radii, noise: Noise, polarisation: str
) -> tuple[Surface, NDArray[np.uint8]]:
    spots, near = scene.spots, scene.near
    flags = spot_mask(frame.bad, frame.detector, spots["panel"], spots["fs"], spots["ss"], radii[0])
    for rows in (spots, near):
        add_wide(flags, frame.detector, rows["panel"], rows["fs"], rows["ss"], int(radii[0]) + WIDE_MARGIN)
    return fit_surface(frame, flags, frame_rays(frame, scene, polarisation), (noise.gain, noise.read2)), flags


def _places(spots: NDArray[np.void]) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Panel, fs, ss as arrays a kernel likes."""
    return tuple(np.ascontiguousarray(spots[name]) for name in ("panel", "fs", "ss"))  # type: ignore[return-value]
