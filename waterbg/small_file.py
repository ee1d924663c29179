"""Files that are read whole, as geometries and run models are: no more of them than any such file has."""

from __future__ import annotations

import errno
import os

from waterbg.errors import GeometryError

MOST = 1 << 26  # bytes; a geometry of ten thousand panels has four million


def read_small_file(path: str | os.PathLike[str]) -> bytes:
    """Bytes of a file, or, for once, of a pipe: a geometry may be a shell's ``<(command)``.

    Raises
    ------
    OSError
        When it cannot be read, or has more than `MOST` bytes (``/dev/zero`` has).
    """
    with open(path, "rb") as file:
        text = file.read(MOST + 1)
    if len(text) > MOST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return text


def read_geometry_file(path: str) -> bytes:
    """Text of a geometry that the user named.

    Raises
    ------
    GeometryError
        When it cannot be read, or is empty.
    """
    try:
        text = read_small_file(path)
    except OSError as err:
        raise GeometryError(f"cannot be read ({err.strerror})", path=path) from None
    if not text:
        raise GeometryError("is empty", path=path)
    return text
