"""``waterbg decoys``: are background and sigma right on this very data set?"""

from __future__ import annotations

import json
import sys

from plumbum import cli

from waterbg.cli.shared_options import ImageOptions, IntegrationOptions, given_settings
from waterbg.kernel_cache import say_when_compiling


class Decoys(ImageOptions, IntegrationOptions):
    """Integrate where no Bragg reflection can be, by waterbg and by CrystFEL's rings

    The true intensity of a decoy is 0: I/sigma must have mean 0 and scatter 1, and the smaller I scatters the better.
    """

    output = cli.SwitchAttr(["-o", "--output"], str, argname="FIGURE.png", help="draw the tables, too")
    json = cli.Flag("--json", help="print JSON instead of the tables")
    force = cli.Flag("--force", help="replace a figure that exists")
    frames = cli.SwitchAttr(
        "--frames", cli.Range(1, 10**6), default=24, argname="N", help="frames looked at: the first with reflections"
    )
    model = cli.SwitchAttr(
        "--model",
        str,
        argname="FILE",
        group="Integration",
        help="run model that subtract wrote; default: learnt from the frames looked at",
    )

    def main(self, stream: str) -> int:
        """Print what decoys say."""
        from waterbg.figure_file import check_figure_path
        from waterbg.model import RunModel, check_model, learn_model
        from waterbg.run import resolve_job
        from waterbg.run.sample import Sample
        from waterbg.run.worker import Worker
        from waterbg.stream.lacking import no_reflections
        from waterbg.stream.reader import refuse_pipes

        refuse_pipes("decoys", stream)
        if self.output is not None:
            check_figure_path(self.output, self.force)
        job = resolve_job(
            stream,
            geometry=self.geometry,
            settings=given_settings(self),
            images=self.images(),
        )
        sample = Sample(Worker(job), self.frames)
        if not sample.chunks:
            raise no_reflections(stream)
        say_when_compiling()
        model = RunModel.load(self.model) if self.model is not None else learn_model(sample, job.settings)
        quality = check_model(sample, model, job.settings)
        if self.output is not None:
            from waterbg.plots.decoys import draw_decoys

            draw_decoys(quality, self.output, self.force)
        if self.json:
            print(json.dumps(quality.as_dict(), indent=1, allow_nan=False))
        elif lines := [*quality.table(), *quality.lines()]:
            print("\n".join(lines))
        if not quality.decoys:
            print("waterbg: no decoy: reflections, or pixels that cannot be used, are everywhere", file=sys.stderr)
        return 0
