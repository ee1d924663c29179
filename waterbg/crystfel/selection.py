"""Which chunks of a stream are run again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterbg.crystfel.solution import event_of, frame_of
from waterbg.errors import UsageError
from waterbg.small_file import read_small_file

if TYPE_CHECKING:
    from waterbg.stream import Chunk


@dataclass(frozen=True)
class Selection:
    """Which chunks to run again: all, those with crystals, serial numbers, or frames of a list.

    Attributes
    ----------
    indexed : bool
        Only chunks with a crystal.
    serials : tuple of (int, int)
        Ranges of image serial numbers, both ends included; empty for all.
    frames : frozenset of (str, str or None) or None
        File and event, None for every event of the file.
    """

    indexed: bool = False
    serials: tuple[tuple[int, int], ...] = ()
    frames: frozenset[tuple[str, str | None]] | None = None

    def __contains__(self, chunk: Chunk) -> bool:
        if self.indexed and not chunk.crystals:
            return False
        if self.serials and not any(low <= (chunk.serial or 0) <= high for low, high in self.serials):
            return False
        if self.frames is not None:
            return (chunk.filename, event_of(chunk)) in self.frames or (chunk.filename, None) in self.frames
        return True


EVERYTHING = Selection()


def parse_selection(words: Sequence[str]) -> Selection:
    """Read ``--only``: ``indexed``, serial numbers and ranges (``3,7-12``), or the path of a list of frames.

    Raises
    ------
    UsageError
    """
    indexed, serials = False, []
    frames: set[tuple[str, str | None]] | None = None
    for word in words:
        if word == "indexed":
            indexed = True
        elif re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", word):
            for part in word.split(","):
                low, _, high = part.partition("-")
                if high and int(high) < int(low):
                    raise UsageError(f"--only={word}: {part} is no range, {high}-{low} is")
                serials.append((int(low), int(high or low)))
        else:
            try:
                text = read_small_file(word).decode(errors="surrogateescape")
            except OSError as err:
                raise UsageError(
                    f"--only={word}: not 'indexed', no serial numbers (3,7-12), and no list of frames ({err.strerror})"
                ) from None
            frames = set() if frames is None else frames
            frames.update(frame_of(line) for line in text.splitlines() if line.strip())
    return Selection(indexed, tuple(serials), None if frames is None else frozenset(frames))
