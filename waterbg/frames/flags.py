"""Flag values of all panels, in the form the kernel wants them."""

from __future__ import annotations

import numpy as np

from waterbg.geometry import Detector


class Flags:
    """Pixel values that mean "bad", for each panel.

    Several ``flag_lessthan`` of a panel are one, the largest; several ``flag_morethan`` the smallest. A panel with
    ``no_index`` is bad anyway.

    Attributes
    ----------
    any : bool
    arrays : tuple
        less, more (n_panels,) float32; equal (n,) float32 and where each panel's begin (n_panels + 1,) int64.
    """

    def __init__(self, detector: Detector) -> None:
        n = len(detector.panels)
        less, more = np.full(n, -np.inf, np.float32), np.full(n, np.inf, np.float32)
        equal: list[float] = []
        first = np.zeros(n + 1, np.int64)
        for number, panel in enumerate(detector.panels):
            for kind, value in panel.flags if not panel.no_index else ():
                if kind == "lessthan":
                    less[number] = max(less[number], np.float32(value))
                elif kind == "morethan":
                    more[number] = min(more[number], np.float32(value))
                else:
                    equal.append(value)
            first[number + 1] = len(equal)
        self.any = bool((less > -np.inf).any() or (more < np.inf).any() or equal)
        self.arrays = less, more, np.array(equal, np.float32), first
