"""``waterbg report``: one page about what subtract did to a stream."""

from __future__ import annotations

import sys

from plumbum import cli

from waterbg.cli.base import refuse_standard_output
from waterbg.cli.shared_options import ImageOptions
from waterbg.errors import UsageError
from waterbg.kernel_cache import say_when_compiling


class Report(ImageOptions):
    """Write a page about what subtract did to a stream, to look at and to show

    IN.stream is the stream before, OUT.stream what subtract made of it. The page is one HTML file that loads nothing.
    """

    USAGE = "    waterbg report IN.stream OUT.stream -o REPORT.html [options]\n"

    output = cli.SwitchAttr(["-o", "--output"], str, mandatory=True, argname="REPORT.html", help="page to write")
    force = cli.Flag("--force", help="replace REPORT.html when it exists")
    frames = cli.SwitchAttr(
        "--frames",
        cli.Range(0, 1000),
        default=24,
        argname="N",
        help="frames whose images are read again, spread over the stream; 0: only the streams are read",
    )
    model = cli.SwitchAttr(
        "--model",
        str,
        argname="FILE",
        help="run model that subtract used; default: OUT.stream.model.json, and when there is none it is learnt again",
    )

    def main(self, before: str, after: str) -> int:
        """Read both streams and some images; write the page."""
        from waterbg.stream import OutputFile
        from waterbg.stream.reader import refuse_pipes

        refuse_pipes("report", before, after)
        refuse_standard_output(self.output)
        if self.output.lower().endswith((".pdf", ".png", ".svg")):  # as for figures; nothing would open it
            raise UsageError(f"{self.output!r}: the page is HTML, and its name ends with .html; a browser prints it")
        reads = [before, after, self.model, self.geometry]
        output = OutputFile(self.output, force=self.force, reads=reads)  # known now, not after a minute's work
        from waterbg.plots.inline import inline_style

        with inline_style():  # so is a missing matplotlib
            pass
        from waterbg.plots.report import draw_report, find
        from waterbg.plots.report_words import all_is_well, doubts, not_looked_at

        if sys.stderr.isatty():
            print("waterbg: reading both streams and the sample's images …", file=sys.stderr)
        say_when_compiling()
        findings = find(
            before,
            after,
            frames=self.frames,
            model=self.model,
            geometry=self.geometry,
            images=self.images(),
        )
        output.write_whole([draw_report(findings)])
        numbers, frames = findings.numbers, len(findings.sample.read)
        print(
            f"{self.output}: {numbers.chunks} chunks, {numbers.crystals} crystals, {numbers.kept} of "
            f"{numbers.listed} reflections kept; images of {frames} frame{'s' * (frames != 1)} read"
        )
        said = doubts(findings) or [all_is_well(findings).lower()]
        print("\n".join(f"  {text}" for text in [not_looked_at(findings), *said] if text))
        return 0
