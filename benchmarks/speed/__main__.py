"""Speed: text against process_hkl, frames against plain reading and against indexamajig; one table of ratios.

    python -m benchmarks.speed [text|frames] [--chunks 2000] [--frames 40] [--folder DIR] [--write FILE.md]

CPU time is user plus system time of the whole process and its children, as the kernel counts it; the commands of a
group take turns and the median counts. Input is made once, from a fixed seed, and read from the page cache by all.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

WATERBG = [sys.executable, "-m", "waterbg"]
ROUNDS = 3
READER = """
import sys, h5py, hdf5plugin, numpy
with h5py.File(sys.argv[1]) as file:
    data = file["/entry/data/data"]
    frame = numpy.empty(data.shape[1:], data.dtype)
    for i in range(len(data)):
        data.read_direct(frame, numpy.s_[i])
"""


@dataclasses.dataclass
class Cost:
    """What one run of a command cost: seconds of clock and CPU, megabytes at the most in one process."""

    wall: float
    cpu: float
    memory: float


def cost(command, folder):
    """Run a command and ask the kernel what it cost."""
    script = (
        "import json, resource, subprocess, sys, time\n"
        "began = time.monotonic()\n"
        "status = subprocess.run(sys.argv[2:], cwd=sys.argv[1], stdout=-3, stderr=-3).returncode\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([status, time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    import json

    words = [sys.executable, "-c", script, str(folder), *map(str, command)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    status, *numbers = json.loads(said)
    # indexamajig --indexing=file aborts in its clean-up, after its last chunk
    if status and "indexamajig" not in str(command[0]):
        raise SystemExit(f"{command}: exit status {status}")
    return Cost(*numbers)


def compare(commands, folder):
    """Median cost of each command; they take turns, and the first round warms caches."""
    found = {name: [] for name in commands}
    for turn in range(ROUNDS + 1):
        for name, command in commands.items():
            one = cost(command, folder)
            if turn:
                found[name].append(one)
    return {
        name: Cost(*(statistics.median(getattr(c, field.name) for c in costs) for field in dataclasses.fields(Cost)))
        for name, costs in found.items()
    }


def make_text(folder, chunks):
    """A long stream: the golden stream's chunks again and again."""
    path = folder / f"text{chunks}.stream"
    if not path.exists():
        golden = Path(__file__).resolve().parents[2] / "tests/data/golden/small/rings-nocen-nosat-nograd.stream"
        text = golden.read_bytes()
        at = text.index(b"----- Begin chunk")
        with path.open("wb") as file:
            file.write(text[:at])
            for _ in range(-(-chunks // 6)):
                file.write(text[at:])
    return path


def text(folder, chunks, lines):
    """Parse with all checks, and compare two streams, against process_hkl."""
    lines += [
        "## Text",
        "",
        "| stream | command | CPU s | MB/s of CPU | CPU / process_hkl | MB of memory |",
        "|---|---|---|---|---|---|",
    ]
    for n in (chunks, 10 * chunks):
        path = make_text(folder, n)
        size = path.stat().st_size / 1e6
        commands = {
            "waterbg verify A": [*WATERBG, "verify", path],
            "waterbg verify A A": [*WATERBG, "verify", path, path],
        }
        if shutil.which("process_hkl"):
            commands["process_hkl"] = ["process_hkl", "-i", path, "-o", "merged.hkl", "-y", "4/mmm"]
        found = compare(commands, folder)
        rival = found.get("process_hkl")
        for name, one in found.items():
            ratio = f"{one.cpu / rival.cpu:.2f}" if rival else ""
            lines.append(
                f"| {size:.0f} MB | {name} | {one.cpu:.2f} | {size / one.cpu:.0f} | {ratio} | {one.memory:.0f} |"
            )
    lines.append("")


def make_frames(folder, n):
    """Frames of 4.5 megapixels of 75 um with a water ring, once raw and once bitshuffle/LZ4."""
    import h5py
    import hdf5plugin

    from waterbg.simulate import preset, write_dataset

    experiment = dataclasses.replace(
        preset("nominal"),
        panel_shape=(1080, 2070),
        pixel_size=75e-6,
        camera_length=0.125,
        water=9.0,
        air=12.0,
        cell=(60.0, 60.0, 45.0, 90.0, 90.0, 90.0),
    )
    for kind, options in (("raw", {}), ("bslz4", dict(hdf5plugin.Bitshuffle(cname="lz4")))):
        there = folder / f"frames_{kind}_{n}"
        if there.exists():
            continue
        dataset = write_dataset(experiment, n, folder / f"making_{kind}", name="run")
        image = Path(dataset.images)
        with h5py.File(image) as old, h5py.File(image.with_suffix(".new"), "w") as new:
            data = old["/entry/data/data"]
            out = new.create_dataset("/entry/data/data", data.shape, data.dtype, chunks=(1, *data.shape[1:]), **options)
            for i in range(n):
                out[i] = data[i]
            for name in old["/entry/data"]:
                if name != "data":
                    old.copy(f"/entry/data/{name}", new["/entry/data"])
        image.with_suffix(".new").replace(image)
        (folder / f"making_{kind}").rename(there)


def frames(folder, n, lines):
    """The main job against reading the same frames, and against re-integrating with indexamajig."""
    make_frames(folder, n)
    lines += ["## Frames", "", f"{n} frames of 4.5 megapixels.", ""]
    lines += [
        "| images | command | wall s | CPU s | CPU ms a frame | wall / read | CPU / indexamajig | MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("raw", "bslz4"):
        there = folder / f"frames_{kind}_{n}"
        stream = there / "run.stream"
        image = max(there.glob("*.h5"), key=lambda path: path.stat().st_size)
        commands = {
            "read (h5py)": [sys.executable, "-c", READER, image],
            "subtract -j 1": [*WATERBG, "subtract", stream, "-o", "out1.stream", "--force"],
            "subtract -j 2": [*WATERBG, "subtract", stream, "-o", "out2.stream", "--force", "-j", 2],
            "subtract --integration=rings": [
                *WATERBG,
                "subtract",
                stream,
                "-o",
                "out3.stream",
                "--force",
                "--integration=rings",
            ],
        }
        if shutil.which("indexamajig"):
            said = next(
                line for line in stream.read_text(errors="replace").splitlines() if line.startswith("indexamajig ")
            )
            words = [word for word in said.split() if not word.startswith("--fromfile-input-file")]
            solutions = next(there.glob("*.sol"))
            words += [f"--fromfile-input-file={solutions.resolve()}"]
            words[words.index("-o") + 1] = "cf.stream"
            commands["indexamajig --indexing=file"] = words
        found = compare(commands, there)
        read, rival = found["read (h5py)"], found.get("indexamajig --indexing=file")
        for name, one in found.items():
            ratio = f"{one.cpu / rival.cpu:.2f}" if rival else ""
            cells = [kind, name, f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{1e3 * one.cpu / n:.0f}"]
            lines.append(f"| {' | '.join([*cells, f'{one.wall / read.wall:.1f}', ratio, f'{one.memory:.0f}'])} |")
    lines.append("")


def main():
    """Run what is asked for and print (or write) the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="text,frames", help="text, frames, or both (the default)")
    parser.add_argument("--chunks", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    os.environ.update(OPENBLAS_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    try:
        import hdf5plugin

        os.environ.setdefault("HDF5_PLUGIN_PATH", hdf5plugin.PLUGIN_PATH)
    except ImportError:
        pass
    lines = [
        "# Performance",
        "",
        f"Made by `python -m benchmarks.speed`: medians of {ROUNDS} rounds. Ratios count, not seconds.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("waterbg", "numpy", "numba", "h5py"))
        + ".",
        "",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if "text" in given.what:
            text(folder, given.chunks, lines)
        if "frames" in given.what:
            frames(folder, given.frames, lines)
    report = "\n".join(lines)
    print(report)
    if given.write:
        given.write.write_text(report)


if __name__ == "__main__":
    main()
