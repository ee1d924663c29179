"""What a geometry means, statement by statement."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry

HEAD = "photon_energy = 9000 eV\nclen = 0.1\nres = 10000\nadu_per_photon = 1\n"
PANEL = """p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 7
p/corner_x = -5
p/corner_y = -4
p/fs = x
p/ss = y
"""


def parse(extra="", head=HEAD, panel=PANEL, **options):
    return parse_geometry(head + panel + extra, **options)


def refused(match, line=None, **options):
    with pytest.raises(GeometryError, match=match) as caught:
        parse(**options)
    if line is not None:
        assert caught.value.line == line
    return caught.value


def test_a_plain_geometry_has_the_defaults_of_crystfel():
    detector = parse()
    (panel,) = detector.panels
    assert (panel.data, panel.dims, panel.coffset, panel.max_adu) == ("/data/data", ("ss", "fs"), 0.0, math.inf)
    assert (panel.n_fs, panel.n_ss, panel.pixel_size) == (10, 8, 1e-4)
    assert detector.groups == {"p": (), "all": ("p",)}
    assert detector.warnings == ()
    assert detector.shapes.tolist() == [[8, 10]]
    assert detector.offsets.tolist() == [0, 80]
    assert detector.sizes == "1 panel of 8 x 10 pixels"


def test_a_default_holds_for_panels_first_mentioned_after_it():
    text = HEAD + PANEL + "max_adu = 5\nadu_per_photon = 3\n" + PANEL.replace("p/", "q/") + "p/coffset = 0.001\n"
    first, second = parse_geometry(text).panels
    assert (first.max_adu, first.adu, first.coffset) == (math.inf, 1, 0.001)
    assert (second.max_adu, second.adu, second.coffset) == (5, 3, 0)


def test_a_nan_whose_payload_looks_hexadecimal_is_no_number_and_no_traceback():
    assert math.isnan(parse("p/coffset = nan(0x1)\n").panels[0].coffset)


def test_a_default_after_the_last_panel_is_refused():
    refused("this has no effect", line=13, extra="max_adu = 5\n")


def test_carriage_returns_end_lines_and_count_as_an_editor_counts_them():
    text = (HEAD + PANEL + "oops\n").replace("\n", "\r\n")
    with pytest.raises(GeometryError, match="'oops' is not of the form") as caught:
        parse_geometry(text)
    assert caught.value.line == 13
    assert parse_geometry((HEAD + PANEL).replace("\n", "\r")).panels == parse().panels


def test_lines_are_counted_from_where_the_geometry_begins_in_a_stream():
    with pytest.raises(GeometryError, match=r"^run\.stream:106: ") as caught:
        parse_geometry(HEAD + "\noops\n", path="run.stream", first_line=101)
    assert caught.value.line == 106


@pytest.mark.parametrize(
    ("text", "vector"),
    [
        ("x", (1, 0, 0)),
        ("-y", (0, -1, 0)),
        ("+0.1x -0.9y +0.01z", (0.1, -0.9, 0.01)),
        ("0.5z-2x", (-2, 0, 0.5)),
        (".5x +.5x", (1, 0, 0)),
    ],
)
def test_directions_are_sums_in_any_order(text, vector):
    assert parse(panel=PANEL.replace("fs = x", f"fs = {text}")).panels[0].fs == pytest.approx(vector)


@pytest.mark.parametrize("text", ["1e0x", "q", "", "0.5", "x y ", "x+"])
def test_other_directions_are_refused_at_their_line(text):
    if text == "x y ":  # blanks are skipped: "xy" is the number "x" along y
        assert parse(panel=PANEL.replace("fs = x", f"fs = {text}")).panels[0].fs == (0, 0, 0)
    else:
        refused("direction", line=11, panel=PANEL.replace("fs = x", f"fs = {text}"))


@pytest.mark.parametrize(
    ("text", "energy"),
    [
        ("photon_energy = 9000", 9000),
        ("photon_energy = 9e3 eV", 9000),
        ("photon_energy = 9 keV", 9000),
        ("wavelength = 1.3776 A", 9000.0137),
        ("wavelength = 1.3776e-10 m", 9000.0137),
    ],
)
def test_photon_energies_are_those_of_crystfel(text, energy):
    detector = parse(head=HEAD.replace("photon_energy = 9000 eV", text))
    assert detector.wavelength.photon_energy_eV(None) == pytest.approx(energy, rel=1e-6)


def test_electrons_have_their_relativistic_wavelength():
    detector = parse(head=HEAD.replace("photon_energy = 9000 eV", "electron_voltage = 200 kV"))
    assert detector.wavelength.metres(None) == pytest.approx(2.5079e-12, rel=1e-4, abs=0)  # the textbook value


@pytest.mark.parametrize(
    ("text", "metres"),
    [("0.1", 0.1), ("0.1 m", 0.1), ("100 mm", 0.1), ("/a/clen", 0.25), ("/a/clen m", 250), ("/a/clen mm", 0.25)],
)
def test_the_camera_length_has_the_units_of_crystfel(text, metres):
    detector = parse(head=HEAD.replace("clen = 0.1", f"clen = {text}"))
    assert detector.clen.metres(lambda place: {"/a/clen": 250.0}[place]) == pytest.approx(metres)


def test_a_shift_from_the_image_is_in_metres():
    detector = parse("detector_shift_x = /s\ndetector_shift_y = 0.2 mm\n")
    assert detector.shift_x.metres(lambda place: 0.001) == 0.001
    moved = detector.shifted(0.001, detector.shift_y.metres(None))
    assert (moved.panels[0].corner_x, moved.panels[0].corner_y) == pytest.approx((5, -2))
    assert detector.shifted(0.001, 2e-4) is moved
    assert detector.shifted(0, math.nan) is detector


def test_positions_in_the_laboratory_follow_the_vectors():
    detector = parse(
        panel=PANEL.replace("fs = x", "fs = 0.6x + 0.8z").replace("ss = y", "ss = -y") + "p/coffset = 0.002\n"
    )
    x, y, z = detector.lab(0, [0, 10], [0, 2], clen=0.1, det_shift_mm=(0.5, -1))
    np.testing.assert_allclose(x, [-5e-4 + 5e-4, (-5 + 6) * 1e-4 + 5e-4], atol=1e-18)
    np.testing.assert_allclose(y, [-4e-4 - 1e-3, -6e-4 - 1e-3])
    np.testing.assert_allclose(z, [0.102, 0.102 + 8e-4])


def test_positions_of_many_panels_at_once_are_those_of_each():
    text = HEAD + PANEL + PANEL.replace("p/", "q/").replace("res", "").replace("= -5", "= 50") + "q/res = 5000\n"
    detector = parse_geometry(text)
    panel, fs, ss = np.array([0, 1, 1]), np.array([1.5, 2, 3]), np.array([0, 1, 2.5])
    together = np.array(detector.lab(panel, fs, ss, 0.1))
    one_by_one = np.array([detector.lab(int(p), f, s, 0.1) for p, f, s in zip(panel, fs, ss, strict=True)]).T
    np.testing.assert_array_equal(together, one_by_one)


def test_adu_per_photon_follows_the_photon_energy_where_it_is_per_ev():
    text = HEAD + PANEL + PANEL.replace("p/", "q/") + "q/adu_per_eV = 0.01\n"
    assert parse_geometry(text).adu_per_photon(9000).tolist() == [1, 90]


def test_masks_are_numbered_and_the_old_names_are_the_first():
    (panel,) = parse(
        "p/mask = /m\np/mask_bad = 0xff\np/mask3_data = /n\np/mask3_file = f.h5\np/mask3_goodbits = 3\n"
    ).panels
    first, third = panel.masks
    assert (first.number, first.data, first.file, first.bad_bits) == (0, "/m", None, 255)
    assert (third.number, third.data, third.file, third.good_bits) == (3, "/n", "f.h5", 3)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("p/mask3_file = f.h5", "mask 3 of panel p has no mask3_data"),
        ("p/mask_bad = 1", "mask 0 of panel p has no mask0_data"),
        ("p/mask12_data = /m", "not a mask statement"),
        ("p/mask1_data = m", "must start with '/'"),
        ("p/mask8_data = m", "must start with '/'"),
        ("p/mask_edge_pixels = two", "must be a whole number"),
        ("p/mask = /%/m", "more '%' in its path"),
        ("p/saturation_map = /%/m", "more '%' in its path"),
        ("p/clen = 0.2", "'clen' of one panel"),
        ("clen", "not of the form name = value"),
        ("group_a = p,zz", "'zz', which is no panel"),
        ("group_a = p,p", "names 'p' twice"),
        ("group_a =", "has no members"),
        ("group_p = p", "already"),
        ("peak_list_type = other", "peak_list_type must be"),
        ("wavelength = 1 nm", "needs the unit m or A, found 'nm'"),
        ("electron_voltage = 200000", "needs the unit V or kV, found none"),
        ("p/dim0 = fs", "no dimension that is fs, or none that is ss"),
        ("bad_a/panel = p", "has no extent"),
        ("bad_a/min_fs = 1\nbad_a/panel = p\nbad_a/max_fs = 20", "is not inside panel p"),
        ("bad_a/min_fs = 1\nbad_a/panel = q", "which does not exist"),
        ("bad_a/min_fs = 1\nbad_a/min_x = 1", "mixes x/y with fs/ss"),
        ("\n".join(["p/flag_equal = 1"] * 17), "more than 16 flag values"),
    ],
)
def test_what_crystfel_refuses_is_refused_at_its_line(statement, why):
    err = refused(why, extra=statement + "\n")
    assert err.line >= 5


@pytest.mark.parametrize(
    ("line", "statement", "why"),
    [
        (6, "p/max_fs = -1", "max_fs of panel p must be 0 or more, found '-1'"),
        (7, "p/min_ss = nan", "min_ss of panel p must be 0 or more, found 'nan'"),
        (9, "p/corner_x = nan", "corner_x of panel p must be a number, found 'nan'"),
        (3, "res = -10000", "res of panel p must be more than 0, found '-10000'"),
    ],
)
def test_a_value_that_no_panel_can_have_is_refused_at_its_line(line, statement, why):
    lines = (HEAD + PANEL).split("\n")
    assert lines[line - 1].startswith(statement.partition("=")[0])
    lines[line - 1] = statement
    with pytest.raises(GeometryError, match=f"^geometry:{line}: {why}$"):
        parse_geometry("\n".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("p/max_fs", "p/Max_fs", "5: panel p has no max_fs; line 6: unknown statement 'Max_fs' ignored"),
        ("p/fs =", "p/fast =", "5: panel p has no fs direction; line 11: unknown statement 'fast' ignored"),
        (
            "photon_energy",
            "foton_energy",
            "13: the geometry ends without wavelength, photon_energy or electron_voltage; ",
        ),
        (
            "clen",
            "Clen",
            "13: the geometry ends without a camera length (clen); line 2: unknown statement 'Clen' ignored",
        ),
        (
            "photon_e",
            "\ufeffphoton_e",
            "13: the geometry ends without wavelength, photon_energy or electron_voltage; line 1: ",
        ),
        ("photon_e", "\ufeff; comment\nphoton_e", "1: '(byte order mark)' is not of the form name = value"),
        (
            "adu_per",
            "ADU_per",
            "5: panel p has no adu_per_photon or adu_per_eV; line 4: unknown statement 'ADU_per_photon'",
        ),
        ("p/fs =", "# p/fs =", "5: panel p has no fs direction; line 11: '# p' is another panel"),
        ("p/fs =", "p /fs =", "5: panel p has no fs direction; line 11: 'p ' is another panel"),
        ("res = ", "dim1 = fast\nres = ", None),
        (
            "res = ",
            "dim0 = %\ndim1 = ss\ndim2 = fast\nres = ",
            "8: panel p has no dimension that is fs, or none that is ss; line 5: dim2 must be ss, fs, % or a number",
        ),
    ],
)
def test_what_a_panel_lacks_is_said_with_the_statement_that_was_ignored(old, new, why):
    text = (HEAD + PANEL).replace(old, new)
    if why is None:
        assert parse_geometry(text).warnings == (
            "geometry:3: dim1 must be ss, fs, % or a number, found 'fast'; ignored",
        )
    else:
        with pytest.raises(GeometryError, match=f"^geometry:{re.escape(why)}"):
            parse_geometry(text)


@pytest.mark.parametrize(
    "statement",
    [
        "p/colour = blue",
        "p/dim = 3",
        "p/dimx = fs",
        "p/dim0 = slow",
        "bandwidth = wide",
        "p/badrow_direction = x",
        "p/mask8_data = /m",
        "group_a = a,p",
    ],
)
def test_what_crystfel_only_complains_about_is_a_warning_with_its_line(statement):
    (warning,) = parse(statement + "\n").warnings
    assert warning.startswith("geometry:13: ")


def test_a_bad_region_counts_from_the_first_pixel_of_its_panel():
    panel = PANEL.replace("fs = 0", "fs = 100").replace("fs = 9", "fs = 109").replace("ss = 0", "ss = 2")
    limits = "bad_a/min_fs = 102\nbad_a/max_fs = 105\nbad_a/min_ss = 3\nbad_a/max_ss = 6\nbad_a/panel = p\n"
    (region,) = parse(limits, panel=panel).bad_regions
    assert (region.min_fs, region.max_fs, region.min_ss, region.max_ss) == (2, 5, 1, 4)


def test_dimensions_name_each_axis():
    (panel,) = parse(panel=PANEL + "p/dim0 = %\np/dim1 = 4\np/dim2 = ss\np/dim3 = fs\n").panels
    assert panel.dims == ("%", 4, "ss", "fs")


def test_a_geometry_of_thousands_of_panels_is_read():
    panels = "".join(PANEL.replace("p/", f"a_rather_long_name_of_a_panel_number_{i}/") for i in range(3000))
    detector = parse_geometry(HEAD + panels)
    assert len(detector.panels) == 3000
    assert detector.n_pixels == 240_000
    assert "all" not in detector.groups  # CrystFEL makes no group of more than 64


def test_numbers_of_panels_are_found_by_name_or_bytes():
    assert parse().panel_numbers([b"p", "p", "q"]).tolist() == [0, 0, -1]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_text_is_read_or_refused_with_a_line_in_it(data):
    lines = (HEAD + PANEL + "bad_a/panel = p\nbad_a/min_fs = 1\nmask_file = m.h5\ngroup_a = p\n").split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        how = data.draw(st.sampled_from(["drop", "double", "text", "number"]))
        if how == "drop":
            lines[at : at + 1] = []
        elif how == "double":
            lines.insert(at, lines[-at])
        elif how == "text":
            lines[at] = data.draw(st.text(max_size=30))
        else:
            value = data.draw(st.sampled_from(["-1", "1e400", "nan", "0x1p3", "99999999999", "", "inf", "1e-400"]))
            lines[at] = lines[at].partition("=")[0] + "= " + value
        lines = lines or [""]
    text = "\n".join(lines)
    for lenient in (False, True):
        try:
            detector = parse_geometry(text, lenient=lenient)
        except GeometryError as err:
            assert 1 <= err.line <= len(text.replace("\r", "\n").split("\n"))
        else:
            assert detector.n_pixels == detector.shapes.prod(axis=1).sum()
