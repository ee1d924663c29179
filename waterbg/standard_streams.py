"""Standard input, output and error as all our programs need them: there, and named when they cannot be written."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from waterbg.errors import OutputError


def ready_streams() -> None:
    """Put ``/dev/null`` in the place of standard streams that are closed, and let errors of standard output name it.

    It comes before all else: Python has None for a closed one (``2>&-``), and the first file that is opened would get
    its number, into which other programs then write.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115
    out = sys.stdout
    if type(out) is io.TextIOWrapper:
        form = {"encoding": out.encoding, "errors": out.errors}
        kind = {"line_buffering": out.line_buffering, "write_through": out.write_through}
        sys.stdout = _StandardOutput(out.detach(), **form, **kind)  # type: ignore[arg-type]


class _StandardOutput(io.TextIOWrapper):
    def write(self, text: str) -> int:
        with naming_stdout():
            return super().write(text)

    def flush(self) -> None:
        with naming_stdout():
            super().flush()


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Let an error of writing to standard output say so; that of a reader that has gone is left as it is.

    Raises
    ------
    OutputError
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python would complain again at exit
        raise OutputError(f"cannot be written ({err.strerror})", path="standard output") from None
