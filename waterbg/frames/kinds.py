"""What kind of file this is, from its first bytes."""

from __future__ import annotations

import os
import stat

import h5py

_ONLY_HDF5 = "waterbg reads HDF5 images only; convert it to HDF5 and index again"


def what_is(path: str) -> str | None:
    """Why a file is no HDF5 file that could be read, in words for an error; None if it is one."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            return "is a folder, not an image"
        if not stat.S_ISREG(kind):  # a pipe would be waited for, a device may have no end
            return "is no file, but a pipe, a socket or a device"
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as err:
        return f"cannot be read ({(err.strerror or str(err)).lower()})"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return None
    if not head:
        return "the file is empty"
    if head.startswith(b"###CBF"):
        return f"is a CBF file; {_ONLY_HDF5}"
    if head.startswith(b"\x1f\x8b"):
        return f"is compressed by gzip as a whole (a CBF file?); {_ONLY_HDF5}"
    if head.startswith((b"II*\0", b"MM\0*")):
        return f"is a TIFF file; {_ONLY_HDF5}"
    if h5py.is_hdf5(path):  # a file with a user block has its signature later
        return None
    return f"is not an HDF5 file; {_ONLY_HDF5}"
