"""Where spots are predicted in the laboratory, and which way they may lie off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterbg.background.rays import Rays, lab_positions
from waterbg.predict import wavenumber

if TYPE_CHECKING:
    from waterbg.frames import Frame
    from waterbg.predict import Scene

LEANS = 5


@dataclass(frozen=True)
class Places:
    """Where spots are predicted, and which way they may lean from there.

    Attributes
    ----------
    panel : (n,) int
        Number of the panel.
    x, y : (n,) float64
        Laboratory positions, pixels.
    leans : (n, 2, LEANS) float64
        Offset in x and y, pixels, for each of `PositionMap`'s ``leaning``; as many for each crystal of a frame.
    stretches : (n, 4) float64
        cos 2φ, sin 2φ, and cos φ, sin φ times the distance from the Ewald sphere in pixels, for `Stretch`.
    """

    panel: NDArray[np.int32]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    leans: NDArray[np.float64]
    stretches: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        panel: NDArray[np.int32],
        position: NDArray[np.float64],
        excitation: NDArray[np.float64],
        wavenumber: float,
    ) -> Places:
        """Work out which way reflections lean.

        A still shows those blocks of a crystal that bring a reflection to the Ewald sphere, and where the excitation
        error e is not zero these are not its mean. Let blocks be turned by w (Gaussian, of covariance C), which moves a
        reciprocal vector q by w × q. The mean of w over the blocks that take e away is e C g / gᵀCg, where g, what e
        changes by per turn, is across both q and the beam. Of this mean the part

        * across q and beam keeps |q|, so it moves the spot by -e tan θ along the radius (a spread of the blocks' size
          makes that less, one of their cells or of wavelengths turns it round);
        * along the beam moves the spot tangentially by e (b cos φ + c sin φ), where b and c are what turns about the
          beam have in common with those about the two axes across it;
        * along the radius does so by e tan θ (b' cos 2φ + c' sin 2φ), from what turns about these two axes have unequal
          and in common.

        So five numbers describe a crystal, to first order in how unequal its turns are.

        Parameters
        ----------
        panel : (n,) int
        position : (n, 3) float64
            Laboratory x, y, z, pixels.
        excitation : (n,) float64
            k - |s + k z|, nm⁻¹.
        wavenumber : float
            k, nm⁻¹.
        """
        x, y, z = position.T
        r = np.maximum(np.hypot(x, y), 1e-9)
        distance = np.maximum(np.hypot(r, z), 1e-9)
        cos_phi, sin_phi = x / r, y / r
        cos_2phi, sin_2phi = cos_phi**2 - sin_phi**2, 2 * cos_phi * sin_phi
        tan_theta = np.tan(0.5 * np.arctan2(r, z))
        # cos 2θ: a turn of the ray moves the spot so much farther on a detector that it does not meet head-on
        along = (
            excitation / wavenumber * distance**2 / np.copysign(np.maximum(np.abs(z), 0.1 * distance), z) * tan_theta
        )
        across = excitation / wavenumber * distance
        twist = across * tan_theta
        radial = [along, *(np.zeros_like(r) for _ in range(4))]
        tangential = [
            np.zeros_like(r),
            across * cos_phi,
            across * sin_phi,
            twist * cos_2phi,
            twist * sin_2phi,
        ]
        u, v = np.stack(radial, axis=1), np.stack(tangential, axis=1)
        leans = np.stack(
            [cos_phi[:, None] * u - sin_phi[:, None] * v, sin_phi[:, None] * u + cos_phi[:, None] * v], axis=1
        )
        return cls(panel, x, y, leans, np.stack([cos_2phi, sin_2phi, across * cos_phi, across * sin_phi], axis=1))

    def by_crystal(self, crystal: NDArray[np.int32]) -> Places:
        """Let each crystal of a frame lean its own way: LEANS columns of ``leans`` for each.

        Parameters
        ----------
        crystal : (n,) int
            Number of the crystal that each spot belongs to.
        """
        n = int(crystal.max(initial=0)) + 1
        if n == 1:
            return self
        leans = np.zeros((len(self), 2, n, LEANS))
        leans[np.arange(len(self)), :, crystal] = self.leans
        return replace(self, leans=leans.reshape(len(self), 2, n * LEANS))

    @property
    def beside(self) -> NDArray[np.float64]:
        """(n,) distance of the reciprocal lattice point from the Ewald sphere, as pixels at the spot."""
        return np.hypot(self.stretches[:, 2], self.stretches[:, 3])

    def along_radius(self, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) part of an offset in x and y that is along, and across, the radius."""
        radius = np.maximum(np.hypot(self.x, self.y), 1e-9)
        u, v = self.x / radius, self.y / radius
        return np.stack([offset[:, 0] * u + offset[:, 1] * v, offset[:, 1] * u - offset[:, 0] * v], axis=1)

    def off_radius(self, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `along_radius`."""
        return replace(self, y=-self.y).along_radius(offset)

    def __getitem__(self, which: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Places:
        return Places(*(getattr(self, name)[which] for name in _COLUMNS))

    @classmethod
    def joined(cls, parts: Sequence[Places]) -> Places:
        """Put the spots of several frames together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))

    def __len__(self) -> int:
        return len(self.x)


_COLUMNS = ("panel", "x", "y", "leans", "stretches")


def lab_places(frame: Frame, rays: Rays, spots: NDArray[np.void]) -> Places:
    """Laboratory positions of spots in pixels, and which way they may lean from there."""
    position = np.stack(lab_positions(rays, spots["panel"], spots["fs"], spots["ss"]), axis=1)
    return Places.of(spots["panel"], position, spots["excitation"], wavenumber(frame.photon_energy_eV))


def scene_places(frame: Frame, scene: Scene, rays: Rays, targets: NDArray[np.void]) -> Places:
    """Places of targets that begin with the scene's spots; what follows may lean as the first crystal does."""
    crystal = np.zeros(len(targets), np.int32)
    crystal[: len(scene.spots)] = scene.crystal
    return lab_places(frame, rays, targets).by_crystal(crystal)
