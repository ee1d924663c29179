"""What can be wrong with the user's files: each error says where, what, and what to do next.

Everything a user can cause derives from :class:`WaterbgError`; the command line prints it as one line
and exits with status 1. Anything else that reaches the user is a bug of ours.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any


class WaterbgError(Exception):
    """Base of all errors that speak to the user."""

    def advise(self, hint: str) -> None:
        """Say what to do next at the end of the line, once that is known."""
        self.args = (f"{self}; {hint}", *self.args[1:])


def in_one_line(err: BaseException | str) -> str:
    """Message of an error as the one line that a user sees, whatever the names of files in it hold."""
    return "\\n".join(str(err).splitlines())


def in_words(err: OSError) -> str:
    """One line for an error of the system that nobody expected, such as of a disk that fails."""
    where = f"{os.fsdecode(err.filename)}: " if isinstance(err.filename, str | bytes) else ""
    return in_one_line(f"{where}{(err.strerror or str(err) or type(err).__name__).splitlines()[0]}")


class _Located(WaterbgError):
    """An error with a reason and keyword fields; survives the way back from a worker process."""

    def __init__(self, reason: str, **fields: Any) -> None:
        super().__init__(reason, *fields.values())
        self.reason = reason
        self._fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def advise(self, hint: str) -> None:
        """Say what to do next at the end of the line, once that is known."""
        self.reason += f"; {hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._fields), (self.reason,)


class StreamError(_Located):
    """A stream that does not follow the format, and exactly where.

    Attributes
    ----------
    reason : str
    path : str
    line : int
        1-based; 0 when unknown (a reader that started in the middle of the file).
    offset : int
        Byte at which the line starts.
    """

    line: int
    offset: int
    path: str

    def __init__(self, reason: str, *, path: str, line: int = 0, offset: int = 0) -> None:
        super().__init__(reason, path=str(path), line=line, offset=offset)

    def __str__(self) -> str:
        where = f":{self.line}" if self.line else ""
        return f"{self.path}{where} (byte {self.offset}): {self.reason}"


class GeometryError(_Located):
    """A geometry that CrystFEL would refuse, or that does not fit the images; line is 1-based, 0 for the whole file."""

    line: int
    path: str

    def __init__(self, reason: str, *, path: str = "geometry", line: int = 0) -> None:
        super().__init__(reason, path=str(path), line=line)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


class ImageError(_Located):
    """An image that is missing, unreadable, or of the wrong shape."""

    path: str
    event: str | None
    dataset: str | None

    def __init__(self, reason: str, *, path: str, event: str | None = None, dataset: str | None = None) -> None:
        super().__init__(reason, path=str(path), event=event, dataset=dataset)

    def __str__(self) -> str:
        event = f" {self.event}" if self.event else ""
        dataset = f" ({self.dataset})" if self.dataset else ""
        return f"{self.path}{event}{dataset}: {self.reason}"


class OutputError(_Located):
    """An output that exists, cannot be written, or did not pass its own verification."""

    path: str

    def __init__(self, reason: str, *, path: str) -> None:
        super().__init__(reason, path=str(path))

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UsageError(WaterbgError):
    """Options that contradict each other or ask for what does not exist; exit status 2."""


class ProgramError(_Located):
    """An outside program (CrystFEL, Slurm) that is missing or failed.

    Attributes
    ----------
    program : str
    status : int or None
        Exit status; None when it could not be started.
    log : str or None
        File that keeps its standard error.
    """

    program: str
    status: int | None
    log: str | None

    def __init__(self, reason: str, *, program: str, status: int | None = None, log: str | None = None) -> None:
        super().__init__(reason, program=program, status=status, log=log)

    def __str__(self) -> str:
        status = f" (exit status {self.status})" if self.status is not None else ""
        log = f"; its messages are in {self.log}" if self.log else ""
        return f"{self.program}{status}: {self.reason}{log}"
