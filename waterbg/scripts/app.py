"""What all of CrystFEL's helper scripts share: options, exit statuses, streams in, files out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import waterbg
from waterbg.endings import tell
from waterbg.errors import OutputError, UsageError
from waterbg.interrupts import heed_interrupts
from waterbg.standard_streams import naming_stdout, ready_streams
from waterbg.stream import OutputFile, StreamFile
from waterbg.switches import Switches, print_any_name


class Script(Switches):
    """Base of the scripts

    A script is a class with a docstring (its help), switches and ``main``; the file ends with ``NAME.entry()``.
    """

    VERSION = waterbg.__version__
    SUBCOMMAND_HELPMSG = False
    # other spellings of switches that people know
    ALIASES: ClassVar[dict[str, str]] = {}
    given: ClassVar[list[str]] = []  # words of the command line

    @classmethod
    def invoke(cls, argv: list[str]) -> int:
        """Run with ``argv`` (program name first); exit status 0 done, 1 bad data, 2 bad usage."""
        name = os.path.basename(argv[0])
        Script.given = [cls.ALIASES.get(word, word) for word in argv[1:]]
        print_any_name()
        try:
            _, status = cls.run([name, *Script.given], exit=False)
            sys.stdout.flush()  # a full disk is noticed here, and not when Python ends
        except BaseException as err:
            return tell(err, name)
        return int(status or 0)

    @classmethod
    def entry(cls) -> None:
        """Run the script and end with its exit status."""
        ready_streams()
        heed_interrupts()
        sys.exit(cls.invoke(sys.argv))


def each_stream(paths: Iterable[str]) -> Iterator[StreamFile]:
    """Open streams one after the other; ``-`` is standard input. Says when one could not be read to its end.

    Raises
    ------
    UsageError
        When none is given, or standard input twice.
    """
    names = list(paths)
    if not names:
        raise UsageError("a stream is needed; - is standard input")
    if names.count("-") > 1:
        raise UsageError("standard input can be read only once")
    for name in names:
        with StreamFile(name) as stream:
            yield stream
            say_what_is_lost(stream)


def say_what_is_lost(stream: StreamFile) -> None:
    """Say on standard error why the end of a stream was not read, if it was not."""
    if stream.ended is not None:
        note(f"{stream.path}: not read to its end: {stream.ended.reason} (byte {stream.ended.offset})")


def beside(path: str, ending: str) -> str:
    """Name in the current folder for what is made of a stream: ``run.stream`` to ``run`` and ``ending``.

    Raises
    ------
    UsageError
        For standard input, which has no name.
    """
    if path == "-":
        raise UsageError("reading standard input, so -o is needed")
    return Path(path).stem + ending


def open_output(path: str, force: bool = False, reads: Iterable[str] = ()) -> OutputFile:
    """Give a file to write, which is not there, or (``force``) an earlier result.

    Raises
    ------
    OutputError
        Also when it is one of ``reads``, or a file that the command line names besides: an input, or another output.
    """
    named = [re.sub(r"^(--[^=]*=?|-.)", "", word) for word in Script.given]
    if path in named:
        named.remove(path)
    return OutputFile(path, force=force, reads=[*named, "/dev/stdin", *reads])


def write_text(text: str, path: str | None, force: bool = False) -> None:
    """Write to a new file, or to standard output for None and ``-``."""
    write_pieces([text.encode("utf-8", "surrogateescape")], path, force)


def write_pieces(pieces: Iterable[bytes], path: str | None, force: bool = False) -> None:
    """Write bytes to a file that appears whole or not at all, or to standard output for None and ``-``.

    Raises
    ------
    OutputError
        When the file exists (and not ``force``) or cannot be written.
    """
    if path is None or path == "-":
        for piece in pieces:
            write_stdout(piece)
        return
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        # /dev/null, a named pipe: written to, never replaced
        _write_device(pieces, path)
        return
    open_output(path, force).write_whole(pieces)


def _write_device(pieces: Iterable[bytes], path: str) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
    except BrokenPipeError:
        raise
    except OSError as err:
        raise OutputError(f"cannot be written ({err.strerror})", path=path) from None


def write_stdout(data: bytes) -> None:
    """Write bytes to standard output, behind what was printed."""
    sys.stdout.flush()
    try:
        with naming_stdout():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except AttributeError:  # a text stream without bytes beneath
        sys.stdout.write(data.decode("utf-8", "surrogateescape"))


def write_h5(datasets: dict[str, Any], path: str, force: bool = False, reads: Iterable[str] = ()) -> None:
    """Write arrays to a new HDF5 file, compressed, which appears whole or not at all.

    ``reads``: images that they were made of, and that no word of the command line names.

    Raises
    ------
    OutputError
    """
    import h5py

    # made in memory: HDF5 cannot give up a file that the disk refuses, it takes the process down when that ends
    with h5py.File("memory", "w", driver="core", backing_store=False) as h5:
        for name, values in datasets.items():
            h5.create_dataset(name, data=values, compression="gzip", compression_opts=4, shuffle=True)
        h5.flush()
        data = h5.id.get_file_image()
    open_output(path, force, reads).write_whole([data])


def number(text: str, what: str) -> float:
    """Read a number that was given on the command line.

    Raises
    ------
    UsageError
    """
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{what}: {text!r} is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise UsageError(f"{what}: {text!r} is not a finite number")
    return value


def note(message: str) -> None:
    """Say something on standard error."""
    print(message, file=sys.stderr)
