"""How a job script calls the very installation that wrote it, whatever PATH and the folder it runs in have."""

import shlex
import sys

# -m would put the folder first on sys.path, and a module of the user's beside the images (random.py) in Python's place
_ENTER = "import sys; sys.path = [place for place in sys.path if place]; from waterbg.cli import entry; entry()"

OWN_COMMAND = f"{shlex.quote(sys.executable)} -c {shlex.quote(_ENTER)}"
"""For the shell; arguments follow."""
