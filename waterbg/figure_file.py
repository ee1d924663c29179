"""A figure is made, and becomes a file, whole or not at all, and never in place of another unless that is wanted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from waterbg.errors import UsageError
from waterbg.stream import OutputFile

FORMATS = (".png", ".pdf", ".svg")
LONGEST_NAME = 45  # characters of a file's name in a title or legend
D_TICKS = (50, 20, 10, 7, 5, 4, 3.5, 3, 2.7, 2.4, 2.2, 2, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7, 0.6)


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


def literal(text: str) -> str:
    """Text as matplotlib draws it letter by letter: two dollars in the name of a file do not begin a formula."""
    return text.replace("$", r"\$")


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """A name without its middle when it is longer than ``most`` characters."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 :]}"


def settle(figure: Any) -> None:
    """Lay a figure of pictures out once before it is drawn.

    matplotlib measures what stands around a picture of fixed aspect while the picture is still smaller than its place:
    from the first layout alone, titles come to lie on each other.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def leave_room(axes: Any, least: float) -> None:
    """At least so much from the lowest to the highest of a y axis: the last digit should not look like news."""
    low, high = axes.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least / 2, middle + least / 2)


def resolution_axis(axes: Any, low: float, high: float, *, power: int = 1, apart: float = 0.07) -> None:
    """Label an x axis of 1/d by d in Å.

    Parameters
    ----------
    axes : Axes
    low, high : float
        Labels are between these, 1/d in nm⁻¹.
    power : int
        2 when the axis is of (1/d)²: shells of equal volume stay readable.
    apart : float
        Least distance of two labels, of that from ``low`` to ``high``.
    """
    first, last = low**power, high**power
    ticks: list[tuple[float, str]] = []
    for d in D_TICKS:
        at = (10 / d) ** power
        if first <= at <= last and not (ticks and at - ticks[-1][0] < apart * (last - first)):
            ticks.append((at, f"{d:g}"))
    axes.set_xticks([at for at, _ in ticks], [text for _, text in ticks])
    axes.set_xlabel("resolution d / Å")


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
