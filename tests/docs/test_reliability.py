"""Every fault in the table of docs/reliability.md has a test, and that test exists."""

import ast
import functools
import re

import pytest

from tests.docs.transcripts import ROOT

PAGE = ROOT / "docs" / "reliability.md"
ROW = re.compile(r"^\| (?!fault |what is tried |---)(.*?) \| (.*) \| (.*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PROMISED = [
    "kill -9", "power cut", "disk full", "read-only folder", "quota", "slow", "vanish", "SWMR, or growing",
    "corrupted HDF5 chunk in one frame", "wrong shape", "NaN and infinite pixels", "all pixels masked",
    "chunk without crystals", "crystal without reflections", "one reflection", "100,000 reflections", "60 characters",
    "thousands of panels", "UTF-8, spaces",
]  # fmt: skip


def rows():
    return ROW.findall(PAGE.read_text().replace(r"\|", "¦"))


@functools.cache
def functions_of(file):
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("fault", PROMISED)
def test_every_fault_that_was_promised_has_a_row(fault):
    assert [row for row in rows() if fault in row[0].replace("`", "")]


def test_every_row_says_what_happens_and_names_tests_that_exist():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    headings = sum(line.startswith(("| fault |", "| what is tried |")) for line in lines)
    assert len(rows()) == len(lines) - headings > 40
    for fault, outcome, shown in rows():
        assert outcome.strip(), fault
        assert TEST.sub("", shown).strip(", ") == "", fault
        named = TEST.findall(shown)
        assert named, fault
        assert [name for file, name in named if name not in functions_of(file)] == [], fault
