"""The detector as a geometry describes it: panels, where they are, and which of their pixels count.

Conventions
-----------
fs is the column, ss the row. Positions are panel-local pixels, pixel *i* spans [i, i + 1). The laboratory frame is
CrystFEL's: +z along the beam, +y up, origin at the interaction point, metres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waterbg.geometry.sources import Length, Wavelength

Dim = str | int | None  # "ss", "fs", "%", a fixed index; None is a hole, which no image fits
Vector = tuple[float, float, float]
MOST_PIXELS = 1 << 28  # the largest detectors have 2**25; what says more is damaged, or made to fill the memory


@dataclass(frozen=True)
class Mask:
    """One of up to eight masks of a panel.

    Attributes
    ----------
    number : int
        0 to 7.
    data : str
        Path in the mask file, may hold ``%``.
    file : str or None
        Mask file; None is the image file itself.
    good_bits, bad_bits : int
        A pixel is bad if any of bad_bits is set, or not all of good_bits are.
    """

    number: int
    data: str
    file: str | None
    good_bits: int
    bad_bits: int


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of bad pixels.

    Attributes
    ----------
    name : str
    panel : int or None
        Number of the panel for a region in fs and ss; None for a region in the laboratory, which holds for all panels.
    min_fs, max_fs, min_ss, max_ss : int
        Inclusive, panel-local pixels.
    min_x, max_x, min_y, max_y : float
        Exclusive, pixels of the panel in question; NaN where not given, and then the region is empty.
    """

    name: str
    panel: int | None
    min_fs: int = 0
    max_fs: int = -1
    min_ss: int = 0
    max_ss: int = -1
    min_x: float = np.nan
    max_x: float = np.nan
    min_y: float = np.nan
    max_y: float = np.nan


@dataclass(frozen=True)
class Panel:
    """A rectangle of pixels on one plane.

    Attributes
    ----------
    name : str
    min_fs, max_fs, min_ss, max_ss : int
        Inclusive, in the coordinates of the data block.
    corner_x, corner_y : float
        Laboratory position of the corner of the first pixel, in pixels of this panel.
    coffset : float
        m, added to the camera length.
    fs, ss : tuple of 3 floats
        Step in the laboratory from one pixel to the next, in pixels.
    pixel_size : float
        m.
    adu, adu_per : float, str
        Detector units per "photon" or per "eV".
    max_adu : float
        Above it a reflection counts as saturated; inf when not given.
    no_index : bool
        The whole panel is bad.
    mask_edge_pixels : int
        Width of the bad frame around the panel.
    flags : tuple of (str, int)
        ("equal" | "lessthan" | "morethan", value): pixel values that mean "bad".
    masks : tuple of Mask
    saturation_map, saturation_map_file : str or None
    data : str
        Path in the image file, may hold ``%``.
    dims : tuple
        What each axis of the data is: "ss", "fs", "%" (index of the event) or a fixed index.
    line : int
        Where the geometry first mentions the panel.
    """

    name: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    coffset: float
    fs: Vector
    ss: Vector
    pixel_size: float
    adu: float
    adu_per: str
    max_adu: float
    no_index: bool
    mask_edge_pixels: int
    flags: tuple[tuple[str, int], ...]
    masks: tuple[Mask, ...]
    saturation_map: str | None
    saturation_map_file: str | None
    data: str
    dims: tuple[Dim, ...]
    line: int = 0

    @property
    def n_fs(self) -> int:
        """Number of columns."""
        return max(0, self.max_fs - self.min_fs + 1)

    @property
    def n_ss(self) -> int:
        """Number of rows."""
        return max(0, self.max_ss - self.min_ss + 1)


@dataclass(frozen=True, eq=False)
class Detector:
    """All panels of a geometry. Compares and hashes by identity, so that maps can be cached per detector.

    Attributes
    ----------
    panels : tuple of Panel
    bad_regions : tuple of BadRegion
    groups : mapping of str to tuple of str
        Panel groups with their members; a panel is a group without members.
    wavelength : Wavelength or None
        None only in a geometry read leniently; the stream then holds the energy.
    clen : Length or None
        Camera length; None only in a geometry read leniently.
    shift_x, shift_y : Length or None
        Shift of the whole detector, from the image file as a rule.
    bandwidth : float
    peak_list : str or None
    warnings : tuple of str
        What CrystFEL complains about without refusing, or, read leniently, what it would refuse; each names its line.
    path : str
        For messages.
    digest : str
        Of the text: equal for the same geometry in another process or run.
    """

    panels: tuple[Panel, ...]
    bad_regions: tuple[BadRegion, ...]
    groups: Mapping[str, tuple[str, ...]]
    wavelength: Wavelength | None
    clen: Length | None
    shift_x: Length | None = None
    shift_y: Length | None = None
    bandwidth: float = 1e-8
    peak_list: str | None = None
    warnings: tuple[str, ...] = field(default=(), repr=False)
    path: str = "geometry"
    digest: str = ""

    @cached_property
    def shapes(self) -> NDArray[np.int64]:
        """(n_panels, 2) rows (n_ss) and columns (n_fs); no row of one column where a panel has no columns."""
        # for kernels take it that a row has a pixel
        sizes = [(p.n_ss, p.n_fs) if p.n_fs else (0, 1) for p in self.panels]
        return _fixed(np.array(sizes, np.int64).reshape(-1, 2))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(n_panels + 1,) where each panel starts in a flat frame; the last is the number of pixels."""
        return _fixed(np.concatenate([[0], np.cumsum(self.shapes[:, 0] * self.shapes[:, 1])]).astype(np.int64))

    @property
    def n_pixels(self) -> int:
        """Pixels of all panels together."""
        return int(self.offsets[-1])

    @cached_property
    def sizes(self) -> str:
        """Number of panels and sizes of them, in words: the same for every geometry of one detector."""
        kinds = Counter(f"{n_ss} x {n_fs}" for n_ss, n_fs in self.shapes)
        return ", ".join(f"{n} panel{'s' * (n != 1)} of {size} pixels" for size, n in sorted(kinds.items()))

    @cached_property
    def panel_index(self) -> dict[str, int]:
        """Number of each panel by name."""
        return {p.name: i for i, p in enumerate(self.panels)}

    def panel_numbers(self, names: Iterable[str | bytes]) -> NDArray[np.int32]:
        """Numbers of panels by name, as text or as the bytes of a stream; -1 for a name that is not here."""
        as_text = (n.decode("utf-8", "surrogateescape") if isinstance(n, bytes) else n for n in names)
        return np.array([self.panel_index.get(name, -1) for name in as_text], np.int32)

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """(n_panels, 3) corner of the first pixel in m; z is coffset, to which the camera length is added."""
        return _fixed(
            np.array([(p.corner_x * p.pixel_size, p.corner_y * p.pixel_size, p.coffset) for p in self.panels], float)
        )

    @cached_property
    def axes(self) -> NDArray[np.float64]:
        """(n_panels, 2, 3) steps along fs and ss in m per pixel."""
        return _fixed(np.array([np.multiply([p.fs, p.ss], p.pixel_size) for p in self.panels], float))

    @cached_property
    def minima(self) -> NDArray[np.int64]:
        """(n_panels, 2) first column (min_fs) and first row (min_ss) in the data block."""
        return _fixed(np.array([(p.min_fs, p.min_ss) for p in self.panels], np.int64).reshape(-1, 2))

    @cached_property
    def max_adu(self) -> NDArray[np.float64]:
        """(n_panels,) saturation in ADU, inf where not given."""
        return _fixed(np.array([p.max_adu for p in self.panels], float))

    def lab(
        self,
        panel: ArrayLike,
        fs: ArrayLike,
        ss: ArrayLike,
        clen: float,
        det_shift_mm: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Laboratory position of points on panels.

        Parameters
        ----------
        panel : int or (...) int
            Panel number, one for all points or one a point.
        fs, ss : (...) float
            Panel-local pixels.
        clen : float
            Camera length in m; coffset is added here.
        det_shift_mm : 2 floats
            Shift of the detector in x and y in mm, as a stream's ``det_shift``.

        Returns
        -------
        x, y, z : (...) float64
            m. ``(corner + fs * FS + ss * SS) * pixel size`` as in CrystFEL's ``detgeom_transform_coords``.
        """
        index = np.asarray(panel)
        along, down = np.asarray(fs, float)[..., None], np.asarray(ss, float)[..., None]
        where = self.corners[index] + along * self.axes[index, 0] + down * self.axes[index, 1]
        return where[..., 0] + det_shift_mm[0] * 1e-3, where[..., 1] + det_shift_mm[1] * 1e-3, where[..., 2] + clen

    def adu_per_photon(self, photon_energy_eV: float) -> NDArray[np.float64]:
        """(n_panels,) ADU per photon at this photon energy."""
        return np.array([p.adu * (photon_energy_eV if p.adu_per == "eV" else 1.0) for p in self.panels], float)

    def to_panel(
        self, panel: ArrayLike, fs: ArrayLike, ss: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Panel-local positions of positions in the data block (as a stream prints them)."""
        first = self.minima[np.asarray(panel)]
        return np.asarray(fs, float) - first[..., 0], np.asarray(ss, float) - first[..., 1]

    def without_masks(self) -> Detector:
        """The detector as it is when nobody reads its masks."""
        return replace(self, panels=tuple(replace(panel, masks=()) for panel in self.panels))

    def shifted(self, x: float, y: float) -> Detector:
        """The detector moved by x and y in m (``detector_shift_x``, ``_y``); the same object for the same shift."""
        # CrystFEL ignores a shift that is NaN (create_detgeom in datatemplate.c)
        x, y = (0.0 if np.isnan(x) else float(x)), (0.0 if np.isnan(y) else float(y))
        return self if x == y == 0.0 else _shifted(self, x, y)


@lru_cache(maxsize=64)
def _shifted(detector: Detector, x: float, y: float) -> Detector:
    panels = tuple(
        replace(p, corner_x=p.corner_x + x / p.pixel_size, corner_y=p.corner_y + y / p.pixel_size)
        for p in detector.panels
    )
    return replace(detector, panels=panels, shift_x=None, shift_y=None)


def _fixed(array: NDArray) -> NDArray:
    array.flags.writeable = False
    return array
