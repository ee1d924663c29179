import pytest

from waterbg.errors import UsageError
from waterbg.simulate import PRESETS, Experiment, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_the_way_through_json(name):
    assert Experiment.from_json(PRESETS[name].to_json()) == PRESETS[name]


def test_an_unknown_preset_names_those_that_exist():
    with pytest.raises(UsageError, match="no preset 'nominel'; there are: nominal, sharp"):
        preset("nominel")


def test_an_unknown_quantity_names_those_that_exist():
    with pytest.raises(UsageError, match=r"an experiment has no 'watter'; it has: .* water,"):
        Experiment().replace(watter=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"water": "much"}, r"water: 'much' is not of the kind of 34.5"),
        ({"jet": 1.0}, r"jet: 1.0 is not of the kind of \[0.3, 3.0\]"),
        ({"jet": [1, 2, 3]}, r"jet: \[1, 2, 3\] is not of the kind of \[0.3, 3.0\]"),
        ({"hot_pixels": 1.5}, r"hot_pixels: 1.5 is not of the kind of 20"),
        ({"layout": "heap"}, "layout: 'heap' is none of stacked, modules"),
        ({"crystals": [2, 1]}, "crystals: from 2 to 1 is no range"),
        ({"photons": 0}, r"photons: need 0.001 to 1e\+15 \(photons; .*\), not 0.0"),
        ({"seed": -1}, r"seed: need 0 to 9.22337e\+18 \(any number\), not -1"),
        ({"seed": float("inf")}, "seed: inf is not of the kind of 1"),
        ({"water": True}, "water: True is not of the kind of 34.5"),
        ({"water": 10**400}, "water: 1000*0 is not of the kind of 34.5"),
        ({"cell": [79.1, 79.1, 38.4, 90, 90, 5]}, r"cell: need 10 to 170 \(degrees\), not 5.0"),
        ({"cell": [79.1, 79.1, 38.4, 30, 30, 90]}, "cell: axes at .* degrees lie in a plane"),
        ({"cell": [2000, 79.1, 38.4, 90, 90, 90]}, "cell, photon_energy, camera_length: reflections up to index"),
        ({"cell": [800, 800, 800, 90, 90, 90]}, "cell, profile_radius, crystals, photon_energy: .* reflections"),
        ({"panel_shape": [9000, 9000]}, "panel_grid, panel_shape: 162000000 pixels are more than"),
        ({"lattice_type": "x"}, "lattice_type: 'x' is none of triclinic, monoclinic"),
        ({"unique_axis": "?"}, "unique_axis: '?' is none of a, b, c".replace("?", r"\?")),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Experiment().replace(**changes)


def test_lists_become_the_tuples_that_ranges_are():
    assert Experiment().replace(jet=[1, 2]).jet == (1.0, 2.0)
