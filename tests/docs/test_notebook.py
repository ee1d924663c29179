"""The notebook runs, its claims hold, and what is stored in it is what it prints."""

import re

import nbformat
import pytest

from tests.docs.notebook import NOTEBOOK, execute, lasting, texts
from tests.docs.transcripts import difference

LARGEST = 600_000  # bytes
SILENT = {"setup", "resolution", "evaluation"}  # cells that only prepare what others use


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed():
    return execute()  # its cells assert what its text says


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    return [(output.output_type, output.get("name", ""), *sorted(output.get("data", ()))) for output in cell.outputs]


@pytest.mark.slow
def test_every_cell_runs_prints_what_is_stored_and_warns_of_nothing(stored, executed):
    again = "if that is right: python -m tests.docs.notebook"
    for old, new in zip(code(stored), code(executed), strict=True):
        assert not [output for output in new.outputs if output.get("name") == "stderr"], new.id
        assert kinds(old) == kinds(new), f"{new.id}; {again}"
        wrong = difference(texts(old), texts(new))
        assert not wrong, f"{new.id}: {wrong}\n{again}"


def test_every_cell_is_stored_with_its_outputs_in_the_order_of_the_page(stored):
    nbformat.validate(stored)
    assert [cell.execution_count for cell in code(stored)] == list(range(1, len(code(stored)) + 1))
    assert {cell.id for cell in code(stored) if not cell.outputs} <= SILENT
    assert all(output.output_type != "error" for cell in code(stored) for output in cell.outputs)


def test_every_section_asserts_what_it_claims(stored):
    sections, title = {}, ""
    for cell in stored.cells:
        if found := re.match(r"## (\d\. .*)", cell.source):
            title = found[1]
        if title and cell.cell_type == "code":
            sections[title] = sections.get(title, 0) + len(re.findall(r"^ *assert ", cell.source, re.M))
    assert [title[0] for title in sections] == list("1234567")
    assert all(sections.values()), sections


def test_nothing_in_the_file_is_of_one_machine(stored):
    assert nbformat.writes(lasting(nbformat.from_dict(stored))) == nbformat.writes(stored)
    for cell in stored.cells:
        pieces = [cell.source, *(output.get("text", "") for output in cell.get("outputs", ()))]
        pieces += [
            text for o in cell.get("outputs", ()) for kind, text in o.get("data", {}).items() if "image" not in kind
        ]
        for piece in pieces:
            assert not re.search(r"(^|[\s'\"=(])/[a-zA-Z]\w*/", piece), cell.id


def test_the_file_is_small():
    assert NOTEBOOK.stat().st_size < LARGEST
