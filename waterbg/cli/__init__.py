"""The ``waterbg`` command: one file per subcommand, each a thin class over a library function."""

from waterbg.cli.base import WaterBg, entry

__all__ = ["WaterBg", "entry"]
