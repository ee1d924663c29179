"""The commands that the documentation shows: found, run, compared with what the page says they print.

How a page shows a command:

* A fence ``console``: each line that begins with ``$ `` is run by bash, in the order of the page, in a copy of the
  sample folders with the layout of a checkout; a line that ends with ``\\`` goes on in the next one. The lines below it
  are what it prints, standard error included. Without such lines the output is not compared.
* ``…`` alone on a line stands for any number of lines, within a line for any text. Words must be equal, blanks do not
  count, numbers may differ as `agree` says: other processors add up in another order.
* A command must succeed, unless an error is shown (``error: ``) or the next command is ``echo $?``.
* ``<!-- needs: crystfel -->`` before a fence: it is run where CrystFEL is on PATH. All other fences never see CrystFEL.
* ``<!-- not run: REASON -->`` before a fence: it names files of the reader's own, say. The options of every ``waterbg``
  command are looked up all the same, here, in fences without a language, and in code within a sentence.
* A fence ``python`` is a program and is run like a command; a fence ``text`` directly behind it is what it prints.

``python -m tests.docs.transcripts [PAGE.md …]`` writes what the commands really print into the pages, where it
differs from what they show.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from waterbg.kernel_cache import COMPILING

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ("stream_files", "images", "high_low_stream", "crystfel_scripts", "tests/data/golden", "benchmarks")
NEEDS = ("crystfel",)
ELLIPSIS = "…"


@dataclass
class Command:
    """One command with the lines shown below it; line numbers count from 0."""

    text: str
    line: int
    shown: list[str] = field(default_factory=list)
    end: int = 0


@dataclass
class Fence:
    """One fenced block of a page."""

    page: Path
    language: str
    needs: str  # blank: nothing; "never": not run
    line: int
    body: list[str]
    prints: list[str] = field(default_factory=list)  # of a program
    prints_end: int = 0

    @property
    def commands(self) -> list[Command]:
        """What is to be run: the lines of a ``console`` fence that say so, or a whole program."""
        if self.language == "python":
            quoted = shlex.quote("\n".join(self.body))
            command = f"{shlex.quote(sys.executable)} -W error -c {quoted}"
            return [Command(command, self.line, self.prints, self.prints_end)]
        commands: list[Command] = []
        open_line = False
        for number, text in enumerate(self.body, self.line + 1):
            if open_line:
                commands[-1].text += "\n" + text
            elif text.startswith("$ "):
                commands.append(Command(text[2:], number))
            elif commands:
                commands[-1].shown.append(text)
                commands[-1].end = number + 1
                continue
            else:
                raise ValueError(f"{self.page}:{number + 1}: output before the first command")
            open_line = text.endswith("\\")
            commands[-1].end = number + 1
        return commands


def pages() -> list[Path]:
    """Every page of the documentation, and the README, relative to the root."""
    return [Path("README.md"), *sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))]


def fences(page: Path) -> list[Fence]:
    """All fences of a page."""
    found: list[Fence] = []
    needs, inside, behind, between = "", False, False, 0
    for number, text in enumerate((ROOT / page).read_text().splitlines()):
        if inside:
            inside = not text.startswith("```")
            if inside:
                found[-1].body.append(text)
            elif behind and found[-1].language == "text" and found[-2].language == "python":
                found[-2].prints, found[-2].prints_end = found[-1].body, number
        elif text.startswith("```"):
            behind = bool(found) and not needs and between == 0
            found.append(Fence(page, text[3:].strip(), needs, number, []))
            needs, inside, between = "", True, 0
        elif told := re.fullmatch(r"<!-- (needs|not run): (.+) -->", text):
            needs = told[2] if told[1] == "needs" else "never"
            if needs not in (*NEEDS, "never"):
                raise ValueError(f"{page}:{number + 1}: needs {needs!r}, which is none of {', '.join(NEEDS)}")
        elif text.strip():
            needs, between = "", 1
    return found


# -- running ------------------------------------------------------------------------------------------------------


def environment(crystfel: bool) -> dict[str, str]:
    """This Python's ``waterbg`` first on PATH; CrystFEL only where asked for; one processor, no colours."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", "").split(os.pathsep)]
    inherited = dict(os.environ)
    if not crystfel:
        inherited.pop("HDF5_PLUGIN_PATH", None)  # for CrystFEL's HDF5; h5py's brings its own
        folders = [folder for folder in folders if not os.path.exists(os.path.join(folder, "indexamajig"))]
    settings = {"NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    settings.update(PATH=os.pathsep.join(folders), COLUMNS="100", NO_COLOR="1", MPLBACKEND="agg", PYTHONWARNINGS="")
    return {**inherited, **settings}


def lay_out(folder: Path) -> None:
    """Copy the sample folders to where a checkout has them."""
    for name in SAMPLES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def run_bash(text: str, folder: Path, env: dict[str, str], last: int = 0) -> tuple[int, list[str]]:
    """Exit status and lines of one command; ``last`` is what ``$?`` is for it."""
    done = subprocess.run(
        ["bash", "-c", f"(exit {last})\n{text}"],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    return done.returncode, done.stdout.decode().rstrip("\n").replace("\t", "    ").splitlines()


@dataclass
class Outcome:
    """What a command did."""

    fence: Fence
    command: Command
    status: int
    lines: list[str]
    problem: str = ""


def run_page(page: Path, folder: Path, needs: tuple[str, ...] = ("",)) -> list[Outcome]:
    """Run the commands of a page whose needs are met, in order; blank ``problem``: as shown."""
    outcomes: list[Outcome] = []
    last = 0
    for fence in fences(page):
        if fence.language not in ("console", "python") or fence.needs not in needs:
            continue
        env = environment(fence.needs == "crystfel")
        for command in fence.commands:
            status, lines = run_bash(command.text, folder, env, last)
            # said by whichever command comes first after an installation
            lines = [line for line in lines if line != f"waterbg: {COMPILING}"]
            outcome = Outcome(fence, command, status, lines)
            if status and not expects_failure(command, fence):
                outcome.problem = f"exit status {status}"
            elif command.shown and (where := difference(command.shown, lines)):
                outcome.problem = where
            outcomes.append(outcome)
            last = status
    return outcomes


def expects_failure(command: Command, fence: Fence) -> bool:
    """Whether the page shows that a command ends with another status than 0."""
    following = [other.text for other in fence.commands if other.line > command.line][:1]
    return following == ["echo $?"] or any("error: " in line for line in command.shown)


# -- comparing ----------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w])")


def agree(shown: str, real: str) -> bool:
    """Whether a number is like the one shown: whole ones within 2 %, others 10 %, or 0.02, or 5 of the last digit.

    A page shows what kind of answer there is; how right it is, is tested elsewhere.
    """
    a, b = float(shown), float(real)
    decimals = len(shown.partition(".")[2])
    if not decimals:
        return abs(a - b) <= 0.02 * max(abs(a), abs(b))
    return abs(a - b) <= max(0.1 * max(abs(a), abs(b)), 0.02, 5.1 * 10.0**-decimals)


_SLOW = re.compile(r"(?<=, )\d+\.\d min$")  # how long a run took, where a machine has much else to do


def same_line(shown: str, real: str) -> bool:
    """Whether a line is as shown: words equal, ``…`` any text, blanks not counted, numbers as `agree`."""
    shown, real = " ".join(shown.split()), _SLOW.sub("99.9 s", " ".join(real.split()))
    pattern, numbers, at = "", [], 0
    for number in _NUMBER.finditer(shown):
        pattern += _words(shown[at : number.start()]) + "(" + _NUMBER.pattern + ")"
        numbers.append(number[0])
        at = number.end()
    match = re.fullmatch(pattern + _words(shown[at:]), real)
    return match is not None and all(agree(*pair) for pair in zip(numbers, match.groups(), strict=True))


def _words(text: str) -> str:
    return ".*?".join(re.escape(part).replace("\\ ", " ?") for part in text.split(ELLIPSIS))


def difference(shown: list[str], real: list[str]) -> str:
    """Where an output is not as shown; blank if it is."""
    # reached[j]: the lines shown so far can be the first j real ones
    reached = {0}
    for number, line in enumerate(shown, 1):
        if line.strip() == ELLIPSIS:
            reached = set(range(min(reached), len(real) + 1))
            continue
        after = {j + 1 for j in reached if j < len(real) and same_line(line, real[j])}
        if not after:
            there = real[min(reached)] if min(reached) < len(real) else "(nothing more)"
            return f"line {number} of the output is shown as\n  {line}\nand is\n  {there}"
        reached = after
    return "" if len(real) in reached else f"more is printed than shown, from\n  {real[max(reached)]}\non"


# -- writing ------------------------------------------------------------------------------------------------------

_PASSING = (  # what is different every time: durations, the folder
    (re.compile(r"(?<=, )\d+\.\d(?= s$)"), ELLIPSIS),
    (re.compile(r"/[^ ]*?(?=/waterbg/|/indexamajig\b)"), ELLIPSIS),
)


def lasting(line: str) -> str:
    """A line of output without what is different every time."""
    for pattern, instead in _PASSING:
        line = pattern.sub(instead, line)
    return line


def update(page: Path, needs: tuple[str, ...]) -> None:
    """Put what the commands print into a page, where it is not what is shown."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "waterbg"
        folder.mkdir()
        lay_out(folder)
        outcomes = run_page(page, folder, needs)
    lines = (ROOT / page).read_text().splitlines()
    for outcome in reversed(outcomes):
        if not outcome.problem:
            continue
        command = outcome.command
        print(f"{page}:{command.line + 1}: {command.text}\n{outcome.problem}")
        if command.shown:
            lines[command.end - len(command.shown) : command.end] = map(lasting, outcome.lines)
    (ROOT / page).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    met = ("", "crystfel") if shutil.which("indexamajig") else ("",)
    for name in sys.argv[1:] or map(str, pages()):
        update(Path(name).resolve().relative_to(ROOT) if Path(name).is_absolute() else Path(name), met)
