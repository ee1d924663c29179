"""The contract of all background estimators: what they are given and what they give back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from waterbg.settings import Radii

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene


class BackgroundArrays(NamedTuple):
    """What kernels need of a `BackgroundEstimate`, and of its noise."""

    expected: NDArray[np.float32]
    scale_variance: NDArray[np.float64]
    factor: NDArray[np.float64]
    per_photon: NDArray[np.float64]
    least: NDArray[np.float64]
    gain: float
    read2: float


LEAST_VARIANCE = 0.05  # of that under the middle of the spot


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel: ``gain`` times its expected counts plus ``read2``; photons.

    Attributes
    ----------
    gain : float
        1 for counted photons; what is left when ADU per photon are not quite right.
    read2 : float
        Read noise squared, photons².
    pedestal : float
        What every pixel has without light (negative where too much was taken off), and which is to be taken off before
        counts are expected. Where there are levels below zero, read noise may be taken for light, and lowers it.
    per_photon : tuple of float
        Variance that a photon of a spot adds on each panel, where ``gain`` does not say it: where levels without light
        differ, see :mod:`waterbg.background.photons`. Empty elsewhere.
    drift : float
        How far these levels then stray from frame to frame, standard deviation.
    """

    gain: float = 1.0
    read2: float = 0.0
    pedestal: float = 0.0
    per_photon: tuple[float, ...] = ()
    drift: float = 0.0

    def variance(self, level: float) -> float:
        """Of a pixel that shows so many photons, pedestal and all."""
        return self.gain * (level - self.pedestal) + self.read2

    @property
    def light(self) -> float:
        """Variance that a photon adds on the usual panel."""
        return float(np.median(self.per_photon)) if self.per_photon else self.gain

    def of_photons(self, factor: NDArray[np.float64], panel: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n,) variance that a photon of a spot adds on the given panels, where the background has this factor."""
        if not self.per_photon:
            return factor * self.gain
        return np.asarray(self.per_photon)[np.maximum(panel, 0)]


@dataclass
class BackgroundEstimate:
    """Expected background under every spot of a scene.

    Attributes
    ----------
    expected : (n, size, size) float32
        Photons under each pixel of a box around the pixel the predicted position falls into, size = 2·half + 1;
        NaN where there is no answer.
    scale_variance : (n,) float64
        Relative variance of ``expected`` as a whole.
    factor : (n,) float64
        A pixel of mu expected counts has variance ``factor * (noise.gain * mu + noise.read2)``.
    per_photon : (n,) float64
        What each photon of the spot itself adds to it.
    least : (n,) float64
        Variance, photons², below which no pixel is believed: a plane, or a level below zero, may expect less than
        nothing of single pixels, which would decide alone.
    noise : Noise
    flags : (n_pixels,) uint8
        What each pixel of the frame may be used for, see :mod:`waterbg.background.masks`.
    stray : (n,) float32
        Photons of ``expected`` that are not of the frame's surface but of what it leaves out, see
        :mod:`waterbg.background.stray`.
    own_ring : (n,) bool
        Whose background is their own ring's after all, for the frame's model does not hold there.
    fallbacks : list of str
        What could not be done as meant on the whole frame, in words for the summary.
    dead : int
        Pixels of the frame that turned out to be dead, or in a full shadow, and are BAD now.
    """

    expected: NDArray[np.float32]
    scale_variance: NDArray[np.float64]
    factor: NDArray[np.float64]
    per_photon: NDArray[np.float64]
    least: NDArray[np.float64]
    noise: Noise
    flags: NDArray[np.uint8]
    stray: NDArray[np.float32]
    own_ring: NDArray[np.bool_]
    fallbacks: list[str] = field(default_factory=list)
    dead: int = 0

    @property
    def arrays(self) -> BackgroundArrays:
        """For kernels."""
        noise = self.noise
        return BackgroundArrays(
            self.expected, self.scale_variance, self.factor, self.per_photon, self.least,
            float(noise.gain), float(noise.read2),
        )  # fmt: skip

    @property
    def lit(self) -> NDArray[np.float64]:
        """(n,) share of the stray light in the variance of pixels under the middle of each spot."""
        light = self.noise.gain * self.stray.astype(float)  # it counts as background, which has the gain's variance
        variance = self.noise.gain * self.expected[:, self.half, self.half] + self.noise.read2
        return np.where(light > 0, np.minimum(light / np.maximum(variance, 1e-9), 1), 0)

    @property
    def half(self) -> int:
        """Half width of the boxes, pixels."""
        return self.expected.shape[1] // 2

    def first(self, n: int) -> BackgroundEstimate:
        """The same for the first ``n`` spots alone."""
        return replace(
            self,
            expected=self.expected[:n],
            scale_variance=self.scale_variance[:n],
            factor=self.factor[:n],
            per_photon=self.per_photon[:n],
            least=self.least[:n],
            stray=self.stray[:n],
            own_ring=self.own_ring[:n],
        )


def least_variance(expected: NDArray[np.float32], factor: NDArray[np.float64], noise: Noise) -> NDArray[np.float64]:
    """(n,) a twentieth of the variance under the middle of each spot, or a trace."""
    half = expected.shape[1] // 2
    level = np.fmax(expected[:, half, half].astype(float), 0)
    return np.maximum(LEAST_VARIANCE * factor * (noise.gain * level + noise.read2), 1e-6)


def without_surface(
    expected: NDArray[np.float32],
    scale_variance: NDArray[np.float64],
    factor: NDArray[np.float64],
    least: NDArray[np.float64],
    noise: Noise,
    flags: NDArray[np.uint8],
    panel: NDArray[np.int32],
) -> BackgroundEstimate:
    """Make the estimate of somebody who knows no surface of the frame that rings could be compared with."""
    no_stray, no_ring = np.zeros(len(expected), np.float32), np.zeros(len(expected), bool)
    per_photon = noise.of_photons(factor, panel)
    return BackgroundEstimate(expected, scale_variance, factor, per_photon, least, noise, flags, no_stray, no_ring)


class Estimator(Protocol):
    """Gives the background under the spots of a scene; chosen by ``--background``."""

    def estimate(
        self, frame: Frame, scene: Scene, radii: Radii, targets: NDArray[np.void] | None = None
    ) -> BackgroundEstimate:
        """Estimate the background under every spot of ``scene.spots``.

        Parameters
        ----------
        frame : Frame
            ADU; counts are ADU / ``frame.adu_per_photon``.
        scene : Scene
            All of its spots, printed or not, and those nearby are kept out of the background.
        radii : 3 floats
            Peak disc, inner and outer radius of the ring, pixels.
        targets : (m,) SPOT, optional
            Where to estimate instead; what is masked stays ``scene``'s.
        """
        ...


@dataclass(frozen=True)
class Trust:
    """How far the surface of a frame is to be believed.

    Attributes
    ----------
    edges : sequence of float
        Ascending 1/d in nm⁻¹ between the shells; one less than ``tau2``.
    tau2 : sequence of float
        Relative variance of the true background about the surface in each shell, learnt from decoys.
    stray : float
        Share of the light that the surface leaves out which discs keep, learnt from decoys: all of it where nothing
        tells it from spots, less where it is in rings that overrule the surface, none where nobody knows.
    """

    edges: Sequence[float] = ()
    tau2: Sequence[float] = (1e-4,)  # 1 %: what non-radial water does within a ring
    stray: float = 0.0

    def at(self, inv_d: NDArray[np.float64]) -> NDArray[np.float64]:
        """Relative variance at each 1/d."""
        return np.asarray(self.tau2, float)[np.searchsorted(np.asarray(self.edges, float), inv_d)]


def box_half(radii: Radii) -> int:
    """Half width of the boxes: the ring, and the peak disc moved by as much as a second look may (4 px)."""
    inner, _, outer = (int(radius) for radius in radii)
    return max(outer, inner + 4)
