import builtins
import csv

import h5py
import numpy as np
import pytest

from waterbg import h5_background_subtraction as tool
from waterbg.cli.base import run
from waterbg.errors import ImageError
from waterbg.h5_background_subtraction import ArrayRegion, PeakThresholdProcessor, three_rings


@pytest.fixture(autouse=True)
def nothing_asks(monkeypatch):
    def refuse(*_):
        raise AssertionError("a library function called input()")

    monkeypatch.setattr(builtins, "input", refuse)


@pytest.fixture
def ramp():
    """Not square, every value once: a transposed index cannot pass."""
    return np.arange(6 * 9).reshape(6, 9)


@pytest.fixture
def image_file(tmp_path):
    """A background of 10 with a spot of 2000 at row 5, column 12, and one at a corner."""
    image = np.full((20, 30), 10, np.uint16)
    image[5, 12], image[4:7, 11:14] = 0, 300
    image[5, 12] = 2000
    image[0, 29] = 1500
    path = tmp_path / "image.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = image
    return path


# -- threshold ---------------------------------------------------------------------------------------------------------


def test_coordinates_above_the_threshold_are_row_and_column(ramp):
    processor = PeakThresholdProcessor(ramp, 51)
    assert processor.get_coordinates_above_threshold().tolist() == [[5, 7], [5, 8]]
    processor.set_threshold_value(52)
    assert processor.get_coordinates_above_threshold().tolist() == [[5, 8]]
    processor.set_threshold_value(99)
    assert processor.get_coordinates_above_threshold().shape == (0, 2)
    assert processor.get_local_maxima().shape == (0, 2)


def test_a_pixel_at_the_threshold_is_not_above_it_and_nan_never_is():
    processor = PeakThresholdProcessor([[1.0, np.nan], [2.0, 3.0]], 2)
    assert processor.get_coordinates_above_threshold().tolist() == [[1, 1]]


def test_one_peak_is_one_local_maximum_though_many_of_its_pixels_are_above():
    image = np.zeros((15, 15))
    image[6:9, 6:9], image[7, 7] = 5, 9
    processor = PeakThresholdProcessor(image, 1)
    assert len(processor.get_coordinates_above_threshold()) == 9
    assert processor.get_local_maxima().tolist() == [[7, 7]]


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 3, 4)), 7, [["a", "b"]], [[1j, 2]]])
def test_what_is_no_image_is_refused(array):
    with pytest.raises(ValueError, match="an image"):
        PeakThresholdProcessor(array, 0)
    with pytest.raises(ValueError, match="an image"):
        ArrayRegion(array)


@pytest.mark.parametrize("threshold", [np.nan, [1, 2]])
def test_what_is_no_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="a threshold is one number"):
        PeakThresholdProcessor(np.zeros((2, 2)), threshold)


# -- region ------------------------------------------------------------------------------------------------------------


def test_a_region_has_its_coordinate_in_the_middle(ramp):
    region = ArrayRegion(ramp)
    region.set_peak_coordinate(3, 5)
    region.set_region_size(2)
    assert (region.get_region() == ramp[1:6, 3:8]).all()
    assert region.get_region()[2, 2] == ramp[3, 5]
    region.set_region_size(0)
    assert region.get_region().tolist() == [[ramp[3, 5]]]


def test_a_region_is_cut_at_every_edge_and_corner_and_never_empty(ramp):
    for x in range(6):
        for y in range(9):
            for size in range(7):
                region = ArrayRegion(ramp)
                region.set_peak_coordinate(x, y)
                region.set_region_size(size)
                i, j = np.indices(ramp.shape)
                wanted = ramp[(abs(i - x) <= size) & (abs(j - y) <= size)]
                assert (region.get_region().ravel() == wanted).all()
                assert region.get_region()[region.centre_in_region()] == ramp[x, y]
                assert (tool.extract_region(ramp, size, x, y) == region.get_region()).all()


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (6, 0), (0, 9), (0, -1)])
def test_a_coordinate_off_the_image_is_refused(ramp, x, y):
    with pytest.raises(ValueError, match=rf"\({x}, {y}\) is not in the image of 6 rows and 9 columns"):
        ArrayRegion(ramp).set_peak_coordinate(x, y)
    with pytest.raises(ValueError, match="not in the image"):
        tool.extract_region(ramp, 1, x, y)
    with pytest.raises(ValueError, match="not in the image"):
        three_rings(ramp, [(x, y)], 2)


@pytest.mark.parametrize("size", [-1, 1.5, "two", None, np.nan])
def test_a_size_that_is_no_number_of_pixels_is_refused(ramp, size):
    with pytest.raises(ValueError, match="the size is a"):
        ArrayRegion(ramp).set_region_size(size)


# -- rings -------------------------------------------------------------------------------------------------------------


def by_hand(image, x, y, radius):
    """The estimate, pixel by pixel."""
    total = count = 0
    for i in range(x - radius, x + radius + 1):
        for j in range(y - radius, y + radius + 1):
            if not (0 <= i < image.shape[0] and 0 <= j < image.shape[1]):
                continue
            if abs(i - x) <= 1 and abs(j - y) <= 1:
                continue
            if image[i, j] >= 0:
                total += float(image[i, j])
                count += 1
    return float(image[x, y]), (total / count if count else float("nan")), count


def test_the_estimate_is_that_of_a_plain_hand_calculation_everywhere_on_the_image():
    image = np.random.default_rng(7).integers(-2, 50, (11, 8))
    everywhere = list(np.ndindex(image.shape))
    for radius in (1, 2, 3, 4):
        for (x, y), one in zip(everywhere, three_rings(image, everywhere, radius)):
            peak, average, count = by_hand(image, x, y, radius)
            assert (one.x, one.y, one.radius, one.peak, one.pixels) == (x, y, radius, peak, count)
            assert one.average == pytest.approx(average, nan_ok=True, rel=1e-14)
            assert one.estimate == pytest.approx(peak - average if peak >= 0 else np.nan, nan_ok=True, rel=1e-14)


def test_the_average_is_over_the_ring_and_not_over_the_whole_square():
    image = np.full((9, 9), 4.0)
    image[3:6, 3:6], image[4, 4] = 50, 100
    two = three_rings(image, [(4, 4)], 2)[0]
    assert (two.pixels, two.average, two.estimate) == (25 - 9, 4.0, 96.0)


def test_radius_one_has_no_ring_and_so_no_answer():
    one = three_rings(np.ones((5, 5)), [(2, 2)], 1)[0]
    assert one.pixels == 0
    assert np.isnan(one.average)
    assert np.isnan(one.estimate)


def test_unsigned_images_do_not_wrap_round():
    image = np.full((9, 9), 200, np.uint8)
    image[4, 4] = 100
    assert three_rings(image, [(4, 4)], 3)[0].estimate == -100


def test_a_saturated_centre_is_marked_and_saturated_ring_pixels_are_left_out():
    image = np.full((9, 9), 10, np.uint16)
    image[4, 4] = image[4, 7] = 65535
    one = three_rings(image, [(4, 4)], 3)[0]
    assert one.saturated
    assert (one.average, one.pixels) == (10, 49 - 9 - 1)
    assert one.estimate == 65525
    low = three_rings(image.astype(float), [(4, 4), (0, 0)], 3, saturation=10)
    assert [o.saturated for o in low] == [True, True]
    assert [o.pixels for o in low] == [0, 0]


def test_marked_pixels_are_left_out_unless_negative_ones_are_counts():
    image = np.full((9, 9), 10.0)
    image[1, 1], image[2, 4], image[7, 7] = -1000, np.nan, np.inf
    one = three_rings(image, [(4, 4)], 3)[0]
    assert (one.average, one.pixels) == (10, 49 - 9 - 3)
    kept = three_rings(image, [(4, 4)], 3, keep_negative=True)[0]
    assert kept.pixels == 49 - 9 - 2
    assert kept.average == pytest.approx((37 * 10 - 1000) / 38)


def test_a_centre_that_is_no_measurement_has_no_estimate():
    image = np.full((9, 9), 10)
    image[4, 4] = -1
    one = three_rings(image, [(4, 4)], 2)[0]
    assert one.average == 10
    assert np.isnan(one.estimate)


@pytest.mark.parametrize("radius", [0, -1, 2.5, "big"])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises(ValueError, match="the radius is a"):
        three_rings(np.zeros((5, 5)), [(2, 2)], radius)


# -- menu --------------------------------------------------------------------------------------------------------------


def test_the_menu_lists_every_coordinate_and_estimates_the_chosen_one(ramp, capsys):
    found = tool.coordinate_menu(ramp, 51, [(5, 7), (5, 8)], 2, choice=2)
    said = capsys.readouterr().out
    assert "1. (5, 7)" in said
    assert "2. (5, 8)" in said
    assert [(one.x, one.y) for one in found] == [(5, 8)]
    peak, average, _ = by_hand(ramp, 5, 8, 2)
    assert (found[0].peak, found[0].average) == (peak, average)


@pytest.mark.parametrize(
    ("choice", "wanted"), [("all", [0, 1]), ("a", [0, 1]), ("q", []), ("1", [0]), ("2 1", [1, 0]), ([2], [1]), (1, [0])]
)
def test_a_choice_is_a_number_all_or_none(ramp, choice, wanted):
    coordinates = [(5, 7), (5, 8)]
    found = tool.coordinate_menu(ramp, 51, coordinates, 2, choice=choice)
    assert [(one.x, one.y) for one in found] == [coordinates[i] for i in wanted]


@pytest.mark.parametrize("choice", [0, 3, "0", "x", "", -1, "1,9"])
def test_a_choice_that_is_not_in_the_menu_is_refused(ramp, choice):
    with pytest.raises(ValueError, match="menu"):
        tool.coordinate_menu(ramp, 51, [(5, 7), (5, 8)], 2, choice=choice)


def test_a_menu_without_coordinates_says_how_high_the_image_is(ramp, capsys):
    for nothing in ([], np.zeros((0, 2), int)):
        assert tool.coordinate_menu(ramp, 99, nothing, 2) == []
        assert "0 coordinates above 99" in (said := capsys.readouterr().out)
        assert "highest pixel is 53" in said


@pytest.mark.parametrize("coordinates", [[1, 2], [(1, 2, 3)], [(1.5, 2)], [("a", "b")]])
def test_coordinates_that_are_no_pairs_of_whole_numbers_are_refused(ramp, coordinates):
    with pytest.raises(ValueError, match="coordinates are"):
        tool.coordinate_menu(ramp, 0, coordinates, 2)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_coordinates_and_intensities_stand_side_by_side(ramp):
    x, y, z, table = tool.build_coord_intensity(ramp, 50)
    assert x.tolist() == [5, 5, 5]
    assert y.tolist() == [6, 7, 8]
    assert (z == ramp[x, y]).all()
    assert table.tolist() == [[5, 6, 51], [5, 7, 52], [5, 8, 53]]
    assert tool.build_coord_intensity(ramp, 99)[3].shape == (0, 3)


def test_the_scatter_shows_the_points_and_the_highlighted_one(ramp, tmp_path):
    x, y, z, _ = tool.build_coord_intensity(ramp, 40)
    figure = tool.create_scatter(x, y, z, highlight_x=5, highlight_y=8)
    points, marked = figure.axes[0].collections
    assert len(points.get_offsets()) == len(x)
    assert np.asarray(marked._offsets3d).ravel().tolist() == [5, 8, 53]
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_scatter_of_nothing_is_an_empty_figure(tmp_path):
    figure = tool.create_scatter([], [], [])
    figure.savefig(tmp_path / "a.png")
    assert len(figure.axes[0].collections[0].get_offsets()) == 0


def test_a_scatter_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="lists of one length"):
        tool.create_scatter([1], [1, 2], [1, 2])
    with pytest.raises(ValueError, match=r"\(9, 9\) is not among"):
        tool.create_scatter([1], [1], [1], 9, 9)
    with pytest.raises(ValueError, match="an x and a y"):
        tool.create_scatter([1], [1], [1], 1)


# -- files and the command ---------------------------------------------------------------------------------------------


def test_main_estimates_every_peak_with_every_radius(image_file, capsys):
    found = tool.main(image_file)
    assert [(one.x, one.y, one.radius) for one in found] == [
        (x, y, r) for r in (1, 2, 3, 4) for x, y in ((0, 29), (5, 12))
    ]
    assert [one.estimate for one in found if one.radius > 1] == [1490, 1990] * 3
    assert "2 coordinates above 1000" in capsys.readouterr().out


def test_an_image_is_loaded_as_an_array_and_faults_are_clear(image_file, tmp_path):
    assert tool.load_file_h5(image_file).shape == (20, 30)
    assert tool.load_file_h5(str(image_file), "/entry/data/data")[5, 12] == 2000
    with pytest.raises(ImageError, match="no such file"):
        tool.load_file_h5(tmp_path / "none.h5")
    with pytest.raises(ImageError, match="there is no 'data'"):
        tool.load_file_h5(image_file, "/data")


def test_the_command_writes_a_table_of_all_peaks(image_file, tmp_path, capsys):
    table = tmp_path / "peaks.csv"
    assert run(["waterbg", "peaks", str(image_file), "--radius=2", "--csv", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["row"], row["column"], float(row["estimate"])) for row in rows] == [
        ("0", "29", 1490),
        ("5", "12", 1990),
    ]
    assert run(["waterbg", "peaks", str(image_file), "--csv", str(table)]) == 1
    assert "exists; --force" in capsys.readouterr().err


def test_the_command_takes_one_coordinate(image_file, capsys):
    assert run(["waterbg", "peaks", str(image_file), "--coordinate=5,12", "--csv=-"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["radius"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["column"] for row in rows} == {"12"}


def test_pixels_that_are_no_measurements_are_neither_peaks_nor_background(image_file, capsys):
    assert run(["waterbg", "peaks", str(image_file), "--threshold=250", "--ignore=1400", "--radius=2", "--csv=-"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {(row["row"], row["column"]) for row in rows} == {("4", "12")}  # the rest of the spot, flat
    assert (
        run(["waterbg", "peaks", str(image_file), "--coordinate=5,14", "--ignore=1400", "--radius=2", "--csv=-"]) == 0
    )
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["pixels"], float(row["average"])) == ("15", (13 * 10 + 2 * 300) / 15)


def test_away_from_a_terminal_nothing_is_asked_and_all_are_taken(image_file, capsys):
    assert run(["waterbg", "peaks", str(image_file), "--pixels", "--threshold=250"]) == 0
    assert "10 coordinates above 250" in capsys.readouterr().out


def test_on_a_terminal_the_menu_asks_until_it_is_told_to_quit(image_file, capsys, monkeypatch):
    answers = iter(["7", "what", "2", "all", "q"])
    monkeypatch.setattr(builtins, "input", lambda prompt: next(answers))
    for stream in ("sys.stdin.isatty", "sys.stdout.isatty"):
        monkeypatch.setattr(stream, lambda: True)
    assert run(["waterbg", "peaks", str(image_file), "--radius=3"]) == 0
    said = capsys.readouterr().out
    assert "7 is not in the menu, which goes from 1 to 2" in said
    assert "'what' is not a number of the menu" in said
    assert said.count("1990.00") == 2
    assert said.count("1490.00") == 1
    assert next(answers, None) is None


def test_the_command_draws_the_scatter(image_file, tmp_path):
    picture = tmp_path / "a.png"
    assert run(["waterbg", "peaks", str(image_file), "--coordinate=5,12", f"--scatter={picture}"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--radius=0"], 2, "--radius is a number of pixels"),
        (["--radius=two"], 2, "whole numbers separated by commas"),
        (["--coordinate=5"], 2, "2 numbers are needed"),
        (["--coordinate=5,99"], 2, r"(5, 99) is not in the image"),
        (["--coordinate=5,12", "--all"], 2, "exclude each other"),
        (["--frame=3"], 1, "has no frame 3: there are 1"),
        (["--data=/nowhere"], 1, "there is no 'nowhere'"),
    ],
)
def test_the_command_refuses_what_it_cannot_do_in_one_line(image_file, capsys, arguments, status, message):
    assert run(["waterbg", "peaks", str(image_file), *arguments]) == status
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
