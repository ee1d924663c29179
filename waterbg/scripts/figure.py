"""Figures of the scripts: into a file, or into a window where there is a screen (matplotlib is imported only here)."""

from __future__ import annotations

import os
import sys
from typing import Any

from waterbg.errors import UsageError
from waterbg.figure_file import check_figure_path, make_printable, new_figure, save_figure


def has_screen() -> bool:
    """Whether a window could be opened."""
    if os.environ.get("MPLBACKEND", "").lower() in ("agg", "pdf", "svg", "ps", "cairo"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class FigureOutput:
    """Where a figure goes: a file, or a window.

    Parameters
    ----------
    path : str or None
        File to write; its ending (.png, .pdf, .svg) says how. None is a window.
    force : bool
        Replace the file if it exists.
    needed : bool
        Raise when there is neither file nor screen; otherwise ``wanted`` tells.

    Raises
    ------
    UsageError
        Without matplotlib, or without file and screen.
    OutputError
        When the file exists.
    """

    def __init__(self, path: str | None, *, force: bool = False, needed: bool = True) -> None:
        self.path, self.force = path, force
        self.wanted = path is not None or has_screen()
        if path is None and not self.wanted and needed:
            raise UsageError("there is no screen to show the figure on; -o FILE.png writes it to a file")
        if path is not None:
            check_figure_path(path, force)

    def new(self, *, figsize: tuple[float, float]) -> Any:
        """An empty matplotlib figure of so many inches."""
        if self.path is not None:
            return new_figure(*figsize)
        try:
            import matplotlib.pyplot as plt

            return plt.figure(figsize=figsize, layout="constrained")
        except ImportError as err:
            raise UsageError(
                f"a window cannot be opened ({err}); pip install 'waterbg[plot]', or -o FILE.png"
            ) from None

    def done(self, figure: Any) -> None:
        """Write the file, or show the window until it is closed."""
        if self.path is None:
            import matplotlib.pyplot as plt

            make_printable(figure)
            plt.show()
            return
        save_figure(figure, self.path, force=self.force)


def resolution_ticks(axes: Any, low: float, high: float) -> None:
    """Label an x axis of 1/d in nm⁻¹ by d in Å, as CrystFEL's gnuplot scripts do."""
    ticks: list[tuple[float, str]] = []
    for d in (100, 50, 20, 10, 8, 6, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7):
        at = 10 / d
        if low <= at <= high and not (ticks and at - ticks[-1][0] < 0.05 * (high - low)):
            ticks.append((at, f"{d:g}"))
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set_xlabel("Resolution d (= λ / 2 sin θ) / Å")
