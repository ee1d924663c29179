"""waterbg.kernel_cache: a place for compiled kernels in a read-only installation without a home."""

import os

import pytest

from waterbg.kernel_cache import choose_kernel_cache


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An installation and a home in which nothing can be written."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("waterbg.kernel_cache.os.access", lambda place, mode: str(place).startswith(str(tmp_path)))
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere/cache")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    yield tmp_path
    os.environ.pop("NUMBA_CACHE_DIR", None)


def test_a_read_only_installation_without_a_home_keeps_kernels_in_the_temporary_folder(nowhere, monkeypatch):
    from pathlib import Path

    choose_kernel_cache(Path("/nowhere"))
    place = Path(os.environ["NUMBA_CACHE_DIR"])
    assert place.parent == nowhere
    assert place.stat().st_mode & 0o077 == 0


def test_a_writable_place_is_left_to_numba(nowhere):
    choose_kernel_cache(nowhere)
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_the_users_own_choice_stands(nowhere, monkeypatch):
    from pathlib import Path

    monkeypatch.setenv("NUMBA_CACHE_DIR", "/my/place")
    choose_kernel_cache(Path("/nowhere"))
    assert os.environ["NUMBA_CACHE_DIR"] == "/my/place"
