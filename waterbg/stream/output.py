"""A file that appears whole or not at all, and never in place of what the work reads."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from waterbg.errors import OutputError, UsageError

IMAGES, STREAM = "images (HDF5)", "a stream"
_IMAGES_BEGIN, _STREAM_BEGINS = b"\x89HDF\r\n\x1a\n", b"CrystFEL stream format"


def refuse_to_replace(path: str | os.PathLike[str], reads: Iterable[str | os.PathLike[str] | None]) -> None:
    """Refuse to replace what the work reads.

    Raises
    ------
    OutputError
    """
    for source in reads:
        if source is not None and os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise OutputError("is the input itself; give the output another name", path=os.fspath(path))


def refuse_another_kind(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse to put anything but its like in the place of images or a stream.

    ``--force`` means an earlier result of the same command, never the data it was made of.

    Parameters
    ----------
    path : str or path
        What would be replaced.
    kind : str
        Of the new file: `IMAGES`, `STREAM`, or anything else.

    Raises
    ------
    OutputError
    """
    there = _kind_of(path)
    if there and there != kind:
        raise OutputError(f"holds {there}, which nothing else replaces; give the output another name", path=str(path))


def _kind_of(path: str | os.PathLike[str]) -> str:
    """IMAGES, STREAM, or empty for what is neither, or not there."""
    if not os.path.isfile(path):
        return ""
    with suppress(OSError), open(path, "rb") as file:
        begins = file.read(len(_STREAM_BEGINS))
        if begins.startswith(_IMAGES_BEGIN):
            return IMAGES
        if begins == _STREAM_BEGINS:
            return STREAM
    return ""


class OutputFile:
    """A file that gets its name when it is complete.

    Until then its bytes lie beside it as ``.NAME.part``, which an interrupted run leaves and a resumed one goes on
    with. The part is locked while it is written, so two runs cannot share it.

    Parameters
    ----------
    path : str
    force : bool
        Replace a file that exists.
    reads : iterable of path or None
        What the work reads: none of it is replaced, forced or not.

    Raises
    ------
    OutputError
        When the file exists or is read, or its folder does not exist or is read-only.
    UsageError
        For ``-``, which is standard output elsewhere.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        force: bool = False,
        reads: Iterable[str | os.PathLike[str] | None] = (),
    ) -> None:
        self.path = Path(path)
        self.force = force
        self._file: BinaryIO | None = None
        if os.fspath(path) == "-":  # a file of that name would come of it
            raise UsageError("-: this is written as a whole, so standard output will not do; a name is needed")
        if not os.fspath(path):
            raise OutputError("the name of the output is empty", path="''")
        if self.path.is_dir():
            raise OutputError("is a folder", path=str(self.path))
        if os.fspath(path).endswith(os.sep):  # what is put behind such a name would lie in the folder
            raise OutputError("is the name of a folder, and that is not there", path=os.fspath(path))
        self.partial = self.path.with_name(f".{self.path.name}.part")
        if self.path.exists() and not self.path.is_file():  # it would be replaced, /dev/null too
            raise OutputError("is a pipe or a device and no file; give the output another name", path=str(self.path))
        refuse_to_replace(self.path, reads)
        if os.path.lexists(self.path) and not force:
            raise OutputError("exists; --force replaces it", path=str(self.path))
        if not self.path.parent.is_dir():
            raise OutputError("its folder does not exist", path=str(self.path))
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise OutputError("its folder is read-only", path=str(self.path))
        try:
            os.lstat(self.partial)
        except FileNotFoundError:
            pass
        except OSError as err:  # its name is too long
            raise self.cannot(err) from None

    def left(self) -> int:
        """Bytes that an interrupted run has left in the part."""
        try:
            found = os.lstat(self.partial)
        except OSError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def begin(self, keep: int = 0) -> OutputFile:
        """Open the part for writing, with its first ``keep`` bytes; use as a context."""
        try:
            self._file = self._open_part()
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as err:
            raise self.cannot(err) from None
        return self

    def _open_part(self) -> BinaryIO:
        """Open and lock the part, which must be a file in this very folder: no link is followed."""
        while True:
            number = os.open(self.partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            if not stat.S_ISREG(os.fstat(number).st_mode):  # Python would not open a pipe so
                os.close(number)
                raise OutputError(f"{self.partial.name} beside it is no file; remove that", path=str(self.path))
            file = open(number, "r+b", buffering=1 << 20)  # noqa: SIM115
            try:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as err:
                    if err.errno in (errno.EWOULDBLOCK, errno.EACCES):
                        raise OutputError(
                            f"another run is writing it ({self.partial.name})", path=str(self.path)
                        ) from None
                    # a file system without locks: go on without
                if os.path.lexists(self.partial) and os.path.samestat(os.lstat(self.partial), os.fstat(number)):
                    return file
                # another run gave this very file its final name just now: leave it alone
                file.close()
            except BaseException:
                file.close()
                raise

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as close_error:
                if err is None:
                    raise self.cannot(close_error) from None

    def write(self, data: bytes) -> None:
        """Append bytes."""
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as err:
            raise self.cannot(err) from None

    def flush(self) -> None:
        """Bring what was written to disk."""
        assert self._file is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as err:
            raise self.cannot(err) from None

    def finish(self) -> None:
        """Give the file its name; it is on disk before, and its folder's entry after."""
        assert self._file is not None
        self.flush()
        try:
            if os.path.lexists(self.path) and not self.force:  # it may have come while we worked
                raise OutputError("has appeared meanwhile; --force replaces it", path=str(self.path))
            refuse_another_kind(self.path, _kind_of(self.partial))
            os.replace(self.partial, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            except OSError:
                pass  # some network file systems cannot sync a folder; the file itself is safe
            finally:
                os.close(folder)
            self._file.close()
        except OSError as err:
            raise self.cannot(err) from None

    def write_whole(self, pieces: Iterable[bytes]) -> None:
        """Begin, write all of it and finish; nothing is left when something of that fails."""
        with self.begin():
            try:
                for piece in pieces:
                    self.write(piece)
                self.finish()
            except BaseException:
                self.discard()
                raise

    def discard(self) -> None:
        """Remove the part."""
        if self._file is not None:
            with suppress(OSError):  # what it still holds is not wanted, and may not fit on the disk
                self._file.close()
        self.partial.unlink(missing_ok=True)

    def cannot(self, err: OSError) -> OutputError:
        """Say in the user's words what the system said."""
        if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return OutputError(f"no room for it ({err.strerror})", path=str(self.path))
        return OutputError(f"cannot be written ({err.strerror})", path=str(self.path))


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a small file, in place of one that may exist, so that it is there whole or not at all.

    Raises
    ------
    OutputError
    """
    OutputFile(path, force=True).write_whole([data])
