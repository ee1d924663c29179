"""A short stream over the golden images, and one of its chunks looked at."""

import re
from pathlib import Path

import pytest

from tests.plots.plain import thin
from waterbg.stream import StreamFile


@pytest.fixture(scope="session")
def folder(data, tmp_path_factory):
    """Images, masks, and the first two chunks of a stream; before them one whose crystal was taken out."""
    folder = tmp_path_factory.mktemp("view")
    for name in ("images.h5", "mask.h5", "truth.h5"):
        (folder / name).symlink_to(data / "golden/small" / name)
    source = data / "golden/small/rings-nocen-nosat-nograd.stream"
    with StreamFile(source) as stream:
        first, second, *_ = [chunk.bytes for chunk in stream.chunks()]
        header = stream.header
    blank = re.sub(rb"--- Begin crystal\n.*--- End crystal\n", b"", second, flags=re.DOTALL)
    (folder / "run.stream").write_bytes(header + blank + first + second)
    return folder


@pytest.fixture(scope="session")
def stream(folder):
    """Path of that stream."""
    return str(folder / "run.stream")


@pytest.fixture(scope="session")
def look(stream):
    """Its second chunk, the first with a crystal."""
    pytest.importorskip("matplotlib")
    from waterbg.plots.look import Wanted, choose_chunk, look_at
    from waterbg.run import resolve_job

    number, chunk = choose_chunk(stream, Wanted())
    return look_at(resolve_job(stream), number, chunk)


@pytest.fixture
def figure():
    """An empty figure of the size that is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16.0, 9.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@pytest.fixture(scope="session")
def subtracted(stream, tmp_path_factory):
    """What `waterbg subtract` makes of that stream, with its run model beside it."""
    from waterbg.cli.base import run

    out = tmp_path_factory.mktemp("report") / "out.stream"
    assert run(["waterbg", "subtract", stream, "-o", str(out)]) == 0
    return str(out)


@pytest.fixture(scope="session")
def thinned(subtracted):
    """The same without every seventh reflection."""
    path = Path(subtracted).with_name("thinned.stream")
    path.write_bytes(thin(Path(subtracted).read_bytes()))
    return str(path)


@pytest.fixture(scope="session")
def findings(stream, subtracted):
    """What a report on both has."""
    pytest.importorskip("matplotlib")
    from waterbg.plots.report import find

    return find(stream, subtracted)


@pytest.fixture(scope="session")
def page(findings):
    """The report's page."""
    from waterbg.plots.report import draw_report

    return draw_report(findings).decode()
