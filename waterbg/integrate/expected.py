"""What is expected of each spot of a frame, for the profile it is fitted with: place, widths, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waterbg.background.rays import Rays
from waterbg.integrate.places import Places
from waterbg.integrate.psf import NARROW, capture, counting_at
from waterbg.integrate.shapes import Shapes
from waterbg.integrate.strong import FIT_MARGIN, offsets_of, widths_of

MOST_MARGIN = 3.0  # px beyond the peak disc that the fit reaches at most
MOST_ADDED = 1.06  # flux of a spot's core over what the peak disc holds of it
WIDE_REACH = 2.5  # widths that the fit reaches between FIT_MARGIN and that
WITHIN_PIXEL = 1 / 12  # variance of where a photon is in its pixel, of whose middle a disc asks


@dataclass(frozen=True)
class Expected:
    """Where each spot is expected, how wide, and how sure that is.

    Attributes
    ----------
    shift : (n, 2) float64
        Offset from the prediction along fs and ss, pixels.
    widths : (n, 2) float64
        Along and across the radius, pixels.
    blur : (n, 2) float64
        Variance of the place along and across the radius, pixels².
    doubt : (n, 2) float64
        Relative standard deviation of the widths.
    mean : (n, 2) float64
        The frame's widths there, whatever the spot itself says.
    """

    shift: NDArray[np.float64]
    widths: NDArray[np.float64]
    blur: NDArray[np.float64]
    doubt: NDArray[np.float64]
    mean: NDArray[np.float64]


def spot_shapes(shapes: Shapes, rays: Rays, spots: NDArray[np.void], places: Places) -> Expected:
    """Say of each spot what is expected, for the profile it is fitted with.

    All follow the frame's map and widths, blurred by what strong spots scatter about the map. A strong spot's own
    place and widths count by their precision against that scatter.
    """
    offset = shapes.positions.at(places, shapes.farthest)
    mean = shapes.widths_at(spots["inv_d"], places)
    widths = mean.copy()
    blur = shapes.places.variance(spots["inv_d"], places, 0.02)
    doubt = np.full_like(widths, shapes.psf.scatter)
    own, which = shapes.measured, shapes.which
    if len(which):
        found, counting = widths_of(own)
        scatter = (shapes.psf.scatter * widths[which]) ** 2
        like = ((found - widths[which]) > -NARROW * np.sqrt(scatter + counting)).all(axis=1)
        own, which = own[like], which[like]
        found, counting = offsets_of(own)
        trust = blur[which] / (blur[which] + counting)
        moved = trust * places[which].along_radius(found - offset[which])
        offset[which] += places[which].off_radius(moved)
        blur[which] *= 1 - trust
        found, counting = widths_of(own)
        own_doubt2 = counting_at(widths[which], found, counting) / widths[which] ** 2
        trust = doubt[which] ** 2 / (doubt[which] ** 2 + own_doubt2)
        widths[which] += trust * (found - widths[which])
        doubt[which] *= np.sqrt(1 - trust)
    return Expected(_to_panel(offset, rays, spots), widths, blur, doubt, mean)


def _to_panel(offset: NDArray[np.float64], rays: Rays, spots: NDArray[np.void]) -> NDArray[np.float64]:
    """(n, 2) offset along fs and ss of an offset in x and y; 0 on a panel that is seen edge-on."""
    ray = rays.panel[spots["panel"]]
    determinant = ray[:, 3] * ray[:, 7] - ray[:, 4] * ray[:, 6]
    determinant = np.where(np.abs(determinant) < 1e-6, np.inf, determinant)
    fs = (offset[:, 0] * ray[:, 7] - offset[:, 1] * ray[:, 6]) / determinant
    ss = (offset[:, 1] * ray[:, 3] - offset[:, 0] * ray[:, 4]) / determinant
    return np.stack([fs, ss], axis=1)


def fit_reach(expected: Expected, inner: int) -> NDArray[np.float64]:
    """(n,) radius of the fit in pixels: a little more than the peak disc, and more for wide spots."""
    widest = np.sqrt((expected.widths**2 + expected.blur).max(axis=1))
    return np.clip(WIDE_REACH * widest, inner + FIT_MARGIN, inner + MOST_MARGIN)


def kept_shares(
    shapes: Shapes, inv_d: NDArray[np.float64], expected: Expected, inner: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(n,) what the disc holds of the core of the frame's mean spot; what a fitted flux, and the sum over a disc,
    are to be multiplied with for a spot's intensity.

    The profile may add a sixteenth to what the disc holds of a spot's core: how much of a wide arc lies farther out
    is a guess, and only a smooth function of the spot's place. A strong spot's own width says how its counts are to be
    weighted, but is no measurement of what lies outside the disc: there it is taken to have what the frame's mean
    spot has.
    """
    mean, blur, tail = expected.mean, expected.blur, shapes.psf.tail
    core = capture(mean, shapes.places.lines.at(inv_d) ** 2, 0.0, inner)
    counted = np.minimum(MOST_ADDED * core, 1)
    spread = blur + WITHIN_PIXEL
    in_disc = capture(mean, spread, tail, inner)
    fitted, own = counted.copy(), shapes.which
    if len(own):  # all others have the frame's widths
        fitted[own] *= capture(expected.widths[own], spread[own], tail, inner) / in_disc[own]
    return core, fitted, counted / in_disc


def shape_error(
    widths: NDArray[np.float64], blur: NDArray[np.float64], doubt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Relative error of a fitted intensity because the spot's place and widths are not quite known.

    For a Gaussian spot on a level background, from the overlap of the profile and spots that scatter about it. What a
    strong spot itself adds to the variance of its pixels levels their weights, until the fit is a sum, which is right
    for any shape: the error is to be multiplied with the background's share in the variance.

    Parameters
    ----------
    widths, blur : (n, 2) float64
        Gaussian sigma, and variance of the place, along and across the radius; pixels, pixels².
    doubt : (n, 2) float64
        Relative standard deviation of the widths.

    Returns
    -------
    (n,) float64

    Notes
    -----
    Along one axis a spot of width w at s gives I a factor R(s) = sqrt((a + b²)/a) exp(-s²/2a), a = 2 w² + b², when it
    is fitted with the profile blurred by b. For s of variance b² the mean of R is 1, that of R² (a + b²) / sqrt(a (a +
    2 b²)). The logarithm of I falls with that of either width by a half.
    """
    a = 2 * widths**2 + blur
    place = ((a + blur) / np.sqrt(a * (a + 2 * blur))).prod(axis=1) - 1
    return np.sqrt(place + 0.25 * (doubt**2).sum(axis=1))
