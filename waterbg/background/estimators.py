"""The estimators behind ``--background``: ring, plane, radial, water."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.estimate import (
    BackgroundEstimate,
    Estimator,
    Noise,
    Trust,
    box_half,
    least_variance,
    without_surface,
)
from waterbg.background.local import RingFindings, judge_by_rings, ring_planes
from waterbg.background.masks import FAULTY, NEAR, WIDE, Pixels, add_wide, spot_mask, stencil
from waterbg.background.rays import Rays, make_rays
from waterbg.background.stray import stray_at, stray_light
from waterbg.background.surface import Surface, fit_surface
from waterbg.background.zones import LEAST_CLEAN, starved_zones, zones_of
from waterbg.errors import UsageError
from waterbg.predict import columns_of
from waterbg.settings import BACKGROUNDS, Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

# The frame's model keeps clear of everything that may scatter: pixels beyond the peak disc, excitation error in profile
# radii. Where crowded spots would leave less than a quarter of the detector, or of a zone with few pixels, the second
# choice: its bias stays below 5 % of the statistical error, while a tenth of the pixels costs half the precision near
# the beam. The third, discs without margins, where even that leaves less than a quarter of the detector.
AMPLE, CROWDED, DENSE = (3.5, 4.0), (1.5, 3.0), (0.0, 3.0)
WRONG = 25.0  # deviance, five standard deviations, by which a level ring must explain its pixels better


@dataclass(frozen=True)
class Ring:
    """Mean of the reflection's own ring, CrystFEL's background (``nograd``)."""

    noise: Noise = field(default_factory=Noise)
    gradient: bool = False

    def estimate(
        self, frame: Frame, scene: Scene, radii: Radii, targets: NDArray[np.void] | None = None
    ) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        spots = scene.spots if targets is None else targets
        flags = _flag_discs(frame, scene, radii)
        found = ring_estimate(frame, flags, spots, radii, self.noise, self.gradient)
        return without_surface(*found, self.noise, flags, spots["panel"])


@dataclass(frozen=True)
class Plane(Ring):
    """Least-squares plane through the reflection's own ring (``grad``)."""

    gradient: bool = True


@dataclass(frozen=True)
class Radial:
    """Radial profile of the frame alone."""

    noise: Noise = field(default_factory=Noise)
    polarisation: str = "horiz"

    def estimate(
        self, frame: Frame, scene: Scene, radii: Radii, targets: NDArray[np.void] | None = None
    ) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        flags, surface = _flags_and_surface(frame, scene, radii, self.noise, self.polarisation)
        surface.ratio[:] = 1
        spots = scene.spots if targets is None else targets
        if not surface.usable:
            return _from_rings(frame, scene, radii, spots, self.noise)
        expected, factor = surface.boxes(*columns_of(spots), box_half(radii), frame.detector.shapes)
        least = least_variance(expected, factor, self.noise)
        none = np.zeros(len(spots))
        estimate = without_surface(expected, none, factor, least, self.noise, flags, spots["panel"])
        return replace(estimate, dead=surface.dead)


@dataclass(frozen=True)
class Water:
    """Radial profile × smooth two-dimensional ratio × local scale, shrunk towards 1 (the default)."""

    noise: Noise = field(default_factory=Noise)
    polarisation: str = "horiz"
    trust: Trust = field(default_factory=Trust)

    def estimate(
        self, frame: Frame, scene: Scene, radii: Radii, targets: NDArray[np.void] | None = None
    ) -> BackgroundEstimate:
        """See :class:`waterbg.background.estimate.Estimator`."""
        flags, surface = _flags_and_surface(frame, scene, radii, self.noise, self.polarisation)
        spots = scene.spots if targets is None else targets
        if not surface.usable:
            return _from_rings(frame, scene, radii, spots, self.noise)
        return water_estimate(frame, surface, flags, spots, radii, self.noise, self.trust)[0]


def _flags_and_surface(
    frame: Frame, scene: Scene, radii: Radii, noise: Noise, polarisation: str
) -> tuple[NDArray[np.uint8], Surface]:
    flags = flag_pixels(frame, scene, radii)
    return flags, fit_surface(frame, flags, frame_rays(frame, scene, polarisation), (noise.gain, noise.read2))


def ring_estimate(
    frame: Frame, flags: NDArray[np.uint8], spots: NDArray[np.void], radii: Radii, noise: Noise, gradient: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Background from each spot's own ring: see :class:`BackgroundEstimate`, its first four."""
    half = box_half(radii)
    expected = np.empty((len(spots), 2 * half + 1, 2 * half + 1), np.float32)
    spread = np.empty((len(spots), 2))
    ring_planes(
        Pixels.of(frame, flags), *columns_of(spots),
        stencil(radii)[1], gradient, expected, spread,
    )  # fmt: skip
    middle = expected[:, half, half].astype(float)
    level = np.maximum(np.abs(middle), 1e-6)
    model = noise.gain * np.maximum(middle, 1e-6) + noise.read2
    with np.errstate(divide="ignore", invalid="ignore"):
        # the scatter of some fifty pixels is too loose by itself: model and measurement share the weight
        scatter = (model * 50 + spread[:, 0] * spread[:, 1]) / (50 + spread[:, 1])
        variance = scatter / spread[:, 1] / level**2
        factor = scatter / model
    # a ring without a count, or below nothing, says nothing of how light scatters, but how pixels do without any
    factor = np.where(np.isfinite(factor) & (spread[:, 0] > 0) & (middle > 0), factor, 1.0)
    least = least_variance(expected, factor, noise)
    return expected, variance, factor, np.where(middle <= 0, np.fmax(spread[:, 0], least), least)


def _from_rings(
    frame: Frame, scene: Scene, radii: Radii, targets: NDArray[np.void], noise: Noise
) -> BackgroundEstimate:
    """What is left when a frame has no model: each reflection's own ring."""
    estimate = Ring(noise).estimate(frame, scene, radii, targets)
    estimate.fallbacks.append("blank frame, or hardly a clean pixel: background from each reflection's own ring")
    return estimate


def water_estimate(
    frame: Frame,
    surface: Surface,
    flags: NDArray[np.uint8],
    targets: NDArray[np.void],
    radii: Radii,
    noise: Noise,
    trust: Trust,
) -> tuple[BackgroundEstimate, RingFindings]:
    """Scale a frame's surface to each target's own ring, as far as the surface is not to be trusted; what rings say.

    The ring's ratio a to the surface, with variance v from counting, is shrunk towards 1 by what surfaces are known
    to be off: 1 + w (a - 1), w = tau²/(tau² + v), with variance w v (empirical Bayes: Efron & Morris 1973, JASA 68,
    117).
    """
    detector = frame.detector
    expected, factor = surface.boxes(*columns_of(targets), box_half(radii), detector.shapes)
    tau2 = trust.at(targets["inv_d"])
    rings = judge_by_rings(
        Pixels.of(frame, flags), targets,
        *stencil(radii), expected, factor, noise.gain, noise.read2, tau2,
    )  # fmt: skip
    expected *= rings.shrunk[:, None, None].astype(np.float32)
    factor *= rings.rough
    known = np.where(rings.weight > 0, rings.variance, 0)
    variance = np.where(rings.weight > 0, rings.weight * known, tau2) / np.maximum(rings.shrunk, 1e-3) ** 2
    stray = np.zeros(len(targets), np.float32)
    if trust.stray > 0:
        stray += np.float32(trust.stray) * stray_at(
            stray_light(frame, flags, surface), surface.rays, *columns_of(targets)
        )
        expected += stray[:, None, None]
    least = least_variance(expected, factor, noise)
    wrong = np.flatnonzero(rings.misfit > WRONG)
    if len(wrong):
        expected[wrong], variance[wrong], factor[wrong], least[wrong] = ring_estimate(
            frame, flags, targets[wrong], radii, noise, gradient=False
        )
    own = rings.doubted.copy()
    own[wrong], stray[wrong] = True, 0
    per_photon = noise.of_photons(factor, targets["panel"])
    estimate = BackgroundEstimate(
        expected, variance, factor, per_photon, least, noise, flags, stray, own, dead=surface.dead
    )
    return estimate, rings


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
    raise UsageError(f"--background={name}: one of {', '.join(BACKGROUNDS)} is needed")


def frame_rays(frame: Frame, scene: Scene, polarisation: str) -> Rays:
    """Rays of a frame; the beam's centre is where the crystals, by their number of reflections, say it is."""
    shift = (0.0, 0.0)
    if len(scene.det_shift):
        weight = np.array([max(len(crystal.reflections), 1.0) for crystal in scene.crystals])
        x, y = weight @ scene.det_shift / weight.sum()
        shift = (float(x), float(y))
    return make_rays(frame.detector, frame.clen, shift, polarisation)


def _flag_discs(frame: Frame, scene: Scene, radii: Radii) -> NDArray[np.uint8]:
    """Flags of bad and faulty pixels, and of peak discs, as stencils are cut."""
    flags = spot_mask(frame.bad, frame.detector, *columns_of(scene.spots), int(radii[0]))
    flags[frame.faulty] |= FAULTY
    return flags


def flag_pixels(frame: Frame, scene: Scene, radii: Radii) -> NDArray[np.uint8]:
    """Flags of all pixels of a frame: bad, under a peak, or near anything that may scatter."""
    near, inner = scene.near, int(radii[0])
    flags = _flag_discs(frame, scene, radii)
    usable = flags.size - int(np.count_nonzero(frame.bad.view(bool)))
    crowded = [np.zeros(len(rows), bool) for rows in (scene.spots, near)]
    masked = _mask_wide(flags, frame, scene, inner, crowded)
    if usable - masked < LEAST_CLEAN * usable:
        crowded = [np.ones(len(rows), bool) for rows in (scene.spots, near)]
    else:
        rays = frame_rays(frame, scene, "horiz")  # whatever the polarisation: they only say how far from the beam
        starved = starved_zones(flags, frame.detector, rays)
        crowded = [starved[zones_of(rays, *columns_of(rows))] for rows in (scene.spots, near)]
    if any(rows.any() for rows in crowded):
        flags &= ~np.uint8(WIDE)
        masked = _mask_wide(flags, frame, scene, inner, crowded)
        if usable - masked < LEAST_CLEAN * usable:
            flags &= ~np.uint8(WIDE)
            _mask_wide(flags, frame, scene, inner, crowded, DENSE)
    seen = near[near["reduced"] <= CROWDED[1]]
    add_wide(flags, frame.detector, *columns_of(seen), inner, NEAR)
    return flags


def _mask_wide(
    flags: NDArray[np.uint8],
    frame: Frame,
    scene: Scene,
    inner: int,
    crowded: list[NDArray[np.bool_]],
    where_crowded: tuple[float, float] = CROWDED,
) -> int:
    """Make WIDE what may scatter, by which of the scene's spots and of those nearby are crowded; pixels masked.

    ``where_crowded``: margin and limit of these.
    """
    masked = 0
    for rows, tight, listed in zip((scene.spots, scene.near), crowded, (True, False), strict=True):
        for (margin, limit), here in ((AMPLE, ~tight), (where_crowded, tight)):
            some = rows[here] if listed else rows[here & (rows["reduced"] <= limit)]
            masked += add_wide(flags, frame.detector, *columns_of(some), inner + margin)
    return masked
