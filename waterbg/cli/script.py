"""``waterbg script``: CrystFEL's helper scripts."""

from __future__ import annotations

import sys
from typing import Any

from waterbg.cli.base import Command
from waterbg.endings import end_as


class Script(Command):
    """Run one of CrystFEL's helper scripts, written anew; without a name, list them

    Everything behind the name goes to the script: 'waterbg script sum-peaks --help' is the help of sum-peaks.
    """

    USAGE = "    waterbg script NAME [arguments of the script]\n"

    @classmethod
    def run(cls, argv: Any = None, exit: bool = True) -> Any:
        """Leave the script's own switches alone."""
        argv = list(sys.argv if argv is None else argv)
        if len(argv) > 1 and not argv[1].startswith("-"):
            argv.insert(1, "--")
        return super().run(argv, exit=exit)

    def main(self, *words: str) -> int:
        """Run the script with our standard input and output."""
        from waterbg import scripts

        if not words:
            print("\n".join(scripts.names()))
            return 0
        process = scripts.script_command(*words).popen(stdin=None, stdout=None, stderr=None, env=scripts.environment())
        return end_as(process)
