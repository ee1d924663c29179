"""The citation file and the changelog are of this version."""

import re

import waterbg
from tests.docs.transcripts import ROOT


def test_the_citation_file_has_this_version_and_licence():
    text = (ROOT / "CITATION.cff").read_text()
    fields = dict(re.findall(r"^([a-z-]+): *(.+)$", text, re.MULTILINE))
    assert fields["cff-version"] == "1.2.0"
    assert fields["version"] == waterbg.__version__
    assert fields["title"]
    assert fields["message"]
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert f'license = "{fields["license"]}"' in pyproject
    assert "authors:\n  - name: The waterbg developers\n" in text


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == waterbg.__version__
