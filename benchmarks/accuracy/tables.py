"""The results in words and numbers: one table a set."""

from benchmarks.accuracy.methods import TRUE_BACKGROUND
from benchmarks.accuracy.metrics import BINS
from benchmarks.accuracy.targets import BIAS, RMSE, TO_TRUTH, Z_MEAN, Z_STD

RECOMMENDED = "water"
QUANTITIES = ("rmse", "bias", "z_mean", "z_std")


def table(name, results):
    """One set as Markdown.

    Parameters
    ----------
    name : str
        Of the set.
    results : dict
        Method -> bin -> Score.
    """
    heads = ["method", "kept %", "RMSE/CRB", "bias/CRB", "z-mean", "z-std", "RMSE / true background"]
    rows = [[RECOMMENDED + " must", "", *_must(name), f"<= {TO_TRUTH}" if RMSE.get(name) else ""]]
    for method, scores in results.items():
        cells = [method, f"{100 * min(s.kept for s in scores.values()):.1f}"]
        cells += [" ".join(_cell(name, method, b, q, scores[b]) for b in BINS) for q in QUANTITIES]
        cells.append(" ".join(_relative(name, method, scores[b], results, b) for b in BINS))
        rows.append(cells)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in [heads, *rows]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def misses(name, results):
    """What the recommended method must reach on a set and does not, as sentences."""
    scores = results.get(RECOMMENDED, {})
    for b in scores:
        for quantity in QUANTITIES:
            if not _reached(name, b, quantity, getattr(scores[b], quantity)):
                yield f"{name}, {b}: {quantity} {getattr(scores[b], quantity):.3f}"
        if RMSE.get(name) and TRUE_BACKGROUND in results:
            ratio = scores[b].rmse / results[TRUE_BACKGROUND][b].rmse
            if ratio > TO_TRUTH:
                yield f"{name}, {b}: {ratio:.3f} of the RMSE with the true background"


def _must(name):
    rmse = " ".join(f"{limit:.2f}" for limit in RMSE[name].values()) if RMSE.get(name) else ""
    return f"<= {rmse}" if rmse else "", f"<= {BIAS}", f"<= {Z_MEAN}", f"{Z_STD[0]}-{Z_STD[1]}"


def _reached(name, b, quantity, value):
    if quantity == "rmse":
        return not RMSE.get(name) or value <= RMSE[name][b]
    if quantity == "z_std":
        return Z_STD[0] <= value <= Z_STD[1]
    return abs(value) <= (BIAS if quantity == "bias" else Z_MEAN)


def _cell(name, method, b, quantity, score):
    value = getattr(score, quantity)
    mark = "" if method != RECOMMENDED or _reached(name, b, quantity, value) else "!"
    return f"{value:.3f}{mark}" if quantity in ("rmse", "z_std") else f"{value:+.3f}{mark}"


def _relative(name, method, score, results, b):
    if TRUE_BACKGROUND not in results:
        return ""
    ratio = score.rmse / results[TRUE_BACKGROUND][b].rmse
    mark = "!" if method == RECOMMENDED and RMSE.get(name) and ratio > TO_TRUTH else ""
    return f"{ratio:.3f}{mark}"
