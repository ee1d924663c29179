"""One reflection with everything its intensity is made of, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterbg.background.masks import BAD, FAULTY, ONE, TWO
from waterbg.integrate import Status
from waterbg.integrate.expected import fit_reach, kept_shares, spot_shapes
from waterbg.integrate.places import scene_places
from waterbg.integrate.psf import fill_shares
from waterbg.plots.look import Look

Box = NDArray[np.float64]


@dataclass
class CloseUp:
    """The box around a reflection; (size, size) arrays have rows along ss, photons unless said otherwise.

    Attributes
    ----------
    hkl : 3 ints
    crystal : int
        In the chunk, from 1 on.
    panel : str
    d : float
        Å.
    left, top : int
        File coordinates (as a stream prints them) of the box's first pixel; pixel *i* spans [i, i + 1).
    predicted, fitted : 2 floats
        fs, ss in file coordinates: the prediction, and where the profile is put.
    radii : 3 ints
        Peak disc, inner and outer radius of the ring, about the middle of the predicted pixel.
    reach : float
        Radius of the fit about the fitted place.
    observed, background : (size, size) float64
        NaN beyond the panel. The background is scaled as the reflection's own ring says.
    profile : (size, size) float64
        Share of the reflection's flux in each pixel.
    bad, others : (size, size) bool
        Pixels that may not be used; pixels that the fit leaves to other reflections.
    flux : float
        Photons of the fitted profile.
    share : float
        What ``flux`` is multiplied with to be I.
    photon : float
        ADU a photon.
    deviation : (size, size) float64
        Standard deviation of a pixel, as the fit weighs it.
    intensity, sigma, peak, mean_background : float
        ADU, as `waterbg subtract` writes them.
    status : Status
        Why the reflection is dropped, or OK.
    stream_intensity, stream_sigma : float
        ADU, what the stream has.
    """

    hkl: tuple[int, int, int]
    crystal: int
    panel: str
    d: float
    left: int
    top: int
    predicted: tuple[float, float]
    fitted: tuple[float, float]
    radii: tuple[int, int, int]
    reach: float
    observed: Box
    background: Box
    profile: Box
    bad: NDArray[np.bool_]
    others: NDArray[np.bool_]
    flux: float
    share: float
    photon: float
    deviation: Box
    intensity: float
    sigma: float
    peak: float
    mean_background: float
    status: Status
    stream_intensity: float
    stream_sigma: float

    @property
    def fit(self) -> Box:
        """Background and fitted profile together; NaN where there is no fit."""
        return self.background + self.flux * self.profile

    @property
    def residual(self) -> Box:
        """What the fit leaves, in standard deviations; NaN on bad pixels and those of other reflections."""
        left = (self.observed - np.where(np.isfinite(self.flux), self.fit, self.background)) / self.deviation
        return np.where(self.bad | self.others, np.nan, left)


def close_up(look: Look, row: int) -> CloseUp:
    """Gather what belongs to one spot of the scene.

    Parameters
    ----------
    look : Look
    row : int
        Among ``look.scene.spots``; a listed reflection on a panel, as `choose_reflection` gives it.
    """
    frame, scene, found = look.frame, look.scene, look.found
    detector, background = frame.detector, found.background
    spot = scene.spots[row]
    panel = int(spot["panel"])
    half, size = background.half, 2 * background.half + 1
    cf, cs = int(spot["fs"]), int(spot["ss"])
    begin, end = detector.offsets[panel : panel + 2]
    counts = frame.panel(panel)[0]
    flags = _box(background.flags[begin:end].reshape(counts.shape), cs, cf, half, BAD)
    radii = tuple(int(radius) for radius in look.settings.int_radius)
    j, i = np.indices((size, size)) - half
    own = i * i + j * j <= radii[0] ** 2

    places = scene_places(frame, scene, look.rays, scene.spots)
    likely = spot_shapes(found.shapes, look.rays, scene.spots, places)
    shift, widths, blur = likely.shift[row], likely.widths[row], likely.blur[row]
    share = float(kept_shares(found.shapes, scene.spots["inv_d"], likely, radii[0])[1][row])
    flux = float(found.fits["I"][row]) / share if found.fits["status"][row] == 0 else np.nan
    fitted = float(spot["fs"] + shift[0]), float(spot["ss"] + shift[1])
    profile = np.empty((size, size))
    fill_shares(
        look.rays.panel[panel],
        float(spot["fs"]),
        float(spot["ss"]),
        shift,
        widths,
        blur,
        found.shapes.psf.tail,
        profile,
    )
    expected = background.expected[row].astype(float)
    noise = background.noise
    variance = background.factor[row] * (noise.gain * expected + noise.read2)
    variance += background.per_photon[row] * np.maximum(np.nan_to_num(flux), 0) * profile
    number = int(scene.crystal[row])
    printed = scene.crystals[number].reflections[int(np.flatnonzero(scene.rows[number] == row)[0])]
    result = found.result[row]
    first_ss, first_fs = detector.panels[panel].min_ss, detector.panels[panel].min_fs
    return CloseUp(
        hkl=(int(spot["h"]), int(spot["k"]), int(spot["l"])),
        crystal=number + 1,
        panel=detector.panels[panel].name,
        d=10 / float(spot["inv_d"]) if spot["inv_d"] > 0 else np.inf,
        left=first_fs + cf - half,
        top=first_ss + cs - half,
        predicted=(first_fs + float(spot["fs"]), first_ss + float(spot["ss"])),
        fitted=(first_fs + fitted[0], first_ss + fitted[1]),
        radii=(radii[0], radii[1], radii[2]),
        reach=float(fit_reach(likely, radii[0])[row]),
        observed=_box(counts, cs, cf, half, np.nan) * np.float64(frame.photons_per_adu[panel]),
        background=expected,
        profile=profile,
        bad=(flags & (BAD | FAULTY)) > 0,
        others=((flags & TWO) > 0) | (((flags & ONE) > 0) & ~own),
        flux=flux,
        share=share,
        photon=float(frame.adu_per_photon[panel]),
        deviation=np.sqrt(np.maximum(background.factor[row] * variance, background.least[row])),
        intensity=float(result["I"]),
        sigma=float(result["sigma"]),
        peak=float(result["peak"]),
        mean_background=float(result["background"]),
        status=Status(int(result["status"])),
        stream_intensity=float(printed["I"]),
        stream_sigma=float(printed["sigma"]),
    )


def _box(panel: NDArray[Any], row: int, column: int, half: int, beyond: float) -> NDArray[Any]:
    """Pixels of a panel from ``half`` before one to ``half`` behind it; ``beyond`` where the panel has none."""
    size = 2 * half + 1
    box = np.full((size, size), beyond, panel.dtype)
    top, left = max(row - half, 0), max(column - half, 0)
    on = panel[top : row + half + 1, left : column + half + 1]
    top, left = top - row + half, left - column + half
    box[top : top + on.shape[0], left : left + on.shape[1]] = on
    return box
