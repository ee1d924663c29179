"""Ctrl-C, heard where it does no harm.

Python raises KeyboardInterrupt wherever it happens to be: in the callback of a weak reference, where it is printed and
forgotten, so that a run goes on to its end (h5py has many), or among a compiled kernel's arguments, which makes another
error of it. Commands therefore only note it, and raise it where they look: between two chunks or frames.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

_PATIENCE = 1.0  # s, in which somebody should have looked; after that it is raised anywhere, again and again
_asked = False


def heed_interrupts() -> None:
    """Note Ctrl-C from now on; for the console script, which owns its process, signals and timer."""
    signal.signal(signal.SIGINT, _ask)
    signal.signal(signal.SIGALRM, interrupt)


def checkpoint() -> None:
    """Raise the KeyboardInterrupt that was asked for, if one was."""
    if _asked:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether somebody asked for the end; nothing is raised any more, so that what is begun can be put in order."""
    if _asked:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return _asked


@contextmanager
def answering(numbers: Sequence[int], answer: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Answer signals ourselves for a while, where that may be done: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, answer) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Answer a signal as Python answers Ctrl-C."""
    raise KeyboardInterrupt


def _ask(signum: int, frame: FrameType | None) -> None:
    global _asked
    if _asked:  # whoever asks twice does not want to wait
        raise KeyboardInterrupt
    _asked = True
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)
