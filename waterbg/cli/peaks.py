"""``waterbg peaks``: peaks of one image and the background in square rings around them."""

from __future__ import annotations

import io
import math
import sys
from typing import TYPE_CHECKING, Any

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.errors import UsageError
from waterbg.figure_file import check_figure_path, save_figure
from waterbg.kernel_cache import say_when_compiling
from waterbg.stream import OutputFile, write_file

if TYPE_CHECKING:
    from waterbg.h5_background_subtraction import RingEstimate


class Peaks(Command):
    """List the peaks of one HDF5 image and take the average of a square ring off each

    On a terminal a menu asks which peak; --coordinate or --all answer it beforehand, and away from a terminal all are
    taken. Coordinates are (row, column) = (ss, fs), from 0 on. No geometry and no mask are used: a quick look.
    """

    data = cli.SwitchAttr(
        "--data", str, argname="PATH", help="dataset inside the file; default: the usual places, or the only one"
    )
    frame = cli.SwitchAttr(
        "--frame", cli.Range(0, 2**62), default=0, argname="N", help="which image of a stack, from 0 on"
    )
    threshold = cli.SwitchAttr(
        "--threshold", float, default=1000.0, argname="ADU", help="peaks are higher than this, in units of the image"
    )
    radius = cli.SwitchAttr(
        "--radius", str, default="1,2,3,4", argname="PX,…", help="radii of the square rings, in pixels"
    )
    coordinate = cli.SwitchAttr("--coordinate", str, list=True, argname="ROW,COLUMN", help="take this pixel")
    everything = cli.Flag("--all", help="take all peaks, ask nothing")
    pixels = cli.Flag("--pixels", help="list every pixel above the threshold, not one for each peak")
    distance = cli.SwitchAttr(
        "--distance",
        cli.Range(1, 10**6),
        default=3,
        argname="PX",
        help="of peaks closer than this only the highest counts",
    )
    saturation = cli.SwitchAttr(
        "--saturation",
        float,
        argname="ADU",
        help="pixels from here on are at the end of their scale; default: the largest number of an integer image",
    )
    ignore = cli.SwitchAttr(
        "--ignore", float, argname="ADU", help="pixels from here on are no measurements: neither peaks nor background"
    )
    keep_negative = cli.Flag(
        "--keep-negative", help="average negative pixels, too (images with their dark current taken off)"
    )
    csv = cli.SwitchAttr("--csv", str, argname="FILE", help="write the table to FILE; - is standard output")
    scatter = cli.SwitchAttr(
        "--scatter", str, argname="FILE.png", help="draw the pixels above the threshold in three dimensions"
    )
    force = cli.Flag("--force", help="replace files that exist")

    def main(self, image: str) -> int:
        """Find, choose, estimate."""
        import numpy as np

        from waterbg import h5_background_subtraction as tool

        radii = self._numbers("--radius", self.radius)
        if not 1 <= min(radii) <= max(radii) <= 10**6:
            raise UsageError("--radius is a number of pixels, from 1 to 1000000")
        if not math.isfinite(self.threshold):
            raise UsageError(f"--threshold={self.threshold}: a number is needed")
        if self.coordinate and self.everything:
            raise UsageError("--coordinate and --all exclude each other")
        if self.csv not in (None, "-"):
            OutputFile(self.csv, force=self.force, reads=[image])
        if self.scatter is not None:
            check_figure_path(self.scatter, self.force)
        say_when_compiling()
        array = tool.load_file_h5(image, self.data, self.frame)
        if self.ignore is not None:
            array = np.where(array < self.ignore, array, np.nan)
        found = tool.PeakThresholdProcessor(array, self.threshold)
        pixels = found.get_coordinates_above_threshold() if self.pixels else found.get_local_maxima(self.distance)
        how = {"saturation": self.saturation, "keep_negative": self.keep_negative}

        def estimate(chosen: Any) -> list[RingEstimate]:
            try:
                return [one for radius in radii for one in tool.three_rings(array, chosen, radius, **how)]
            except ValueError as err:
                raise UsageError(str(err)) from None

        menu = [] if self.coordinate else list(tool.menu_lines(array, self.threshold, pixels))
        asks = not (self.coordinate or self.everything or self.csv) and sys.stdin.isatty() and sys.stdout.isatty()
        if asks:
            print("\n".join(menu))
            estimates = self._ask(pixels, estimate)
        elif self.coordinate:
            estimates = estimate([self._numbers("--coordinate", text, 2) for text in self.coordinate])
        else:
            estimates = estimate(pixels)
        # files come before what is printed, whose reader may go away (| head)
        if self.csv is not None:
            self._write_csv(estimates)
        if self.scatter is not None:
            self._draw(array, estimates)
        if not asks and self.csv != "-":
            print("\n".join([*menu, *tool.estimate_lines(estimates)]))
        return 0

    def _ask(self, pixels: Any, estimate: Any) -> list[RingEstimate]:
        """Ask until the answer is q."""
        from waterbg.h5_background_subtraction import choose, estimate_lines

        taken: list[RingEstimate] = []
        while len(pixels):
            try:
                answer = input(f"Which coordinate? 1-{len(pixels)}, all, or q to quit: ")
                chosen = choose(answer, len(pixels))
            except EOFError:
                print()
                break
            except ValueError as err:
                print(err)
                continue
            if not chosen:
                break
            estimates = estimate(pixels[chosen])
            print("\n".join(estimate_lines(estimates)))
            taken += estimates
        return taken

    def _numbers(self, option: str, text: str, count: int | None = None) -> list[int]:
        try:
            numbers = [int(word) for word in text.split(",")]
        except ValueError:
            raise UsageError(f"{option}={text}: whole numbers separated by commas are needed") from None
        if count is not None and len(numbers) != count:
            raise UsageError(f"{option}={text}: {count} numbers are needed")
        return numbers

    def _write_csv(self, estimates: list[RingEstimate]) -> None:
        import csv

        from waterbg.h5_background_subtraction import RingEstimate

        def write(file: Any) -> None:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["row" if name == "x" else "column" if name == "y" else name for name in RingEstimate._fields]
            )
            for one in estimates:
                writer.writerow([*one[:-1], int(one.saturated)])

        if self.csv == "-":
            write(sys.stdout)
            return
        table = io.StringIO()
        write(table)
        write_file(self.csv, table.getvalue().encode())

    def _draw(self, array: Any, estimates: list[RingEstimate]) -> None:
        from waterbg import h5_background_subtraction as tool

        x, y, z, _ = tool.build_coord_intensity(array, self.threshold)
        marked = (estimates[0].x, estimates[0].y) if len({one[:2] for one in estimates}) == 1 else (None, None)
        if marked[0] is not None and not ((x == marked[0]) & (y == marked[1])).any():
            marked = (None, None)
        try:
            figure = tool.create_scatter(x, y, z, *marked)
        except ImportError:
            raise UsageError("figures need matplotlib: pip install 'waterbg[plot]'") from None
        save_figure(figure, self.scatter, force=self.force, dpi=120)
