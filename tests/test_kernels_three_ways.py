"""Kernels give the same numbers compiled, as plain Python, and compiled with a check of every index."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import rooms

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("background", "integrate", "predict", "frames", "model", "plots")
# An index that is out of bounds raises only with NUMBA_BOUNDSCHECK; what is compiled so must not meet the cached
# kernels of others. Optimised or not, the checks are the same, and compiling takes half as long without.
PLAIN = {"NUMBA_DISABLE_JIT": "1"}
CHECKED = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "0", "NUMBA_LOOP_VECTORIZE": "0"}
CODE = "import sys; sys.path.append(sys.argv.pop(1)); from tests import rooms; rooms.main(*sys.argv[1:])"


def in_a_process(room, folder, settings):
    """What a room gives in a process with other settings of numba."""
    out = folder / f"{room}.npz"
    cache = {"NUMBA_CACHE_DIR": str(folder / "kernels")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(ROOT), room, str(out)],
        env={**os.environ, **cache, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as found:
        return dict(found)


def assert_same(room, found, rtol):
    mine = dict(getattr(rooms, room)())
    assert mine.keys() == found.keys()
    for name, values in mine.items():
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=rtol, err_msg=name)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What each room gives uncompiled, and the kernels that ran there."""
    folder = tmp_path_factory.mktemp("plain")
    found = {room: in_a_process(room, folder, PLAIN) for room in ROOMS}
    return found, {name for room in ROOMS for name in (folder / f"{room}.ran").read_text().split()}


@pytest.mark.parametrize("room", ROOMS)
def test_kernels_give_the_same_numbers_as_plain_python(room, plain):
    # single precision: NumPy keeps a float32 where numba's literals make it a float64
    assert_same(room, plain[0][room], rtol=3e-5)


def test_no_kernel_is_left_out(plain):
    kernels = set()
    for path in (ROOT / "waterbg").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(one) == "kernel" for one in node.decorator_list):
                kernels.add(f"{module}.{node.name}")
    assert len(kernels) > 50
    assert kernels - plain[1] == set()


@pytest.mark.parametrize(
    "room",
    [room if room in ("frames", "model") else pytest.param(room, marks=pytest.mark.slow) for room in ROOMS],
)
def test_kernels_keep_within_their_arrays(room, tmp_path):
    assert_same(room, in_a_process(room, tmp_path, CHECKED), rtol=1e-6)


def test_a_check_of_every_index_is_what_the_setting_means(tmp_path):
    code = "import numpy as np, numba\n@numba.njit\ndef f(a, i):\n    return a[i]\nf(np.zeros(3), 5)\n"
    script = tmp_path / "beyond.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, **CHECKED}, capture_output=True, text=True, check=False
    )
    assert "IndexError" in done.stderr
