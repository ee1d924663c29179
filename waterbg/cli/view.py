"""``waterbg view``: look at one frame of a stream, its background, and one of its reflections."""

from __future__ import annotations

import re
import warnings
from typing import Any

from plumbum import cli

from waterbg.cli.shared_options import FitOptions, ImageOptions, given_settings
from waterbg.errors import UsageError
from waterbg.kernel_cache import say_when_compiling


class View(ImageOptions, FitOptions):
    """Look at a frame of a stream, the background under it, what is left, and one reflection with its fit

    CHUNK is the chunk's position in the stream, counted from 1; without it, the first chunk with reflections is shown.
    """

    USAGE = "    waterbg view STREAM [CHUNK] [options]\n"

    output = cli.SwitchAttr(
        ["-o", "--output"], str, argname="FILE", help="write the figure (.png, .pdf, .svg); without it, open a window"
    )
    force = cli.Flag("--force", help="replace FILE when it exists")

    serial = cli.SwitchAttr(
        "--serial", int, argname="N", group="Chunk", help="the chunk with this 'Image serial number' instead"
    )
    image = cli.SwitchAttr(
        "--image", str, argname="FILE", group="Chunk", help="the chunk of this image, as the stream names it"
    )
    event = cli.SwitchAttr(
        "--event", str, argname="EVENT", group="Chunk", help="the chunk of this event, as //12 or 12"
    )

    reflection = cli.SwitchAttr(
        "--reflection",
        str,
        argname="H,K,L",
        group="Picture",
        help="reflection to look at closely; default: the largest I/σ between 3.6 and 2.8 Å, where the water ring is",
    )
    crystal = cli.SwitchAttr(
        "--crystal", cli.Range(1, 10**6), argname="N", group="Picture", help="crystal it belongs to, from 1 on"
    )
    peaks = cli.Flag("--peaks", group="Picture", help="mark the peaks that indexamajig found, too")
    linear = cli.Flag("--linear", group="Picture", help="linear colours instead of logarithmic ones")
    photons = cli.Flag("--photons", group="Picture", help="what is left in photons instead of σ")
    three_d = cli.Flag("--3d", group="Picture", help="a region in three dimensions instead")
    at = cli.SwitchAttr(
        "--at",
        str,
        argname="FS,SS[,PANEL]",
        requires=["--3d"],
        excludes=["--reflection"],
        group="Picture",
        help="middle of the region, as the stream prints positions; default: the reflection",
    )
    size = cli.SwitchAttr(
        "--size",
        cli.Range(1, 200),
        default=15,
        argname="PX",
        requires=["--3d"],
        group="Picture",
        help="how far the region reaches from its middle",
    )

    integration = cli.SwitchAttr(
        "--integration",
        cli.Set("profile", "sum"),
        argname="METHOD",
        group="Integration",
        help="as of subtract; default profile",
    )
    model = cli.SwitchAttr(
        "--model",
        str,
        argname="FILE",
        group="Integration",
        help="run model that subtract wrote (OUT.stream.model.json); default: learnt from the first frames",
    )

    def main(self, stream: str, chunk: str = "") -> int:
        """Draw one chunk."""
        from waterbg.scripts.figure import FigureOutput
        from waterbg.stream.reader import refuse_pipes

        number = self._number(chunk)
        refuse_pipes("view", stream)
        hkl = _numbers("--reflection", self.reflection, int, "H,K,L") if self.reflection is not None else None
        at = self._middle()
        settings = given_settings(self)
        output = FigureOutput(self.output, force=self.force)
        self._draw(stream, number, hkl, at, settings, output)
        return 0

    def _draw(
        self, stream: str, number: int | None, hkl: Any, at: Any, settings: dict[str, object], output: Any
    ) -> None:
        from waterbg.run import resolve_job

        figure = output.new(figsize=(16.0, 6.2) if self.three_d else (16.0, 9.4))  # without matplotlib all ends here
        if output.path is None and not figure.canvas.required_interactive_framework:
            raise UsageError(
                "matplotlib finds no window system (Qt, Tk, GTK …); -o FILE.png writes the figure to a file"
            )
        from waterbg.plots.look import Wanted, choose_chunk, choose_reflection, look_at

        job = resolve_job(
            stream,
            geometry=self.geometry,
            settings=settings,
            images=self.images(),
        )
        where, chunk = choose_chunk(stream, Wanted(number, self.serial, self.image, self.event))
        say_when_compiling()
        look = look_at(job, where, chunk, self.model)
        row = choose_reflection(look, hkl, self.crystal)
        if self.three_d:
            from waterbg.plots.region import draw_region, region_about

            said = draw_region(figure, look, region_about(look, row, at, self.size))
        else:
            from waterbg.plots.view import FILE_CELLS, WINDOW_CELLS, draw_view

            cells = WINDOW_CELLS if output.path is None else FILE_CELLS
            said = draw_view(figure, look, row, peaks=self.peaks, linear=self.linear, photons=self.photons, cells=cells)
        print("\n".join(said))
        with warnings.catch_warnings():
            # a letter that the font lacks, in the name of a file, is drawn as a box
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            output.done(figure)

    def _number(self, chunk: str) -> int | None:
        if not chunk:
            return None
        if not (re.fullmatch("0*[1-9][0-9]{0,17}", chunk)):
            raise UsageError(f"{chunk}: a chunk is its position in the stream, counted from 1")
        return int(chunk)

    def _middle(self) -> tuple[float, float, str | None] | None:
        """Answer of --at."""
        if self.at is None:
            return None
        fs, ss, panel = [*self.at.split(",", 2), None, None][:3]
        middle = _numbers("--at", f"{fs},{ss}", float, "FS,SS or FS,SS,PANEL", 2)
        return middle[0], middle[1], panel


def _numbers(option: str, text: str, kind: Any, form: str, count: int = 3) -> tuple[Any, ...]:
    try:
        found = tuple(kind(word) for word in text.split(","))
        if len(found) == count:
            return found
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{option}={text}: {form} is needed")
