"""Write what the program says of itself into the documentation: reference.md, api.md and the manual page waterbg.1.

``python docs/capture.py`` writes all three; a test fails when they are not what it would write.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from pathlib import Path

import waterbg
from waterbg.cli.catalogue import Entry, Option, entries

HERE = Path(__file__).resolve().parent
NOTICE = "<!-- written by docs/capture.py from the program -->\n"
GROUPS = {"Switches": "", "Meta-switches": ""}
# the doors between the rooms: what may be used from outside
DOORS = (
    "waterbg.stream",
    "waterbg.geometry",
    "waterbg.frames",
    "waterbg.predict",
    "waterbg.background",
    "waterbg.integrate",
    "waterbg.settings",
    "waterbg.model",
    "waterbg.subtract",
    "waterbg.run",
    "waterbg.crystfel",
    "waterbg.simulate",
    "waterbg.scripts",
    "waterbg.errors",
    "waterbg.h5_background_subtraction",
    "waterbg.h5_stream_background_subtraction",
    "waterbg.overwrite",
)


def limits(option: Option) -> str:
    """What a value may be."""
    return ", ".join(option.choices) if option.choices else option.limits.strip("[]").replace("..", " to ")


def remarks(option: Option) -> str:
    """Help of an option with what else is known of it."""
    text = option.help
    if option.value and limits(option) and not all(choice in text for choice in option.choices or [limits(option)]):
        text += f" ({limits(option)})"
    if option.required:
        text += "; required"
    if option.repeated and "again" not in text and "several times" not in text:
        text += "; may be given several times"
    return text


def named(option: Option) -> str:
    """``-o, --output OUT.STREAM``."""
    return ", ".join(option.names) + (f" {option.value}" if option.value else "")


# -- option reference ---------------------------------------------------------------------------------------------


def reference() -> str:
    """Every option of every subcommand."""
    parts = [NOTICE, "# All options\n", "What `waterbg COMMAND --help` says.\n"]
    for entry in entries():
        parts += [f"## {entry.name}\n", f"{entry.summary}.\n" if entry.summary[-1] != "." else f"{entry.summary}\n"]
        if entry.detail:
            parts.append(_escaped(" ".join(entry.detail.split())) + "\n")
        parts.append(f"```\n{entry.usage}\n```\n")
        parts.append(_table(entry))
    return "\n".join(parts)


def _table(entry: Entry) -> str:
    rows = ["| option | |", "|---|---|"]
    group = ""
    for option in entry.options:
        title = GROUPS.get(option.group, option.group)
        if title != group and title:
            rows.append(f"| **{title}** | |")
        group = title
        rows.append(f"| `{named(option)}` | {_escaped(remarks(option))} |")
    return "\n".join(rows) + "\n"


def _escaped(text: str) -> str:
    """Text as Markdown within a table; code (also with a docstring's two backticks) stays code."""
    parts = text.replace("``", "`").split("`")
    parts[::2] = [re.sub(r"([|*_<>\[\]])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "`".join(parts)


# -- manual page --------------------------------------------------------------------------------------------------


def manual_page() -> str:
    """The manual page, in the macros that every man knows."""
    lines = [
        '.\\" written by docs/capture.py from the program',
        f'.TH WATERBG 1 "" "waterbg {waterbg.__version__}" "User Commands"',
        ".SH NAME",
        "waterbg \\- better intensities for serial crystallography, from the stream and the images you already have",
        ".SH SYNOPSIS",
        *(line for entry in entries() for line in (_roff(entry.usage), ".br")),
        ".SH DESCRIPTION",
        _roff(
            "waterbg reads a CrystFEL stream and its raw images once more, models the background of every frame anew, "
            "integrates every reflection again by a weighted profile fit, and puts I, sigma(I), peak and background "
            "back into the stream. No other byte changes; waterbg verify proves it."
        ),
        ".SH COMMANDS",
    ]
    for entry in entries():
        lines += [f".SS waterbg {_roff(entry.name)}", _roff(entry.summary) + "."]
        if entry.detail:
            lines += [".PP", _roff(" ".join(entry.detail.split()))]
        for option in entry.options:
            names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
            lines += [
                ".TP",
                names + (f" \\fI{_roff(option.value)}\\fR" if option.value else ""),
                _roff(remarks(option)),
            ]
    lines += [
        ".SH EXIT STATUS",
        "0 done; 1 bad data, or findings; 2 wrong usage; 130 interrupted.",
        ".SH SEE ALSO",
        ".BR indexamajig (1),",
        ".BR process_hkl (1),",
        ".BR partialator (1),",
        ".BR crystfel_geometry (5)",
    ]
    return "\n".join(lines) + "\n"


_ROFF = {"\\": "\\e", "-": "\\-", "…": "...", "²": "^2", "σ": "sigma", "Å": "A", "·": ".", "×": "x", "⁻¹": "^-1"}


def _roff(text: str) -> str:
    for plain, escaped in _ROFF.items():
        text = text.replace(plain, escaped)
    return f"\\&{text}" if text.startswith((".", "'")) else text


# -- API ----------------------------------------------------------------------------------------------------------


def api() -> str:
    """Public names of the rooms, each with the first line of its docstring."""
    intro = (
        "The names that programs may use, by room; [architecture](architecture.md) says what goes in and out. "
        "`help(NAME)` has shapes, types, units and errors of each.\n"
    )
    parts = [NOTICE, "# API\n", intro]
    for name in DOORS:
        module = importlib.import_module(name)
        parts += [f"## {name}\n", _escaped(_first(module)) + "\n"]
        rows = [(public, getattr(module, public)) for public in _public(module)]
        parts.append("\n".join(["| name | |", "|---|---|", *(_row(*row) for row in rows)]) + "\n")
    return "\n".join(parts)


def _public(module: object) -> list[str]:
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return sorted(names, key=lambda name: (name[0].islower(), name))


def _row(name: str, value: object) -> str:
    if inspect.isclass(value):
        return f"| `{name}` | {_escaped(_first(value))} |"
    if callable(value) and hasattr(value, "__name__"):
        parameters = ", ".join(_parameter(one) for one in inspect.signature(value).parameters.values())
        return f"| `{name}({parameters})` | {_escaped(_first(value))} |"
    return f"| `{name}` | {'a type of row (NumPy)' if hasattr(value, 'fields') else 'a constant'} |"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return (star + parameter.name + (default if len(default) < 20 else "=…")).replace("|", "\\|")


def _first(thing: object) -> str:
    """First sentence of a docstring."""
    text = textwrap.dedent(inspect.getdoc(thing) or "").strip().split("\n\n")[0]
    return " ".join(text.split())


PAGES = {"reference.md": reference, "api.md": api, "waterbg.1": manual_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (HERE / name).write_text(make())
