"""Small things about HDF5 that h5py leaves to its users."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers bitshuffle, LZ4, Blosc, Zstd ... with HDF5)
import numpy as np

from waterbg.errors import ImageError
from waterbg.frames.kinds import CBF_NAMES, refuse_other_kinds

MOST_CHUNK_CACHE = 256 << 20  # bytes for one dataset

# What h5py raises for a file that is damaged, in one way or another.
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


@contextmanager
def damaged(path: str, dataset: str) -> Iterator[None]:
    """Turn what HDF5 says about a damaged file into an ImageError."""
    try:
        yield
    except HDF5_ERRORS as err:
        raise ImageError(f"cannot be opened, the file is damaged ({said(err)})", path=path, dataset=dataset) from None


def open_dataset(group: h5py.Group, name: str, access: h5py.h5p.PropDAID) -> h5py.h5d.DatasetID:
    """A dataset of a group."""
    return h5py.h5d.open(group.id, os.fsencode(name), access)


def open_hdf5(path: str) -> h5py.File:
    """A file open for reading; ImageError says why not, `CbfFile` that it is a CBF image."""
    # what a file is takes as long as to open it on network file systems: it is asked beforehand only where a name says
    # so, or where a pipe would be waited for, or a device may have no end
    if path.endswith(CBF_NAMES) or not os.path.isfile(path):
        refuse_other_kinds(path)
    # Locks fail on some network file systems; a file that is being written in SWMR mode opens only as such.
    last: Exception | None = None
    attempts: tuple[dict[str, bool], ...] = ({}, {"locking": False}, {"swmr": True})
    for options in attempts:
        try:
            return h5py.File(path, "r", **options)
        except HDF5_ERRORS as err:
            last = last or err
    refuse_other_kinds(path)
    reason = said(last)
    if "truncated" in reason:
        raise ImageError(f"the file is cut short ({reason}); copy it again", path=path)
    raise ImageError(f"cannot be opened ({reason})", path=path)


def chunk_cache(
    chunk: tuple[int, ...], shape: tuple[int, ...], itemsize: int, part_of_chunk: bool
) -> tuple[int, int, float] | None:
    """Arguments of set_chunk_cache when chunks should be kept from one read to the next, else None."""
    if len(chunk) < 2 or not (part_of_chunk or any(n > 1 for n in chunk[:-2])):
        return None
    size = int(np.prod(chunk, dtype=np.int64)) * itemsize
    # chunks of one frame: along the axes before the last two a frame takes one chunk, or the few of its stack
    n_chunks = int(np.prod([-(-n // c) for n, c in zip(shape[1:], chunk[1:], strict=True)], dtype=np.int64))
    if size * n_chunks > MOST_CHUNK_CACHE:
        return None
    return 10 * n_chunks + 1, size * n_chunks + size, 0.75


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it; both absolute."""
    return os.path.commonpath([path, folder]) == folder


def names_in(group: Any) -> str:
    """What a group holds, for messages."""
    if not isinstance(group, h5py.Group):
        return ""
    names: list[str] = []
    with suppress(*HDF5_ERRORS):
        for name in group:
            names.append(name[:60])
            if len(names) == 6:
                names[-1] = "..."
                break
    return f" (which holds {', '.join(names)})" if names else " (which is empty)"


def said(err: Exception | None) -> str:
    """First line of what HDF5 said."""
    return (str(err).strip().splitlines() or ["no reason given"])[0][:200]
