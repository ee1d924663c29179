"""Runs the scripts: in this process, which is quick, with their standard input, output and exit status."""

import importlib.util
import io
import os
import sys
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from typing import NamedTuple

import pytest

from waterbg.scripts import script_path
from waterbg.scripts.app import Script

from ..stream import factory


class Said(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "agg")


@lru_cache
def load(name):
    """The class of a script."""
    path = str(script_path(name))
    loader = SourceFileLoader(name.replace("-", "_"), path)
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return next(
        thing for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Script) and thing is not Script
    )  # fmt: skip


@pytest.fixture
def script(capsysbinary, monkeypatch):
    """A function that runs a script: ``script(name, *arguments, stdin=b"")``."""

    def run(name, *arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
        capsysbinary.readouterr()
        status = load(name).invoke([name, *map(os.fspath, arguments)])
        out, err = capsysbinary.readouterr()
        return Said(status, *(text.decode(errors="surrogateescape") for text in (out, err)))

    return run


@pytest.fixture(scope="session")
def golden(data):
    """A stream of six frames with a crystal each, and its folder of images and geometry."""
    return data / "golden" / "small" / "rings-nocen-nosat-nograd.stream"


@pytest.fixture
def small(tmp_path):
    """Four chunks: two crystals, none, one, one with an empty list."""
    rows = [factory.row(h=1, I=10, fs=10, ss=20), factory.row(h=2, I=-5, fs=30.5, ss=40.9)]
    chunks = [
        factory.chunk(0, [factory.crystal(rows), factory.crystal(rows[:1])]),
        factory.chunk(1, []),
        factory.chunk(2, [factory.crystal(rows[1:])], filename=b"other.h5"),
        factory.chunk(3, [factory.crystal(None)], event=None),
    ]
    path = tmp_path / "small.stream"
    path.write_bytes(factory.stream(chunks))
    return path
