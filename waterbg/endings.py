"""How all our programs end: one line on standard error, and the exit status that goes with it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

from waterbg.errors import UsageError, WaterbgError, in_one_line, in_words
from waterbg.interrupts import answering, was_interrupted


def tell(err: BaseException, program: str, when_out_of_memory: str = "") -> int:
    """Say in one line what ended a program: its exit status. What nobody expects is raised again.

    Parameters
    ----------
    err : BaseException
    program : str
        Begins the line.
    when_out_of_memory : str
        What to do then.
    """
    if isinstance(err, KeyboardInterrupt) or was_interrupted():  # whatever has come of it
        said, status = "interrupted", 130
    elif isinstance(err, UsageError):
        said, status = in_one_line(err), 2
    elif isinstance(err, WaterbgError):
        said, status = f"error: {in_one_line(err)}", 1
    elif isinstance(err, BrokenPipeError):
        # the reader of our output (head, less) has gone: not an error, but Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    elif isinstance(err, OSError):
        # a disk or a network that fails where nobody expects it; BrokenPipeError is one, so this comes after
        said, status = f"error: {in_words(err)}", 1
    elif isinstance(err, MemoryError):
        said, status = f"error: out of memory{when_out_of_memory}", 1
    else:
        raise err
    print(f"{program}: {said}", file=sys.stderr)
    return status


def end_as(process: Any) -> int:
    """Wait for a process that stands for us, pass signals on to it, and give its exit status."""

    def pass_on(signum: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(signum)

    with (
        answering((signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1), pass_on),
        answering((signal.SIGINT,), lambda signum, frame: None),  # the terminal tells it, too
    ):
        return exit_status(process.wait())


def exit_status(status: int) -> int:
    """Exit status as the shell counts it: 128 + number of the signal that killed a process."""
    return 128 - status if status < 0 else int(status)
