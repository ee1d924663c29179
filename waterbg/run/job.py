"""One main job: everything that decides its numbers, resolved from the options and the stream's own header."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import waterbg
from waterbg.errors import StreamError, UsageError
from waterbg.settings import OwnRun, Settings
from waterbg.small_file import read_geometry_file, read_small_file
from waterbg.stream import StreamFile

ON_MISSING = ("fail", "keep", "drop")


@dataclass(frozen=True)
class Images:
    """Where images are looked for: as written, below prefix (basename only, when asked), beside the stream."""

    prefix: str = ""
    basename: bool = False
    follow_external_links: bool = False
    on_missing: str = "fail"

    def __post_init__(self) -> None:
        if self.on_missing not in ON_MISSING:
            raise UsageError(f"--on-missing={self.on_missing}: one of {', '.join(ON_MISSING)} is needed")


def model_beside(output: str) -> str:
    """Where the run model of an output lies unless the user names another place."""
    return f"{output}.model.json"


def model_to_write(named: str | None, output: str) -> str | None:
    """Where the run model will be written; None when the one that the user named is there: it is used."""
    if named is None:
        return model_beside(output)
    return None if Path(named).exists() else named


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; picklable.

    Attributes
    ----------
    input : str
        Path of the stream.
    header_end : int
        Byte where the header ends.
    geometry : bytes
        Text of the geometry in use.
    geometry_path : str or None
        Where it is from (relative mask files are looked for beside it); None for the stream's own.
    geometry_line : int
        Line of that file on which the text begins.
    lenient : bool
        True for the geometry embedded in the stream, which may be older than what CrystFEL 0.12 accepts.
    own_run : OwnRun
        Of the stream; it read masks, whatever its command line says, for a geometry that is given instead of its own.
    provenance : bytes
        The line that the output gains before its geometry, without newline.
    """

    input: str
    header_end: int
    geometry: bytes
    geometry_path: str | None
    geometry_line: int
    lenient: bool
    settings: Settings
    images: Images
    own_run: OwnRun
    provenance: bytes


def resolve_job(
    path: str,
    *,
    geometry: str | None = None,
    settings: dict[str, object] | None = None,
    images: Images | None = None,
    model: str | None = None,
) -> Job:
    """Read the header of the stream at ``path`` and fill in what the options left open.

    Parameters
    ----------
    path : str
    geometry : str, optional
        Path of a geometry file to use instead of the stream's own.
    settings : dict, optional
        Fields of :class:`~waterbg.settings.Settings` the user gave; the rest comes from the stream's command line.
    images : Images, optional
    model : str, optional
        Path of a run model that will be used, for the provenance line.

    Raises
    ------
    StreamError, GeometryError, UsageError
    """
    with StreamFile(path) as stream:
        given = settings or {}
        command_line = stream.command_line or ""
        try:
            own = Settings.from_command_line(command_line, without_radii="int_radius" in given)
        except UsageError as err:
            raise StreamError(f"its own command line says {err}; give --int-radius", path=path) from None
        chosen, own_run = own.replace(**given), OwnRun.from_command_line(command_line, stream.version)
        embedded, header_end, line = stream.geometry_text, stream.header_end, stream.geometry_line
    text = embedded if geometry is None else read_geometry_file(geometry)
    if not text:
        raise StreamError("the stream holds no geometry; give one with -g", path=path)
    # names come from the user's disk: any byte but NUL and the slash may be in them, and this must stay one line
    printed = {name: re.sub(r"[\x00-\x1f\x7f]", "?", Path(name).name) for name in (geometry, model) if name is not None}
    words = [f"waterbg {waterbg.__version__} subtract", *chosen.as_options()]
    if geometry is not None:
        words.append(f"--geometry={printed[geometry]} (sha256 {hashlib.sha256(text).hexdigest()[:12]})")
    if model is not None and Path(model).exists():  # else it will be learnt, and written there
        try:
            known = hashlib.sha256(read_small_file(model)).hexdigest()[:12]
        except OSError as err:
            raise UsageError(f"--model={model}: cannot be read ({err.strerror})") from None
        words.append(f"--model={printed[model]} (sha256 {known})")
    return Job(
        input=path,
        header_end=header_end,
        geometry=bytes(text),
        geometry_path=geometry,
        geometry_line=line if geometry is None else 1,
        lenient=geometry is None,
        settings=chosen,
        images=images or Images(),
        own_run=own_run if geometry is None else dataclasses.replace(own_run, masks=True),
        provenance=" ".join(words).encode("utf-8", "surrogateescape"),
    )
