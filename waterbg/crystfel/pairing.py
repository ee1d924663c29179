"""The same measurements in two streams: chunks by image, crystals by axes, reflections by indices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from waterbg.crystfel.solution import NO_EVENT
from waterbg.errors import UsageError

if TYPE_CHECKING:
    from waterbg.stream import Chunk, StreamFile

PAIRS = ("image", "event", "serial", "order")
# two crystals of one image are the same if their axes differ by less than this (of the length of all nine numbers)
_SAME_CRYSTAL = 0.05


def pair_chunks(a: StreamFile, b: StreamFile, match: str, counts: dict[str, int]) -> Iterator[tuple[Chunk, Chunk]]:
    """Chunks of ``a`` with their partners of ``b``: side by side while both have the same order, then by an index.

    Each chunk is in one pair at most; where an image stands several times, the first is the first's partner.

    Parameters
    ----------
    a, b : StreamFile
    match : str
        One of `PAIRS`.
    counts : dict
        ``images``, ``images_a``, ``images_b`` are counted up: pairs, and chunks without partner.

    Raises
    ------
    UsageError
        When two images of ``a`` have the same event, or serial number, and are to be told apart by it.
    """
    ahead = b.chunks()
    index: dict[int, list[tuple[int, int]]] | None = None  # hash of the key -> its bytes: about 300 bytes a chunk
    seen: set[int] = set()
    used = 0
    for number, chunk in enumerate(a.chunks()):
        key = _key(chunk, match, number)
        if match in ("event", "serial") and key is not None:
            if hash(key) in seen:
                what = f"event {key}" if match == "event" else f"serial number {key}"
                raise UsageError(f"--match={match}: {a.path} has several images with {what}; match by image or order")
            seen.add(hash(key))
        partner = None
        if index is None:
            partner = next(ahead, None)
            if partner is None or _key(partner, match, used) != key or key is None:
                # the order differs from here on: note once where each chunk of b begins
                index = defaultdict(list)
                for i, other in enumerate(b.chunks()):
                    if i >= used:
                        index[hash(_key(other, match, i))].append((other.start, other.stop))
                partner = None
        if index is not None and key is not None and index.get(hash(key)):
            partner = _chunk_at(b.path, *index[hash(key)].pop(0))
        if partner is None:
            counts["images_a"] += 1
            continue
        used += 1
        counts["images"] += 1
        yield chunk, partner
    counts["images_b"] += sum(1 for _ in ahead) if index is None else sum(map(len, index.values()))


def _chunk_at(path: str, start: int, stop: int) -> Chunk:
    """One chunk alone: in a shuffled stream, reading ahead would read everything many times."""
    from waterbg.stream import Chunk

    with open(path, "rb") as file:
        file.seek(start)
        return Chunk(file.read(stop - start), start)


def _key(chunk: Chunk, match: str, number: int) -> Any:
    return chunk_key(match, chunk.filename, chunk.event, chunk.serial, number)


def chunk_key(match: str, filename: str, event: str | None, serial: int | None, number: int) -> Any:
    """What makes two chunks the same by ``match``, one of `PAIRS`; None is the same as nothing.

    ``number`` is the chunk's place in its stream.
    """
    if match == "image":
        return filename, event or NO_EVENT
    return {"event": event or NO_EVENT, "serial": serial, "order": number}[match]


def pair_crystals(a: Sequence[np.ndarray | None], b: Sequence[np.ndarray | None]) -> list[tuple[int, int]]:
    """Pair the crystals of one image by their axes, nearest first; in order where a stream has none."""
    distances = []
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            if one is None or other is None:
                distance = 0.0 if i == j else math.inf
            else:
                distance = float(np.linalg.norm(one - other) / np.linalg.norm(one))
            if distance < _SAME_CRYSTAL:
                distances.append((distance, i, j))
    pairs: list[tuple[int, int]] = []
    for _, i, j in sorted(distances):
        if all(i != k and j != m for k, m in pairs):
            pairs.append((i, j))
    return sorted(pairs)


def pair_reflections(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two reflection arrays with the same h, k, l; of an index that stands twice, the first."""
    _, i, j = np.intersect1d(index_codes(a), index_codes(b), return_indices=True)
    return i, j


def index_codes(reflections: np.ndarray) -> np.ndarray:
    """One whole number for each h, k, l."""
    h, k, l = (reflections[name].astype(np.int64) for name in "hkl")
    return ((h + (1 << 20)) << 42) | ((k + (1 << 20)) << 21) | (l + (1 << 20))
