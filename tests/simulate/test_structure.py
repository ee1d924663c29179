import numpy as np
import pytest

from waterbg.errors import UsageError
from waterbg.simulate import Experiment
from waterbg.simulate.pulse import reciprocal_axes
from waterbg.simulate.structure import all_reflections, present, representative, rotations, structure_factors

ORDERS = {
    "-1": 1,
    "2/m": 2,
    "2/m_uaa": 2,
    "2/m_uab": 2,
    "2/m_uac": 2,
    "mmm": 4,
    "4/m": 4,
    "4/mmm": 8,
    "-3_H": 3,
    "-3m1_H": 6,
    "-31m_H": 6,
    "6/m": 6,
    "6/mmm": 12,
    "m-3": 12,
    "m-3m": 24,
}
CELLS = {
    "-1": (41.0, 47.0, 53.0, 82.0, 95.0, 104.0),
    "2/m": (62.0, 44.0, 51.0, 90.0, 90.0, 104.0),
    "2/m_uaa": (62.0, 44.0, 51.0, 104.0, 90.0, 90.0),
    "2/m_uab": (62.0, 44.0, 51.0, 90.0, 104.0, 90.0),
    "2/m_uac": (62.0, 44.0, 51.0, 90.0, 90.0, 104.0),
    "mmm": (40.0, 50.0, 60.0, 90.0, 90.0, 90.0),
    **dict.fromkeys(("4/m", "4/mmm"), (79.1, 79.1, 38.4, 90.0, 90.0, 90.0)),
    **dict.fromkeys(("-3_H", "-3m1_H", "-31m_H", "6/m", "6/mmm"), (60.0, 60.0, 45.0, 90.0, 90.0, 120.0)),
    **dict.fromkeys(("m-3", "m-3m"), (60.0, 60.0, 60.0, 90.0, 90.0, 90.0)),
}
INDICES = np.random.default_rng(5).integers(-12, 13, (400, 3))


@pytest.mark.parametrize("group", ORDERS)
def test_a_laue_group_has_its_order_and_keeps_the_length_of_every_vector_of_its_lattice(group):
    matrices = rotations(group)
    assert len(matrices) == ORDERS[group]
    axes = reciprocal_axes(CELLS[group])
    length = np.linalg.norm(INDICES @ axes, axis=1)
    for matrix in matrices:
        assert round(np.linalg.det(matrix)) == 1
        np.testing.assert_allclose(np.linalg.norm(INDICES @ matrix.T @ axes, axis=1), length, rtol=1e-12)


@pytest.mark.parametrize("group", ORDERS)
def test_equivalent_reflections_and_friedel_mates_have_one_intensity(group):
    experiment = Experiment(cell=CELLS[group], point_group=group)
    first = structure_factors(experiment, INDICES)
    for matrix in rotations(group):
        for sign in (1, -1):
            assert np.array_equal(structure_factors(experiment, sign * INDICES @ matrix.T), first)


def test_reflections_that_are_not_equivalent_have_different_intensities():
    experiment = Experiment(cell=CELLS["4/m"], point_group="4/m")
    hkl, khl = np.array([[7, 3, 2]]), np.array([[3, 7, 2]])
    assert structure_factors(experiment, hkl) != structure_factors(experiment, khl)
    assert np.array_equal(representative(hkl, "4/mmm"), representative(khl, "4/mmm"))


def test_intensities_follow_wilson_statistics():
    experiment = Experiment(wilson_b=0.0, scattering=1.0)
    indices = all_reflections(experiment, 8.0)
    general = (indices > 0).all(axis=1) & (indices[:, 0] != indices[:, 1])
    acentric = structure_factors(experiment, indices[general])
    centric = structure_factors(experiment, indices[(indices[:, 2] == 0) & (indices[:, 1] > 0)])
    assert len(acentric) > 3000
    # moments of the exponential and of the chi² distribution; three standard errors
    assert acentric.mean() == pytest.approx(1, abs=3 / np.sqrt(len(acentric)))
    assert (acentric**2).mean() == pytest.approx(2, abs=3 * np.sqrt(20 / len(acentric)))
    assert (centric**2).mean() / centric.mean() ** 2 == pytest.approx(3, abs=3 * np.sqrt(96 / len(centric)))


def test_intensities_fall_with_the_wilson_factor():
    flat, falling = Experiment(wilson_b=0.0), Experiment(wilson_b=22.0)
    d = 1 / np.linalg.norm(INDICES @ reciprocal_axes(flat.cell), axis=1)
    ratio = structure_factors(falling, INDICES) / structure_factors(flat, INDICES)
    np.testing.assert_allclose(ratio, np.exp(-22.0 / (2 * d * d)), rtol=1e-12)


@pytest.mark.parametrize(
    ("centering", "allowed", "absent"),
    [
        ("A", (1, 1, 1), (0, 1, 2)),
        ("B", (1, 0, 1), (0, 1, 1)),
        ("C", (1, 1, 0), (0, 1, 1)),
        ("I", (1, 1, 0), (1, 1, 1)),
        ("F", (1, 1, 1), (1, 1, 0)),
        ("H", (1, 0, 1), (1, 0, 0)),
    ],
)
def test_a_centring_leaves_out_its_absences(centering, allowed, absent):
    assert list(present(np.array([allowed, absent]), centering)) == [True, False]


def test_the_list_of_all_reflections_has_each_unique_index_once_and_none_beyond_the_resolution():
    experiment = Experiment(cell=CELLS["mmm"], point_group="mmm", centering="I")
    indices = all_reflections(experiment, 3.0)
    assert len(np.unique(indices, axis=0)) == len(indices)
    assert (np.linalg.norm(indices @ reciprocal_axes(experiment.cell), axis=1) < 0.3).all()
    # the octant h, k, l >= 0 is what mmm leaves of the sphere
    h, k, m = np.mgrid[0:13, 0:16, 0:19].reshape(3, -1)
    inside = (h / 40) ** 2 + (k / 50) ** 2 + (m / 60) ** 2 < 0.09
    assert len(indices) == ((h + k + m) % 2 == 0)[inside].sum() - 1


def test_unknown_groups_and_centrings_are_refused():
    with pytest.raises(UsageError, match=r"point group '4/mm': need one of -1, 2/m"):
        rotations("4/mm")
    with pytest.raises(UsageError, match="centering 'Q': need one of P, A"):
        present(INDICES, "Q")
