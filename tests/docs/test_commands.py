"""The documentation runs: every command it shows does what the page says, and every option it names exists."""

import re
from pathlib import Path

import pytest

from tests.docs.options import shown_in, unknown
from tests.docs.transcripts import ROOT, agree, difference, fences, lay_out, pages, run_page, same_line

PAGES = pages()
RUN = [page for page in PAGES if any(f.language in ("console", "python") and not f.needs for f in fences(page))]
CRYSTFEL = [page for page in PAGES if any(fence.needs == "crystfel" for fence in fences(page))]


def check(page: Path, folder: Path, needs: tuple[str, ...]) -> None:
    folder = folder / "waterbg"
    folder.mkdir()
    lay_out(folder)
    outcomes = run_page(page, folder, needs)
    assert outcomes
    wrong = [f"{page}:{o.command.line + 1}: $ {o.command.text}\n{o.problem}\n" for o in outcomes if o.problem]
    wrong += ["\n".join(outcome.lines[-20:]) for outcome in outcomes if "exit status" in outcome.problem]
    assert not wrong, "\n".join([*wrong, f"if that is right: python -m tests.docs.transcripts {page}"])


@pytest.mark.parametrize("page", RUN, ids=str)
def test_every_command_on_the_page_prints_what_is_shown(page, tmp_path):
    check(page, tmp_path, ("",))


@pytest.mark.crystfel
@pytest.mark.parametrize("page", CRYSTFEL, ids=str)
def test_every_command_with_crystfel_prints_what_is_shown(page, tmp_path):
    check(page, tmp_path, ("", "crystfel"))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_option_named_on_the_page_exists(page):
    wrong = [line for text in shown_in(page) for line in unknown(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_is_in_a_fence_that_is_run_or_says_why_not(page):
    for fence in fences(page):
        if fence.language not in ("console", "python"):
            assert not any(line.startswith("$ ") for line in fence.body), f"{page}:{fence.line + 1}: fence it console"


def test_every_link_of_the_readme_leads_somewhere():
    """The site's own links are followed by mkdocs --strict."""
    targets = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_unknown_commands_and_options_are_seen():
    assert unknown("waterbg subtract a.stream -o b.stream --int-radius=3,4,5") == []
    assert unknown("waterbg subtract a.stream --int-radii=3,4,5") == ["waterbg subtract --int-radii: no such option"]
    assert unknown("cd x && waterbg substract a.stream") == ["waterbg substract: no such command"]
    assert unknown("waterbg script sum-peaks --no-such") == ["waterbg script sum-peaks --no-such: no such option"]
    assert unknown("waterbg script no-such")


def test_lines_differ_in_words_and_in_numbers_but_not_in_blanks():
    assert same_line("3 chunks,  0.97 s", "3 chunks, 0.96 s")
    assert not same_line("3 chunks", "4 chunks")
    assert not same_line("3 chunks", "3 crystals")
    assert same_line("took … s of …/x", "took 4.2 s of /a/b/x")
    assert same_line("2 chunks, … s", "2 chunks, 4.3 min")
    assert not same_line("took … s", "took 4.2 s or so")
    assert agree("1000", "1019")
    assert not agree("1000", "1030")
    assert not agree("0.97", "1.10")


def test_missing_surplus_and_changed_lines_are_seen_and_an_ellipsis_skips():
    assert difference(["a", "…", "d"], ["a", "b", "c", "d"]) == ""
    assert difference(["a", "…", "b", "…"], ["a", "b", "c"]) == ""
    assert "is shown as\n  d" in difference(["a", "d"], ["a", "b"])
    assert "more is printed" in difference(["a"], ["a", "b"])
    assert "nothing more" in difference(["a", "b"], ["a"])
    assert "is shown as" in difference(["…", "x"], ["a", "b"])
