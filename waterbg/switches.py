"""plumbum's switches as all our programs have them: wrong usage is one line on standard error."""

from __future__ import annotations

import codecs
import io
import re
import sys
from typing import Any, ClassVar

from plumbum import cli
from plumbum.cli.application import ShowHelp, ShowHelpAll, ShowVersion
from plumbum.cli.switches import SwitchError

from waterbg.errors import UsageError

_NUMBER = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


def print_any_name() -> None:
    """Let what is read and printed hold any name: in file systems and streams they are bytes, which need not be UTF-8.

    Those leave as they came; on standard error, and for a terminal that has no σ and no Å, in hexadecimal digits.
    """
    codecs.register_error("hexadecimal", _in_hexadecimal)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "hexadecimal")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors if stream.encoding.lower() == "utf-8" else "hexadecimal")


def _in_hexadecimal(err: UnicodeError) -> tuple[str, int]:
    r"""Give a byte that is no UTF-8 as ``\xff``, not as the ``\udcff`` that stands for it in Python."""
    if not isinstance(err, UnicodeEncodeError):
        raise err
    text = err.object[err.start : err.end].encode("ascii", "backslashreplace").decode()
    return re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", text), err.end


def dashed(name: str) -> str:
    """Give an option as it is typed."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


class _OfTheSystem(Exception):
    """Carries an OSError past plumbum, which from 2.0 on takes some for a reader that has gone, and says nothing."""


class Switches(cli.Application):  # type: ignore[misc]
    """Base of all programs

    plumbum itself prints what is wrong on standard output, with the whole help below, where neither a person who
    reads the last line nor a script that reads standard error finds it.
    """

    HELP = "--help"  # how the user asks for it
    NEGATIVE_NUMBERS: ClassVar[bool] = False  # whether arguments may be such

    @classmethod
    def own_options(cls) -> dict[str, bool]:
        """Every option as it is typed (``--name``, ``-n``), and whether a value stands behind it."""
        return {dashed(name): bool(switch.argtype) for name, switch in cls(cls.__name__)._switches_by_name.items()}

    @classmethod
    def run(cls, argv: Any = None, exit: bool = True) -> Any:
        """Run with ``argv`` (program name first), and let every error of the system through."""
        try:
            return super().run(argv, exit=exit)
        except _OfTheSystem as err:
            raise err.__cause__ from None  # type: ignore[misc]

    def _parse_and_dispatch(self, argv: list[str]) -> Any:
        try:
            return super()._parse_and_dispatch(argv)
        except OSError as err:
            raise _OfTheSystem from err

    def _parse_args(self, argv: list[str]) -> Any:
        try:
            return super()._parse_args(self._as_meant(argv))
        except SwitchError as err:
            raise self._in_a_line(err) from None

    def _validate_args(self, *args: Any) -> Any:
        try:
            return super()._validate_args(*args)
        except (ShowHelp, ShowHelpAll, ShowVersion):
            raise
        except SwitchError as err:
            raise self._in_a_line(err) from None

    def _in_a_line(self, err: SwitchError) -> UsageError:
        # the lines below the first repeat it as an exception of Python
        said = str(err).splitlines()[0].rstrip(":")
        if found := re.match(r"Argument of (\S+) expected to be ", said):
            dashes = "-" if len(found[1]) == 1 else "--"
            wanted = said[found.end() :]
            for kind, name in (("<class 'float'>", "a number"), ("<class 'int'>", "a whole number")):
                wanted = wanted.replace(kind, name, 1)
            said = f"{dashes}{found[1]} is expected to be {wanted}"
        elif found := re.fullmatch(r"Given (\S+), the following are missing \[(.*)\]", said):
            said = f"{found[1]} needs " + ", ".join(f"--{name}" for name in re.findall(r"'(.*?)'", found[2]))
        return UsageError(f"{said[:1].lower()}{said[1:]}; '{self.PROGNAME} {self.HELP}' shows what there is")

    def _as_meant(self, argv: list[str]) -> list[str]:
        """Switches first, then ``--`` and the arguments, so that plumbum takes nothing for what it is not.

        ``--name=`` has an empty value, as when a variable is not set: plumbum would take the next word for it. ``-`` is
        an argument, standard input where that will do, as is ``-3`` where numbers are wanted, and no switch.
        """
        words: list[str] = []
        arguments: list[str] = []
        left = iter(argv)
        for word in left:
            if word == "--":
                arguments += left
            elif word in self._subcommands:
                return [*words, *arguments, word, *left]
            elif word.startswith("--") and word.endswith("=") and word[2:-1] in self._switches_by_name:
                words += [word[:-1], ""]
            elif word == "-" or not word.startswith("-") or (self.NEGATIVE_NUMBERS and _NUMBER.match(word)):
                arguments.append(word)
            else:
                words.append(word)
                switch = self._switches_by_name.get(word.removeprefix("-").removeprefix("-"))
                if switch is not None and switch.argtype:
                    value = next(left, None)
                    if value is None:
                        return words  # nothing may stand behind it, so that it is told
                    words.append(value)
        return [*words, "--", *arguments]


# plumbum's own completes neither a subcommand's options nor their values: 'waterbg completion' does
Switches.unbind_switches("--completions")
