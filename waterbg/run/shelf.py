"""Memory that processes share, for results whose arrays are large: a pipe takes longer over them than the work."""

from __future__ import annotations

import contextlib
import mmap
import pickle
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

LARGE = 1 << 20  # bytes of an array that is worth it


class Laid(NamedTuple):
    """A result without its large arrays, the sizes of these in bytes, and the place on the shelf where they lie."""

    pickled: bytes
    sizes: list[int]
    place: int


class Shelf:
    """Places for the large arrays of one result each, for processes that are forked after it was made.

    Nothing is locked: who hands out the work sees to it that nobody has a place while another uses it.

    Parameters
    ----------
    places : int
    like : object
        A result: as much room as its large arrays take is made for each, if the system has it. What needs more goes
        through the pipe.
    """

    def __init__(self, places: int, like: object) -> None:
        sizes: list[int] = []
        pickle.dumps(like, 5, buffer_callback=lambda buffer: sizes.append(buffer.raw().nbytes))
        self._room = sum(size for size in sizes if size >= LARGE)
        try:
            self._memory = mmap.mmap(-1, max(places * self._room, 1))
        except OSError:  # as where memory is limited (ulimit -v)
            self._room, self._memory = 0, mmap.mmap(-1, 1)

    def lay(self, result: object, place: int) -> Laid:
        """Lay down the large arrays of a result, to be sent on."""
        sizes: list[int] = []

        def keep(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes < LARGE or sum(sizes) + raw.nbytes > self._room:
                return True  # stays with the rest
            begin = place * self._room + sum(sizes)
            self._memory[begin : begin + raw.nbytes] = raw
            sizes.append(raw.nbytes)
            return False

        return Laid(pickle.dumps(result, 5, buffer_callback=keep), sizes, place)

    def take(self, laid: Laid) -> Any:
        """The result, whose arrays are its own: the place may be used again."""
        stops = laid.place * self._room + np.cumsum([0, *laid.sizes])
        memory = memoryview(self._memory)
        arrays = [bytearray(memory[begin:end]) for begin, end in pairwise(stops)]
        return pickle.loads(laid.pickled, buffers=arrays)

    def clear(self) -> None:
        """Give the memory back, which all processes would hold to their end; where the system knows no way, they do."""
        if hasattr(mmap, "MADV_REMOVE"):
            with contextlib.suppress(OSError):
                self._memory.madvise(mmap.MADV_REMOVE)
