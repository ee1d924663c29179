"""``waterbg indexamajig``: a stand-in for indexamajig whose stream has its background subtracted."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.cli.shared_options import given_settings, slurm_options, slurm_switch, submit
from waterbg.endings import end_as
from waterbg.errors import ProgramError, UsageError, WaterbgError
from waterbg.interrupts import answering, interrupt

if TYPE_CHECKING:
    from pathlib import Path

    from waterbg.crystfel.dropin import Request
    from waterbg.crystfel.programs import Running

_OWN = "--waterbg-"
_SLURM = [f"{_OWN}slurm"]
_CUT_SHORT = 128 + signal.SIGINT  # exit status: indexamajig says 0 when Ctrl-C ended it


@contextmanager
def _as_own() -> Iterator[None]:
    """Wrong usage of an option is told by the name that it has here."""
    try:
        yield
    except UsageError as err:
        raise UsageError(re.sub(r"^--", _OWN, str(err))) from None


class Indexamajig(Command):
    """Run indexamajig and leave the background-subtracted stream at -o, indexamajig's own beside it

    Everything but the --waterbg- options goes to indexamajig unchanged. For -o run.stream, indexamajig's own stream is
    run.orig.stream, and what it says is also in run.stream.log. --help is indexamajig's.
    """

    HELP = f"{_OWN}help"
    given: ClassVar[list[list[str]]] = []  # our own options, each with its value
    cut_short = False
    USAGE = "    waterbg indexamajig [indexamajig's own arguments] [--waterbg-… options]\n"

    @cli.switch(HELP, group="Meta-switches", help="Prints this help message and quits")
    def help(self) -> None:
        """Print what this stand-in adds; ``--help`` is indexamajig's own."""
        super().help()

    jobs = cli.SwitchAttr(
        f"{_OWN}jobs", cli.Range(1, 1024), argname="N", help="processes that subtract; default: one for eight of -j"
    )
    force = cli.Flag(f"{_OWN}force", help="replace streams of an earlier run")
    no_verify = cli.Flag(f"{_OWN}no-verify", help="do not read the output back and compare it with the original")
    crystfel_bin = cli.SwitchAttr(
        f"{_OWN}crystfel-bin", str, argname="DIR", help="folder of the real indexamajig; default: found on PATH"
    )
    geometry = cli.SwitchAttr(
        f"{_OWN}geometry", str, argname="FILE.geom", help="geometry for the subtraction instead of indexamajig's"
    )
    on_missing = cli.SwitchAttr(
        f"{_OWN}on-missing",
        cli.Set("fail", "keep", "drop"),
        default="keep",
        argname="WHAT",
        help="a chunk whose image cannot be read again: keep its old numbers, drop it, or fail",
    )
    external = cli.Flag(
        f"{_OWN}follow-external-links", help="read HDF5 external links that lead out of the image's own folder"
    )
    integration = cli.SwitchAttr(
        f"{_OWN}integration", str, argname="METHOD", help="as --integration of waterbg subtract"
    )
    background = cli.SwitchAttr(f"{_OWN}background", str, argname="MODEL", help="as --background of waterbg subtract")
    int_radius = cli.SwitchAttr(
        f"{_OWN}int-radius", str, argname="INN,MID,OUT", help="radii in pixels; default: --int-radius of indexamajig"
    )
    push_res = cli.SwitchAttr(f"{_OWN}push-res", float, argname="NM^-1", help="as --push-res of waterbg subtract")
    polarisation = cli.SwitchAttr(
        f"{_OWN}polarisation", str, argname="TYPE", help="as --polarisation of waterbg subtract"
    )
    joint = cli.Flag(f"{_OWN}joint", help="fit overlapping neighbours together")
    no_decoys = cli.Flag(f"{_OWN}no-decoys", help="do not calibrate sigma by decoys")
    model = cli.SwitchAttr(f"{_OWN}model", str, argname="FILE", help="as --model of waterbg subtract")

    slurm = cli.Flag(
        f"{_OWN}slurm", group="Slurm", help="(or --slurm) index as a job array, each task with its own subtraction"
    )
    no_submit = cli.Flag(
        f"{_OWN}no-submit", requires=_SLURM, group="Slurm", help="make the job folder and submit nothing"
    )
    block_size = cli.SwitchAttr(
        f"{_OWN}block-size",
        cli.Range(1, 10**9),
        default=1000,
        argname="EVENTS",
        requires=_SLURM,
        group="Slurm",
        help="events a task",
    )
    partition = slurm_switch(f"{_OWN}partition", "NAME", "partition")
    account = slurm_switch(f"{_OWN}account", "NAME", "account to charge")
    qos = slurm_switch(f"{_OWN}qos", "NAME", "quality of service")
    constraint = slurm_switch(f"{_OWN}constraint", "LIST", "features of the nodes")
    reservation = slurm_switch(f"{_OWN}reservation", "NAME", "reservation")
    time = slurm_switch(f"{_OWN}time", "LIMIT", "time limit of a task, as sbatch takes it", "60")

    @classmethod
    def run(cls, argv: Any = None, exit: bool = True) -> Any:
        """Give plumbum the ``--waterbg-`` options only."""
        argv = list(sys.argv if argv is None else argv)
        mine: list[list[str]] = []
        theirs = []
        rest = argv[1:]
        while rest:
            word = rest.pop(0)
            if word == "--slurm":  # indexamajig has no such option
                word = f"{_OWN}slurm"
            if not word.startswith(_OWN):
                theirs.append(word)
                continue
            mine.append([word])
            if "=" not in word and _TAKES_VALUE.get(word, True):
                if not rest:  # what stands behind it now is no value
                    return super().run([argv[0], *chain(*mine)], exit=exit)
                mine[-1].append(rest.pop(0))
        cls.given = mine
        return super().run([argv[0], *chain(*mine), "--", *theirs], exit=exit)

    def main(self, *arguments: str) -> int:
        """Start indexamajig, follow its stream, end with its status."""
        from waterbg.crystfel.dropin import find_real, read_request, refuse_outputs, set_aside, settle
        from waterbg.crystfel.programs import Running, with_tried

        if not arguments:
            self.help()
            return 2
        request = read_request(arguments)
        settings = self._settings()
        self._refuse_unusable()
        if self.slurm:
            return self._submit(arguments)
        program = find_real(self.crystfel_bin)
        environment = with_tried(program.path)
        if request.output is None or request.original is None:
            if request.reason:
                print(f"waterbg: {request.reason}; indexamajig runs alone", file=sys.stderr)
            return end_as(Running(program, request.arguments, environment=environment).process)
        refuse_outputs(request, self.force, [self.geometry, self.model], model=self._learnt(request.output))
        before = set_aside(request.original)
        print(f"waterbg: indexamajig {program.version} ({program.path})", file=sys.stderr)
        log = request.output.with_name(request.output.name + ".log")
        running = Running(program, request.arguments, log=log, environment=environment)
        try:
            with answering((signal.SIGTERM,), interrupt):
                trouble = self._follow(request, running, settings)
        except KeyboardInterrupt:
            running.send(signal.SIGINT)
            raise
        finally:  # also after a bug of ours: hours of indexing are not lost by it
            status = running.wait()
            began = request.original.exists()
            settle(request.original, before)
        if status:
            error = ProgramError(
                "it ended with an error; what its stream holds was subtracted"
                if trouble is None and began and request.output.exists()
                else "it ended with an error",
                program=program.name,
                status=status,
                log=str(log),
            )
            print(f"waterbg: error: {error}", file=sys.stderr)
        if trouble is not None:
            print(f"waterbg: error: {trouble}; indexamajig's own stream is {request.original}", file=sys.stderr)
        return status or (1 if trouble is not None else _CUT_SHORT if self.cut_short else 0)

    def _submit(self, arguments: tuple[str, ...]) -> int:
        """Make the job array and give it to Slurm."""
        from waterbg.crystfel.turbo import make_turbo

        if self.model is not None and not os.path.exists(self.model):
            raise UsageError(
                f"--waterbg-model={self.model}: with --slurm it must be there, or each task writes its own"
            )
        folder = make_turbo(
            arguments,
            _for_tasks(self.given),
            block_size=self.block_size,
            slurm=slurm_options(self, _indexing(arguments)),
            crystfel_bin=self.crystfel_bin,
            force=self.force,
        )
        return submit(folder, self.no_submit)

    def _refuse_unusable(self) -> None:
        """Read geometry and run model: found to be none when the first chunk comes, they would cost the indexing."""
        if self.geometry is not None:
            from waterbg.geometry import parse_geometry
            from waterbg.small_file import read_geometry_file

            parse_geometry(read_geometry_file(self.geometry), path=self.geometry)
        if self.model is not None and (not self.model or os.path.exists(self.model)):
            from waterbg.model import RunModel

            with _as_own():
                RunModel.load(self.model)

    def _learnt(self, output: Path) -> str | None:
        """Where the run model will be written; None where none will be."""
        if (self.integration or "").startswith("rings"):
            return None
        from waterbg.run.job import model_to_write

        return model_to_write(self.model, str(output))

    def _settings(self) -> dict[str, Any]:
        """Settings the user gave, checked before indexing begins."""
        from waterbg.settings import Settings, refuse_without_say

        with _as_own():
            settings = given_settings(self)
            Settings().replace(**settings)
        refuse_without_say(settings, self.model, dashes=_OWN)
        return settings

    def _follow(self, request: Request, running: Running, settings: dict[str, Any]) -> WaterbgError | None:
        """Subtract while indexamajig writes; an error of ours does not stop it."""
        from waterbg.run import Follow, Images, resolve_job, run_subtract, wait_for_first_chunk
        from waterbg.stream import write_file

        def end() -> None:
            """We are told to end (Ctrl-C, SIGTERM): so is it."""
            self.cut_short = True
            running.send(signal.SIGINT)

        assert request.output is not None
        assert request.original is not None
        follow = Follow(stopped=running.ended, end=end)
        if not wait_for_first_chunk(str(request.original), follow):
            if running.wait() == 0 and request.original.exists():
                print("waterbg: the stream has no chunks; it is copied as it is", file=sys.stderr)
                write_file(str(request.output), request.original.read_bytes())
            return None
        try:
            job = resolve_job(
                str(request.original),
                geometry=self.geometry,
                settings=settings,
                images=Images("", False, self.external, self.on_missing),
                model=self.model,
            )
            summary = run_subtract(
                job,
                str(request.output),
                jobs=self.jobs or _share(request.arguments),
                force=self.force,
                verify=not self.no_verify,
                follow=follow,
                model_path=self.model,
            )
        except WaterbgError as err:
            if not running.ended():
                print(f"waterbg: error: {err}; indexamajig goes on", file=sys.stderr)
            return err
        print(f"waterbg: {summary.text()}", file=sys.stderr)
        return None


# these are indexamajig's own
Indexamajig.unbind_switches("-h", "--help", "--help-all", "-v", "--version")

_TAKES_VALUE = Indexamajig.own_options()
_FOR_SLURM = {f"{_OWN}{name}" for name in ("slurm", "no-submit", "force", "block-size", "partition", "account", "qos",
                                           "constraint", "reservation", "time", "crystfel-bin")}  # fmt: skip


def _for_tasks(given: list[list[str]]) -> list[str]:
    """Options of the subtraction, without those that make the job array."""
    return [word for words in given if words[0].partition("=")[0] not in _FOR_SLURM for word in words]


def _indexing(arguments: Sequence[str]) -> int:
    """Processes that index, ``-j``; 0 when it does not say."""
    from waterbg.crystfel.options import INDEXAMAJIG, parse_words, value_of

    given = value_of(parse_words(arguments, INDEXAMAJIG), "j") or ""
    return int(given) if given.isdecimal() else 0


def _share(arguments: Sequence[str]) -> int:
    """Processes for the subtraction beside those that index, which take several times as long per image."""
    return max(1, _indexing(arguments) // 8)
