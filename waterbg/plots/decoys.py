"""Figure of decoys: what sigma is worth, and the error of a reflection without signal, by resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterbg.errors import UsageError

if TYPE_CHECKING:
    from waterbg.model import Quality
    from waterbg.model.decoys import Shell

OURS, RINGS = "#1b6ca8", "#d1495b"


def draw_decoys(quality: Quality, path: str) -> None:
    """Draw mean and scatter of I/sigma and the RMS of I over resolution.

    Parameters
    ----------
    quality : Quality
    path : str
        Its ending decides the format.

    Raises
    ------
    UsageError
        Without matplotlib, or when the figure cannot be written.
    """
    try:
        # without pyplot: no window system is touched
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("figures need matplotlib: pip install 'waterbg[plot]'") from None
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    mean, scatter, rms = figure.subplots(1, 3)
    for shells, colour, line, label in (
        (quality.half, OURS, "o-", "waterbg, half indices"),
        (quality.half_rings, RINGS, "o-", "rings, half indices"),
        (quality.displaced, OURS, "s--", "waterbg, beside reflections"),
        (quality.displaced_rings, RINGS, "s--", "rings, beside reflections"),
    ):
        known = [shell for shell in shells if shell.rms is not None]
        at = [_middle(shell) for shell in known]
        mean.plot(at, [shell.z_mean for shell in known], line, color=colour, label=label, ms=4)
        scatter.plot(at, [shell.z_std for shell in known], line, color=colour, ms=4)
        rms.plot(at, [shell.rms for shell in known], line, color=colour, ms=4)
    mean.axhline(0, color="0.6", lw=0.8)
    scatter.axhline(1, color="0.6", lw=0.8)
    rms.set_ylim(bottom=0)
    for axes, title in (
        (mean, "mean of I/σ (0 is right)"),
        (scatter, "scatter of I/σ (1 is right)"),
        (rms, "RMS of I"),
    ):
        axes.set_title(title, fontsize=10)
        _label(axes)
    rms.set_ylabel("photons")
    mean.legend(fontsize=7)
    try:
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as err:
        raise UsageError(f"{path}: the figure cannot be written ({err})") from None


def _middle(shell: Shell) -> float:
    return (shell.low + shell.high) / 2


def _label(axes: Any) -> None:
    """Resolution in Å under an axis of 1/d in nm⁻¹."""
    low, high = axes.get_xlim()
    ticks = [d for d in (20, 10, 5, 4, 3, 2.5, 2, 1.8, 1.6, 1.4, 1.2, 1) if low < 10 / d < high]
    axes.set_xticks([10 / d for d in ticks], [f"{d:g}" for d in ticks])
    axes.set_xlabel("d / Å")
