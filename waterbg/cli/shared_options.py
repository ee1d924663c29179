"""Options that several commands have, with one meaning, and how they submit what they made."""

from __future__ import annotations

from dataclasses import fields
from shlex import quote
from typing import TYPE_CHECKING, Any

from plumbum import cli

from waterbg.cli.base import Command
from waterbg.settings import BACKGROUNDS

if TYPE_CHECKING:
    from waterbg.run import Images
    from waterbg.run.slurm import JobFolder, SlurmOptions


def slurm_switch(name: str, argname: str, help: str, default: str | None = None) -> Any:
    """Switch for an option of sbatch; it needs ``--slurm``, or ``--waterbg-slurm`` where it begins so itself."""
    slurm = "--waterbg-slurm" if name.startswith("--waterbg-") else "--slurm"
    return cli.SwitchAttr(name, str, default, argname=argname, requires=[slurm], group="Slurm", help=help)


def slurm_options(command: Any, cpus: int) -> SlurmOptions:
    """What the user said for sbatch: a command's switches are called as the fields of `SlurmOptions`."""
    from waterbg.run.slurm import SlurmOptions

    said = {field.name: getattr(command, field.name, None) for field in fields(SlurmOptions)} | {"cpus": cpus}
    return SlurmOptions(**{name: value for name, value in said.items() if value})


def submit(folder: JobFolder, no_submit: bool) -> int:
    """Give a job folder to Slurm, unless the user will, and say so: the exit status."""
    path = quote(str(folder.path))
    what = f"{folder.path}: {len(folder.blocks)} block{'s' * (len(folder.blocks) != 1)}"
    if no_submit:
        print(f"{what}, not submitted; 'waterbg slurm resume' does that")
    else:
        print(f"{what}, submitted as job {folder.submit()}; 'waterbg slurm status {path}' says how far it is")
    return 0


def given_settings(command: Any) -> dict[str, object]:
    """Fields of :class:`~waterbg.settings.Settings` that the user gave, of those that a command has options for."""
    from waterbg.settings import parse_int_radius

    given = {name: getattr(command, name, None) for name in ("integration", "background", "push_res", "polarisation")}
    given["int_radius"] = parse_int_radius(command.int_radius) if command.int_radius is not None else None
    given["joint"] = getattr(command, "joint", False) or None
    given["decoys"] = False if getattr(command, "no_decoys", False) else None
    return {name: value for name, value in given.items() if value is not None}


class ImageOptions(Command):
    """Where the images and the geometry are"""

    geometry = cli.SwitchAttr(
        ["-g", "--geometry"],
        str,
        argname="FILE.geom",
        group="Images",
        help="geometry to use instead of the stream's own",
    )
    prefix = cli.SwitchAttr(
        ["-x", "--prefix"],
        str,
        default="",
        argname="P",
        group="Images",
        help="put before the image names (as indexamajig)",
    )
    basename = cli.Flag("--basename", group="Images", help="take the folder off the image names first (as indexamajig)")
    external = cli.Flag(
        "--follow-external-links",
        group="Images",
        help="read HDF5 external links that lead out of the image's own folder",
    )

    def images(self, on_missing: str = "fail") -> Images:
        """What the options say about where images are."""
        from waterbg.run import Images

        return Images(self.prefix, self.basename, self.external, on_missing)


class IntegrationOptions(Command):
    """How reflections are integrated"""

    background = cli.SwitchAttr(
        "--background",
        cli.Set(*BACKGROUNDS),
        argname="MODEL",
        group="Integration",
        help="background of profile and sum; default water",
    )
    int_radius = cli.SwitchAttr(
        "--int-radius",
        str,
        argname="INN,MID,OUT",
        group="Integration",
        help="radii in pixels; default: those of the stream's own command line",
    )
    polarisation = cli.SwitchAttr(
        "--polarisation",
        str,
        argname="TYPE",
        group="Integration",
        help="horiz (default), vert, none, horiz90, 45deg70 …, as in partialator",
    )


class FitOptions(IntegrationOptions):
    """How they are integrated, in full"""

    push_res = cli.SwitchAttr(
        "--push-res",
        float,
        argname="NM^-1",
        group="Integration",
        help="predict that far beyond the resolution limit; default: as the stream's own command line",
    )
    joint = cli.Flag("--joint", group="Integration", help="fit overlapping neighbours together")
    no_decoys = cli.Flag("--no-decoys", group="Integration", help="do not calibrate sigma by decoys")
