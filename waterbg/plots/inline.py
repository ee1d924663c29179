"""Figures as text within an HTML page: SVG in the page's own colours, or PNG where there are many pixels."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from waterbg.errors import UsageError
from waterbg.plots.decoys import OURS, RINGS

INK, FAINT = "#0b0c0d", "#9a9b9c"
VARIABLES = {INK: "--ink", FAINT: "--faint", OURS: "--after", RINGS: "--before"}
"""Colours that stand for the page's, which differ in the dark and on paper."""


@contextmanager
def inline_style() -> Iterator[None]:
    """Figures made within are transparent, and of the page's colours.

    Raises
    ------
    UsageError
        Without matplotlib.
    """
    try:
        from matplotlib import rc_context
    except ImportError:
        raise UsageError("the figures of a report need matplotlib: pip install 'waterbg[plot]'") from None
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    style: dict[str, Any] = dict.fromkeys(names, INK)
    style |= {"figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "font.size": 9.5}
    style |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "grid.color": FAINT}
    style |= {"grid.alpha": 0.35, "grid.linewidth": 0.6, "legend.fontsize": 9, "lines.linewidth": 1.6}
    # letters as outlines: the page looks the same without any font, and the same bytes come out every time
    style |= {"svg.fonttype": "path", "svg.hashsalt": "waterbg"}
    with rc_context(style):
        yield


def svg(figure: Any, name: str, title: str) -> str:
    """Draw as an ``<svg>`` element.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Put before all names within, so that several figures on a page do not share any.
    title : str
        What a screen reader says; without special characters.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', text, count=1
    )
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def png(figure: Any, title: str) -> str:
    """Draw as an ``<img>`` element that holds its own bytes; the title may be any text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" alt="{escape(title)}">'
