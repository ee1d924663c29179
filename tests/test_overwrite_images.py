"""Intensities at the positions of a stream's reflections, looked up in an image: the third tool's other half."""

import h5py
import numpy as np
import pytest

from waterbg import overwrite as tool
from waterbg.errors import ImageError, UsageError


@pytest.fixture
def image(tmp_path):
    values = np.arange(30, dtype=np.uint16).reshape(5, 6)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = values
    return tmp_path / "a.h5", values


def test_an_intensity_is_found_at_row_ss_and_column_fs(image):
    path, values = image
    assert tool.intensity_finder([0.0, 5.9, 2.5], [0.9, 4.0, 3.1], str(path)) == [
        values[0, 0],
        values[4, 5],
        values[3, 2],
    ]
    assert tool.intensity_finder([], [], path) == []


def test_a_position_off_the_image_has_no_intensity_and_keeps_its_place(image):
    path, values = image
    found = tool.intensity_finder([6.0, -0.1, 1.0, np.nan, 1.0], [1.0, 1.0, 5.0, 1.0, 1.0], path)
    assert np.isnan(found[:4]).all()
    assert found[4] == values[1, 1]
    with pytest.raises(ValueError, match="lists of one length"):
        tool.intensity_finder([1], [1, 2], path)


def test_the_intensity_array_holds_the_pixels_of_the_reflections_and_nothing_else(image):
    path, values = image
    array = tool.populate_intensity_array({"fs": [5.5, 2.0, 99.0], "ss": [4.2, 3.0, 1.0]}, path)
    wanted = np.zeros_like(values)
    wanted[4, 5], wanted[3, 2] = values[4, 5], values[3, 2]
    assert (array == wanted).all()
    assert array.dtype == values.dtype
    assert not tool.populate_intensity_array({"fs": [], "ss": []}, path).any()
    with pytest.raises(UsageError, match="no column 'ss'"):
        tool.populate_intensity_array({"fs": []}, path)
    with pytest.raises(ImageError, match="no such file"):
        tool.populate_intensity_array({"fs": [], "ss": []}, path.parent / "none.h5")


def test_the_peak_column_of_crystfel_is_found_in_the_golden_image(data):
    """Peak is the largest pixel of disc and ring, so no less than the pixel at the position."""
    folder = data / "golden" / "small"
    columns = tool.load_stream(folder / "rings-nocen-nosat-nograd.stream")
    first = slice(columns.crystals[0].start, columns.crystals[0].stop)
    found = tool.intensity_finder(columns["fs"][first], columns["ss"][first], folder / "images.h5")
    assert (np.array(found) <= np.array(columns["peak"][first]) + 0.01).all()
    strong = np.array(columns["I"][first]) > 100
    assert np.corrcoef(np.array(found)[strong], np.array(columns["peak"][first])[strong])[0, 1] > 0.7
