"""Frames as the real libcrystfel reads them: pixels, bad pixels, saturation, geometry of the event."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from frame_factory import LAYOUTS, everything

from waterbg.frames import FrameReader
from waterbg.geometry import parse_geometry, photon_energy_eV

pytestmark = pytest.mark.crystfel


@pytest.fixture
def crystfel(tmp_path):
    """A function that has libcrystfel read frames of a run."""
    library = Path(shutil.which("indexamajig")).resolve().parents[1] / "lib" / "libcrystfel.so"
    if not library.exists():
        pytest.skip(f"no {library}")

    def read(geometry, path, events, folder=tmp_path):
        (tmp_path / "geometry.geom").write_text(geometry)
        frames = [word for event in events for word in (str(path), event or "-")]
        script = [sys.executable, Path(__file__).with_name("crystfel_image.py"), library]
        words = [*script, tmp_path / "geometry.geom", tmp_path / "frames.npz", *frames]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "frames.npz")

    return read


def compare(run, crystfel, folder):
    events = list(run.expected)
    theirs = crystfel(run.geometry, run.path, events, folder)
    assert theirs["read"].all()
    with FrameReader(parse_geometry(run.geometry)) as reader:
        for number, event in enumerate(events):
            frame = reader.read(str(run.path), event)
            np.testing.assert_array_equal(frame.data, theirs[f"data{number}"])
            np.testing.assert_array_equal(frame.bad, theirs[f"bad{number}"] != 0)
            assert frame.photon_energy_eV == pytest.approx(
                photon_energy_eV(float(theirs[f"lambda{number}"])), rel=1e-12
            )
            panels = theirs[f"panels{number}"]
            ours = frame.detector.panels
            np.testing.assert_allclose([p.corner_x for p in ours], panels[:, 0], rtol=1e-12)
            np.testing.assert_allclose([p.corner_y for p in ours], panels[:, 1], rtol=1e-12)
            np.testing.assert_allclose([frame.clen + p.coffset for p in ours], panels[:, 2], rtol=1e-12)
            np.testing.assert_allclose(frame.adu_per_photon, panels[:, 3], rtol=1e-12)
            np.testing.assert_array_equal(frame.max_adu, panels[:, 4])
            if frame.saturation is not None:
                np.testing.assert_array_equal(frame.saturation, theirs[f"saturation{number}"])
    return theirs


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_layouts_are_read_as_crystfel_reads_them(layout, tmp_path, rng, crystfel):
    compare(layout(tmp_path, rng), crystfel, tmp_path)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "i8"])
def test_bad_pixels_headers_and_saturation_are_those_of_crystfel(dtype, tmp_path, rng, crystfel):
    theirs = compare(everything(tmp_path, rng, dtype), crystfel, tmp_path)
    assert 0.1 < (theirs["bad0"] != 0).mean() < 0.9


@pytest.mark.shared
@pytest.mark.parametrize(
    ("geometry", "images", "events"),
    [
        ("golden/small/det.geom", "images.h5", ["//0", "//5"]),
        ("golden/small_gain/det.geom", "images.h5", ["//1"]),
        ("real/thaumatin/pilatus6m.geom", "thaumatin.h5", ["//0"]),
        ("real/thermolysin/cspad.geom", "thermolysin.h5", ["//0", "//1"]),
    ],
)
def test_real_frames_are_read_as_crystfel_reads_them(geometry, images, events, shared, crystfel, monkeypatch):
    from frame_factory import Run

    folder = (shared / geometry).parent
    monkeypatch.chdir(folder)
    run = Run(folder / images, (shared / geometry).read_text(), dict.fromkeys(events))
    compare(run, crystfel, folder)
