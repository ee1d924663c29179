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
        ({"layout": "heap"}, "layout 'heap': need 'stacked' or 'modules'"),
        ({"crystals": [2, 1]}, r"crystals in a frame: \(2, 1\) is no range"),
        ({"photons": 0}, "photons must be positive, not 0.0"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Experiment().replace(**changes)


def test_lists_become_the_tuples_that_ranges_are():
    assert Experiment().replace(jet=[1, 2]).jet == (1.0, 2.0)
