"""Fixtures and the rules by which tests skip."""

import os
import shutil
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).resolve().parent / "data"
SHARED = Path(os.environ.get("WATERBG_SHARED", ROOT.parent / "shared"))

NEEDS = {
    "shared": lambda: None if (SHARED / "README.md").exists() else "the folder of real streams and images is not here",
    "crystfel": lambda: None if shutil.which("indexamajig") else "indexamajig is not on PATH",
    "slurm": lambda: None if shutil.which("slurmctld") and shutil.which("munged") else "no slurmctld or munged",
}


def pytest_configure():
    """Let programs hear of Ctrl-C although these tests run in a shell's background, where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        for marker, missing in NEEDS.items():
            if item.get_closest_marker(marker) and (reason := missing()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data():
    """tests/data: small golden files, each with the command that made it."""
    return DATA


@pytest.fixture
def small(data, tmp_path):
    """A copy of the small golden set to work in."""
    folder = tmp_path / "small"
    shutil.copytree(data / "golden/small", folder)
    return folder


@pytest.fixture(scope="session")
def shared():
    """The folder of real data; tests that use it are marked ``shared``."""
    return SHARED
