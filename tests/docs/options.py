"""Which options the programs have that the documentation speaks of."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from tests.docs.transcripts import ROOT, fences
from waterbg import scripts
from waterbg.cli import base
from waterbg.crystfel.options import INDEXAMAJIG, PARTIALATOR, PROCESS_HKL
from waterbg.errors import WaterbgError

# options of CrystFEL's programs that a subcommand hands on
PASSED = {
    "indexamajig": INDEXAMAJIG,
    "rerun": INDEXAMAJIG,
    "merge": {**PROCESS_HKL, **PARTIALATOR},
}
_WATERBG = re.compile(r"(?:^|(?<=[\s;|&(/]))waterbg ([a-z]+)\b([^|;&#\n]*)")
_OPTION = re.compile(r"(?<![\w\-…=/.])(?<!\w\[)--?[A-Za-z][\w-]*…?")


def subcommand(name: str) -> type:
    """Class of a subcommand."""
    module, _, attribute = base.SUBCOMMANDS[name].rpartition(".")
    return getattr(import_module(module), attribute)


@functools.cache
def known(name: str) -> frozenset[str]:
    """Options of a subcommand, with their dashes."""
    options = {
        f"-{switch}" if len(switch) == 1 else f"--{switch}" for switch in subcommand(name)(name)._switches_by_name
    }
    for switch in PASSED.get(name, {}):
        options.add(f"-{switch}" if len(switch) == 1 else f"--{switch}")
    if name == "indexamajig":
        options |= {"--waterbg-help", "--slurm"}
    return frozenset(options)


@functools.cache
def known_to_script(name: str) -> frozenset[str]:
    """Options in a script's own help."""
    done = subprocess.run(
        [sys.executable, str(scripts.script_path(name)), "--help"], capture_output=True, text=True, check=True
    )
    return frozenset(_OPTION.findall(done.stdout))


def commands_in(text: str) -> list[tuple[str, list[str]]]:
    """Every ``waterbg`` command in a text: the subcommand, or the script as ``script NAME``, and its options."""
    found = []
    for name, rest in _WATERBG.findall(text.replace("\\\n", " ")):
        if name == "script" and (words := rest.split()) and words[0] != "NAME":
            name = f"script {words[0]}"
        options = _OPTION.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", rest))
        found.append((name, [option for option in options if not option.endswith("…")]))
    return found


def unknown(text: str) -> list[str]:
    """What a text says of ``waterbg`` that does not exist."""
    wrong = []
    for name, options in commands_in(text):
        if name.startswith("script "):
            try:
                there = known_to_script(name.split()[1])
            except WaterbgError as err:
                wrong.append(f"waterbg {name}: {err}")
                continue
        elif name in base.SUBCOMMANDS:
            there = known(name)
        else:
            wrong.append(f"waterbg {name}: no such command")
            continue
        wrong += [f"waterbg {name} {option}: no such option" for option in options if option not in there]
    return wrong


def shown_in(page: Path) -> list[str]:
    """Every text of a page that may hold a command: fences, and code within sentences that begins with ``waterbg``."""
    texts = ["\n".join(fence.body) for fence in fences(page) if fence.language in ("console", "", "sh")]
    inside = False
    for line in (ROOT / page).read_text().splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            texts += [code for code in re.findall(r"`([^`]+)`", line) if code.startswith("waterbg ")]
    return texts
