"""The end of every command: nothing is taken down, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from waterbg.cli.base import run
from waterbg.cli.catalogue import entries

from ..conftest import WATERBG

SCRIPTS = Path(__file__).resolve().parents[2] / "crystfel_scripts"

ENDS = """
import atexit, sys
atexit.register(lambda: print("at the end"))
from waterbg.cli import entry
entry(["waterbg", *sys.argv[1:]])
"""


@pytest.mark.parametrize(("arguments", "status"), [(["--version"], 0), (["nonsense"], 2), (["verify", "/nowhere"], 1)])
def test_a_command_ends_with_its_status_and_all_that_was_to_be_said(arguments, status, tmp_path):
    command = [sys.executable, "-c", ENDS, *arguments]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True, check=False)
    assert done.returncode == status
    assert done.stdout.endswith("at the end\n")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_an_error_when_a_command_ends():
    with open("/dev/full", "w") as full:
        done = subprocess.run([WATERBG, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "waterbg: error: standard output: cannot be written (No space left on device)\n"


@pytest.mark.parametrize("program", [f"{WATERBG} script ", f"{sys.executable} {SCRIPTS}/"], ids=["waterbg", "alone"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_disk_is_an_error_of_a_script_too(data, program, unbuffered):
    name = data / "golden/small/rings-nocen-nosat-nograd.stream"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for script in ("ave-resolution", "indexed-filenames"):
        done = subprocess.run(
            ["sh", "-c", '"$@" >/dev/full', "sh", *f"{program}{script}".split(), name],
            stderr=subprocess.PIPE, env=environment, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr == f"{script}: error: standard output: cannot be written (No space left on device)\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_no_error_and_what_is_written_is_whole(data, tmp_path, closed):
    """As cron jobs and some queues have them."""
    stream = data / "golden/small/rings-nocen-nosat-nograd.stream"
    out = tmp_path / "out.stream"
    for words, status in (
        ([WATERBG, "subtract", stream, "-o", out, "--integration=rings", "-j", "2"], 0),
        ([WATERBG, "verify", out], 0),
        ([WATERBG, "verify", "/nowhere"], 1),
        ([WATERBG, "nonsense"], 2),
        ([WATERBG, "script", "indexed-filenames", stream], 0),
        ([sys.executable, f"{SCRIPTS}/indexed-filenames", stream], 0),
        ([sys.executable, f"{SCRIPTS}/indexed-filenames", "/nowhere"], 1),
    ):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert status or "Error" not in done.stderr
    assert out.read_bytes().endswith(b"----- End chunk -----\n")


def test_what_would_go_to_a_closed_stream_goes_into_no_file(data, tmp_path):
    """The first file that is opened would get its number."""
    stream = data / "golden/small/rings-nocen-nosat-nograd.stream"
    whole = [tmp_path / "closed.stream", tmp_path / "open.stream"]
    for out, closed in zip(whole, (">&- 2>&-", ""), strict=True):
        words = [WATERBG, "subtract", stream, "-o", out, "--integration=rings"]
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *map(str, words)]
        subprocess.run(command, capture_output=True, check=True)
    assert whole[0].read_bytes() == whole[1].read_bytes()


def test_help_lists_commands_by_one_line_and_says_the_rest_in_their_own(capsys):
    run(["waterbg", "--help"])
    listed = " ".join(capsys.readouterr().out.split())
    for command in entries():
        run(["waterbg", command.name, "--waterbg-help" if command.name == "indexamajig" else "--help"])
        own = capsys.readouterr().out
        assert command.summary in listed
        assert command.detail in own
        assert not command.detail or " ".join(command.detail.split()) not in listed
        assert "given again" not in own  # what may be given several times has plumbum's words for it
        assert "several times" not in own
