"""``waterbg compare``: the same reflections in two streams."""

from __future__ import annotations

from plumbum import cli

from waterbg.cli.base import Command


class Compare(Command):
    """Compare the reflections two streams have in common: scale, CC, ratio by resolution and strength, sigmas"""

    match = cli.SwitchAttr(
        "--match",
        cli.Set("image", "event", "serial", "order"),
        default="image",
        argname="WHAT",
        help="what makes two chunks the same: image (file name and event), event alone, serial number, or order",
    )
    nshells = cli.SwitchAttr("--nshells", cli.Range(1, 200), default=10, argname="N", help="resolution shells")
    figure = cli.SwitchAttr(["-o", "--figure"], str, argname="FILE", help="draw a figure (.png, .pdf, .svg)")
    json = cli.Flag("--json", help="print the numbers as JSON")
    force = cli.Flag("--force", help="replace a figure that exists")

    def main(self, a: str, b: str) -> int:
        """Compare, draw, print."""
        from waterbg.crystfel.compare import compare_streams
        from waterbg.figure_file import check_figure_path
        from waterbg.stream.reader import refuse_pipes

        refuse_pipes("compare", a, b)
        if self.figure is not None:
            check_figure_path(self.figure, self.force)
        result = compare_streams(a, b, match=self.match, nshells=self.nshells)
        if self.figure is not None:
            from waterbg.crystfel.figures import draw_comparison

            draw_comparison(result, self.figure, self.force)
        print(result.as_json() if self.json else result.text(), end="\n" if self.json else "")
        return 0
