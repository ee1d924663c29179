import math

import pytest

from waterbg.errors import UsageError
from waterbg.settings import OwnRun, Settings


@pytest.mark.parametrize(
    ("line", "radii", "push"),
    [
        ("indexamajig -i a.lst --int-radius=3,4,5 --push-res=1.5", (3, 4, 5), 1.5),
        ("indexamajig --int-radius 3,4,5 --push-res -2", (3, 4, 5), -2),
        # a stream of the original repository says it like this; argp takes any unambiguous beginning
        ("indexamajig -i high_intensity.list --int-rad=2,4,6 --indexing=mosflm", (2, 4, 6), math.inf),
        ("indexamajig --integration=rings-grad --int-diag=all", (4, 5, 7), math.inf),
        ("indexamajig --int-radius=3,4,5 --int-radius=2,4,6", (2, 4, 6), math.inf),
        ("", (4, 5, 7), math.inf),
    ],
)
def test_what_the_streams_own_command_line_says_is_the_default(line, radii, push):
    settings = Settings.from_command_line(line)
    assert settings.int_radius == radii
    assert settings.push_res == push


def test_radii_of_the_stream_that_cannot_be_used_are_told_unless_others_are_given():
    line = "indexamajig --int-radius=10,20,90 --push-res=1.5"
    with pytest.raises(UsageError, match=r"^--int-radius=10,20,90: 1 <= inner"):
        Settings.from_command_line(line)
    settings = Settings.from_command_line(line, without_radii=True)
    assert (settings.int_radius, settings.push_res) == ((4, 5, 7), 1.5)
    assert Settings.from_command_line("indexamajig --int-radius a,b,c").int_radius == (4, 5, 7)


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        ("", False),
        ("--integration=rings-nocen-sat-nograd", True),
        ("--integration rings,sat", True),
        ("--integ=rings-sat-nosat", False),
        ("--integration=sat-rings", False),
        ("--integration=prof2d-sat", False),
        ("--integration=rings-sat --integration=rings", False),
    ],
)
def test_saturated_reflections_are_counted_among_the_kept_ones_by_rings_sat_alone(words, counts):
    assert OwnRun.from_command_line(f"indexamajig -i a.lst {words} -g a.geom").counts_kept == counts


def test_what_the_streams_own_run_took_for_bad_is_read_from_its_command_line():
    assert OwnRun.from_command_line("indexamajig -i a.lst") == OwnRun(True, math.inf, False)
    assert OwnRun.from_command_line("indexamajig --highres=2.5 --no-mask-data") == OwnRun(False, 4.0, False)
    assert OwnRun.from_command_line("indexamajig --highres 4 --no-ma") == OwnRun(False, 2.5, False)
    assert OwnRun.from_command_line("indexamajig --highres=high").max_inv_d == math.inf


def test_crystfel_kept_reflections_with_bad_pixels_before_0_12():
    kept = [version for version in ((0, 9), (0, 11), (0, 12), (1, 0), None) if keeps(version)]
    assert kept == [(0, 9), (0, 11)]


def keeps(version):
    return OwnRun.from_command_line("indexamajig", version).keeps_marred


def test_the_options_give_the_same_settings_to_the_last_digit():
    settings = Settings(push_res=1.2345678, joint=True)
    assert Settings.from_options(settings.as_options()) == settings
