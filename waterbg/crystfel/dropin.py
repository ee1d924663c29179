"""The stand-in for indexamajig: what an argument list asks for, and what becomes of its stream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from waterbg.crystfel.options import INDEXAMAJIG, Option, parse_words, replace_value, value_of
from waterbg.crystfel.programs import Program, find_program, tried
from waterbg.errors import OutputError

_QUESTIONS = ("help", "usage", "version", "h", "v", "worker-id")
_NOTHING = {
    "zmq-input": "images that come over ZeroMQ cannot be read again",
    "asapo-endpoint": "images that come over ASAP::O cannot be read again",
    "no-image-data": "without image data there is nothing to integrate",
    "cell-parameters-only": "with --cell-parameters-only there are no reflections",
    "no-refls-in-stream": "with --no-refls-in-stream there are no reflections",
}


@dataclass(frozen=True)
class Request:
    """What an argument list for indexamajig means to the stand-in.

    Attributes
    ----------
    arguments : list of str
        For the real program; those given, but for the name of the stream.
    output : Path or None
        Where the background-subtracted stream shall be; None when indexamajig runs alone.
    original : Path or None
        Where indexamajig's own stream is kept.
    reason : str
        Why indexamajig runs alone; empty when nobody needs to be told.
    reads : tuple of str
        List of images, geometry and cell: neither stream may replace one of them.
    """

    arguments: list[str]
    output: Path | None = None
    original: Path | None = None
    reason: str = ""
    reads: tuple[str, ...] = ()


def read_request(arguments: Sequence[str]) -> Request:
    """Decide what is to be done; options that waterbg does not know are left to indexamajig.

    Parameters
    ----------
    arguments : sequence of str
        indexamajig's, without the program's name.
    """
    options = parse_words(arguments, INDEXAMAJIG)
    plain = list(arguments)
    names = {option.long_name for option in options if isinstance(option, Option)}
    asked = names & set(_QUESTIONS) or any(name.startswith("help-") for name in names)
    if asked or tried():
        return Request(plain)
    for name, reason in _NOTHING.items():
        if name in names:
            return Request(plain, reason=reason)
    if value_of(options, "indexing") == "none":
        return Request(plain, reason="with --indexing=none there are no reflections")
    stream = value_of(options, "output")
    if not stream:
        return Request(plain)  # indexamajig says that it needs -o
    output = Path(stream)
    if output.exists() and not output.is_file():
        return Request(plain, reason=f"{output} is no ordinary file")
    original = original_name(output)
    reads = tuple(value for name in ("input", "geometry", "pdb") if (value := value_of(options, name)))
    return Request(replace_value(arguments, INDEXAMAJIG, "output", str(original)), output, original, reads=reads)


def original_name(output: Path) -> Path:
    """Name of indexamajig's own stream: ``run.stream`` -> ``run.orig.stream``."""
    if output.suffix == ".stream":
        return output.with_suffix(".orig.stream")
    return output.with_name(output.name + ".orig")


def refuse_outputs(
    request: Request, force: bool, reads: Sequence[str | None] = (), *, model: str | Path | None = None
) -> None:
    """Refuse to lose a stream of an earlier run, or (forced or not) what is read: by indexamajig, or of ``reads``.

    ``model``: the run model that will be written. What cannot be written is refused as well.

    Raises
    ------
    OutputError
    """
    from waterbg.stream import OutputFile

    for path in (request.output, request.original, model):
        if path is None:
            continue
        OutputFile(path, force=True, reads=[*request.reads, *reads])
        if os.path.lexists(path) and not force:
            raise OutputError("exists; move it away, or give --waterbg-force to replace it", path=str(path))


def set_aside(path: Path) -> Path | None:
    """Give a stream of an earlier run another name, until `settle`; None where there is none."""
    if not path.exists():
        return None
    return path.replace(path.with_name(path.name + ".before"))


def settle(path: Path, before: Path | None) -> None:
    """Let what was set aside go where a new stream was begun, and come back where none was."""
    if before is None:
        return
    if path.exists():
        before.unlink()
    else:
        before.replace(path)


def find_real(folder: str | None = None) -> Program:
    """The real indexamajig, never this stand-in nor what led here.

    Raises
    ------
    ProgramError
    """
    return find_program("indexamajig", folder, exclude=tried())
