"""CrystFEL's helper scripts, written anew: how they are found and run, and what they share.

The scripts are executables in ``crystfel_scripts/``: beside the package in a checkout, inside it after ``pip install``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any, NamedTuple

from plumbum import CommandNotFound, local

from waterbg.errors import ProgramError, UsageError

__all__ = ["Finished", "names", "run", "script_command", "script_path"]


class Finished(NamedTuple):
    """How a script ended: exit status, standard output, standard error."""

    status: int
    output: str
    errors: str


def folder() -> Path:
    """Where the scripts are."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "crystfel_scripts", package.parent / "crystfel_scripts"):
        if place.is_dir():
            return place
    raise ProgramError(f"the folder crystfel_scripts is neither in {package} nor beside it", program="waterbg script")


def names() -> list[str]:
    """Names of the scripts."""
    return sorted(path.name for path in folder().iterdir() if path.is_file() and not path.name.startswith((".", "_")))


def script_path(name: str) -> Path:
    """File of a script; CrystFEL's own endings (``stream2sol.py``, ``compare-hkl.gp``) may be left on.

    Raises
    ------
    UsageError
        When there is none of that name.
    """
    known = names()
    for candidate in (name, name.removesuffix(".py"), name.removesuffix(".gp")):
        if candidate in known:
            return folder() / candidate
    raise UsageError(f"no script named {name!r}; there are {', '.join(known)}")


def script_command(name: str, *args: str | os.PathLike[str]) -> Any:
    """Make the plumbum command of a script, run by the Python that runs us.

    After ``pip install`` the files need not be executable, and ``python3`` on PATH need not be ours.
    """
    path = script_path(name)
    with open(path, "rb") as file:
        first = file.readline()
    interpreter = sys.executable if b"python" in first else "/bin/sh"
    words = (str(path), *(os.fspath(arg) for arg in args))
    try:
        return local[interpreter][words]
    except CommandNotFound as err:
        raise ProgramError(f"{interpreter} cannot be started ({err})", program=name) from None


def environment() -> dict[str, str]:
    """Ours, with this very package first: in a checkout that is not installed, the scripts must find it, too."""
    package = str(Path(__file__).resolve().parents[2])
    others = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [package, others]))}


def run(name: str, *args: str | os.PathLike[str], stdin: str | bytes | None = None, check: bool = True) -> Finished:
    """Run one of CrystFEL's helper scripts.

    Parameters
    ----------
    name : str
        For example ``sum-peaks``; `names` lists them.
    *args : str or path
        As on the command line.
    stdin : str or bytes, optional
        What the script reads from standard input; default nothing.
    check : bool
        Raise when the exit status is not 0.

    Returns
    -------
    Finished
        Exit status, standard output, standard error; in the order of plumbum's own ``run``. Bytes that are no UTF-8
        are as in `os.fsdecode`.

    Raises
    ------
    UsageError
        When there is no such script.
    ProgramError
        When it failed, with what it said last.

    Examples
    --------
    >>> from waterbg import scripts
    >>> geometry = scripts.run("extract-geom", "run.stream").output  # doctest: +SKIP
    """
    process = script_command(name, *args).popen(stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment())
    sent = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) else stdin
    # plumbum's own run would leave out the bytes of a name or a comment that are no UTF-8
    output, errors = (said.decode("utf-8", "surrogateescape") for said in process.communicate(sent))
    status = process.returncode
    if check and status != 0:
        said = [line for line in (errors.strip() or output.strip()).splitlines() if line.strip()]
        raise ProgramError(
            said[-1] if errors.strip() else said[0] if said else "it said nothing", program=name, status=status
        )
    return Finished(status, output, errors)
