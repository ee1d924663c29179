"""Figures of merging statistics, from what the real programs wrote."""

from pathlib import Path

import numpy as np
import pytest

from waterbg.scripts.shells import find_grids, read_grid, read_table

RECORDED = Path(__file__).resolve().parents[1] / "crystfel" / "recorded"
PNG = b"\x89PNG"


def test_tables_of_the_real_programs_are_read():
    table = read_table(str(RECORDED / "check-grad.dat"), 7)
    assert table[0].tolist() == [1.938, 391, 906, 43.16, 1115, 2.9, 9.0]
    assert read_table(str(RECORDED / "Rsplit-grad.dat"), 2)[0].tolist() == [1.938, 26.73]


@pytest.mark.parametrize("name", ["check-hkl", "check-hkl-completeness", "check-hkl-quality"])
def test_check_hkl_is_drawn(script, tmp_path, name):
    assert script(name, RECORDED / "check-grad.dat", "-o", tmp_path / "a.png").status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_compare_hkl_is_drawn(script, tmp_path):
    arguments = [RECORDED / "Rsplit-grad.dat", RECORDED / "CC-grad.dat", "-o", tmp_path / "a.png"]
    assert script("compare-hkl", *arguments).status == 0
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_the_legend_of_two_axes_lies_on_none_of_their_curves():
    pytest.importorskip("matplotlib")
    from waterbg.figure_file import new_figure
    from waterbg.scripts.shells import draw_completeness

    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    draw_completeness(axes, read_table(str(RECORDED / "check-grad.dat"), 7))
    figure.draw_without_rendering()
    assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())
    assert [one.get_ylim()[0] for one in figure.axes] == [0, 0]


def test_a_table_of_another_figure_of_merit_is_refused(script, tmp_path):
    rsplit, cc = RECORDED / "Rsplit-grad.dat", RECORDED / "CC-grad.dat"
    said = script("compare-hkl", cc, rsplit, "-o", tmp_path / "a.png")
    assert said.status == 1
    assert said.err == f"compare-hkl: error: {cc}: is a table of CC, where one of Rsplit/% is needed\n"
    said = script("compare-hkl", rsplit, rsplit, "-o", tmp_path / "a.png")
    assert f"{rsplit}: is a table of Rsplit/%, where one of CC is needed" in said.err
    assert script("Rsplit_surface", "-n", "6000", rsplit, cc, "-o", tmp_path / "a.png").status == 1
    assert not (tmp_path / "a.png").exists()


def test_the_rsplit_surface_is_drawn(script, tmp_path):
    tables = [RECORDED / "Rsplit-grad.dat", RECORDED / "Rsplit-nograd.dat"]
    for patterns in ("6000", "6000,2000"):
        said = script("Rsplit_surface", "-n", patterns, *tables, "-o", tmp_path / "a.png", "--force")
        assert said.status == 0, said.err
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    for wrong in ("0", "-5", "many", "1,2,3"):
        assert script("Rsplit_surface", "--patterns", wrong, *tables, "-o", tmp_path / "b.png").status == 2
    said = script("Rsplit_surface", "-n", "6000", tables[0], "-o", tmp_path / "b.png")
    assert "two numbers of patterns" in said.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("head\n", "holds no numbers below its head line"),
        ("head\n1 2 3 4 5 6 7\n1 2 three 4 5 6 7\n", r":3: '1 2 three 4 5 6 7' is no line of numbers"),
        ("head\n1 2\n", ":2: 7 columns are needed, found 2"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_one_line(script, tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.dat").write_text(text)
    said = script("check-hkl", tmp_path / "a.dat", "-o", tmp_path / "a.png")
    assert said.status == 1
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


@pytest.fixture
def logs(tmp_path):
    """A folder as partialator writes it (write_ang_grid in its post-refinement.c)."""
    folder = tmp_path / "pr-logs"
    folder.mkdir()
    head = f"{-5e-3:e} {5e-3:e} {1e-3:e} rot_x/rad\n{-4e-3:e} {4e-3:e} 0 rot_y/rad\n"
    x = np.linspace(-5e-3, 5e-3, 21)
    for crystal in (0, 20):
        for cycle in ("0", "1", "F"):
            values = 1e4 * (x[None, :] ** 2 + x[:, None] ** 2)
            rows = "".join(" ".join(f"{v:e}" for v in row) + " \n" for row in values)
            (folder / f"grid-crystal{crystal}-cycle{cycle}-ang1-ang2.dat").write_text(head + rows)
    (folder / "crystal0.log").write_text("")
    return folder


def test_grids_are_found_and_read(logs):
    grids = find_grids(str(logs))
    assert sorted(grids) == [(c, cycle, "ang1-ang2") for c in (0, 20) for cycle in ("0", "1", "F")]
    grid = read_grid(grids[0, "F", "ang1-ang2"])
    assert (grid.x.low, grid.x.high, grid.x.current, grid.x.label) == (-5e-3, 5e-3, 1e-3, "rot_x/rad")
    assert grid.values.shape == (21, 21)


def test_a_contour_map_is_drawn_of_the_chosen_grid(script, logs, tmp_path):
    said = script("plot-pr-contourmap", logs, "--crystal=20", "--cycle=F", "-o", tmp_path / "a.png")
    assert said.status == 0, said.err
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert script("plot-pr-contourmap", logs, "--list", "--crystal=20").out == (
        "20 0 ang1-ang2\n20 1 ang1-ang2\n20 F ang1-ang2\n"
    )
    assert script("plot-pr-contourmap", logs, "--crystal=7", "-o", tmp_path / "b.png").status == 2
    assert script("plot-pr-contourmap", tmp_path, "-o", tmp_path / "b.png").status == 1
    assert script("plot-pr-contourmap", tmp_path / "none", "-o", tmp_path / "b.png").status == 1


@pytest.mark.parametrize(
    "text", ["", "1 2 3 x\n", "1 2 3 x\n1 2 3 y\n", "1 2 3 x\n1 2 3 y\n1 2\n3\n", "1 2 x\n1 2 3 y\n1 2\n"]
)
def test_a_grid_that_is_none_is_one_line(script, tmp_path, text):
    (tmp_path / "grid-crystal0-cycle0-ang1-ang2.dat").write_text(text)
    said = script("plot-pr-contourmap", tmp_path, "-o", tmp_path / "a.png")
    assert said.status == 1
    assert said.err.count("\n") == 1
