"""Names of frames inside a file: ``path/parts//dim/indices``, either side may be empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from waterbg.errors import ImageError
from waterbg.geometry.cnumbers import atoi

MAX_PARTS = 16  # of each kind, as in CrystFEL


class TooFewParts(ValueError):
    """An event that has not enough parts for a path."""


@dataclass(frozen=True)
class Event:
    """One frame of a file.

    Attributes
    ----------
    parts : tuple of str
        What each ``%`` of a path stands for.
    indices : tuple of int
        What each ``%`` among the dimensions stands for.
    written : tuple of str
        The same, as the name has them: numbers may be too large for CrystFEL's, which then are others.
    """

    parts: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    written: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, text: str | None, path: str) -> Event:
        """Split an event's name; None and an empty text are ``//``. ``path`` is for the message of the ImageError."""
        try:
            return _parse(text or "//")
        except ValueError as problem:
            raise ImageError(f"{problem}; expected something like //3 or tag-5//", path=path, event=text) from None

    def substitute(self, pattern: str) -> str:
        """The pattern with its ``%`` replaced; raises TooFewParts when the event has too few parts."""
        wanted = pattern.count("%")
        if wanted > len(self.parts):
            raise TooFewParts(f"the event has {len(self.parts)} path parts, '{pattern}' needs {wanted}")
        pieces = pattern.split("%")
        return "".join(piece + part for piece, part in zip(pieces, (*self.parts[:wanted], ""), strict=True))


@lru_cache(maxsize=1024)
def _parse(text: str) -> Event:
    # read_path_parts and read_dim_parts of image-hdf5.c
    left, slashes, right = text.partition("//")
    if not slashes:
        raise ValueError("an event's name must hold '//'")
    parts = tuple(left.split("/")) if left else ()
    if "" in parts:  # a name that begins with a slash: CrystFEL sees no parts
        parts = parts[: parts.index("")]
    indices = right.split("/") if right else []
    if "" in indices:
        raise ValueError("an index is missing in the event's name")
    if len(parts) > MAX_PARTS or len(indices) > MAX_PARTS:
        raise ValueError("the event's name has too many parts")
    return Event(parts, tuple(atoi(i) for i in indices), tuple(indices))
