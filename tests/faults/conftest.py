"""The small run, made once."""

import numpy as np
import pytest

from .world import World, make


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Folder of the run that nobody harms."""
    folder = tmp_path_factory.mktemp("original")
    make(folder)
    return folder


@pytest.fixture
def world(original, tmp_path):
    """A copy of the run to do harm to."""
    return World.copy(original, tmp_path / "world")


@pytest.fixture
def rng():
    return np.random.default_rng(20240601)
