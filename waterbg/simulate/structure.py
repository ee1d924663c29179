"""|F|² of the simulated crystal: Wilson statistics under any Laue group, the same in every frame."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from waterbg.errors import UsageError
from waterbg.simulate.draws import uniform_of_indices
from waterbg.simulate.pulse import reciprocal_axes

if TYPE_CHECKING:
    from waterbg.simulate.experiment import Experiment

# rotations as they act on (h, k, l); four and three times the z axis, two times an axis, and the cyclic one of cubes
_TWO = {axis: np.diag([1 if i == "abc".index(axis) else -1 for i in range(3)]) for axis in "abc"}
_FOUR_C = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
_THREE_C = np.array([[-1, -1, 0], [1, 0, 0], [0, 0, 1]])  # h -> i = -h-k, hexagonal axes
_TWO_110 = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
_TWO_1M10 = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]])
_THREE_111 = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])

GENERATORS = {
    "-1": [],
    "2/m": [_TWO["c"]],
    "2/m_uaa": [_TWO["a"]],
    "2/m_uab": [_TWO["b"]],
    "2/m_uac": [_TWO["c"]],
    "mmm": [_TWO["a"], _TWO["b"]],
    "4/m": [_FOUR_C],
    "4/mmm": [_FOUR_C, _TWO["a"]],
    "-3_H": [_THREE_C],
    "-3m1_H": [_THREE_C, _TWO_110],
    "-31m_H": [_THREE_C, _TWO_1M10],
    "6/m": [_THREE_C, _TWO["c"]],
    "6/mmm": [_THREE_C, _TWO["c"], _TWO_110],
    "m-3": [_TWO["a"], _TWO["b"], _THREE_111],
    "m-3m": [_FOUR_C, _TWO["a"], _THREE_111],
}

WITH_UNIQUE_AXIS = ("monoclinic", "tetragonal", "hexagonal")

CENTERINGS: dict[str, Callable[..., np.ndarray]] = {
    "P": lambda h, k, m: np.ones(np.shape(h), bool),
    "A": lambda h, k, m: (k + m) % 2 == 0,
    "B": lambda h, k, m: (h + m) % 2 == 0,
    "C": lambda h, k, m: (h + k) % 2 == 0,
    "I": lambda h, k, m: (h + k + m) % 2 == 0,
    "F": lambda h, k, m: ((h + k) % 2 == 0) & ((h + m) % 2 == 0),
    "H": lambda h, k, m: (-h + k + m) % 3 == 0,
    "R": lambda h, k, m: np.ones(np.shape(h), bool),
}


@lru_cache(maxsize=32)
def rotations(point_group: str) -> np.ndarray:
    """Proper rotations of a Laue group.

    Parameters
    ----------
    point_group : str
        In CrystFEL's notation; monoclinic groups name their axis (``2/m_uab``), trigonal ones have hexagonal axes.

    Returns
    -------
    (n, 3, 3) int64
        Matrices that act on columns (h, k, l).

    Raises
    ------
    UsageError
        For a group that is not a Laue group.
    """
    if point_group not in GENERATORS:
        raise UsageError(f"point group {point_group!r}: need one of {', '.join(GENERATORS)}")
    group = {tuple(np.eye(3, dtype=int).ravel())}
    fresh = group
    while fresh:
        products = {
            tuple((g @ np.reshape(member, (3, 3))).ravel()) for member in fresh for g in GENERATORS[point_group]
        }
        fresh = products - group
        group = group | fresh
    return np.array(sorted(group)).reshape(-1, 3, 3)


def representative(indices: np.ndarray, point_group: str) -> np.ndarray:
    """The one of all equivalent indices (Friedel mates included) that comes last in the order of h, k, l.

    Parameters
    ----------
    indices : (n, 3) int
    point_group : str

    Returns
    -------
    (n, 3) int64
    """
    best = None
    for rotation in rotations(point_group):
        for sign in (1, -1):
            mate = sign * np.asarray(indices, np.int64) @ rotation.T
            key = (mate[:, 0] * 4096 + mate[:, 1]) * 4096 + mate[:, 2]
            if best is None:
                best, best_key = mate.copy(), key
            else:
                better = key > best_key
                best[better], best_key[better] = mate[better], key[better]
    assert best is not None
    return best


def present(indices: np.ndarray, centering: str) -> np.ndarray:
    """True for indices that the centring of the lattice allows.

    Raises
    ------
    UsageError
        For a centring that does not exist.
    """
    if centering not in CENTERINGS:
        raise UsageError(f"centering {centering!r}: need one of {', '.join(CENTERINGS)}")
    return CENTERINGS[centering](indices[..., 0], indices[..., 1], indices[..., 2])


def structure_factors(experiment: Experiment, indices: np.ndarray) -> np.ndarray:
    """|F|² in photons of a whole reflection at 3e8 photons per pulse.

    Parameters
    ----------
    experiment : Experiment
    indices : (n, 3) int

    Returns
    -------
    (n,) float64
        Mean ``scattering`` · epsilon · exp(-2 B s²), s = 1/(2d) of the nominal cell; exponential for acentric,
        chi² of one degree for centric reflections (Wilson 1949, Acta Cryst. 2, 318); equal for equivalent ones.
        epsilon is the number of rotations that leave the indices alone. The draws depend on the
        cell alone, not on the seed: all runs are of the same substance.
    """
    asu = representative(indices, experiment.point_group)
    centric, epsilon = np.zeros(len(asu), bool), np.zeros(len(asu))
    for rotation in rotations(experiment.point_group):
        mate = asu @ rotation.T
        epsilon += (mate == asu).all(axis=1)
        centric |= (mate == -asu).all(axis=1)
    substance = round(sum(100 * x * 7**i for i, x in enumerate(experiment.cell)))
    u, v = uniform_of_indices(substance, asu, 0), uniform_of_indices(substance, asu, 1)
    exponential = -np.log(u)
    normal_squared = 2 * exponential * np.cos(2 * np.pi * v) ** 2  # Box and Muller
    s2 = 0.25 * ((asu @ reciprocal_axes(experiment.cell)) ** 2).sum(axis=1)
    wilson = np.exp(-2 * experiment.wilson_b * s2)
    return experiment.scattering * epsilon * wilson * np.where(centric, normal_squared, exponential)


def all_reflections(experiment: Experiment, largest_inverse_d: float) -> np.ndarray:
    """Every unique index up to a resolution, centring absences left out, sorted.

    Parameters
    ----------
    experiment : Experiment
    largest_inverse_d : float
        nm^-1.

    Returns
    -------
    (n, 3) int64
    """
    axes = 10 * reciprocal_axes(experiment.cell)
    limits = index_limits(axes, largest_inverse_d)
    found = []
    for h in range(limits[0] + 1):  # -h is a Friedel mate
        k, m = np.mgrid[-limits[1] : limits[1] + 1, -limits[2] : limits[2] + 1].reshape(2, -1)
        hkl = np.column_stack([np.full(k.size, h), k, m])
        keep = present(hkl, experiment.centering) & (((hkl @ axes) ** 2).sum(axis=1) < largest_inverse_d**2)
        hkl = hkl[keep & hkl.any(axis=1)]
        found.append(hkl[(representative(hkl, experiment.point_group) == hkl).all(axis=1)])
    return np.concatenate(found)


def index_limits(axes: np.ndarray, largest_inverse_d: float) -> np.ndarray:
    """Largest |h|, |k|, |l| within a sphere: |h| = |g · a| <= |g| |a|.

    Parameters
    ----------
    axes : (3, 3) float64
        Rows astar, bstar, cstar.
    largest_inverse_d : float
        In the unit of the axes.
    """
    direct = np.linalg.inv(axes)  # columns a, b, c
    return np.floor(largest_inverse_d * np.linalg.norm(direct, axis=0)).astype(int)
