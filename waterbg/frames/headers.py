"""Numbers that stand in an image file: camera length, photon energy, detector shifts."""

from __future__ import annotations

import math

import numpy as np

from waterbg.errors import ImageError
from waterbg.frames.events import Event
from waterbg.frames.files import Files
from waterbg.geometry.cnumbers import whole_float


def header_number(files: Files, path: str, event: Event, place: str) -> float:
    """The number at a place of an image file, for this event.

    Each axis longer than one takes the next index of the event; a text counts as the number it consists of
    (``image_hdf5_read_header_to_cache`` and ``image_read_header_float`` of CrystFEL).

    Raises
    ------
    ImageError
        If there is none, or it is not finite.
    """
    name = place
    try:
        name = event.substitute(place)
        found = files.values(path, name)
        value = found[_index(found.shape, event)]
    except (ValueError, IndexError) as problem:
        raise ImageError(str(problem), path=path, dataset=name) from None
    if isinstance(value, (bytes, str)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        # up to the first line end or NUL, as C sees it
        number = whole_float(text.partition("\0")[0].partition("\n")[0].partition("\r")[0])
        if number is None:
            raise ImageError(f"holds '{text[:40]}', not a number", path=path, dataset=name)
    elif isinstance(value, (np.integer, np.floating, np.bool_)):
        number = float(value)
    else:
        raise ImageError("holds no number", path=path, dataset=name)
    if not math.isfinite(number):  # what a beamline writes when a motor or monitor gave no answer
        raise ImageError(f"is {number} for this event", path=path, dataset=name)
    return number


def _index(shape: tuple[int, ...], event: Event) -> tuple[int, ...]:
    indices = iter(event.indices)
    out = []
    for axis, n in enumerate(shape):
        index = 0 if n == 1 else next(indices, -1)
        if index < 0:
            raise IndexError(f"has {n} values along axis {axis}, and the event no index for them")
        if index >= n:
            raise IndexError(f"has no value number {index}, only {n} (numbered from 0)")
        out.append(index)
    return tuple(out)
