"""``waterbg overwrite``: the numbers of one stream put into another."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.errors import OutputError, UsageError


class Overwrite(Command):
    """Write stream HIGH with I, sigma, peak and background of the same reflections in stream LOW

    Every other byte of HIGH stays. Reflections that LOW does not have keep their numbers, and are counted.
    """

    output = cli.SwitchAttr(["-o", "--output"], str, mandatory=True, argname="OUT", help="stream to write")
    match = cli.SwitchAttr(
        "--match",
        cli.Set("crystal", "order", "hkl", "all"),
        default="crystal",
        argname="BY",
        help="what is the same reflection: crystal, the same h k l of the same crystal; order, the n-th of the n-th; "
        "hkl, the same h k l in turn, whatever crystal; all, the mean of all with the same h k l",
    )
    pair = cli.SwitchAttr(
        "--pair",
        cli.Set("image", "event", "serial", "order"),
        argname="BY",
        help="with --match=crystal, the same image is: image, of the same file and event; event; serial, of the same "
        "serial number; order; default: the first of these that any two images have in common",
    )
    columns = cli.SwitchAttr(
        "--columns", str, default="I,sigma,peak,background", argname="NAMES", help="columns to take from LOW"
    )
    drop = cli.Flag("--drop-unmatched", help="leave out reflections of HIGH that LOW does not have")
    unmatched = cli.SwitchAttr(
        "--unmatched", str, argname="FILE", help="list them: image, event, crystal, h, k, l, separated by tabs"
    )
    force = cli.Flag("--force", help="replace files that exist; HIGH itself is copied first")

    def main(self, high: str, low: str) -> int:
        """Overwrite and report."""
        from waterbg.overwrite import overwrite_stream

        columns = [name.strip() for name in self.columns.split(",") if name.strip()]
        with ExitStack() as stack:
            on_unmatched = None
            if self.unmatched:
                if os.path.lexists(self.unmatched) and not self.force:
                    raise OutputError("exists; --force replaces it", path=self.unmatched)
                try:
                    file = stack.enter_context(open(self.unmatched, "w", errors="surrogateescape"))
                except OSError as err:
                    raise OutputError(f"cannot be written ({err.strerror})", path=self.unmatched) from None
                print("image\tevent\tcrystal\th\tk\tl", file=file)
                on_unmatched = lambda line: print(line, file=file)  # noqa: E731
            try:
                report = overwrite_stream(
                    high,
                    low,
                    self.output,
                    match=self.match,
                    pair=self.pair,
                    columns=columns,
                    drop_unmatched=self.drop,
                    force=self.force,
                    on_unmatched=on_unmatched,
                )
            except ValueError as err:
                raise UsageError(str(err)) from None
        print(report.text(), file=sys.stderr)
        return 0
