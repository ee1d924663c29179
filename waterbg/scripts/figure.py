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
