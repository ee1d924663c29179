"""What kind of file this is, from its first bytes."""

from __future__ import annotations

import os
import stat
import zlib

import h5py

from waterbg.errors import ImageError

GZIP = b"\x1f\x8b"
CBF_NAMES = (".cbf", ".cbf.gz")
_CBF = b"###CBF: VERSION"
_PIXELS_ALONE = (
    "is a CBF file, of which the pixels alone are read; the geometry (-g) must have numbers for all else, and name "
    "files for masks and maps"
)
_READABLE = "waterbg reads HDF5 and CBF images; convert it and index again"


class CbfFile(ImageError):
    """A CBF image, where an HDF5 file is needed."""


def refuse_other_kinds(path: str) -> None:
    """Raise an error unless this is an HDF5 file.

    Raises
    ------
    CbfFile
        For a CBF image, gzipped or not.
    ImageError
        For everything else.
    """
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise ImageError("is a folder, not an image", path=path)
        if not stat.S_ISREG(kind):  # a pipe would be waited for, a device may have no end
            raise ImageError("is no file, but a pipe, a socket or a device", path=path)
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as err:
        raise ImageError(f"cannot be read ({(err.strerror or str(err)).lower()})", path=path) from None
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return
    if not head:
        raise ImageError("the file is empty", path=path)
    if head.startswith(GZIP):
        head = _unzipped(head)
        if not head.startswith(_CBF):
            raise ImageError(f"is compressed by gzip as a whole, and no CBF file; {_READABLE}", path=path)
    if head.startswith(_CBF):
        raise CbfFile(_PIXELS_ALONE, path=path)
    if head.startswith((b"II*\0", b"MM\0*")):
        raise ImageError(f"is a TIFF file; {_READABLE}", path=path)
    if not h5py.is_hdf5(path):  # a file with a user block has its signature later
        raise ImageError(f"is neither an HDF5 nor a CBF file; {_READABLE}", path=path)


def _unzipped(head: bytes) -> bytes:
    """As much as the first bytes of a gzipped file say."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head)
    except zlib.error:
        return b""
