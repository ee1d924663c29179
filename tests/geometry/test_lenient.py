"""Geometries of older CrystFEL versions, which 0.12 refuses."""

import pytest

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry

OLD = """photon_energy = 9000  # was 8000
adu_per_eV = 0.001
q/min_fs = 0
q/max_fs = 9
q/min_ss = 0
q/max_ss = 7
q/corner_x = -5
q/corner_y = -4
q/fs = x # fast
q/ss = y
q/res = 10000
"""


@pytest.mark.parametrize(
    ("extra", "warning"),
    [
        ("clen = 0.1\n", "geometry:1: comment with '#' instead of ';'"),
        ("# a comment\nclen = 0.1\n", "geometry:12: comment with '#'"),
        ("", "geometry:12: the geometry ends without a camera length"),
        ("clen = 0.1\nmax_adu = 3\n", "geometry:13: this has no effect"),
        ("clen = 0.1\nbad_a/panel = zz\nbad_a/min_fs = 1\n", "geometry:13: bad region 'bad_a' is on panel 'zz'"),
        ("clen = 0.1\nhello\n", "geometry:13: 'hello' is not of the form"),
    ],
)
def test_what_0_12_refuses_is_a_warning_with_its_line(extra, warning):
    with pytest.raises(GeometryError):
        parse_geometry(OLD + extra)
    detector = parse_geometry(OLD + extra, lenient=True)
    assert any(w.startswith(warning) for w in detector.warnings), detector.warnings
    assert detector.panels[0].fs == (1, 0, 0)
    assert detector.wavelength.photon_energy_eV(None) == pytest.approx(9000)


def test_a_missing_wavelength_is_left_to_the_stream():
    detector = parse_geometry(OLD.partition("\n")[2] + "clen = 0.1\n", lenient=True)
    assert detector.wavelength is None
    assert any("without wavelength" in w for w in detector.warnings)


def test_camera_lengths_of_panels_become_one_and_offsets():
    other = OLD.partition("adu_per_eV = 0.001\n")[2].replace("q/", "r/")
    image = other.replace("r/", "s/") + "s/clen = /a/clen\n"
    detector = parse_geometry(OLD + "q/clen = 0.1\n" + other + "r/clen = 0.1015\n" + image, lenient=True)
    assert detector.clen.metres(None) == 0.1
    assert [p.coffset for p in detector.panels] == pytest.approx([0, 0.0015, 0])


def test_a_bad_region_beyond_its_panel_is_cut_to_it():
    extra = "clen = 0.1\nbad_a/panel = q\nbad_a/min_fs = 5\nbad_a/max_fs = 50\nbad_a/max_ss = 3\n"
    (region,) = parse_geometry(OLD + extra, lenient=True).bad_regions
    assert (region.min_fs, region.max_fs, region.min_ss, region.max_ss) == (5, 9, 0, 3)


@pytest.mark.parametrize("lacks", ["q/corner_x", "q/fs", "q/max_ss", "q/res"])
def test_a_panel_without_a_place_is_refused_even_so(lacks):
    text = "\n".join(line for line in OLD.split("\n") if not line.startswith(lacks))
    with pytest.raises(GeometryError, match="panel q has no"):
        parse_geometry(text + "clen = 0.1\n", lenient=True)


def test_the_refused_statement_is_named_when_it_is_why_a_panel_has_no_place():
    with pytest.raises(GeometryError, match=r"^geometry:9: 'q' in the direction .*; panel q has no fs direction"):
        parse_geometry(OLD.replace("fs = x", "fs = q"), lenient=True)
