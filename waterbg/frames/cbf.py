"""CBF images: one frame a file, as Pilatus detectors write them, gzipped or not.

Pixels alone are taken from them, as CrystFEL does (image-cbf.c); all panels are parts of one array, whatever the
geometry says of datasets and dimensions.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from waterbg.errors import ImageError
from waterbg.frames.hdf5 import said
from waterbg.frames.kernels import decode_byte_offset
from waterbg.frames.kinds import GZIP
from waterbg.geometry.detector import MOST_PIXELS

_SECTION, _BEGIN_DATA = b"--CIF-BINARY-FORMAT-SECTION--", b"\x0c\x1a\x04\xd5"
_MOST_HEADER = 1 << 16
_MOST_BYTES = 8 * MOST_PIXELS
_TYPES = {
    "signed 8-bit integer": "<i1",
    "unsigned 8-bit integer": "<u1",
    "signed 16-bit integer": "<i2",
    "unsigned 16-bit integer": "<u2",
    "signed 32-bit integer": "<i4",
    "unsigned 32-bit integer": "<u4",
    "signed 32-bit real ieee": "<f4",
    "signed 64-bit real ieee": "<f8",
}


@dataclass(frozen=True)
class CbfImage:
    """The image in a CBF file, of which the header has been read.

    Attributes
    ----------
    path : str
    shape : 2 ints
        Rows (ss) and columns (fs).
    raw : dtype
        What `read` gives.
    coded : bool
        Whether each pixel is told by what it differs from the one before ("byte offset").
    first, size : int
        Byte of the (unzipped) file where the pixels begin, and how many bytes they take.
    """

    path: str
    shape: tuple[int, int]
    raw: np.dtype[Any]
    coded: bool
    first: int
    size: int
    name: ClassVar[None] = None  # of a dataset
    chunk: ClassVar[None] = None  # shape of the pieces that HDF5 reads

    @classmethod
    def open(cls, path: str) -> CbfImage:
        """Read the header; ImageError where it is not one, or the file is too short for what it promises."""
        with _bytes_of(path) as file:
            head = file.read(_MOST_HEADER)
            section = head.find(_SECTION)
            at = head.find(_BEGIN_DATA, section)
            if min(section, at) < 0:
                raise ImageError("is a CBF file without an image; it is damaged or cut short", path=path)
            text = head[section:at].decode("latin-1")
            image = cls._from_header(path, text, at + len(_BEGIN_DATA))
            if isinstance(file, gzip.GzipFile):  # how long it is shows when all of it is read
                return image
            if os.fstat(file.fileno()).st_size < image.first + image.size:
                raise image._cut_short()
        return image

    @classmethod
    def _from_header(cls, path: str, text: str, first: int) -> CbfImage:
        def refuse(reason: str) -> ImageError:
            return ImageError(f"{reason}; it is damaged, or a CBF file that CrystFEL would not read either", path=path)

        fields = dict(re.findall(r'^([\w-]+):[ \t]*"?([^"\r\n]*)', text, re.MULTILINE))
        numbers = []
        for name in ("X-Binary-Size-Second-Dimension", "X-Binary-Size-Fastest-Dimension", "X-Binary-Size"):
            found = re.match(r"\d{1,12}\b", fields.get(name, ""))
            if found is None:
                raise refuse(f"its header has no {name}")
            numbers.append(int(found[0]))
        rows, columns, size = numbers
        if fields.get("X-Binary-Element-Byte-Order", "LITTLE_ENDIAN") != "LITTLE_ENDIAN":
            raise refuse("its pixels are big-endian")
        conversion = re.search(r'conversions="?([\w-]+)', text)
        coded = conversion is not None
        if conversion is not None and conversion[1].upper() != "X-CBF_BYTE_OFFSET":
            raise refuse(f"its pixels are compressed by {conversion[1]}")
        kind = fields.get("X-Binary-Element-Type", "unsigned 32-bit integer").strip().lower()
        if not coded and kind not in _TYPES:
            raise refuse(f"its pixels are of an unknown type ({kind})")
        raw = np.dtype(np.float32) if coded else np.dtype(_TYPES[kind])
        least = 1 if coded else raw.itemsize  # bytes of a pixel
        if not 0 < rows * columns * least <= size <= _MOST_BYTES or rows * columns > MOST_PIXELS:
            raise refuse(f"its header promises {rows} x {columns} pixels in {size} bytes")
        return cls(path, (rows, columns), raw, coded, first, size)

    @property
    def is_float(self) -> bool:
        """Whether it may hold what is no count."""
        return self.raw.kind == "f" and not self.coded

    def lacks(self, start: tuple[int, ...], count: tuple[int, ...]) -> bool:
        """Whether some of a rectangle was never written: never, for a file is written at once."""
        return False

    def read(self, start: tuple[int, ...], count: tuple[int, ...], out: NDArray[Any]) -> None:
        """Copy a rectangle into an array of the same size; ImageError where the file ends before."""
        (row, column), (rows, columns) = start, count
        out[...] = self._pixels[row : row + rows, column : column + columns].reshape(out.shape)

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        with _bytes_of(self.path) as file:
            file.seek(self.first)
            found = file.read(self.size)
        if len(found) < self.size:
            raise self._cut_short()
        n = self.shape[0] * self.shape[1]
        if not self.coded:
            return np.frombuffer(found, self.raw, n).reshape(self.shape)
        pixels = np.empty(n, np.float32)
        if decode_byte_offset(np.frombuffer(found, np.int8), pixels) < n:
            raise self._cut_short()
        return pixels.reshape(self.shape)

    def _cut_short(self) -> ImageError:
        reason = f"ends before the last of its {self.shape[0]} x {self.shape[1]} pixels"
        return ImageError(f"{reason}; it is damaged, or still being written", path=self.path)


@contextmanager
def _bytes_of(path: str) -> Iterator[BufferedIOBase]:
    """The file open for reading, unzipped if it is gzipped."""
    try:
        with open(path, "rb") as plain:
            is_zipped = plain.read(len(GZIP)) == GZIP
            plain.seek(0)
            if not is_zipped:
                yield plain
                return
            with gzip.open(plain) as unzipped:
                yield unzipped
    except (OSError, EOFError, zlib.error) as err:
        raise ImageError(f"cannot be read, the file is damaged or cut short ({said(err)})", path=path) from None
