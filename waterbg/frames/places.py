"""Where images and masks are on disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from waterbg.errors import ImageError


class FileFinder:
    """Finds files by the names that stand in streams and geometries.

    Parameters
    ----------
    geometry_path, stream_path : str or None
        What names the files.
    prefix : str
        Put before the name, as indexamajig's ``--prefix``; a folder gets its ``/``.
    basename : bool
        Drop the folder of the name first, as ``--basename``.
    complain : callable
        Takes one line when a file was found where CrystFEL would not look.
    """

    def __init__(
        self,
        geometry_path: str | None,
        stream_path: str | None,
        prefix: str,
        basename: bool,
        complain: Callable[[str], None],
    ) -> None:
        if prefix and os.path.isdir(prefix) and not prefix.endswith("/"):
            prefix += "/"
        self.prefix, self.basename, self.complain = prefix, basename, complain
        self.stream_folders = [] if stream_path in (None, "-") else folders_of(stream_path)
        self.geometry_folders = [] if geometry_path is None else folders_of(geometry_path)
        self._images: dict[str, str] = {}
        self._masks: dict[str, str] = {}

    def image(self, name: str | bytes) -> str:
        """Path of an image; ImageError that lists where it was looked for."""
        name = os.fsdecode(name)
        found = self._images.get(name)
        if found is not None:
            return found
        path = _first(self._candidates(name), "say where the images are with --prefix and --basename")
        self._images[name] = path
        return path

    def _candidates(self, name: str) -> list[str]:
        if not name or "\0" in name:
            raise ImageError("this is no name of a file", path=name.replace("\0", "\\0"))
        last = os.path.basename(name)
        paths = [name]
        if self.prefix or self.basename:
            paths.append(self.prefix + (last if self.basename else name))
        for folder in self.stream_folders:
            paths.append(os.path.join(folder, name))
            if self.basename:
                paths.append(os.path.join(folder, last))
        return paths

    def mask(self, name: str) -> str:
        """Path of a file with a mask or saturation map; ImageError if there is none.

        Relative to the working directory, as CrystFEL has it; else beside the geometry or the stream, with a warning.
        """
        found = self._masks.get(name)
        if found is not None:
            return found
        folders = [*self.geometry_folders, *self.stream_folders]
        path = _first([name, *(os.path.join(folder, name) for folder in folders)], "the geometry names it")
        if path != name:
            self.complain(f"{name} is not in the working directory, where CrystFEL looks for it; took {path}")
        self._masks[name] = path
        return path


def _first(paths: list[str], advice: str) -> str:
    """The first that is there; the error names it by the first."""
    paths = list(dict.fromkeys(paths))
    for path in paths:
        if os.path.exists(path):
            return path
    where = f" (looked for {', '.join(paths[1:])}, too)" if len(paths) > 1 else ""
    raise ImageError(f"no such file{where}; {advice}", path=paths[0])


def folders_of(path: str) -> list[str]:
    """The folder of a file; of a link, that of what it leads to as well."""
    return list(dict.fromkeys(os.path.dirname(real(path)) for real in (os.path.abspath, os.path.realpath)))
