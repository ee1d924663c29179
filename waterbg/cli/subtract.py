"""``waterbg subtract``: the main job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from plumbum import cli

from waterbg.cli.base import refuse_standard_output
from waterbg.cli.shared_options import FitOptions, ImageOptions, given_settings, slurm_options, slurm_switch, submit
from waterbg.errors import UsageError
from waterbg.kernel_cache import spare_compiler
from waterbg.settings import refuse_without_say

if TYPE_CHECKING:
    from waterbg.run import Job


class Subtract(ImageOptions, FitOptions):
    """Model the background under every reflection of a stream anew and integrate again"""

    output = cli.SwitchAttr(["-o", "--output"], str, mandatory=True, argname="OUT.stream", help="stream to write")
    jobs = cli.SwitchAttr(
        ["-j"], cli.Range(1, 1024), default=1, argname="N", help="worker processes; any number gives the same bytes"
    )
    force = cli.Flag("--force", help="replace OUT.stream when it exists")
    resume = cli.Flag("--resume", help="go on with what an interrupted run of the same command left")
    no_verify = cli.Flag("--no-verify", help="do not read the output back and compare it with the input")

    on_missing = cli.SwitchAttr(
        "--on-missing",
        cli.Set("fail", "keep", "drop"),
        default="fail",
        argname="WHAT",
        group="Images",
        help="a chunk whose image cannot be read: fail before anything is written, keep its old numbers, or drop it",
    )

    integration = cli.SwitchAttr(
        "--integration",
        str,
        argname="METHOD",
        group="Integration",
        help="profile (weighted fit, the default), sum, or CrystFEL's own rings-nograd, rings-grad, rings-sat …",
    )
    model = cli.SwitchAttr(
        "--model",
        str,
        argname="FILE",
        group="Integration",
        help="what is learnt from the run (PSF, noise, sigma scale) is read from this file, or written there "
        "when it does not exist; default: written to OUT.stream.model.json",
    )

    follow = cli.Flag(
        "--follow",
        group="Growing stream",
        help="work on chunks as they are written; needs one of the two below, or ends by a signal (SIGTERM, Ctrl-C)",
    )
    until_idle = cli.SwitchAttr(
        "--until-idle",
        cli.Range(0, 10**7),
        argname="SECONDS",
        requires=["--follow"],
        group="Growing stream",
        help="the stream is finished when it has not grown for this time",
    )
    until_pid = cli.SwitchAttr(
        "--until-pid",
        cli.Range(1, 2**31 - 1),
        argname="PID",
        requires=["--follow"],
        group="Growing stream",
        help="the stream is finished when this process has ended",
    )

    slurm = cli.Flag(
        "--slurm", group="Slurm", help="submit the work as a job array, kept in the folder OUT.stream.slurm"
    )
    block = cli.SwitchAttr(
        "--block-size",
        cli.Range(1, 10**9),
        argname="CHUNKS",
        requires=["--slurm"],
        group="Slurm",
        help="chunks a task works on; default: some minutes' worth",
    )
    partition = slurm_switch("--partition", "NAME", "partition")
    account = slurm_switch("--account", "NAME", "account to charge")
    qos = slurm_switch("--qos", "NAME", "quality of service")
    constraint = slurm_switch("--constraint", "LIST", "features the nodes must have")
    reservation = slurm_switch("--reservation", "NAME", "reservation to use")
    time = slurm_switch("--time", "LIMIT", "time limit of a task, as sbatch takes it (minutes, or H:MM:SS)", "60")
    mail_user = slurm_switch("--mail-user", "ADDRESS", "who is told of a failure")
    exclusive = cli.Flag("--exclusive", requires=["--slurm"], group="Slurm", help="whole nodes")
    no_submit = cli.Flag(
        "--no-submit",
        requires=["--slurm"],
        group="Slurm",
        help="make the folder and its batch script, and submit nothing",
    )

    def main(self, stream: str) -> int:
        """Run the main job on one stream."""
        spare_compiler()
        from waterbg.run import Follow, resolve_job, run_subtract, wait_for_first_chunk
        from waterbg.stream.reader import refuse_pipes

        refuse_pipes("subtract", stream, instead="; use --follow for a growing file")
        refuse_standard_output(self.output)
        settings = given_settings(self)
        refuse_without_say(settings, self.model)
        follow = Follow(until_idle=self.until_idle, until_pid=self.until_pid) if self.follow else None
        if follow is not None:
            wait_for_first_chunk(stream, follow)
        job = resolve_job(
            stream,
            geometry=self.geometry,
            settings=settings,
            images=self.images(self.on_missing),
            model=self.model,
        )
        if self.slurm:
            return self._submit(job)
        summary = run_subtract(
            job,
            self.output,
            jobs=self.jobs,
            force=self.force,
            resume=self.resume,
            verify=not self.no_verify,
            follow=follow,
            model_path=self.model,
        )
        print(summary.text(), file=sys.stderr)
        return 0

    def _submit(self, job: Job) -> int:
        """Make the folder of the job array and give it to Slurm; ``-j`` is the number of processors a task gets."""
        from waterbg.run.array import chunks_per_block, make_folder

        if self.follow or self.resume:
            raise UsageError("--slurm takes no --follow or --resume; 'waterbg slurm resume' submits what is missing")
        folder = make_folder(
            job,
            self.output,
            model=self.model,
            force=self.force,
            chunks=self.block or chunks_per_block(self.jobs),
            slurm=slurm_options(self, self.jobs),
        )
        for note in folder.options["notes"]:
            print(f"waterbg: {note}", file=sys.stderr)
        return submit(folder, self.no_submit)
