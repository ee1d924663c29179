"""The end of every command: nothing is taken down, and nothing is lost."""

import subprocess
import sys

import pytest

ENDS = """
import atexit, sys
atexit.register(lambda: print("at the end"))
from waterbg.cli import entry
entry(["waterbg", *sys.argv[1:]])
"""


@pytest.mark.parametrize(("arguments", "status"), [(["--version"], 0), (["nonsense"], 2), (["verify", "/nowhere"], 1)])
def test_a_command_ends_with_its_status_and_all_that_was_to_be_said(arguments, status):
    done = subprocess.run([sys.executable, "-c", ENDS, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stdout.endswith("at the end\n")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_an_error_when_a_command_ends():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "waterbg", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("waterbg: error:")
    assert len(done.stderr.splitlines()) == 1
