"""Puts the measured tables into docs/accuracy.md, between two markers; the words around them are written by hand."""

import shlex
from pathlib import Path

import waterbg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
BEGIN = "<!-- measured: written by python -m benchmarks.accuracy --write -->"
END = "<!-- end of measured -->"


def write(texts, missed, arguments):
    """Replace what stands between the markers."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    command = f"python -m benchmarks.accuracy {shlex.join(arguments)}".strip()
    verdict = ["Not reached:", "", *(f"* {sentence}" for sentence in missed)] if missed else ["Everything is reached."]
    measured = [BEGIN, "", f"waterbg {waterbg.__version__}, `{command}`:", "", *texts, *verdict, "", END]
    PAGE.write_text(before + "\n".join(measured) + after)
