"""What every integration gives back for a reflection, and the reasons to drop one."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

INTEGRATED = np.dtype([("I", "f8"), ("sigma", "f8"), ("peak", "f8"), ("background", "f8"), ("status", "u1")])


class Status(IntEnum):
    """Why a reflection is kept (0) or dropped."""

    OK = 0
    OFF_PANEL = 1
    EDGE = 2
    BAD_PIXEL = 3
    FEW_PIXELS = 4
    SATURATED = 5
    BACKGROUND = 6
    IMPLAUSIBLE = 7
    NOT_DONE = 8

    @property
    def reason(self) -> str:
        """Words for the summary."""
        return _REASONS[self]


_REASONS = {
    Status.OK: "kept",
    Status.OFF_PANEL: "not on any panel",
    Status.EDGE: "box over the edge of its panel",
    Status.BAD_PIXEL: "bad pixel in the peak",
    Status.FEW_PIXELS: "too few pixels in peak or ring",
    Status.SATURATED: "saturated",
    Status.BACKGROUND: "background too steep, or not known",
    Status.IMPLAUSIBLE: "I < -5 sigma",
    Status.NOT_DONE: "not integrated",
}
