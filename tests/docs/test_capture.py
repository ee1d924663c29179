"""What the program says of itself is in the documentation as it says it now."""

import importlib.util
import shutil
import subprocess

import pytest

from tests.docs.transcripts import ROOT

_spec = importlib.util.spec_from_file_location("capture", ROOT / "docs" / "capture.py")
capture = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(capture)


@pytest.mark.parametrize("name", capture.PAGES)
def test_captured_pages_are_up_to_date(name):
    assert (ROOT / "docs" / name).read_text() == capture.PAGES[name](), "run: python docs/capture.py"


def test_the_manual_page_is_plain_ascii():
    assert (ROOT / "docs" / "waterbg.1").read_text().isascii()


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_sets_the_manual_page_without_a_warning():
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-z", ROOT / "docs" / "waterbg.1"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_man_shows_the_page():
    done = subprocess.run(["man", "-l", ROOT / "docs" / "waterbg.1"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "subtract" in done.stdout


def test_every_page_of_the_documentation_is_in_the_navigation():
    nav = (ROOT / ".ci" / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f" {page}\n" not in nav] == []
