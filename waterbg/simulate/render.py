"""From spots to expected counts: the shape of a spot, integrated over each pixel."""

from __future__ import annotations

import numpy as np

# Gauss-Legendre rules on a pixel of width 1: four points are exact to 1e-4 of the spot down to a sigma of half a
# pixel, two are for the tails, which are twice as wide
_FOUR = (
    np.array([-0.4305681557970263, -0.1699905217924282, 0.1699905217924282, 0.4305681557970263]),
    np.array([0.1739274225687269, 0.3260725774312731, 0.3260725774312731, 0.1739274225687269]),
)
_TWO = (np.array([-0.28867513459481287, 0.28867513459481287]), np.array([0.5, 0.5]))
_AT_ONCE = 200  # spots per batch: bounds the memory


def profiles(spots: np.ndarray, half: int, tail: float = 0.0) -> np.ndarray:
    """Fraction of each spot in every pixel of the box around its predicted pixel.

    Parameters
    ----------
    spots : (n,) TRUE_SPOT
    half : int
        Half width of the box in pixels.
    tail : float
        Fraction of the spot in a second Gaussian of twice the width.

    Returns
    -------
    (n, 2 half + 1, 2 half + 1) float64
        Sum 1 over an infinite box.
    """
    out = np.empty((len(spots), 2 * half + 1, 2 * half + 1))
    for start in range(0, len(spots), _AT_ONCE):
        part = spots[start : start + _AT_ONCE]
        box = _gaussian(part, half, 1.0)
        if tail:
            box = (1 - tail) * box + tail * _gaussian(part, half, 2.0)
        out[start : start + len(part)] = box
    return out


def _gaussian(spots: np.ndarray, half: int, wider: float) -> np.ndarray:
    """Elliptical Gaussian with axes along and across the radius."""
    pixels = np.arange(-half, half + 1) + 0.5
    places, shares = _FOUR if wider == 1 else _TWO
    nodes = (pixels[:, None] + places).ravel()
    weights = np.tile(shares, len(pixels))

    def column(name: str) -> np.ndarray:
        return spots[name][:, None, None]

    dx = nodes[None, None, :] - (column("fs_true") - np.floor(column("fs_pred")))
    dy = nodes[None, :, None] - (column("ss_true") - np.floor(column("ss_pred")))
    c, s = column("cosphi"), column("sinphi")
    sig_r, sig_t = wider * column("sig_r"), wider * column("sig_t")
    # exponent of the rotated Gaussian as a quadratic form in dx and dy
    xx = (c / sig_r) ** 2 + (s / sig_t) ** 2
    yy = (s / sig_r) ** 2 + (c / sig_t) ** 2
    xy = c * s * (1 / sig_r**2 - 1 / sig_t**2)
    fine = np.exp(-0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy) / (2 * np.pi * sig_r * sig_t)
    fine *= weights[None, :, None] * weights[None, None, :]
    n = len(pixels)
    return fine.reshape(len(spots), n, len(places), n, len(places)).sum(axis=(2, 4))


def box_half_width(spots: np.ndarray, wider: float = 1.0) -> int:
    """Half width of a box that holds all but 1e-6 of every spot, two pixels of position error included.

    Parameters
    ----------
    spots : (n,) TRUE_SPOT
    wider : float
        Factor on the widths; 2 for the tails.
    """
    widest = max(spots["sig_r"].max(), spots["sig_t"].max()) if len(spots) else 0.0
    return int(np.ceil(5.2 * wider * widest)) + 2


def add_spots(panels: list[np.ndarray], spots: np.ndarray, tail: float) -> None:
    """Add the expected photons of all spots to the panels they lie on, in place.

    Parameters
    ----------
    panels : list of (n_ss, n_fs) float64
    spots : (n,) TRUE_SPOT
        ``I_true`` photons each; what falls beyond the edge of a panel is lost.
    tail : float
        See :func:`profiles`.
    """
    spots = spots[spots["I_true"] > 0]
    for fraction, wider in ((1 - tail, 1.0), (tail, 2.0)):
        if not fraction:
            continue
        half = box_half_width(spots, wider)
        for number, panel in enumerate(panels):
            _add_boxes(panel, spots[spots["panel"] == number], half, fraction, wider)


def _add_boxes(panel: np.ndarray, spots: np.ndarray, half: int, fraction: float, wider: float) -> None:
    # a margin takes what falls off the panel
    wide = np.zeros((panel.shape[0] + 2 * half, panel.shape[1] + 2 * half))
    for start in range(0, len(spots), _AT_ONCE):
        part = spots[start : start + _AT_ONCE]
        boxes = _gaussian(part, half, wider) * (fraction * part["I_true"])[:, None, None]
        rows, columns = part["ss_pred"].astype(int), part["fs_pred"].astype(int)
        for box, row, column in zip(boxes, rows, columns, strict=True):
            wide[row : row + 2 * half + 1, column : column + 2 * half + 1] += box
    panel += wide[half : half + panel.shape[0], half : half + panel.shape[1]]
