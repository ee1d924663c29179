"""Links, virtual datasets and external storage: followed inside the image's folder, beyond it only when allowed."""

import h5py
import numpy as np
import pytest
from frame_factory import geometry

from waterbg.errors import ImageError
from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry

DATA = np.arange(2 * 6 * 5, dtype="u2").reshape(2, 6, 5)
DETECTOR = parse_geometry(geometry({"p": {"extent": (0, 4, 0, 5)}}, dims=("%", "ss", "fs")))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "run", tmp_path / "elsewhere"


def source(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("deep/data", data=DATA, chunks=(1, 6, 5), compression="gzip")
    return path


def external_link(path, target):
    with h5py.File(path, "w") as file:
        file["entry/data"] = h5py.ExternalLink(target, "/deep/data")


def linked_group(path, target):
    with h5py.File(path, "w") as file:
        file["other"] = h5py.ExternalLink(target, "/deep")
        file["entry"] = h5py.SoftLink("/other")


def virtual(path, target):
    layout = h5py.VirtualLayout(DATA.shape, DATA.dtype)
    for i in range(2):
        layout[i] = h5py.VirtualSource(target, "deep/data", DATA.shape)[i]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data", layout)


def raw_storage(path, target):
    raw = path.parent / target
    raw.write_bytes(DATA.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data", DATA.shape, DATA.dtype, external=[(target, 0, DATA.nbytes)])


WAYS = [external_link, linked_group, virtual, raw_storage]


def read(path, **options):
    with FrameReader(DETECTOR, **options) as reader:
        reader.check(str(path), "//1")
        return reader.read(str(path), "//1", copy=True)


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_what_lies_in_the_images_folder_is_followed(way, folders, monkeypatch):
    run, elsewhere = folders
    source(run / "source.h5")
    way(run / "master.h5", "raw.bin" if way is raw_storage else "source.h5")
    monkeypatch.chdir(elsewhere)
    np.testing.assert_array_equal(read(run / "master.h5").data, DATA[1].ravel())
    monkeypatch.chdir(run)
    np.testing.assert_array_equal(read("master.h5").data, DATA[1].ravel())


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_what_lies_elsewhere_is_followed_only_when_allowed(way, absolute, folders):
    run, elsewhere = folders
    source(elsewhere / "source.h5")
    name = "raw.bin" if way is raw_storage else "source.h5"
    way(run / "master.h5", str(elsewhere / name) if absolute else f"../elsewhere/{name}")
    with pytest.raises(ImageError, match="outside the image's folder; allow it with --follow-external-links"):
        read(run / "master.h5")
    np.testing.assert_array_equal(read(run / "master.h5", follow_external_links=True).data, DATA[1].ravel())


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_a_missing_source_is_an_error_and_never_zeros(way, folders):
    run, _ = folders
    source(run / "source.h5")
    name = "raw.bin" if way is raw_storage else "source.h5"
    way(run / "master.h5", name)
    (run / name).unlink()
    with pytest.raises(ImageError, match="which does not exist"):
        read(run / "master.h5")


def test_a_virtual_dataset_of_a_virtual_dataset_is_judged_to_its_end(folders):
    run, elsewhere = folders
    source(elsewhere / "source.h5")
    virtual(run / "inner.h5", str(elsewhere / "source.h5"))
    layout = h5py.VirtualLayout(DATA.shape, DATA.dtype)
    layout[:] = h5py.VirtualSource("inner.h5", "entry/data", DATA.shape)
    with h5py.File(run / "master.h5", "w") as file:
        file.create_virtual_dataset("entry/data", layout)
    with pytest.raises(ImageError, match="outside the image's folder"):
        read(run / "master.h5")
    np.testing.assert_array_equal(read(run / "master.h5", follow_external_links=True).data, DATA[1].ravel())


def test_only_the_sources_of_the_event_must_be_there(folders):
    run, _ = folders
    layout = h5py.VirtualLayout(DATA.shape, DATA.dtype)
    for i in range(2):
        source(run / f"part{i}.h5")
        layout[i] = h5py.VirtualSource(f"part{i}.h5", "deep/data", DATA.shape)[i]
    with h5py.File(run / "master.h5", "w") as file:
        file.create_virtual_dataset("entry/data", layout)
    (run / "part0.h5").unlink()
    np.testing.assert_array_equal(read(run / "master.h5").data, DATA[1].ravel())


@pytest.mark.parametrize("n", [3, 40])
def test_each_panel_may_be_in_a_file_of_its_own(n, folders):
    run, _ = folders
    panels = {f"m{k}": {"extent": (0, 4, 0, 5), "data": f"/m{k}/data"} for k in range(n)}
    data = np.arange(2 * n * 2 * 30).reshape(2, n, 2, 6, 5)  # two master files
    for master in range(2):
        with h5py.File(run / f"master{master}.h5", "w") as file:
            for k in range(n):
                file[f"m{k}"] = h5py.ExternalLink(f"module{master}_{k}.h5", "/")
                with h5py.File(run / f"module{master}_{k}.h5", "w") as module:
                    module["data"] = data[master, k]
    with FrameReader(parse_geometry(geometry(panels, data=None, dims=("%", "ss", "fs")))) as reader:
        for master in (0, 1, 0):
            for i in range(2):
                frame = reader.read(str(run / f"master{master}.h5"), f"//{i}")
                np.testing.assert_array_equal(frame.data, data[master, :, i].ravel())
        # a module that is written anew is noticed
        with h5py.File(run / "new.h5", "w") as module:
            module["data"] = data[0, 1] + 1
        (run / "new.h5").replace(run / "module0_1.h5")
        frame = reader.read(str(run / "master0.h5"), "//1")
        np.testing.assert_array_equal(frame.panel(1)[0], data[0, 1, 1] + 1)


def test_links_in_a_circle_are_given_up(folders):
    run, _ = folders
    with h5py.File(run / "master.h5", "w") as file:
        file["entry/data"] = h5py.SoftLink("/entry/more")
        file["entry/more"] = h5py.SoftLink("/entry/data")
    with pytest.raises(ImageError, match="links lead to it"):
        read(run / "master.h5")


def test_a_camera_length_is_not_read_from_elsewhere(folders):
    run, elsewhere = folders
    with h5py.File(elsewhere / "x.h5", "w") as file:
        file["clen"] = 100.0
    with h5py.File(run / "image.h5", "w") as file:
        file["entry/data"] = DATA
        file["clen"] = h5py.ExternalLink(str(elsewhere / "x.h5"), "/clen")
    detector = parse_geometry(geometry({"p": {"extent": (0, 4, 0, 5)}}, dims=("%", "ss", "fs"), clen="/clen mm"))
    with FrameReader(detector) as reader, pytest.raises(ImageError, match="outside the image's folder"):
        reader.read(str(run / "image.h5"), "//0")
    with FrameReader(detector, follow_external_links=True) as reader:
        assert reader.read(str(run / "image.h5"), "//0").clen == pytest.approx(0.1)
