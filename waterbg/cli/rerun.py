"""``waterbg rerun``: the run of a stream again, with other options, without indexing."""

from __future__ import annotations

import sys
from typing import Any

from plumbum import cli

from waterbg.cli.base import Command, refuse_standard_output


class Rerun(Command):
    """Repeat a stream's own indexamajig run with some options changed, without indexing again

    All options of indexamajig (--int-radius, --integration, --push-res, -g, --prefix, -j …) are taken; they replace
    those in the stream's header.
    """

    USAGE = "    waterbg rerun IN.stream -o OUT.stream [--only WHAT] [options of indexamajig]\n"

    output = cli.SwitchAttr(["-o", "--output"], str, mandatory=True, argname="OUT.stream", help="stream to write")
    only = cli.SwitchAttr(
        "--only",
        str,
        list=True,
        argname="WHAT",
        help="only these frames: 'indexed', image serial numbers (3,7-12), or a list as indexamajig reads it",
    )
    without = cli.SwitchAttr(
        "--without", str, list=True, argname="OPTION", help="leave out an option of the header, as --without=highres"
    )
    dry_run = cli.Flag("--dry-run", help="print the command, write nothing and run nothing")
    force = cli.Flag("--force", help="replace OUT.stream when it exists")
    crystfel_bin = cli.SwitchAttr(
        "--crystfel-bin", str, argname="DIR", help="folder of CrystFEL's programs; default: found on PATH"
    )
    passed = cli.SwitchAttr(
        "--pass", str, list=True, argname="WORD", help="hand WORD to indexamajig, even if waterbg does not know it"
    )

    @classmethod
    def run(cls, argv: Any = None, exit: bool = True) -> Any:
        """Mark indexamajig's options before plumbum reads the rest."""
        from waterbg.crystfel.options import INDEXAMAJIG, mark_passed

        argv = list(sys.argv if argv is None else argv)
        marked = mark_passed(argv[1:], INDEXAMAJIG, cls.own_options())
        return super().run([argv[0], *marked], exit=exit)

    def main(self, stream: str) -> int:
        """Plan, and run unless asked not to."""
        from waterbg.crystfel.options import INDEXAMAJIG, parse_leniently
        from waterbg.crystfel.rerun import plan_rerun, run_plan
        from waterbg.crystfel.selection import parse_selection
        from waterbg.stream.reader import refuse_pipes

        refuse_pipes("rerun", stream)
        refuse_standard_output(self.output)
        plan = plan_rerun(
            stream,
            self.output,
            parse_leniently(self.passed, INDEXAMAJIG),
            without=self.without,
            only=parse_selection(self.only),
            crystfel_bin=self.crystfel_bin,
            force=self.force,
        )
        print(plan.command if self.dry_run else f"waterbg: {plan.command}", file=None if self.dry_run else sys.stderr)
        if not self.dry_run:
            result = run_plan(plan)
            print(f"waterbg: {self.output}: {result.text()}", file=sys.stderr)
        return 0
