"""``waterbg overwrite``: the numbers of one stream put into another."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

from plumbum import cli

from waterbg.cli.base import Command, refuse_standard_output
from waterbg.errors import UsageError
from waterbg.stream import OutputFile


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

        refuse_standard_output(self.output)
        if self.unmatched is not None and os.path.abspath(self.unmatched) == os.path.abspath(self.output):
            raise UsageError(f"-o and --unmatched are both {self.output}: give the list another name")
        columns = [name.strip() for name in self.columns.split(",") if name.strip()]
        with ExitStack() as stack:
            on_unmatched = None
            file = None
            if self.unmatched is not None:
                file = stack.enter_context(OutputFile(self.unmatched, force=self.force, reads=[high, low]).begin())
                stack.callback(file.discard)  # of a list that is complete nothing is left to discard
                file.write(b"image\tevent\tcrystal\th\tk\tl\n")
                on_unmatched = lambda line: file.write(os.fsencode(f"{line}\n"))  # noqa: E731
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
            if file is not None:
                file.finish()
        print(report.text(), file=sys.stderr)
        return 0
