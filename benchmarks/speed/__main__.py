"""Speed and memory, as tables of ratios: text against process_hkl, frames against plain reading and indexamajig.

    python -m benchmarks.speed [text] [frames] [start] [growth] [--megabytes 100] [--frames 90] [--rounds 3]
                               [--folder DIR] [--write FILE.md]

CPU time is user plus system time of a command and all its descendants; the commands of a table take turns, and the
median counts. Inputs are made once, from a fixed seed (kept in DIR when it is given), and read from the page cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import hdf5plugin

from benchmarks.speed.frames import frame_growth, frames
from benchmarks.speed.start import start
from benchmarks.speed.table import Table
from benchmarks.speed.text import text, text_growth

PARTS = ("text", "frames", "start", "growth")


def main() -> None:
    """Run what is asked for; print, and write, the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--megabytes", type=int, default=100, help="of the stream of the text tables")
    parser.add_argument("--frames", type=int, default=90, help="of the frame tables")
    parser.add_argument("--rounds", type=int, default=3, help="that count, after one that does not")
    parser.add_argument("--folder", type=Path, help="where inputs are made, and kept for the next time")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    given = parser.parse_args()
    what = given.what or PARTS
    if unknown := set(what) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules would be compiled anew for every command
    # indexamajig finds the filters of hdf5plugin; and nobody takes a second core that is not counted
    os.environ.setdefault("HDF5_PLUGIN_PATH", hdf5plugin.PLUGIN_PATH)
    os.environ.update(OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    versions = ", ".join(f"{name} {version(name)}" for name in ("waterbg", "numpy", "numba", "h5py", "hdf5plugin"))
    head = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; "
        f"medians of {given.rounds} rounds.\n"
    )
    print(head)
    said = [head]

    def show(*tables: Table) -> None:
        for table in tables:
            print(table, flush=True)
            said.append(str(table))

    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if "text" in what:
            show(*text(folder, given.megabytes, given.rounds))
        if "frames" in what:
            show(*frames(folder, given.frames, given.rounds))
        if "start" in what:
            show(start(folder, given.rounds))
        if "growth" in what:
            show(text_growth(folder, (given.megabytes, 10 * given.megabytes, 30 * given.megabytes)))
            show(*frame_growth(folder, 1))
    if given.write:
        given.write.write_text("\n".join(said))


if __name__ == "__main__":
    main()
