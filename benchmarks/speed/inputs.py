"""Inputs of the benchmarks, made from fixed seeds: long streams, and large frames with their streams."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from waterbg.simulate import preset, write_dataset

BEGIN = b"----- Begin chunk -----\n"
DATA = "/entry/data/data"
GOLDEN = Path(__file__).resolve().parents[2] / "tests/data/golden/small/rings-nocen-nosat-nograd.stream"
KINDS = {"raw": {}, "bslz4": dict(hdf5plugin.Bitshuffle(cname="lz4"))}
EIGHT = "bslz4, 8 a chunk"


def make_text(folder: Path, megabytes: int) -> Path:
    """A long stream: the golden stream's chunks again and again."""
    path = folder / f"text{megabytes}.stream"
    if not path.exists():
        header, *chunks = GOLDEN.read_bytes().split(BEGIN)
        body = b"".join(BEGIN + chunk for chunk in chunks)
        with path.open("wb") as file:
            file.write(header)
            for _ in range(max(1, round(megabytes * 1e6 / len(body)))):
                file.write(body)
    return path


def make_frames(folder: Path, n: int, rows: int = 1080, columns: int = 2070) -> Path:
    """Frames of two panels of 75 um pixels with a water ring: a folder with run.stream, run.sol, run.cell and run.geom.

    Images are run.h5 (uint16, as they are); :func:`recoded` makes others.
    """
    there = folder / f"frames{n}_{rows}x{columns}"
    if not there.exists():
        experiment = dataclasses.replace(
            preset("nominal"),
            panel_shape=(rows, columns),
            pixel_size=75e-6,
            camera_length=0.125 * columns / 2070,
            water=9.0,
            air=12.0,
            cell=(60.0, 60.0, 45.0, 90.0, 90.0, 90.0),
        )
        making = folder / f"making_{there.name}"
        write_dataset(experiment, n, making, name="run")
        recoded(making, "raw")
        making.rename(there)
    return there


def recoded(there: Path, kind: str) -> Path:
    """A stream like run.stream whose images are stored otherwise: as one of KINDS, or with eight frames a chunk."""
    name = f"{kind.split(',')[0]}{8 if kind == EIGHT else ''}"
    stream = there / f"{name}.stream"
    if not stream.exists():
        options = KINDS[kind.split(",")[0]]
        source = there / "run.h5"
        with h5py.File(source) as old, h5py.File(there / f"{name}.h5", "w") as new:
            data = old[DATA]
            chunks = (8 if kind == EIGHT else 1, *data.shape[1:])
            out = new.create_dataset(DATA, data.shape, data.dtype, chunks=chunks, **options)
            for first in range(0, len(data), chunks[0]):
                out[first : first + chunks[0]] = data[first : first + chunks[0]]
            copy_others(old, new)
        for suffix in (".stream", ".sol"):
            text = (there / f"run{suffix}").read_bytes()
            (there / f"{name}{suffix}").write_bytes(text.replace(b"run.h5", f"{name}.h5".encode()))
        (there / f"{name}.lst").write_text(f"{name}.h5\n\n\n")  # indexamajig opens no list of less than eight bytes
    return stream


def copy_others(old: h5py.File, new: h5py.File) -> None:
    """Copy every dataset but the images."""

    def copy(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and f"/{name}" != DATA:
            new.create_dataset(name, data=item[()])

    old.visititems(copy)


def beginning(stream: Path, chunks: int) -> Path:
    """The first chunks of a stream, as a stream."""
    path = stream.with_name(f"{stream.stem}_first{chunks}.stream")
    if not path.exists():
        header, *bodies = stream.read_bytes().split(BEGIN)
        path.write_bytes(BEGIN.join([header, *bodies[:chunks]]))
    return path


def repeated(stream: Path, times: int) -> Path:
    """The chunks of a stream again and again."""
    path = stream.with_name(f"{stream.stem}_times{times}.stream")
    if not path.exists():
        header, *bodies = stream.read_bytes().split(BEGIN)
        path.write_bytes(BEGIN.join([header, *bodies * times]))
    return path


def shuffled(stream: Path) -> Path:
    """The chunks of a stream in random order."""
    path = stream.with_name(f"{stream.stem}_shuffled.stream")
    if not path.exists():
        header, *bodies = stream.read_bytes().split(BEGIN)
        order = np.random.default_rng(1).permutation(len(bodies))
        path.write_bytes(BEGIN.join([header, *(bodies[i] for i in order)]))
    return path
