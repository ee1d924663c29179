"""Completion of commands, options and values in real shells."""

import shutil
import subprocess

import pytest

from waterbg.cli import base
from waterbg.cli.base import run
from waterbg.cli.catalogue import entries

from ..conftest import WATERBG

COMPLETE_IN_BASH = """
. "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_waterbg
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Function of a shell's name: the file with its completion."""

    def make(shell):
        path = tmp_path_factory.mktemp("completion") / f"waterbg.{shell}"
        with open(path, "wb") as out:
            subprocess.run([WATERBG, "completion", shell], stdout=out, check=True)
        return str(path)

    return make


@pytest.fixture(scope="module")
def in_bash(script):
    path = script("bash")

    def complete(*words):
        # bash takes --option=value apart before it asks
        done = subprocess.run(
            ["bash", "-c", COMPLETE_IN_BASH, "bash", path, *words], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.split()

    return complete


@pytest.fixture(scope="module")
def in_fish(script):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    path = script("fish")

    def complete(line):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        return [one.partition("\t")[0] for one in done.stdout.splitlines()]

    return complete


def test_bash_completes_commands_options_values_and_first_words(in_bash):
    assert set(base.SUBCOMMANDS) <= set(in_bash("waterbg", ""))
    assert in_bash("waterbg", "ver") == ["verify"]
    assert in_bash("waterbg", "subtract", "--until-p") == ["--until-pid"]
    assert in_bash("waterbg", "subtract", "in.stream", "--on-missing", "k") == ["keep"]
    assert in_bash("waterbg", "subtract", "in.stream", "--on-missing", "=", "k") == ["keep"]
    assert in_bash("waterbg", "subtract", "--on-missing", "=") == ["fail", "keep", "drop"]
    assert in_bash("waterbg", "slurm", "re") == ["resume"]
    assert "sum-peaks" in in_bash("waterbg", "script", "")
    assert in_bash("waterbg", "simulate", "noring", "--see") == ["--seed"]


def test_bash_leaves_files_to_itself(in_bash):
    assert in_bash("waterbg", "subtract", "stream_") == []
    assert in_bash("waterbg", "subtract", "--model", "") == []
    assert in_bash("waterbg", "slurm", "status", "out") == []
    assert in_bash("waterbg", "nonsense", "--x") == []


def test_fish_completes_commands_options_values_and_first_words(in_fish):
    assert set(base.SUBCOMMANDS) <= set(in_fish("waterbg "))
    assert in_fish("waterbg ver") == ["verify"]
    assert in_fish("waterbg subtract --until-p") == ["--until-pid"]
    assert in_fish("waterbg subtract --on-missing k") == ["keep"]
    assert in_fish("waterbg subtract --on-missing=k") == ["--on-missing=keep"]
    assert in_fish("waterbg slurm re") == ["resume"]
    assert "sum-peaks" in in_fish("waterbg script ")
    assert "drop" not in in_fish("waterbg decoys --")


def test_another_shell_is_a_usage_error(capsys):
    assert run(["waterbg", "completion", "tcsh"]) == 2
    assert "bash and fish" in capsys.readouterr().err


def test_the_catalogue_has_every_command_with_its_options():
    commands = {entry.name: entry for entry in entries()}
    assert sorted(commands) == sorted(base.SUBCOMMANDS)
    options = {name: option for option in commands["subtract"].options for name in option.names}
    assert options["--on-missing"].choices == ("fail", "keep", "drop")
    assert options["-j"].limits == "[1..1024]"
    assert options["-o"].required
    assert options["-o"].names == ("-o", "--output")
    assert all(entry.summary and entry.usage.startswith("waterbg ") for entry in commands.values())
    assert all(option.help for entry in commands.values() for option in entry.options)
