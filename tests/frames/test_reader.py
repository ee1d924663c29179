"""Where images are found, what belongs to an event, and how a reader behaves over a run."""

import os
import subprocess
import sys
import textwrap

import h5py
import hdf5plugin
import numpy as np
import pytest
from frame_factory import geometry, pixels, single, stack

from waterbg.errors import GeometryError, ImageError
from waterbg.frames import FrameReader, hdf5
from waterbg.frames.events import Event
from waterbg.frames.files import Files
from waterbg.geometry import parse_geometry, photon_energy_eV, wavelength_m

# Places ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "prefix", "basename", "found"),
    [
        ("{0}/run/a.h5", "", False, "{0}/run/a.h5"),
        ("run/a.h5", "{0}", False, "{0}/run/a.h5"),  # a folder gets its slash
        ("a.h5", "{0}/run/", False, "{0}/run/a.h5"),
        ("/old/disk/a.h5", "{0}/run", True, "{0}/run/a.h5"),
        ("/disk/a.h5", "{0}/old", False, "{0}/old/disk/a.h5"),
        (".h5", "{0}/run/a", False, "{0}/run/a.h5"),  # a prefix is no folder
        ("run/a.h5", "", False, "{0}/run/a.h5"),  # relative to the stream
        ("/gone/a.h5", "", True, "{0}/a.h5"),  # beside the stream
    ],
)
def test_images_are_found_as_indexamajig_finds_them_or_beside_the_stream(name, prefix, basename, found, tmp_path):
    for place in ("run/a.h5", "old/disk/a.h5", "a.h5"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    name, prefix, found = (text.format(tmp_path) for text in (name, prefix, found))
    detector = parse_geometry(geometry({"p": {"extent": (0, 1, 0, 1)}}))
    reader = FrameReader(detector, stream_path=tmp_path / "x.stream", prefix=prefix, basename=basename)
    assert os.path.normpath(reader.locate(name)) == found
    assert reader.locate(os.fsencode(name)) == reader.locate(name)


def test_images_are_found_beside_the_stream_that_a_link_leads_to(tmp_path):
    for place in ("run/a.h5", "run/x.stream", "mine/b.h5"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "mine" / "link.stream").symlink_to(tmp_path / "run" / "x.stream")
    detector = parse_geometry(geometry({"p": {"extent": (0, 1, 0, 1)}}))
    reader = FrameReader(detector, stream_path=tmp_path / "mine" / "link.stream", basename=True)
    assert reader.locate("/gone/a.h5") == f"{tmp_path}/run/a.h5"
    assert reader.locate("b.h5") == f"{tmp_path}/mine/b.h5"


def test_a_name_as_written_comes_before_the_prefix(tmp_path):
    for place in ("a.h5", "new/a.h5"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    detector = parse_geometry(geometry({"p": {"extent": (0, 1, 0, 1)}}))
    reader = FrameReader(detector, prefix=str(tmp_path / "new"), basename=True)
    assert reader.locate(f"{tmp_path}/a.h5") == f"{tmp_path}/a.h5"


def test_blanks_and_other_letters_in_names_are_fine(tmp_path, rng):
    folder = tmp_path / "Läuf 7"
    folder.mkdir()
    run = stack(folder, rng)
    with FrameReader(parse_geometry(run.geometry)) as reader:
        np.testing.assert_array_equal(reader.read(os.fsencode(run.path), "//1").data, run.expected["//1"])


# Events ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts", "indices"),
    [
        (None, (), ()),
        ("", (), ()),
        ("//", (), ()),
        ("//3", (), (3,)),
        ("tag-5//", ("tag-5",), ()),
        ("a/b//1/02", ("a", "b"), (1, 2)),
    ],
)
def test_events_are_path_parts_and_indices(text, parts, indices):
    assert Event.parse(text, "x.h5") == Event(parts, indices)


@pytest.mark.parametrize("text", ["3", "/3", "//1/", "//" + "/".join("1" * 17), "/".join("a" * 17) + "//"])
def test_other_names_of_events_are_refused(text):
    with pytest.raises(ImageError, match="expected something like //3 or tag-5//"):
        Event.parse(text, "x.h5")


# What belongs to the event -----------------------------------------------------------------------------------------


@pytest.fixture
def headers(tmp_path, rng):
    """Two frames with energies, camera lengths and shifts of their own."""
    run = stack(tmp_path, rng, n=2)
    with h5py.File(run.path, "a") as file:
        file["h/energy"] = np.array([9000.0, 9500.0])
        file["h/clen"] = np.array([[80], [81]], "i2")
        file["h/shift"] = [b"0.001", b"0.002"]
        file["h/one"] = np.array([0.25])
        file["h/text"] = "7.5\n"
    return run


def reads(run, line, event="//1", **options):
    text = run.geometry
    for new in line.split("\n"):
        key = new.partition(" = ")[0]
        kept = [old for old in text.split("\n") if not old.startswith(f"{key} =")]
        text = "\n".join([new, *kept])
    with FrameReader(parse_geometry(text)) as reader:
        return reader.read(str(run.path), event, copy=True, **options)


def test_energy_and_camera_length_follow_the_event(headers):
    for event, energy, clen in (("//0", 9000, 0.080), ("//1", 9500, 0.081)):
        frame = reads(headers, "photon_energy = /h/energy\nclen = /h/clen", event)
        assert frame.photon_energy_eV == pytest.approx(energy)
        assert frame.clen == pytest.approx(clen)


def test_the_energy_of_the_stream_goes_before_that_of_the_image(headers):
    headers.geometry = headers.geometry.replace("adu_per_photon = 2", "adu_per_eV = 0.001")
    frame = reads(headers, "photon_energy = /h/energy", photon_energy_eV=9123.0)
    assert frame.photon_energy_eV == 9123.0
    assert frame.adu_per_photon == pytest.approx([9.123, 9.123])


def test_the_photon_energy_is_the_geometrys_to_the_last_bit_where_the_streams_decimals_say_the_same(headers):
    headers.geometry = headers.geometry.replace("adu_per_photon = 2", "adu_per_eV = 0.001")
    round_trip = photon_energy_eV(wavelength_m(10000.0))  # as CrystFEL's
    assert round_trip != 10000.0
    frame = reads(headers, "photon_energy = 10000 eV", photon_energy_eV=10000.0)
    assert frame.photon_energy_eV == round_trip
    assert frame.adu_per_photon.tolist() == [0.001 * round_trip] * 2
    assert reads(headers, "photon_energy = 10000 eV", photon_energy_eV=10000.01).photon_energy_eV == 10000.01


def test_one_value_holds_for_all_events_and_texts_may_be_numbers(headers):
    assert reads(headers, "clen = /h/one m").clen == 0.25
    assert reads(headers, "clen = /h/text mm").clen == pytest.approx(0.0075)


def test_the_detector_shift_moves_panels_and_regions(headers):
    line = "detector_shift_x = /h/shift\ndetector_shift_y = 0"
    region = "\nbad_a/min_x = -31\nbad_a/max_x = -20\nbad_a/min_y = -100\nbad_a/max_y = 100"
    headers.geometry += region
    for event, shift in (("//0", 10), ("//1", 20), ("//0", 10)):
        frame = reads(headers, line, event)
        assert frame.detector.panels[0].corner_x == pytest.approx(-40 + shift)
        first = frame.panel(0)[1][0]
        x = -40 + shift + np.arange(12)
        np.testing.assert_array_equal(first, (x > -31) & (x < -20))


@pytest.mark.parametrize("shifts", ["x = 1 um\ndetector_shift_y = 0", "x = 0\ndetector_shift_y = /h/shift cm"])
def test_a_detector_shift_of_no_known_unit_is_refused_and_not_passed_over(headers, shifts):
    with pytest.raises(GeometryError, match=r"detector shift '.* (um|cm)' has no known unit"):
        reads(headers, f"detector_shift_{shifts}")


def test_a_geometry_without_wavelength_needs_the_energy_of_the_stream(headers):
    text = headers.geometry.replace("photon_energy = 9000 eV\n", "").replace("clen = 0.1 m\n", "")
    with FrameReader(parse_geometry(text, lenient=True)) as reader:
        with pytest.raises(GeometryError, match="no wavelength in the geometry, and none in the stream"):
            reader.read(str(headers.path), "//0")
        frame = reader.read(str(headers.path), "//0", photon_energy_eV=8000, camera_length=0.2)
        assert (frame.photon_energy_eV, frame.clen) == (8000, 0.2)
        assert np.isnan(reader.read(str(headers.path), "//0", photon_energy_eV=8000).clen)


# A run -------------------------------------------------------------------------------------------------------------


def test_many_files_take_turns(tmp_path, rng):
    runs = []
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        runs.append(single(tmp_path / str(number), rng))
    with FrameReader(parse_geometry(runs[0].geometry)) as reader:
        for run in runs + runs[::-1]:
            np.testing.assert_array_equal(reader.read(str(run.path)).data, run.expected[None])


def test_a_file_is_looked_at_once_for_an_event(tmp_path, rng, monkeypatch):
    run = stack(tmp_path, rng)
    with h5py.File(run.path, "a") as file:
        file["energy"] = np.full(3, 9000.0)
    text = run.geometry.replace("photon_energy = 9000 eV", "photon_energy = /energy eV")
    looks, looked = [], Files.stamp
    monkeypatch.setattr(Files, "stamp", lambda self, path: looks.append(path) or looked(self, path))
    monkeypatch.setattr(hdf5, "refuse_other_kinds", lambda path: pytest.fail(f"{path} was opened to see what it is"))
    with FrameReader(parse_geometry(text)) as reader:
        for event in ("//0", "//1"):
            reader.read(str(run.path), event)
    assert looks == [str(run.path)] * 2


def test_a_closed_reader_reads_in_a_forked_process(tmp_path, rng):
    run = stack(tmp_path, rng, filters="bitshuffle")
    script = """
        import os, sys
        from waterbg.frames import FrameReader
        from waterbg.geometry import parse_geometry
        geometry, image = sys.argv[1:]
        reader = FrameReader(parse_geometry(open(geometry).read()))
        total = reader.read(image, "//1").data.sum()
        if "close" in os.environ:
            reader.close()
        child = os.fork()
        same = reader.read(image, "//1").data.sum() == total
        if child == 0:
            os._exit(0 if same else 1)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not same)
    """
    (tmp_path / "x.geom").write_text(run.geometry)
    words = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "x.geom"), str(run.path)]
    for env in ({"close": "1"}, {}):  # and unharmed when somebody forgets
        assert subprocess.run(words, cwd=tmp_path, env=os.environ | env).returncode == 0


def test_a_file_that_is_still_being_written_is_read_as_far_as_it_goes(tmp_path, rng):
    data = pixels(rng, (3, 20, 12), "u2")
    path = tmp_path / "growing.h5"
    options = {"maxshape": (None, 20, 12), "chunks": (1, 20, 12)} | dict(hdf5plugin.Bitshuffle())
    text = geometry({"p": {"extent": (0, 11, 0, 19)}}, dims=("%", "ss", "fs"))
    writer = """
        import sys, h5py, hdf5plugin, numpy as np
        file = h5py.File(sys.argv[1], "r+", libver="latest")
        file.swmr_mode = True
        data = np.load(sys.argv[2])
        for n in (2, 3):
            file["entry/data"].resize(n, axis=0)
            file["entry/data"][n - 1] = data[n - 1]
            file["entry/data"].flush()
            print("written", flush=True)
            sys.stdin.readline()
    """
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("entry/data", data=data[:1], **options)
    np.save(tmp_path / "data.npy", data)
    words = [sys.executable, "-c", textwrap.dedent(writer), str(path), str(tmp_path / "data.npy")]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process, FrameReader(parse_geometry(text)) as reader:
        for n in (2, 3):
            assert process.stdout.readline() == "written\n"
            for i in range(n):
                np.testing.assert_array_equal(reader.read(str(path), f"//{i}").data, data[i].ravel())
            if n == 2:
                with pytest.raises(ImageError, match="there is no frame 2"):
                    reader.read(str(path), "//2")
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0


def test_maps_are_made_once(tmp_path, rng):
    run = stack(tmp_path, rng)
    with h5py.File(run.path, "a") as file:
        file["mask"] = np.zeros((20, 12), "u1")
    text = "mask = /mask\nmask_bad = 1\n" + run.geometry
    with FrameReader(parse_geometry(text)) as reader:
        first = reader.read(str(run.path), "//0").bad
        assert reader.read(str(run.path), "//1").bad is first
        with pytest.raises(ValueError, match="read-only"):
            first[0] = 1
