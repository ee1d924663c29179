"""Stand-ins for CrystFEL's programs that replay what the real ones said (see recorded/make.sh)."""

import shlex
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture(scope="session")
def recorded():
    """Outputs of the real programs."""
    return RECORDED


@pytest.fixture
def program(tmp_path):
    """A function that puts an executable shell script into a folder for ``--crystfel-bin``; gives back that folder."""

    def write(name, body):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / name
        version = shlex.quote(str(RECORDED / "version.txt"))
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && {{ cat {version}; exit; }}\n{body}\n')
        path.chmod(0o755)
        return folder

    return write


# the value of an option "--name=value" or "-n value" among the arguments
_VALUE = """
value() { # $1: option, rest: arguments
    wanted=$1; shift
    while [ $# -gt 0 ]; do
        case $1 in
        "$wanted"=*) echo "${1#*=}"; return;;
        "$wanted") echo "$2"; return;;
        esac
        shift
    done
}
"""


@pytest.fixture
def merging(program):
    """A folder of stand-ins for process_hkl, partialator, check_hkl and compare_hkl."""
    here = shlex.quote(str(RECORDED))
    program("process_hkl", _VALUE + 'echo "process_hkl $*" >"$(value -o "$@")"')
    program("partialator", _VALUE + 'o=$(value -o "$@"); for n in "" 1 2; do echo "partialator $*" >"$o$n"; done')
    # which stream a list is from shows in its name
    which = 'case "$*" in *nograd*) w=nograd;; *) w=grad;; esac'
    program(
        "check_hkl",
        f'{_VALUE}{which}; cp {here}/check-$w.dat "$(value --shell-file "$@")"; cat {here}/check-$w.err >&2',
    )
    return program(
        "compare_hkl",
        f"""{_VALUE}{which}
        case "$*" in *nograd.hkl*/grad.hkl) name=between-$(value --fom "$@");; *) name=$(value --fom "$@")-$w;; esac
        cp {here}/$name.dat "$(value --shell-file "$@")"; cat {here}/$name.err >&2""",
    )
