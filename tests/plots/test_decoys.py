"""The figure of ``waterbg decoys``."""

import pytest

from waterbg.model import Quality
from waterbg.model.decoys import DecoyShell

pytest.importorskip("matplotlib")

from waterbg.plots.decoys import draw_decoys


@pytest.fixture
def drawn(monkeypatch):
    """Figures instead of files."""
    found = []
    monkeypatch.setattr("waterbg.plots.decoys.save_figure", lambda figure, *_, **__: found.append(figure))
    return found


def test_the_only_shell_of_a_few_decoys_has_its_resolution_below_it(drawn):
    draw_decoys(Quality(half=(DecoyShell(0.0, 4.5, 92, 0.1, 0.9, 20.0),)), "decoys.png")
    for axes in drawn[0].axes:
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert {"10", "3"} <= set(labels)
        assert axes.get_xlim() == (0.0, 4.5)


def test_the_legend_lies_on_none_of_the_curves(drawn):
    shells = tuple(DecoyShell(low, low + 1.0, 99, (-1) ** low, 1.0, 20.0) for low in range(5))
    draw_decoys(Quality(half=shells, half_rings=shells, displaced=shells, displaced_rings=shells), "decoys.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 4
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_no_decoys_make_an_empty_figure(drawn):
    draw_decoys(Quality(), "decoys.png")
    assert [len(axes.get_title()) > 0 for axes in drawn[0].axes] == [True] * 3
