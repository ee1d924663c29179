"""waterbg.kernel: machine code that is kept is that of the code there is, in all files that a kernel takes from."""

import os
import subprocess
import sys

import pytest

MAIN = """
from helper import LEVEL, shifted
from waterbg.kernel import kernel

@kernel
def total(x):
    return shifted(x) + LEVEL

print(total(1.0), sum(total.stats.cache_hits.values()), sum(total.stats.cache_misses.values()))
"""
HELPER = """
from waterbg.kernel import kernel
from deeper import STEP

LEVEL, OTHER = 10.0, 3.0

@kernel
def shifted(x):
    return x + STEP
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "deeper.py").write_text("STEP = 0.5\n")
    return tmp_path


def said(folder):
    """The total, how often its machine code was found, and how often not."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "kept"), "NUMBA_DISABLE_JIT": "0", "PYTHONPATH": str(folder)}
    env["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
    done = subprocess.run(
        [sys.executable, "-B", "main.py"], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_kernel_is_found_again_while_nothing_it_takes_is_another(files):
    assert said(files) == ["11.5", "0", "1"]
    assert said(files) == ["11.5", "1", "0"]
    change(files / "deeper.py", "\n", "\nUNUSED = 1\n")
    assert said(files) == ["11.5", "1", "0"]


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("helper.py", "LEVEL, OTHER = 10.0", "LEVEL, OTHER = 20.0", "21.5"),
        ("helper.py", "x + STEP", "x - STEP", "10.5"),
        ("deeper.py", "0.5", "2.5", "13.5"),
    ],
)
def test_a_kernel_is_compiled_anew_when_a_constant_or_kernel_of_another_file_changes(files, name, old, new, expected):
    said(files)
    change(files / name, old, new)
    assert said(files) == [expected, "0", "1"]
    assert said(files) == [expected, "1", "0"]
