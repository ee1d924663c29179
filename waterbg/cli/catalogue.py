"""What there is to say about the subcommands: their options, as data, for completion, reference and man page."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from plumbum import cli

from waterbg.switches import dashed

_META = {"help-all", "version", "completions"}


@dataclass(frozen=True)
class Option:
    """One option of a subcommand.

    Attributes
    ----------
    names : tuple of str
        With their dashes, short ones first.
    value : str
        Name of its value; blank for a flag.
    choices : tuple of str
        The values there are; empty when there are more than can be listed.
    limits : str
        ``[1..1024]`` for a number between limits.
    help, group : str
    required, repeated : bool
        Whether it must be given; whether it may be given again.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    limits: str
    help: str
    group: str
    required: bool
    repeated: bool


@dataclass(frozen=True)
class Entry:
    """One subcommand.

    Attributes
    ----------
    name, summary, detail : str
        The first line of its help, and what follows.
    usage : str
        One line, beginning with ``waterbg``.
    options : tuple of Option
        By group and name; ``--help`` last.
    words : tuple of str
        What its first argument may be, where that can be listed.
    """

    name: str
    summary: str
    detail: str
    usage: str
    options: tuple[Option, ...]
    words: tuple[str, ...]


def entries() -> list[Entry]:
    """All subcommands, by name."""
    from waterbg.cli.base import SUBCOMMANDS

    return [_entry(name, where) for name, where in sorted(SUBCOMMANDS.items())]


def _entry(name: str, where: str) -> Entry:
    module, _, attribute = where.rpartition(".")
    command = getattr(import_module(module), attribute)
    summary, _, detail = inspect.cleandoc(command.__doc__).partition("\n")
    application = command(f"waterbg {name}")
    options = [_option(switch) for switch in application._switches_by_func.values() if not _META & set(switch.names)]
    first = {"Switches": 0, "Meta-switches": 2}
    options.sort(key=lambda one: (first.get(one.group, 1), one.group, one.names[-1].lstrip("-").lower()))
    usage = " ".join((command.USAGE or "").split()) or f"waterbg {name} [options] {_arguments(command.main)}".rstrip()
    return Entry(name, summary, detail.strip(), usage, tuple(options), _WORDS.get(name, tuple)())


def _option(switch: object) -> Option:
    kind = getattr(switch, "argtype", None)
    names = sorted((dashed(name) for name in getattr(switch, "names", ())), key=len)
    return Option(
        tuple(names),
        str(getattr(switch, "argname", "")) if kind else "",
        tuple(map(str, kind.values)) if isinstance(kind, cli.Set) else (),
        str(kind) if isinstance(kind, cli.Range) else "",
        " ".join(str(getattr(switch, "help", "")).split()),
        str(getattr(switch, "group", "")),
        bool(getattr(switch, "mandatory", False)),
        bool(getattr(switch, "list", False)),
    )


def _arguments(main: Callable[..., int]) -> str:
    """Arguments of ``main`` as a usage line has them."""
    words = []
    for name, parameter in list(inspect.signature(main).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            words.append(f"[{name} …]")
        else:
            words.append(name.upper() if parameter.default is parameter.empty else f"[{name.upper()}]")
    return " ".join(words)


def _scripts() -> tuple[str, ...]:
    from waterbg.scripts import names

    return tuple(names())


def _presets() -> tuple[str, ...]:
    from waterbg.simulate.presets import PRESETS

    return tuple(PRESETS)


_WORDS: dict[str, Callable[[], tuple[str, ...]]] = {
    "completion": lambda: ("bash", "fish"),
    "script": _scripts,
    "simulate": _presets,
    "slurm": lambda: ("status", "resume", "collect", "cancel"),
}
