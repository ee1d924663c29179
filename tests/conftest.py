"""Fixtures and the rules by which tests skip."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).resolve().parent / "data"
SHARED = Path(os.environ.get("WATERBG_SHARED", ROOT.parent / "shared"))
# the installed command; `python -m waterbg` would take the package of the folder it is started in
WATERBG = str(Path(sys.executable).with_name("waterbg"))

NEEDS = {
    "shared": lambda: None if (SHARED / "README.md").exists() else "the folder of real streams and images is not here",
    "crystfel": lambda: None if shutil.which("indexamajig") else "indexamajig is not on PATH",
    "slurm": lambda: None if shutil.which("slurmctld") and shutil.which("munged") else "no slurmctld or munged",
}


def pytest_configure(config):
    """Let programs hear of Ctrl-C although these tests run in a shell's background, where it is ignored.

    Tests that run side by side (-n) keep their kernels apart: of two processes that keep the same kernel at the same
    time one forgets what the other has compiled, and the next program says that it compiles where a test wants silence.
    """
    worker, kept = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("NUMBA_CACHE_DIR")
    if worker is not None:
        own = Path(f"{kept}-{worker}") if kept else config.cache.mkdir(f"kernels-{worker}")
        if kept and Path(kept).is_dir() and not own.exists():
            shutil.copytree(kept, own)
        os.environ["NUMBA_CACHE_DIR"] = str(own)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        for marker, missing in NEEDS.items():
            if item.get_closest_marker(marker) and (reason := missing()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Spell out names that are no UTF-8 in what a test prints: xdist cannot send them from process to process."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


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
