"""The data that come with the project: whole, workable, and what their README says they are."""

from pathlib import Path

import pytest

from waterbg.cli.base import run
from waterbg.simulate import Truth

ROOT = Path(__file__).resolve().parents[2]
STREAMS = ["stream_files/lysozyme", "stream_files/monoclinic", "high_low_stream/test_high", "high_low_stream/test_low"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_shipped_stream_is_clean_and_its_images_are_found_beside_it(name, tmp_path):
    stream = ROOT / f"{name}.stream"
    assert run(["waterbg", "verify", str(stream)]) == 0
    assert run(["waterbg", "subtract", str(stream), "-o", str(tmp_path / "out.stream"), "--integration=rings"]) == 0
    # its numbers are CrystFEL's rings, so integrating it so again changes nothing
    body = (tmp_path / "out.stream").read_bytes().split(b"----- Begin geometry")[1]
    assert body == stream.read_bytes().split(b"----- Begin geometry")[1]


def test_high_and_low_are_the_same_crystals_at_a_tenth_of_the_photons():
    high, low = (Truth(ROOT / f"high_low_stream/test_{name}.truth.h5") for name in ("high", "low"))
    assert high.experiment.photons == 10 * low.experiment.photons
    same = high.reflections["I_true"] > 50
    assert len(high.reflections) == len(low.reflections)
    ratio = low.reflections["I_true"][same] / high.reflections["I_true"][same]
    assert abs(ratio - 0.1).max() < 1e-3


def test_shipped_files_are_small():
    for folder in ("images", "stream_files", "high_low_stream"):
        for path in (ROOT / folder).iterdir():
            assert path.stat().st_size < 1_000_000, path
