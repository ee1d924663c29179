"""Where compiled kernels are kept: numba gives up where it finds no place, and a cluster's nodes often have none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def choose_kernel_cache(package: Path | None = None) -> None:
    """Point numba at a place of our own when it would find none; to be called before numba is imported.

    numba tries the package's own folder (not writable in a shared installation), then the user's cache folder (which a
    batch node may not have). After these comes a folder of the user's in the machine's temporary one.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    for place in (package or Path(__file__).parent, home):
        if _writable(place):
            return
    own = Path(tempfile.gettempdir()) / f"waterbg-kernels-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return
    if own.stat().st_uid == os.getuid():  # nobody else's code is loaded from there
        os.environ["NUMBA_CACHE_DIR"] = str(own)


def _writable(place: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself."""
    while not place.exists():
        if place == place.parent:
            return False
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
