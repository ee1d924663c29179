"""Figure of decoys: what sigma is worth, and the error of a reflection without signal, by resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterbg.figure_file import new_figure, resolution_axis, save_figure

if TYPE_CHECKING:
    from waterbg.model import Quality
    from waterbg.model.decoys import DecoyShell

OURS, RINGS = "#1b6ca8", "#d1495b"
TITLES = {"z_mean": "mean of I/σ (0 is right)", "z_std": "scatter of I/σ (1 is right)", "rms": "RMS of I"}


def draw_decoys(quality: Quality, path: str, force: bool = False) -> None:
    """Draw mean and scatter of I/sigma and the RMS of I over resolution.

    Parameters
    ----------
    quality : Quality
    path : str
        Its ending decides the format.
    force : bool
        Replace a file that exists.

    Raises
    ------
    UsageError
        Without matplotlib.
    OutputError
        When the figure cannot be written.
    """
    figure = new_figure(10, 3.7)
    mean, scatter, rms = figure.subplots(1, 3)
    for axes, what in ((mean, "z_mean"), (scatter, "z_std"), (rms, "rms")):
        plot_decoys(axes, quality, what)
        axes.set_title(TITLES[what], fontsize=10)
    figure.legend(*mean.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    save_figure(figure, path, force=force)


def plot_decoys(axes: Any, quality: Quality, what: str) -> None:
    """Draw one quantity of all shells over resolution.

    Parameters
    ----------
    axes : Axes
    quality : Quality
    what : str
        A field of DecoyShell: one of TITLES.
    """
    kinds = (
        (quality.half, OURS, "o-", "waterbg, half indices"),
        (quality.half_rings, RINGS, "o-", "rings, half indices"),
        (quality.displaced, OURS, "s--", "waterbg, beside reflections"),
        (quality.displaced_rings, RINGS, "s--", "rings, beside reflections"),
    )
    edges = [edge for shells, *_ in kinds for shell in shells for edge in (shell.low, shell.high)]
    if edges:  # all of it, or a single shell would have no number on its axis
        axes.set_xlim(min(edges), max(edges))
    resolution_axis(axes, *axes.get_xlim(), apart=0.1)
    for shells, colour, line, label in kinds:
        known = [shell for shell in shells if shell.rms is not None]
        at, values = [_middle(shell) for shell in known], [getattr(shell, what) for shell in known]
        axes.plot(at, values, line, color=colour, label=label, ms=4)
    if what == "rms":
        axes.set_ylim(bottom=0)
        axes.set_ylabel("photons")
    else:
        axes.axhline(0 if what == "z_mean" else 1, color="0.6", lw=0.8)


def _middle(shell: DecoyShell) -> float:
    return (shell.low + shell.high) / 2
