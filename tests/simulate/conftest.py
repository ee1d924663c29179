"""A small simulated run, made once for all tests that only read it."""

import pytest

from waterbg.simulate import preset, write_dataset


@pytest.fixture(scope="session")
def small():
    return preset("small")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, small):
    return write_dataset(small, 2, tmp_path_factory.mktemp("small"), "small", structure=True)
