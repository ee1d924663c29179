"""``python -m waterbg``: the same as the console script."""

from waterbg.cli import entry

entry()
