"""An HDF5 file that grows frame by frame on a disk that may fail."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py

from waterbg.errors import OutputError
from waterbg.stream import OutputFile

if TYPE_CHECKING:
    from typing_extensions import Self


class H5Part:
    """The part of an output, written as HDF5; a context manager that closes it.

    HDF5 cannot give up a file that the disk refused once: closing it, or ending the process, is a segmentation fault
    (2.0). So it never learns of an error: it writes through Python, which keeps the first one and drops what comes
    after.

    Parameters
    ----------
    out : OutputFile
        Begun; to be finished when this is closed.

    Attributes
    ----------
    file : h5py.File
        To be changed only within :meth:`writing`.
    """

    def __init__(self, out: OutputFile) -> None:
        self._out = out
        self._disk = _Disk(out.partial, "r+")
        self.file = h5py.File(self._disk, "w")

    @contextmanager
    def writing(self) -> Iterator[h5py.File]:
        """Change the file.

        Raises
        ------
        OutputError
            When the disk has refused something, now or before.
        """
        with _ctrl_c_waits():
            yield self.file
        if self._disk.error is not None:
            raise self._out.cannot(self._disk.error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self.writing() as file:
                file.close()
        except OutputError:
            if kind is None:  # else the error on its way says why, and the disk is no news to it
                raise
        finally:
            self._disk.close()


class _Disk(io.FileIO):
    """A file that takes all that is written, and keeps the first error."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data)
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as err:
            self.error = err
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                return super().truncate(size)
        except OSError as err:
            self.error = err
        return self.tell()


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Hold Ctrl-C back, and the timer behind it: in the midst of HDF5 it would be a write that failed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[tuple[Any, ...]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda *words: pressed.append(words))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if pressed:
        held[pressed[0][0]](*pressed[0])
