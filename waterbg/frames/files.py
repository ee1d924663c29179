"""Open HDF5 files and their datasets, a few at a time, and follow links only where the user allows it.

Nothing that stands in an image may make us read elsewhere: external links, virtual datasets and external raw storage
are followed inside the image's own folder, and beyond it only when the user says so. So links are resolved here, one
component of a path after the other, and HDF5 itself never meets an external link.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from waterbg.errors import ImageError
from waterbg.frames.hdf5 import HDF5_ERRORS, chunk_cache, damaged, inside, names_in, open_dataset, open_hdf5, said
from waterbg.frames.places import folders_of
from waterbg.frames.virtual import Source

MOST_OPEN = 8
MOST_DATASETS = 256  # open in one file; a path with % has one for each event
MOST_VALUES = 1 << 20  # in one place of the file, one for each event
MOST_LINKS = 32  # soft and external, on the way to one dataset

UNWRITTEN = "these pixels were never written; the file is still being written, or was not finished"

# Read as they are and made float32 by our own loop; every other type is made float32 by HDF5.
_PLAIN = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"}


@dataclass
class Dataset:
    """An open dataset.

    Attributes
    ----------
    path : str
        Of the file it really is in.
    name : str
        As asked for.
    shape : tuple of int
    raw : dtype
        What to read it as.
    is_number : bool
        False for texts and the like, which a header may be.
    is_float : bool
        Whether it may hold what is no count: NaN, infinity, or (floats and 64-bit integers) something far too large.
    sources : list of Source
        Pieces of a virtual dataset.
    chunk : tuple of int or None
        Shape of its chunks.
    whole : bool
        False when some of it has no place in the file yet.
    """

    id: h5py.h5d.DatasetID
    path: str
    name: str
    shape: tuple[int, ...]
    raw: np.dtype[Any]
    is_number: bool
    is_float: bool
    sources: list[Source] = field(default_factory=list)
    chunk: tuple[int, ...] | None = None
    whole: bool = True

    def lacks(self, start: tuple[int, ...], count: tuple[int, ...]) -> bool:
        """Whether some of a rectangle was never written; HDF5 gives fill values there, zeros as a rule."""
        if self.whole:
            return False
        if self.chunk is None:
            return True
        corners = [range(a - a % c, a + n, c) for a, n, c in zip(start, count, self.chunk, strict=True)]
        return any(self.id.get_chunk_info_by_coord(at).byte_offset is None for at in itertools.product(*corners))

    def read(self, start: tuple[int, ...], count: tuple[int, ...], out: NDArray[Any]) -> None:
        """Read a rectangle into a contiguous array of the same size; OSError and the like are HDF5's."""
        if not self.is_number:
            raise ImageError("holds no numbers", path=self.path, dataset=self.name)
        space = self.id.get_space()
        space.select_hyperslab(start, count)
        self.id.read(h5py.h5s.create_simple(count), space, out)


@dataclass
class _Open:
    file: h5py.File
    stamp: tuple[int, ...]
    event: int  # that used it last
    groups: dict[str, tuple[str, Any]] = field(default_factory=dict)
    datasets: OrderedDict[str, Dataset] = field(default_factory=OrderedDict)
    numbers: dict[str, NDArray[Any]] = field(default_factory=dict)


class Files:
    """The HDF5 files that are open now. Not for use from several threads.

    Parameters
    ----------
    follow : bool
        Follow links out of the image's folder.
    advice : str
        What to say to the user whose links are not followed.
    """

    def __init__(self, follow: bool = False, advice: str = "; allow it with --follow-external-links") -> None:
        self.follow, self.advice = follow, advice
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._event = 0
        self._pid = os.getpid()

    def close(self) -> None:
        """Close all files; the next use opens them again."""
        while self._open:
            self._close(next(iter(self._open)))

    def begin(self) -> None:
        """A new event: files that only earlier ones needed may be closed from here on."""
        self._event += 1

    def _close(self, path: str) -> None:
        entry = self._open.pop(path)
        entry.groups.clear()
        entry.datasets.clear()
        with suppress(*HDF5_ERRORS):  # the medium is gone; there is nothing to save in a file open for reading
            entry.file.close()

    def stamp(self, path: str) -> tuple[int, ...]:
        """Changes when the file does. Raises ImageError if there is no such file."""
        try:
            found = os.stat(path)
        except OSError as err:
            raise ImageError(f"{err.strerror or err}".lower(), path=path) from None
        except ValueError:  # a list of images may hold anything, and no name holds a NUL
            raise ImageError("no such file: a NUL is in its name", path=path.replace("\0", "\\0")) from None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def open(self, path: str) -> _Open:
        """The open file; opened anew when it has changed since the last event.

        Raises
        ------
        ImageError
            If it is missing, cut short, or no HDF5 file.
        """
        if self._pid != os.getpid():  # a fork came between: leave the parent's files to it
            self._open.clear()
            self._pid = os.getpid()
        entry = self._open.get(path)
        if entry is not None and entry.event == self._event:  # a look for each dataset is slow on network file systems
            return entry
        stamp = self.stamp(path)
        if entry is not None and entry.stamp == stamp:
            self._open.move_to_end(path)
            entry.event = self._event
            return entry
        if entry is not None:
            self._close(path)
        while len(self._open) >= MOST_OPEN and next(iter(self._open.values())).event != self._event:
            self._close(next(iter(self._open)))
        entry = self._open[path] = _Open(open_hdf5(path), stamp, self._event)
        return entry

    # Datasets ------------------------------------------------------------------------------------------------------

    def dataset(self, path: str, name: str, part_of_chunk: bool = False, depth: int = 0) -> Dataset:
        """An open dataset by the name of its file and its path there.

        Parameters
        ----------
        part_of_chunk : bool
            Several reads take parts of the same chunks one after the other: keep decoded chunks.

        Raises
        ------
        ImageError
            If the file cannot be read, there is no such dataset, it is compressed with an unknown filter, or it lies
            outside the image's folder and links are not followed.
        """
        entry = self.open(path)
        found = entry.datasets.get(name)
        if found is not None:
            if found.path != path:
                self.open(found.path)  # closes it if it has changed
            if found.id.valid:
                entry.datasets.move_to_end(name)
                return found
        with damaged(path, name):
            where, group, last = self._locate(path, name, name, depth)
            found = self._describe(where, name, group, last, part_of_chunk)
        entry.datasets[name] = found
        if len(entry.datasets) > MOST_DATASETS:
            entry.datasets.popitem(last=False)
        return found

    def _locate(self, path: str, name: str, asked: str, depth: int = 0) -> tuple[str, h5py.Group, str]:
        """File, group and name in it that a path leads to, link by link; ``asked`` is what messages call it."""
        parts = [p for p in name.split("/") if p not in ("", ".")]
        if not parts:
            return path, self.open(path).file, "."
        last = parts.pop()
        where, group = self._group(path, "/".join(parts), asked, depth)
        try:
            kind = group.id.links.get_info(os.fsencode(last)).type
        except HDF5_ERRORS:
            raise ImageError(
                f"there is no '{last}' in {group.name}{names_in(group)}; is the geometry that of these images?",
                path=where,
                dataset=asked,
            ) from None
        if kind == h5py.h5l.TYPE_HARD:
            return where, group, last
        if depth >= MOST_LINKS:
            raise ImageError(f"more than {MOST_LINKS} links lead to it", path=path, dataset=asked)
        link = group.get(last, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            target = self.beside(where, link.filename, "an external link", asked)
            return self._locate(target, link.path, asked, depth + 1)
        if not isinstance(link, h5py.SoftLink):
            raise ImageError("a link of unknown kind leads to it", path=where, dataset=asked)
        base = "" if link.path.startswith("/") else group.name + "/"
        return self._locate(where, base + link.path, asked, depth + 1)

    def _group(self, path: str, name: str, asked: str, depth: int) -> tuple[str, h5py.Group]:
        """An open group, kept for the next dataset in it."""
        entry = self.open(path)
        kept = entry.groups.get(name)
        if kept is not None and kept[1]:  # a group of a file that was closed since is false
            return kept
        where, parent, last = self._locate(path, name, asked, depth)
        group = parent[last]
        if not isinstance(group, h5py.Group):
            raise ImageError(f"'{name}' is no group", path=where, dataset=asked)
        if len(entry.groups) >= MOST_DATASETS:
            entry.groups.clear()
        entry.groups[name] = where, group
        return where, group

    def allowed(self, path: str, name: str, what: str, dataset: str) -> None:
        """ImageError if a file that an image names is not in the image's folder, and links are not followed."""
        homes = folders_of(path)
        if not self.follow and not any(inside(os.path.normpath(os.path.join(home, name)), home) for home in homes):
            raise ImageError(
                f"{what} leads to {name}, outside the image's folder{self.advice}",
                path=path,
                dataset=dataset,
            )

    def beside(self, path: str, name: str, what: str, dataset: str) -> str:
        """Where a file is that an image names; ImageError if it is missing or not allowed."""
        self.allowed(path, name, what, dataset)
        homes = folders_of(path)
        for home in [*homes, os.getcwd()] if self.follow else homes:
            candidate = os.path.normpath(os.path.join(home, name))
            if os.path.exists(candidate):
                return candidate
        raise ImageError(f"{what} leads to {name}, which does not exist", path=path, dataset=dataset)

    def _describe(self, path: str, name: str, group: h5py.Group, last: str, part_of_chunk: bool) -> Dataset:
        here = {"path": path, "dataset": name}
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        sources: list[Source] = []
        try:
            dataset = h5py.Dataset(open_dataset(group, last, access))
            dtype = dataset.dtype
            shape = tuple(dataset.shape or ())
            plan = dataset.id.get_create_plist()
            elsewhere = [source for source, _, _ in dataset.external or ()]
            if dataset.is_virtual:
                sources = list(self._sources(path, name, dataset))
        except HDF5_ERRORS as err:
            if group.get(last, getclass=True) is h5py.Group:
                raise ImageError("is a group, not a dataset", **here) from None
            raise ImageError(f"cannot be opened or understood ({said(err)})", **here) from None
        for number in range(plan.get_nfilters()):
            code, _, _, label = plan.get_filter(number)
            if not h5py.h5z.filter_avail(code):
                label = label.decode(errors="replace") or "unknown"
                raise ImageError(f"is compressed with filter {code} ({label}), which hdf5plugin does not have", **here)
        identifier = dataset.id
        size, chunk, whole = None, None, True
        if plan.get_layout() == h5py.h5d.CHUNKED:
            chunk = plan.get_chunk()
            size = chunk_cache(chunk, shape, dtype.itemsize, part_of_chunk)
            whole = identifier.get_num_chunks() == math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
        elif plan.get_layout() == h5py.h5d.CONTIGUOUS and not elsewhere:
            whole = identifier.get_storage_size() > 0 or not math.prod(shape)
        if size:
            access.set_chunk_cache(*size)
        for source in elsewhere:
            self.beside(path, source, "external raw storage", name)
            # look where beside() looked; HDF5 takes the working directory otherwise
            access.set_efile_prefix(b"${ORIGIN}")
        if size or elsewhere:
            del dataset, identifier  # access properties count only when nothing else holds the dataset open
            identifier = open_dataset(group, last, access)
        native = dtype.newbyteorder("=")
        plain = native.str[1:] in _PLAIN
        return Dataset(
            id=identifier,
            path=path,
            name=name,
            shape=shape,
            raw=native if plain else np.dtype(np.uint8 if dtype.kind == "b" else np.float32),
            is_number=dtype.kind in "iufb",
            is_float=dtype.kind == "f" or dtype.itemsize > 4,
            sources=sources,
            chunk=chunk,
            whole=whole,
        )

    # Virtual datasets ----------------------------------------------------------------------------------------------

    def _sources(self, path: str, name: str, dataset: h5py.Dataset) -> Iterator[Source]:
        """Where the pieces of a virtual dataset come from, judged by name before HDF5 opens any."""
        for piece in dataset.virtual_sources():
            source = path if piece.file_name == "." else piece.file_name.replace("%%", "%")
            if source != path:
                self.allowed(path, source, "a virtual dataset", name)
            if "%b" not in piece.file_name:  # numbered files: HDF5 has as many frames as there are files
                low, high = piece.vspace.get_select_bounds()
                bounds = tuple(0 for _ in low), tuple(b - a for a, b in zip(low, high, strict=True))
                with suppress(*HDF5_ERRORS):  # a selection of everything has no bounds of its own
                    first, last = piece.src_space.get_select_bounds()
                    bounds = tuple(first), tuple(last)
                yield Source(tuple(low), tuple(high), source, piece.dset_name, bounds)

    def check_sources(
        self, data: Dataset, start: tuple[int, ...], count: tuple[int, ...], depth: int = 0, *, written: bool = True
    ) -> None:
        """ImageError if a source of a virtual dataset is missing for these pixels; HDF5 would give zeros.

        ``written``: or if these pixels were never written there.
        """
        here = {"path": data.path, "dataset": data.name}
        for source in data.sources:
            if not source.overlaps(start, count):
                continue
            if depth >= MOST_LINKS:
                raise ImageError("virtual datasets that lead to each other", **here)
            target = source.file
            if target != data.path:
                target = self.beside(data.path, source.file, "a virtual dataset", data.name)
            if "%" in source.name:
                continue
            inner = self.dataset(target, source.name, depth=depth + 1)
            origin = source.origin(start, count)
            if len(origin[0]) == len(inner.shape):
                if any(a + n > m for a, n, m in zip(*origin, inner.shape, strict=True)):
                    raise ImageError(f"takes more from {source.name} of {target} than is there yet", **here)
                if written and inner.lacks(*origin):
                    raise ImageError(f"{source.name} of {target}: {UNWRITTEN}", **here)
            if inner.sources:
                if len(origin[0]) != len(inner.shape):
                    origin = tuple(0 for _ in inner.shape), inner.shape
                self.check_sources(inner, *origin, depth + 1, written=written)

    # Single numbers --------------------------------------------------------------------------------------------------

    def values(self, path: str, name: str) -> NDArray[Any]:
        """All of a small dataset of numbers or texts, kept for the next event.

        Raises
        ------
        ImageError
            Also when it is too large for a number for each event.
        """
        entry = self.open(path)
        kept = entry.numbers.get(name)
        if kept is not None:
            return kept
        data = self.dataset(path, name)
        if math.prod(data.shape) > MOST_VALUES:
            raise ImageError("holds an image, not a number for each event", path=data.path, dataset=name)
        if data.sources:
            self.check_sources(data, tuple(0 for _ in data.shape), data.shape)
        with damaged(data.path, name):
            kept = np.asarray(h5py.Dataset(data.id)[()])
        entry = self.open(path)
        if len(entry.numbers) >= MOST_DATASETS:
            entry.numbers.clear()
        entry.numbers[name] = kept
        return kept
