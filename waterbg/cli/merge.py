"""``waterbg merge``: does the background subtraction help on my data?"""

from __future__ import annotations

import sys
from typing import Any

from plumbum import cli

from waterbg.cli.base import Command, refuse_standard_output


class Merge(Command):
    """Merge streams with CrystFEL's programs and lay their statistics side by side

    Options of process_hkl or partialator (--min-res, --scale, --push-res, --model …) are passed on as they are.
    """

    USAGE = (
        "    waterbg merge A.stream [B.stream ...] -y POINTGROUP -p CELL [-o DIR] "
        "[options of process_hkl or partialator]\n"
    )

    symmetry = cli.SwitchAttr(["-y", "--symmetry"], str, mandatory=True, argname="PG", help="point group, as 4/mmm")
    cell = cli.SwitchAttr(
        ["-p", "--pdb"], str, mandatory=True, argname="CELL", help="unit cell file, CrystFEL's or PDB"
    )
    output = cli.SwitchAttr(
        ["-o", "--output"], str, argname="DIR", help="folder for the results; default NAME.merge after the first stream"
    )
    program = cli.SwitchAttr(
        "--program", cli.Set("process_hkl", "partialator"), default="process_hkl", argname="NAME", help="what merges"
    )
    nshells = cli.SwitchAttr("--nshells", cli.Range(1, 1000), default=10, argname="N", help="resolution shells")
    lowres = cli.SwitchAttr("--lowres", float, argname="D", help="low-resolution limit of the shells in Å")
    highres = cli.SwitchAttr("--highres", float, argname="D", help="high-resolution limit of the shells in Å")
    crystfel_bin = cli.SwitchAttr(
        "--crystfel-bin", str, argname="DIR", help="folder of CrystFEL's programs; default: found on PATH"
    )
    json = cli.Flag("--json", help="print the numbers as JSON (also written to DIR/merge.json) instead of the table")
    no_figure = cli.Flag("--no-figure", help="do not draw DIR/merge.png")
    force = cli.Flag("--force", help="write into a folder that is not empty")

    passed = cli.SwitchAttr(
        "--pass",
        str,
        list=True,
        argname="WORD",
        help="hand WORD to the merging program, even if waterbg does not know it",
    )

    @classmethod
    def run(cls, argv: Any = None, exit: bool = True) -> Any:
        """Mark the merging program's options before plumbum reads the rest."""
        from waterbg.crystfel.options import PARTIALATOR, PROCESS_HKL, mark_passed

        argv = list(sys.argv if argv is None else argv)
        partialator = any(word.removeprefix("--program=") == "partialator" for word in argv[1:])
        marked = mark_passed(argv[1:], PARTIALATOR if partialator else PROCESS_HKL, cls.own_options())
        return super().run([argv[0], *marked], exit=exit)

    def main(self, *streams: str) -> int:
        """Merge, draw, tabulate."""
        from waterbg.crystfel.figures import draw_merge, have_matplotlib
        from waterbg.crystfel.merge import merge_streams
        from waterbg.crystfel.options import PARTIALATOR, PROCESS_HKL, parse_leniently
        from waterbg.errors import UsageError
        from waterbg.stream.reader import refuse_pipes

        if not streams:
            raise UsageError("merge needs at least one stream")
        refuse_pipes("merge", *streams)
        refuse_standard_output(self.output)
        report = merge_streams(
            streams,
            self.output,
            symmetry=self.symmetry,
            cell=self.cell,
            program=self.program,
            options=parse_leniently(self.passed, PARTIALATOR if self.program == "partialator" else PROCESS_HKL),
            nshells=self.nshells,
            lowres=self.lowres,
            highres=self.highres,
            crystfel_bin=self.crystfel_bin,
            force=self.force,
            report=lambda message: print(f"waterbg: {message}", file=sys.stderr),
        )
        folder = report.folder
        if not self.no_figure:
            if have_matplotlib():
                draw_merge(report, str(folder / "merge.png"), self.force)
            else:
                print("waterbg: no figure: matplotlib is not installed (pip install 'waterbg[plot]')", file=sys.stderr)
        print(report.as_json() if self.json else report.text(), end="\n" if self.json else "")
        print(f"waterbg: everything is in {folder}", file=sys.stderr)
        return 0
