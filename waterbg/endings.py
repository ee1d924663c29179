"""How all our programs end: one line on standard error, and the exit status that goes with it."""

from __future__ import annotations

import os
import sys

from waterbg.errors import UsageError, WaterbgError, in_one_line, in_words
from waterbg.interrupts import was_interrupted


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
