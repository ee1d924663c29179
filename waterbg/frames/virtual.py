"""Pieces of virtual datasets, and where they are from."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Source:
    """First and last index of a piece of a virtual dataset, there and in the dataset it is from."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    file: str
    name: str
    bounds: Range

    def overlaps(self, start: tuple[int, ...], count: tuple[int, ...]) -> bool:
        """Whether a rectangle takes something from here."""
        return all(a <= h and l < a + n for a, n, l, h in zip(start, count, self.low, self.high, strict=True))

    def origin(self, start: tuple[int, ...], count: tuple[int, ...]) -> Range:
        """Where that is in the dataset it is from, or more if that is not clear: start and count."""
        first, last = self.bounds
        sizes = [tuple(b - a for a, b in zip(*ends, strict=True)) for ends in ((self.low, self.high), self.bounds)]
        if sizes[0] == sizes[1]:
            shifted = [(max(a, l) - l, min(a + n - 1, h) - l) for a, n, l, h in zip(start, count, self.low, self.high)]
            last = tuple(f + b for f, (_, b) in zip(first, shifted, strict=True))
            first = tuple(f + a for f, (a, _) in zip(first, shifted, strict=True))
        return first, tuple(b - a + 1 for a, b in zip(first, last, strict=True))
