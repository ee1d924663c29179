"""What damaged input is made to say may be no text."""

import pytest


@pytest.fixture
def said(capfdbinary):
    """A function: what was printed on standard error since it was last called, whatever its bytes are."""
    return lambda: capfdbinary.readouterr().err.decode(errors="surrogateescape")
