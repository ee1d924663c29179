"""``waterbg simulate``: frames with known truth."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from plumbum import cli

from waterbg.cli.base import Command, refuse_standard_output
from waterbg.errors import UsageError, WaterbgError
from waterbg.kernel_cache import say_when_compiling

if TYPE_CHECKING:
    from waterbg.simulate import SimulatedFrame


class Simulate(Command):
    """Simulate frames with known truth: images, geometry, cell, solutions, truth and stream"""

    output = cli.SwitchAttr(["-o", "--output"], str, argname="DIR", help="folder for the files; made if need be")
    name = cli.SwitchAttr(
        "--name", str, argname="NAME", help="how the files' names begin; default: the name of the preset"
    )
    images = cli.SwitchAttr(
        "--images", str, argname="FILE.h5", help="image file, if it shall lie elsewhere than in DIR"
    )
    frames = cli.SwitchAttr(["-n", "--frames"], cli.Range(1, 10**6), default=4, argname="N", help="number of frames")
    seed = cli.SwitchAttr(
        "--seed", cli.Range(0, 2**63), argname="N", help="same seed, same bytes; default: the preset's"
    )
    photons = cli.SwitchAttr("--photons", float, argname="N", help="photons per pulse; default: 3e8")
    changes = cli.SwitchAttr(
        "--set",
        str,
        list=True,
        argname="NAME=VALUE",
        help="change one quantity of the preset, for example water=60 or jet=[1,1]",
    )
    hkl = cli.Flag("--hkl", help="write the |F|² that were used, too, as a CrystFEL reflection list")
    force = cli.Flag("--force", help="replace existing files")
    show = cli.Flag("--show", help="print the quantities of the preset, with the changes, as JSON, and end")

    def main(self, preset: str) -> int:
        """Simulate one run."""
        from waterbg import simulate

        experiment = simulate.preset(preset).replace(**self._changes())
        if self.show:
            print(json.dumps(json.loads(experiment.to_json()), indent=1))
            return 0
        if not self.output:
            raise UsageError("simulate: -o DIR is needed")
        refuse_standard_output(self.output)
        say_when_compiling()
        try:
            done = simulate.write_dataset(
                experiment,
                self.frames,
                self.output,
                self.name or preset,
                images=self.images,
                made_by=self._command(preset),
                structure=bool(self.hkl),
                force=bool(self.force),
                on_frame=_progress(self.frames) if sys.stderr.isatty() else None,
            )
        except MemoryError:
            raise WaterbgError("out of memory; fewer pixels (panel_grid, panel_shape) need less") from None
        print(f"{self.frames} frames in {done.images}, stream in {done.stream}", file=sys.stderr)
        return 0

    def _changes(self) -> dict[str, object]:
        from waterbg.simulate import Experiment

        changes: dict[str, object] = {}
        texts = {each.name for each in dataclasses.fields(Experiment) if isinstance(each.default, str)}
        for change in self.changes:
            name, equals, value = change.partition("=")
            if not equals:
                raise UsageError(f"--set {change}: NAME=VALUE is needed")
            try:
                found = json.loads(value)
            except (ValueError, RecursionError):  # no JSON, or thousands of digits or brackets
                found = value  # a word: lattice_type=triclinic
            # of words that look like a number, too: point_group=-1
            changes[name] = value if name in texts and not isinstance(found, str) else found
        if self.seed is not None:
            changes["seed"] = self.seed
        if self.photons is not None:
            changes["photons"] = self.photons
        return changes

    def _command(self, preset: str) -> str:
        """Command that repeats the run: what decides the numbers, not where they are put."""
        words = ["waterbg", "simulate", preset, "--frames", str(self.frames)]
        if self.seed is not None:
            words += ["--seed", str(self.seed)]
        if self.photons is not None:
            words += ["--photons", f"{self.photons:.15g}"]
        for change in self.changes:
            words += ["--set", " ".join(change.split())]  # the header has a line for it
        return shlex.join(words)


def _progress(total: int) -> Callable[[SimulatedFrame], None]:
    def show(frame: SimulatedFrame) -> None:
        done = frame.number + 1
        print(f"\r{done} of {total} frames", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show
