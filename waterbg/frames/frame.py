"""One image of the detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import GeometryError
from waterbg.geometry import Detector

ADU_RANGE = (1e-6, 1e9)  # ADU per photon; beyond, sums of squares would pass the range of a float32


@dataclass
class Frame:
    """The pixels of one event, all panels one after the other.

    The arrays may belong to the :class:`~waterbg.frames.FrameReader` and hold the next frame after its next ``read``,
    unless read with ``copy=True``. ``bad`` and ``saturation`` may be shared by many frames: do not write to them.

    Attributes
    ----------
    data : (n_pixels,) float32
        ADU, as CrystFEL keeps it; panel i at detector.offsets[i], row-major (ss, fs).
    bad : (n_pixels,) uint8
        1 = never use: the union of all sources of bad pixels.
    saturation : (n_pixels,) float32 or None
        ADU; the saturation map.
    detector : Detector
        With the shift of this event.
    clen : float
        m; the camera length of this event. NaN if unknown (a geometry read leniently).
    photon_energy_eV : float
    adu_per_photon : (n_panels,) float64
    path, event : str
        What was read.
    pedestal : float
        Photons that were taken off every pixel after reading, see `without`.
    faulty : (n,) int64
        Numbers of the pixels that are wrong in all frames of the run, as far as it is known: what they count is not
        used, but a reflection that has them stays.
    """

    data: NDArray[np.float32]
    bad: NDArray[np.uint8]
    saturation: NDArray[np.float32] | None
    detector: Detector
    clen: float
    photon_energy_eV: float
    adu_per_photon: NDArray[np.float64]
    path: str = ""
    event: str = "//"
    pedestal: float = 0.0
    faulty: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def max_adu(self) -> NDArray[np.float64]:
        """(n_panels,) saturation of whole panels in ADU, inf where not given."""
        most = self.detector.max_adu
        if not self.pedestal:
            return most
        # rounded as the pixels are: one that is just saturated stays so
        return (most.astype(np.float32) - self._in_adu(self.pedestal)).astype(np.float64)

    @cached_property
    def photons_per_adu(self) -> NDArray[np.float32]:
        """(n_panels,) what makes photons of ADU.

        Raises
        ------
        GeometryError
            When the geometry says that a photon makes no ADU, or a number of them that no detector makes.
        """
        adu = np.asarray(self.adu_per_photon, float)
        right = (adu >= ADU_RANGE[0]) & (adu <= ADU_RANGE[1])
        if not right.all():
            number = int(np.argmin(right))
            raise GeometryError(
                f"panel {self.detector.panels[number].name}: {adu[number]:g} ADU per photon; a positive number is "
                f"needed, from {ADU_RANGE[0]:g} to {ADU_RANGE[1]:g}",
                path=self.detector.path,
            )
        return (1 / adu).astype(np.float32)

    def _in_adu(self, photons: float) -> NDArray[np.float32]:
        return (photons * self.adu_per_photon).astype(np.float32)

    def without(self, pedestal: float) -> Frame:
        """The frame with so many photons taken off every pixel, in arrays of its own; itself for 0."""
        if pedestal == 0:
            return self
        off = np.repeat(self._in_adu(pedestal), np.diff(self.detector.offsets))
        saturation = None if self.saturation is None else self.saturation - off
        return replace(self, data=self.data - off, saturation=saturation, pedestal=self.pedestal + pedestal)

    def panel(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Pixels and bad pixels of one panel, as views (n_ss, n_fs)."""
        start, stop = self.detector.offsets[number : number + 2]
        shape = tuple(self.detector.shapes[number])
        return self.data[start:stop].reshape(shape), self.bad[start:stop].reshape(shape)
