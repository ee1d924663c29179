"""The frame path: against plainly reading the frames, against indexamajig, and how it grows."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.speed.cost import Cost, compare, cost
from benchmarks.speed.inputs import EIGHT, beginning, make_frames, recoded, repeated, shuffled
from benchmarks.speed.table import WATERBG, Table

TIMES = 6  # a long run is the frames so many times
_READER = """
import sys, h5py, hdf5plugin, numpy
with h5py.File(sys.argv[1]) as file:
    data = file["/entry/data/data"]
    frame = numpy.empty(data.shape[1:], data.dtype)
    for i in range(int(sys.argv[2])):
        data.read_direct(frame, numpy.s_[i])
"""
_PEAKS = {
    "zaef": ["--peaks=zaef", "--threshold=40", "--min-squared-gradient=2000", "--min-snr=8"],
    "peakfinder8": ["--peaks=peakfinder8", "--threshold=20", "--min-snr=5", "--min-pix-count=2", "--max-pix-count=40"],
}
_FILE = ["--indexing=file", "--no-refine", "--no-retry", "--no-check-cell", "--no-check-peaks"]
_SAME = ["--fix-profile-radius=0.02e9", "--integration=rings-nocen-nosat-nograd", "--int-radius=3,5,7"]


def subtract(stream: Path, *options: object) -> list[object]:
    """Command of the main job on a stream."""
    return [*WATERBG, "subtract", stream.name, "-o", "out.stream", "--force", *options]


def frames(folder: Path, n: int, rounds: int) -> list[Table]:
    """Tables of the main job on n frames of 4.5 megapixels."""
    there = make_frames(folder, n)
    few = n // 3
    reflections = _rows(there / "run.stream")
    per_frame = Table(
        f"Frames: {n} of 4.5 megapixels with {reflections / n:.0f} reflections",
        ("images", "command", "wall s", "CPU s", "wall / read", "CPU ms a frame, alone", "beyond reading", "MB"),
    )
    ratios = Table("Frames: ratios", ("quantity", "images", "found", "must", "aim"))
    for kind in ("raw", "bslz4"):
        stream = recoded(there, kind)
        start = beginning(stream, few)
        images = stream.with_suffix(".h5").name
        commands: dict[str, list[object]] = {}
        for name, path, number in (("", stream, n), (" few", start, few)):
            commands["read (h5py)" + name] = [sys.executable, "-c", _READER, images, number]
            commands["`subtract -j 1`" + name] = subtract(path)
            commands["`subtract -j 2`" + name] = subtract(path, "-j", 2)
            commands["`subtract --integration=rings`" + name] = subtract(path, "--integration=rings")
        found = compare(commands, there, rounds)
        read = found["read (h5py)"]
        # what a frame costs by itself: start-up, kernels and learning are the same in the short run
        alone = {name: _a_frame(found[name] - found[f"{name} few"], n - few) for name in found if " few" not in name}
        for name, each in alone.items():
            one = found[name]
            beyond = f"{1e3 * (each.cpu - alone['read (h5py)'].cpu):.1f}"
            per_frame.add(
                kind, name, f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{one.wall / read.wall:.1f}",
                f"{1e3 * each.cpu:.1f}", beyond if "subtract" in name else "", f"{one.memory:.0f}",
            )  # fmt: skip
        one, two = (found[f"`subtract -j {jobs}`"] for jobs in (1, 2))
        lone, ltwo = (alone[f"`subtract -j {jobs}`"] for jobs in (1, 2))
        beyond = 1e3 * (lone.cpu - alone["read (h5py)"].cpu)
        ratios.add("CPU ms a frame beyond reading", kind, f"{beyond:.1f}", "60", "20")
        ratios.add("two workers / one, whole run", kind, f"{one.wall / two.wall:.2f}", "1.8", "1.95")
        ratios.add("two workers / one, frames alone", kind, f"{lone.wall / ltwo.wall:.2f}", "", "")
        # so long that start-up and learning are little of it
        long = repeated(stream, TIMES)
        ahead, behind = (cost(subtract(long, "-j", jobs), there) for jobs in (1, 2))
        ratios.add(f"two workers / one, {TIMES * n} frames", kind, f"{ahead.wall / behind.wall:.2f}", "1.8", "1.95")
        ratios.add("whole run -j 1 / reading", kind, f"{one.wall / read.wall:.1f}", "8", "3")
        ratios.add("whole run -j 2 / reading", kind, f"{two.wall / read.wall:.1f}", "8", "3")
        ratios.add("frames alone, -j 1 / reading", kind, f"{lone.wall / alone['read (h5py)'].wall:.1f}", "", "")
        if shutil.which("indexamajig"):
            for peaks, options in _PEAKS.items():
                rival = cost(_indexamajig(stream, options), there)
                label = f"`indexamajig --indexing=file --peaks={peaks}`"
                per_frame.add(kind, label, f"{rival.wall:.2f}", f"{rival.cpu:.2f}", f"{rival.wall / read.wall:.1f}",
                              f"{1e3 * rival.cpu / n:.1f}", "", f"{rival.memory:.0f}")  # fmt: skip
                ratios.add(f"CPU / indexamajig with {peaks}", kind, f"{one.cpu / rival.cpu:.2f}", "0.6", "0.25")
                per = lone.cpu / (rival.cpu / n)
                ratios.add(f"CPU of frames alone / indexamajig with {peaks}", kind, f"{per:.2f}", "", "")
    return [per_frame, ratios, _orders(there, rounds)]


def _rows(stream: Path) -> int:
    from waterbg.stream import StreamFile

    with StreamFile(str(stream)) as opened:
        return sum(chunk.n_reflections for chunk in opened.chunks())


def _a_frame(cost: Cost, n: int) -> Cost:
    return Cost(cost.wall / n, cost.cpu / n, cost.memory)


def _indexamajig(stream: Path, peaks: list[str]) -> list[object]:
    name = stream.stem
    files = ["-i", f"{name}.lst", "-g", "run.geom", "-p", "run.cell", "-o", "indexamajig.stream", "-j", 1]
    solutions = f"--fromfile-input-file={stream.with_suffix('.sol')}"
    return ["indexamajig", *files, *_FILE, solutions, *peaks, *_SAME]


def _orders(there: Path, rounds: int) -> Table:
    """What the order of a stream costs where an HDF5 chunk holds eight frames."""
    table = Table(
        "HDF5 chunks of eight frames: `subtract --integration=rings`", ("stream", "CPU s", "CPU / in order", "MB")
    )
    stream = recoded(there, EIGHT)
    commands = {
        "in order": subtract(stream, "--integration=rings"),
        "in random order": subtract(shuffled(stream), "--integration=rings"),
    }
    found = compare(commands, there, rounds)
    for name, one in found.items():
        table.add(name, f"{one.cpu:.2f}", f"{one.cpu / found['in order'].cpu:.2f}", f"{one.memory:.0f}")
    return table


def frame_growth(folder: Path, rounds: int) -> list[Table]:
    """Time and memory by size of the frames, and by number of workers."""
    sizes = Table(
        "By size of the frames: `subtract`, the largest process (must <= 1 GB, aim 500 MB with 16 megapixels)",
        ("megapixels", "CPU ms a frame, alone", "MB of memory"),
    )
    for rows, columns in ((540, 1035), (1080, 2070), (2160, 4140)):
        there = make_frames(folder, 12, rows, columns)
        stream = recoded(there, "raw")
        commands = {"all": subtract(stream), "few": subtract(beginning(stream, 4))}
        found = compare(commands, there, rounds)
        each = _a_frame(found["all"] - found["few"], 8)
        sizes.add(f"{2 * rows * columns / 1e6:.1f}", f"{1e3 * each.cpu:.0f}", f"{each.memory:.0f}")
    return [sizes]
