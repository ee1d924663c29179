import shutil

import pytest


@pytest.fixture
def stream(data, tmp_path):
    """The golden stream with each chunk three times, and its images."""
    for name in ("images.h5", "mask.h5"):
        shutil.copy(data / "golden/small" / name, tmp_path)
    text = (data / "golden/small/rings-nocen-nosat-nograd.stream").read_bytes()
    at = text.index(b"----- Begin chunk")
    path = tmp_path / "run.stream"
    path.write_bytes(text[:at] + text[at:] * 3)
    return path
