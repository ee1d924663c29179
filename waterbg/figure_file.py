"""A figure is made, and becomes a file, whole or not at all, and never in place of another unless that is wanted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from waterbg.errors import UsageError
from waterbg.stream import OutputFile

FORMATS = (".png", ".pdf", ".svg")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches; without pyplot, so no window system is touched.

    Raises
    ------
    UsageError
        Without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("figures need matplotlib: pip install 'waterbg[plot]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def leave_room(axes: Any, least: float) -> None:
    """At least so much from the lowest to the highest of a y axis: the last digit should not look like news."""
    low, high = axes.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)


def check_figure_path(path: str, force: bool = False) -> None:
    """Refuse a name that no figure could get, before there is any work to lose.

    Parameters
    ----------
    path : str
        Its ending says how the figure is drawn: .png, .pdf or .svg.
    force : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    UsageError
        For another ending.
    OutputError
        When the file exists (and not ``force``), or its folder does not.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise UsageError(f"{path!r}: the name of a figure ends with .png, .pdf or .svg")
    OutputFile(path, force=force)


def save_figure(figure: Any, path: str, *, force: bool = False, dpi: int = 130) -> None:
    """Write a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str
    force : bool
        Replace a file that exists.
    dpi : int
        Dots per inch.

    Raises
    ------
    UsageError, OutputError
        As `check_figure_path`, and when the file cannot be written.
    """
    check_figure_path(path, force)
    make_printable(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix[1:].lower(), dpi=dpi)
    OutputFile(path, force=force).write_whole([drawn.getvalue()])


def make_printable(figure: Any) -> None:
    """Spell bytes of a file's name that are no UTF-8 in hexadecimal digits: no font has a letter for them."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        said = text.get_text()
        # not as the system would: what it cannot write in its locale can be drawn all the same
        shown = said.encode("utf-8", "surrogateescape").decode(errors="backslashreplace")
        if shown != said:
            text.set_text(shown)
