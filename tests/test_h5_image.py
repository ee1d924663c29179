import h5py
import numpy as np
import pytest

from waterbg.errors import ImageError
from waterbg.h5_image import read_image


def write(path, **data):
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name.replace("__", "/")] = values
    return path


IMAGE = np.arange(12, dtype=np.int32).reshape(3, 4)


@pytest.mark.parametrize("name", ["entry/data/data", "data/data", "data", "somewhere/else/frames"])
def test_an_image_is_found_in_the_usual_places_and_where_it_is_the_only_one(tmp_path, name):
    path = write(tmp_path / "a.h5", **{name.replace("/", "__"): IMAGE, "entry__energy": 9500.0, "mask__list": [1, 2]})
    assert (read_image(path) == IMAGE).all()
    assert read_image(path).dtype == np.int32


def test_a_frame_of_a_stack_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "a.h5", data=np.stack([IMAGE, IMAGE * 10]))
    assert (read_image(path) == IMAGE).all()
    assert (read_image(path, frame=1) == IMAGE * 10).all()
    with pytest.raises(ImageError, match="has no frame 2: there are 2"):
        read_image(path, frame=2)


def test_a_stack_of_one_may_have_more_axes(tmp_path):
    path = write(tmp_path / "a.h5", data=np.stack([IMAGE, IMAGE * 10])[:, None])
    assert (read_image(path, frame=1) == IMAGE * 10).all()
    with pytest.raises(ImageError, match="need a geometry"):
        read_image(write(tmp_path / "b.h5", data=np.zeros((2, 3, 4, 5))))


def test_compressed_images_of_beamlines_are_read(tmp_path):
    import hdf5plugin

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("entry/data/data", data=IMAGE[None], chunks=(1, 3, 4), **hdf5plugin.Bitshuffle())
    assert (read_image(tmp_path / "a.h5") == IMAGE).all()


def test_each_fault_is_one_line_that_names_it(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    cbf = tmp_path / "frame.cbf"
    cbf.write_bytes(b"###CBF: VERSION 1.5\r\n")
    good = write(tmp_path / "good.h5", data=IMAGE, list__of=[1, 2, 3])
    two = write(tmp_path / "two.h5", a=IMAGE, b=IMAGE)
    none = write(tmp_path / "none.h5", a=[1, 2])
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("data", (1 << 40, 1 << 22), "f8", chunks=(64, 64))
    for path, dataset, message in [
        (tmp_path / "missing.h5", None, "missing.h5: no such file"),
        (tmp_path, None, "is a folder"),
        (text, None, "text.h5: is neither an HDF5 nor a CBF file"),
        (cbf, None, "frame.cbf: is a CBF file, and HDF5 alone is read here; convert it$"),
        (good, "/entry/data/data", r"good.h5 \(/entry/data/data\): there is no 'entry'"),
        (good, "/list", "is a group, not a dataset"),
        (good, "/list/of", r"is not an image: its shape is \(3,\)"),
        (two, None, r"several datasets could be the image \(/a, /b\): name one"),
        (none, None, "holds no dataset that could be an image"),
        (tmp_path / "huge.h5", None, r"huge.h5 \(/data\): is no image: no detector has 1099511627776 x 4194304 pixels"),
    ]:
        with pytest.raises(ImageError, match=message) as caught:
            read_image(path, dataset)
        assert "\n" not in str(caught.value)


def test_a_truncated_file_is_an_image_error(tmp_path):
    path = write(tmp_path / "a.h5", data=np.random.default_rng(0).integers(0, 9, (500, 500)))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ImageError, match=r"cut short|cannot be opened"):
        read_image(path)


def test_an_image_in_a_file_beside_it_is_read_and_for_one_elsewhere_no_option_is_named_that_is_not_there(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder / "beside.h5", data=IMAGE)
    write(tmp_path / "outside.h5", data=IMAGE)
    for target in ("beside.h5", "../outside.h5", str(tmp_path / "outside.h5")):
        with h5py.File(folder / "master.h5", "w") as file:
            file["entry/data/data_000001"] = h5py.ExternalLink(target, "/data")
        if target == "beside.h5":
            assert (read_image(folder / "master.h5") == IMAGE).all()
        else:
            with pytest.raises(ImageError, match="outside the image's folder, which is not followed here"):
                read_image(folder / "master.h5")
            with pytest.raises(ImageError, match="outside the image's folder, which is not followed here"):
                read_image(folder / "master.h5", "/entry/data/data_000001")
