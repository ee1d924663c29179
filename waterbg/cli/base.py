"""What all subcommands share: the root command, exit statuses, the one-line error."""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import os
import sys
from typing import Any, NoReturn

import waterbg
from waterbg.endings import tell
from waterbg.errors import OutputError, UsageError
from waterbg.interrupts import heed_interrupts
from waterbg.kernel_cache import choose_kernel_cache
from waterbg.standard_streams import ready_streams
from waterbg.switches import Switches, print_any_name


class Command(Switches):
    """Base of the subcommands (else ``-v`` would mean ``--version`` in them)"""

    VERSION = waterbg.__version__
    SUBCOMMAND_HELPMSG = False  # the list of subcommands needs no "see 'waterbg x --help'" behind each

    def __init_subclass__(cls, **how: Any) -> None:
        """In the list of subcommands stands the first line of the docstring, in a command's own help all of it."""
        super().__init_subclass__(**how)
        cls.DESCRIPTION = (inspect.getdoc(cls) or "").partition("\n")[0]

    def __init__(self, executable: str | None = None) -> None:
        super().__init__(executable)
        self.DESCRIPTION = inspect.getdoc(self)


def refuse_standard_output(output: str | None) -> None:
    """Refuse ``-o -``: a file named ``-`` would come of it."""
    if output == "-":
        raise UsageError("-o -: it is written as a whole, so standard output will not do; a name is needed")


class WaterBg(Command):
    """Model the background under every Bragg reflection of a CrystFEL stream anew, and integrate again"""

    PROGNAME = "waterbg"

    def main(self, *args: str) -> int:
        """Reached only without a subcommand, or with one that does not exist."""
        if self.nested_command:
            return 0
        if args:
            print(f"waterbg: no command {args[0]!r}; 'waterbg --help' lists them", file=sys.stderr)
        else:
            print("waterbg: a command is needed; 'waterbg --help' lists them", file=sys.stderr)
        return 2


# name -> class, imported only when asked for: text commands must not pay for numba, h5py or matplotlib
SUBCOMMANDS = {
    "simulate": "waterbg.cli.simulate.Simulate",
    "subtract": "waterbg.cli.subtract.Subtract",
    "decoys": "waterbg.cli.decoys.Decoys",
    "view": "waterbg.cli.view.View",
    "report": "waterbg.cli.report.Report",
    "slurm": "waterbg.cli.slurm.Slurm",
    "verify": "waterbg.cli.verify.Verify",
    "indexamajig": "waterbg.cli.indexamajig.Indexamajig",
    "rerun": "waterbg.cli.rerun.Rerun",
    "merge": "waterbg.cli.merge.Merge",
    "compare": "waterbg.cli.compare.Compare",
    "peaks": "waterbg.cli.peaks.Peaks",
    "overwrite": "waterbg.cli.overwrite.Overwrite",
    "script": "waterbg.cli.script.Script",
    "completion": "waterbg.cli.completion.Completion",
}
for _name, _where in SUBCOMMANDS.items():
    WaterBg.subcommand(_name, _where)


def run(argv: list[str]) -> int:
    """Run ``waterbg`` with ``argv`` (program name first) and return its exit status."""
    choose_kernel_cache()
    print_any_name()
    try:
        _, status = WaterBg.run(argv, exit=False)
        sys.stdout.flush()  # a full disk is noticed here, and not when Python ends
    except BaseException as err:
        return tell(err, "waterbg", "; fewer workers (-j) need less")
    return int(status or 0)


_RUN_PROGRAMS = ("indexamajig", "rerun", "merge", "script", "slurm")  # which hear of Ctrl-C themselves
_OBJECTS = 200_000  # that are made before the collector looks for cycles: more than a short run makes


def entry(argv: Any = None) -> NoReturn:
    """Run the console script, and end the process."""
    ready_streams()
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    words = list(sys.argv if argv is None else argv)
    if words[1:] and words[1] not in _RUN_PROGRAMS:
        heed_interrupts()
    status = run(words)
    # all is written and closed: taking modules and compiled kernels down one by one would be a sixth of a short run
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, OutputError):  # said already
            stream.flush()
    os._exit(status)
