import math

import pytest

from waterbg.crystfel.tables import read_check, read_compare, read_range
from waterbg.errors import ProgramError


def test_the_table_of_check_hkl_is_read(recorded):
    shells = read_check((recorded / "check-nograd.dat").read_text(), (recorded / "check-nograd.err").read_text())
    assert shells.edges == (0.566, 3.310, 4.167, 4.769, 5.248, 5.652)
    assert shells.columns["reflections"] == (402, 235, 202, 68, 16)
    assert shells.columns["completeness"] == (44.37, 28.01, 24.51, 8.42, 1.98)
    assert shells.columns["multiplicity"] == (2.9, 2.5, 2.4, 2.2, 2.1)
    assert shells.columns["snr"] == (8.81, 8.83, 15.43, 6.88, 3.90)
    assert shells.columns["mean_intensity"] == (289.37, 151.60, 72.70, 44.95, 25.78)
    assert shells.overall == {
        "measurements": 2396,
        "reflections": 923,
        "possible": 4185,
        "snr": 10.036724,
        "multiplicity": 2.595883,
        "completeness": 22.054958,
    }


def test_the_table_of_crystfel_0_9_has_a_column_more(recorded):
    said = (recorded / "check-nograd.err").read_text()
    shells = read_check((recorded / "check-nograd-0.9.1.dat").read_text(), said)
    assert shells.edges == (0.566, 3.310, 4.167, 4.769, 5.248, 5.652)
    assert shells.columns["snr"] == (8.81, 8.83, 15.43, 6.88, 3.90)
    assert shells.columns["mean_intensity"] == (289.37, 151.60, 72.70, 44.95, 25.78)


def test_the_resolution_range_is_read(recorded):
    assert read_range((recorded / "check-nograd.err").read_text()) == (0.566260, 5.652446)
    assert read_range((recorded / "check-none.err").read_text()) == (math.inf, 0)


@pytest.mark.parametrize("figure", ["Rsplit", "CC", "CCstar"])
def test_the_tables_of_compare_hkl_are_read_with_nan_where_there_is_no_answer(recorded, figure):
    table, said = (recorded / f"{figure}-nograd.dat").read_text(), (recorded / f"{figure}-nograd.err").read_text()
    shells = read_compare(table, said, figure)
    assert len(shells.edges) == 6
    assert len(shells.columns[figure]) == len(shells.columns["pairs"]) == 5
    assert sum(shells.columns["pairs"]) == shells.overall["pairs"] == 78
    assert shells.columns["pairs"][-1] == 0
    assert math.isnan(shells.columns[figure][-1])
    assert shells.overall[figure] == {"Rsplit": 27.03, "CC": 0.8395662, "CCstar": 0.9553990}[figure]


def test_the_r_value_between_two_lists_is_read(recorded):
    table, said = (recorded / "between-R1I.dat").read_text(), (recorded / "between-R1I.err").read_text()
    assert 0 < read_compare(table, said, "R1I").overall["R1I"] < 5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "does not begin with"),
        ("something else\n1 2\n", "does not begin with"),
        ("  1/d centre       CC\n 1.0 2.0\n", "line 2 of its table has not 6 numbers"),
        ("  1/d centre       CC\n 1.0 2.0 x 4 5 6\n", "line 2 of its table has not 6 numbers"),
        ("  1/d centre       CC\n", "its table is empty"),
    ],
)
def test_a_table_of_another_form_is_an_error_and_not_a_number(table, message):
    with pytest.raises(ProgramError, match=message):
        read_compare(table, "Overall CC = 0.5\n", "CC")


def test_missing_overall_values_are_an_error(recorded):
    with pytest.raises(ProgramError, match="overall CC"):
        read_compare((recorded / "CC-nograd.dat").read_text(), "nothing", "CC")
    with pytest.raises(ProgramError, match="overall measurements"):
        read_check((recorded / "check-nograd.dat").read_text(), "nothing")
    with pytest.raises(ProgramError, match="resolution range"):
        read_range("nothing")
