"""Geometries as libcrystfel 0.12 resolves them (the oracle's JSON), and those it refuses."""

import importlib.util
import json
from pathlib import Path

import pytest

from waterbg.errors import GeometryError
from waterbg.geometry import parse_geometry

spec = importlib.util.spec_from_file_location("geometry_dump", Path(__file__).with_name("dump.py"))
geometry_dump = importlib.util.module_from_spec(spec)
spec.loader.exec_module(geometry_dump)


@pytest.fixture(scope="module")
def oracle(shared):
    folder = shared / "geometry"
    spec = importlib.util.spec_from_file_location("compare_geometry", folder / "compare_geometry.py")
    compare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compare)
    cases = {path.stem: json.loads(path.with_suffix(".json").read_text()) for path in sorted(folder.glob("*.geom"))}
    return folder, compare.compare, cases


@pytest.mark.shared
def test_every_geometry_is_resolved_as_crystfel_resolves_it(oracle):
    folder, compare, cases = oracle
    assert len(cases) >= 69
    differences = {}
    for name, expected in cases.items():
        found = geometry_dump.dump((folder / f"{name}.geom").read_bytes())
        if name == "x_mask_number_nine":
            # CrystFEL writes past the end of its masks; where that lands is no property of the geometry
            for panel in found["panels"]:
                del panel["mask_edge_pixels"]
        if difference := compare(found, expected):
            differences[name] = difference
    assert differences == {}


@pytest.mark.shared
def test_every_refused_geometry_is_refused_with_its_line(oracle):
    folder, _, cases = oracle
    refused = [name for name, expected in cases.items() if not expected["ok"]]
    assert len(refused) >= 22
    for name in refused:
        text = (folder / f"{name}.geom").read_text()
        with pytest.raises(GeometryError) as caught:
            parse_geometry(text, path=f"{name}.geom")
        assert 1 <= caught.value.line <= text.count("\n") + 1
        assert str(caught.value).startswith(f"{name}.geom:{caught.value.line}: ")


@pytest.mark.shared
def test_geometries_of_real_streams_are_read_leniently(shared):
    begin, end = b"----- Begin geometry file -----\n", b"----- End geometry file -----"
    folders = [shared / "streams", *(shared / "golden").iterdir(), *(shared / "real").iterdir()]
    streams = [path for folder in folders for path in folder.glob("*.stream")]
    texts = {}
    for path in streams:
        with open(path, "rb") as file:
            head = file.read(4 << 20)
        if begin in head:
            texts[head.partition(begin)[2].partition(end)[0]] = path.name
    assert len(texts) >= 6
    for text, name in texts.items():
        detector = parse_geometry(text, path=name, lenient=True)
        assert detector.n_pixels > 10_000
