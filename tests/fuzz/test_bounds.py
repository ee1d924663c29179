"""Time and memory of reading are bounded by bytes, whatever the bytes are.

Each pattern repeats what could make a reader go back, or keep, more and more. Bounds are far above what a plain stream
takes and far below what anything that grows with the square would.
"""

import time
import tracemalloc

import pytest

from waterbg.stream import StreamFile, check_stream

from ..stream import factory

SIZE = 80_000
SECONDS, SECONDS_PER_BYTE, SECONDS_PER_LINE = 1.0, 4e-6, 60e-6  # of CPU, under tracemalloc, which doubles them
MEMORY, MEMORY_PER_BYTE, MEMORY_PER_LINE = 10e6, 30.0, 400.0

HEADER = factory.stream()
CHUNK = b"----- Begin chunk -----\nImage filename: a.h5\nphoton_energy_eV = 9500\n"
CRYSTAL = CHUNK + b"--- Begin crystal\nastar = 1 0 0 nm^-1\nbstar = 0 1 0 nm^-1\ncstar = 0 0 1 nm^-1\n"
LIST = CRYSTAL + b"Reflections measured after indexing\n" + factory.COLUMNS
PEAKS = CHUNK + b"Peaks from peak search\n  fs/px\n"
PATTERNS = {
    "chunks that begin": (b"", b"----- Begin chunk -----\n"),
    "empty chunks": (b"", CHUNK + b"----- End chunk -----\n"),
    "incomplete chunks": (b"", b"----- Begin chunk -----\n----- End chunk -----\n"),
    "chunks that end": (CHUNK, b"----- End chunk -----\n"),
    "crystals that begin": (CHUNK, b"--- Begin crystal\n"),
    "empty crystals": (CHUNK, b"--- Begin crystal\n--- End crystal\n"),
    "crystals that end": (CHUNK, b"--- End crystal\n"),
    "lists that begin in one crystal": (CRYSTAL, b"Reflections measured after indexing\n"),
    "empty lists in one crystal": (CRYSTAL, b"Reflections measured after indexing\nEnd of reflections\n"),
    "lists that begin outside": (CHUNK, b"Reflections measured after indexing\n"),
    "lists that end outside": (CHUNK, b"End of reflections\n"),
    "lists that end in a crystal": (LIST + b"End of reflections\n", b"End of reflections\n"),
    "lists that end behind a crystal": (LIST + b"End of reflections\n--- End crystal\n", b"End of reflections\n"),
    "crystals that end behind a crystal": (LIST + b"End of reflections\n--- End crystal\n", b"--- End crystal\n"),
    "lost lists": (CHUNK, b"--- Begin crystal\nReflections measured after indexing\nx\ny\nEnd of reflections\n"),
    "peak lists": (CHUNK, b"Peaks from peak search\nEnd of peak list\n"),
    "peak lists that end": (CHUNK, b"End of peak list\n"),
    "peaks in a crystal": (CRYSTAL, b"Peaks from peak search\n"),
    "rows without end": (LIST, factory.row()),
    "rows outside of a list": (CRYSTAL, factory.row()),
    "rows with octal indices": (LIST, b" 010" + factory.row()[4:]),
    "rows of another name each": (LIST, None),
    "rows beyond the largest index": (LIST, factory.row(h=600)),
    "rows of nan": (LIST, factory.row(I=float("nan"))),
    "rows of an unknown panel": (LIST, factory.row(panel=b"nowhere")),
    "peaks": (PEAKS, b"  10.00   20.00       1.50      300.00   p0\n"),
    "peak lists with a peak": (CHUNK, b"Peaks from peak search\n1 2 3 4 p0\n1 2 3 4 p0\nEnd of peak list\n"),
    "names of images": (CHUNK, b"Image filename: a\nImage filename: b\n"),
    "cells": (CRYSTAL, b"astar = 1 2 3\nastar = 4 5 6\n"),
    "axes": (CRYSTAL, b"astar = +0.1 +0.2 +0.3 nm^-1\n"),
    "copied headers": (CHUNK, b"header/float//a = 1.0\n"),
    "broken copied headers": (CHUNK, b"header/float//a = x\n"),
    "digits": (LIST, b"1"),
    "digits of an index": (LIST + b" 1 2 3 1.0 1.0 1.0 1.0 1.0 ", b"9"),
    "blanks": (LIST, b" "),
    "newlines": (CHUNK, b"\n"),
    "newlines in a list": (LIST, b"\n"),
    "newlines between chunks": (b"", b"\n"),
    "carriage returns": (CHUNK, b"\r"),
    "nothing": (CHUNK, b"\0"),
    "nothing in lines": (CHUNK, b"\0\n"),
    "one line": (b"", b"x"),
    "lines between chunks": (b"", b"nothing of interest\n"),
    "markers between chunks": (b"", b"End of reflections\n"),
    "other streams": (b"", HEADER),
    "other geometries": (b"", b"----- Begin geometry file -----\n"),
}


def repeated(unit, size):
    if unit is None:
        return b"".join(factory.row(panel=b"p%d" % i) for i in range(size // len(factory.row())))
    return unit * (size // len(unit))


def read_all(path):
    with StreamFile(path) as stream:
        n = sum(1 for _ in check_stream(stream))
    with StreamFile(path) as stream:
        for chunk in stream.chunks():
            for crystal in chunk.crystals:
                n += len(crystal.reflections)
                assert crystal.axes is None or crystal.axes.shape == (3, 3)
    return n


@pytest.mark.parametrize("name", PATTERNS)
def test_time_and_memory_of_reading_are_bounded_by_bytes(name, tmp_path):
    before, unit = PATTERNS[name]
    path = tmp_path / "a.stream"
    opened = HEADER + before + repeated(unit, SIZE if unit is None or len(unit) > 2 else SIZE // 8)
    closed = opened + b"\nEnd of reflections\n--- End crystal\n----- End chunk -----\n" + factory.chunk()
    for text in (opened, closed):
        path.write_bytes(text)
        lines = text.count(b"\n")
        tracemalloc.start()
        try:
            began = time.process_time()
            read_all(path)
            seconds, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert seconds < SECONDS + SECONDS_PER_BYTE * len(text) + SECONDS_PER_LINE * lines
        assert most < MEMORY + MEMORY_PER_BYTE * len(text) + MEMORY_PER_LINE * lines
