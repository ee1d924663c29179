import errno
import json
import math
import os
import re

import pytest

from waterbg.crystfel.figures import draw_merge
from waterbg.crystfel.merge import merge_streams
from waterbg.crystfel.options import Option
from waterbg.errors import OutputError, ProgramError, StreamError, UsageError, WaterbgError

from ..stream import factory

SHORT = factory.stream([factory.chunk(0, [factory.crystal([factory.row()])])])
NOGRAD, GRAD = "rings-nocen-nosat-nograd.stream", "rings-nocen-nosat-grad.stream"


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder with two short streams and a cell; the stand-ins only look at names."""
    for name in ("nograd.stream", "grad.stream"):
        (tmp_path / name).write_bytes(SHORT)
    (tmp_path / "xtal.cell").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def merge(folder, **more):
    arguments = {"symmetry": "4/mmm", "cell": "xtal.cell", "nshells": 5, "crystfel_bin": str(folder)} | more
    return merge_streams(["nograd.stream", "grad.stream"], **arguments)


def test_two_streams_are_laid_side_by_side(merging, inputs):
    report = merge(merging, output="out")
    assert [m.label for m in report.merged] == ["A", "B"]
    a, b = report.merged
    # the numbers of the recorded run of the real programs
    assert a.overall["Rsplit"] == 27.03
    assert a.overall["CC"] == 0.8395662
    assert a.columns["snr"] == (8.81, 8.83, 15.43, 6.88, 3.90)
    assert b.overall["snr"] != a.overall["snr"]
    assert report.between[0].overall["CC"] > 0.99
    assert report.notes == []
    text = report.text()
    assert text == (inputs / "out" / "merge.txt").read_text()
    assert "A = nograd.stream" in text
    assert re.search(r"overall +22\.1 +", text)
    assert "A -> B: I/sigma 10.04 -> " in text
    assert "of 5 shells" in text


def test_the_json_holds_every_number_and_null_for_no_answer(merging, inputs):
    report = merge(merging, output="out")
    value = json.loads((inputs / "out" / "merge.json").read_text())
    assert value == json.loads(report.as_json())
    assert value["crystfel"] == "0.12.0-113-g80f24855+"
    assert value["streams"][0]["columns"]["Rsplit"][-1] is None
    assert len(value["shell_edges_per_nm"]) == 6


def test_process_hkl_runs_once_for_all_and_once_for_each_half(merging, inputs):
    merge(merging, output="out", options=[Option("min-res", "3"), Option("scale")])
    for name, half in (("nograd.hkl", ""), ("nograd.hkl1", " --even-only"), ("nograd.hkl2", " --odd-only")):
        expected = f"process_hkl -i nograd.stream -y 4/mmm --min-res=3 --scale{half} -o out/{name}\n"
        assert (inputs / "out" / name).read_text().startswith(expected)


def test_partialator_runs_once_and_keeps_its_logs_beside_its_list(merging, inputs):
    merge(merging, output="out", program="partialator", options=[Option("model", "unity"), Option("j", "2")])
    expected = (
        "partialator -i nograd.stream -y 4/mmm --model=unity -j 2 --log-folder=out/nograd.pr-logs -o out/nograd.hkl\n"
    )
    assert (inputs / "out" / "nograd.hkl1").read_text().startswith(expected)


def test_each_stream_has_its_own_of_what_an_option_lets_the_program_write(merging, inputs):
    options = [Option("unmerged-output", "all.txt"), Option("output-cell", str(inputs / "mean.cell")), Option("j", "2")]
    merge(merging, output="out", program="partialator", options=options)
    for name in ("nograd", "grad"):
        said = (inputs / "out" / f"{name}.hkl").read_text()
        assert f"--unmerged-output=out/{name}-all.txt --output-cell={inputs}/{name}-mean.cell -j 2 --log" in said
    # beside the folder that is made here, and not in one of that name within it
    merge(merging, output="out3", program="partialator", options=[Option("unmerged-output", "out/all.txt")])
    assert "--unmerged-output=out/grad-all.txt" in (inputs / "out3" / "grad.hkl").read_text()
    (inputs / "grad-mean.cell").write_bytes(SHORT)
    with pytest.raises(OutputError, match=r"grad-mean\.cell: holds a stream, which nothing else replaces"):
        merge(merging, output="out2", program="partialator", options=options)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("gone/all.txt", "gone: there is no such folder"), ("check.dat", "nograd-check.dat: is a result of merge")],
)
def test_what_an_option_lets_the_program_write_has_a_place_or_nothing_is_merged(merging, inputs, value, reason):
    with pytest.raises(OutputError, match=reason):
        merge(merging, output="out", program="partialator", options=[Option("unmerged-output", value)])
    assert not (inputs / "out").exists()


def test_statistics_of_single_crystals_are_those_of_the_whole_run_not_of_its_last_half(merging, inputs):
    merge(merging, output="out", options=[Option("scale"), Option("stat", "crystals.txt")])
    for ending, said in (("", " --stat=out/grad-crystals.txt"), ("1", " --even-only"), ("2", " --odd-only")):
        expected = f"process_hkl -i grad.stream -y 4/mmm --scale{said} -o out/grad.hkl{ending}\n"
        assert (inputs / "out" / f"grad.hkl{ending}").read_text().startswith(expected)


def test_crystals_that_partialator_left_out_are_said(merging, inputs, program):
    stand_in = (merging / "partialator").read_text().split("\n", 2)[2]
    reject = 'echo "Rejecting a.h5 //0 crystal 0 because profile radius is obviously too big (2e+07 3e+07)." >&2'
    program("partialator", f'case "$*" in *nograd*) {reject};; esac\n{stand_in}')
    report = merge(merging, output="out", program="partialator")
    said = "note: partialator left out crystals of A: 1 (profile radius is obviously too big)\n"
    assert report.text().endswith(said)
    assert "of B:" not in report.text()
    lists = json.loads((inputs / "out" / "merge.json").read_text())["streams"]
    assert [one["left_out"] for one in lists] == [{"profile radius is obviously too big": 1}, {}]


def test_all_lists_are_looked_at_in_the_same_shells(merging, inputs):
    merge(merging, output="out")
    commands = [line for line in (inputs / "out" / "merge.log").read_text().splitlines() if line.startswith("$ ")]
    limited = {re.search(r"--rmin=\S+ --rmax=\S+", line)[0] for line in commands if "--rmin" in line}
    assert limited == {"--rmin=5.662590000e+08 --rmax=5.652447000e+09"}  # of the wider list, and a bit
    merge(merging, output="out2", lowres=20, highres=2)
    assert "--rmin=5.000000000e+08 --rmax=5.000000000e+09" in (inputs / "out2" / "merge.log").read_text()


def test_what_an_earlier_merge_left_goes_before_the_next(merging, inputs, program):
    merge(merging, output="out")
    (inputs / "out" / "merge.png").touch()
    program("process_hkl", "exit 1")
    with pytest.raises(ProgramError):
        merge(merging, output="out", force=True)
    assert not {"merge.txt", "merge.json", "merge.png"} & set(os.listdir(inputs / "out"))


def test_a_figure_of_merit_without_answer_is_a_note(merging, inputs, recorded, program):
    program("compare_hkl", f"cat {recorded}/compare-none.err >&2; kill -SEGV $$")
    report = merge(merging, output="out")
    assert len(report.notes) == 8
    assert "no Rsplit for A: compare_hkl (exit status -11): killed by SIGSEGV; it said:" in report.notes[0]
    assert "Not enough reflections for scaling" in report.notes[0]
    assert report.merged[0].overall["snr"] == 10.036724
    assert "Rsplit - -> - % (better in 0 of 0 shells)" in report.text()


def test_nothing_merged_is_an_error(merging, inputs, recorded, program):
    program(
        "check_hkl",
        f'for a in "$@"; do case $a in --shell-file=*) cp {recorded}/check-grad.dat "${{a#*=}}";; esac; done\n'
        f"cat {recorded}/check-none.err >&2",
    )
    with pytest.raises(WaterbgError, match=r"nothing was merged: the options .* leave no reflection; .*merge\.log"):
        merge(merging, output="out")


def test_a_failing_merge_ends_with_its_last_words(merging, inputs, program):
    program("process_hkl", 'echo "Failed to open stream." >&2; exit 1')
    with pytest.raises(ProgramError, match=r"process_hkl \(exit status 1\): it said: Failed to open stream\."):
        merge(merging, output="out")
    assert not (inputs / "out" / "merge.json").exists()


def test_a_program_that_writes_nothing_is_an_error(merging, inputs, program):
    program("process_hkl", "exit 0")
    with pytest.raises(ProgramError, match=r"wrote no out/nograd\.hkl"):
        merge(merging, output="out")


def test_what_a_program_could_not_write_to_its_end_is_named(merging, inputs, program, recorded):
    half = "did not write it to its end: is the disk full?"
    table = (
        f'for a in "$@"; do case $a in --shell-file=*) head -n 3 {recorded}/check-grad.dat >"${{a#*=}}";; esac; done'
    )
    program("check_hkl", f"{table}\ncat {recorded}/check-grad.err >&2")
    with pytest.raises(OutputError, match=re.escape(f"out/nograd-check.dat: check_hkl {half}")):
        merge(merging, output="out")
    program("process_hkl", 'while [ "$1" != -o ]; do shift; done; echo "   1    0    0" >"$2"')
    with pytest.raises(OutputError, match=re.escape(f"out/nograd.hkl: process_hkl {half}")):
        merge(merging, output="out", force=True)


@pytest.mark.parametrize("name", ["merge.txt", "merge.json"])
def test_a_result_for_which_there_is_no_room_is_named(merging, inputs, monkeypatch, name):
    fsync = os.fsync

    def full(number):
        if os.readlink(f"/proc/self/fd/{number}").endswith(f"{name}.part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=f"^out/{name}: no room for it"):
        merge(merging, output="out")


def test_a_list_of_an_earlier_run_is_not_taken_for_this_ones(merging, inputs, program):
    merge(merging, output="out")
    program("process_hkl", "exit 0")
    with pytest.raises(ProgramError, match=r"wrote no out/nograd\.hkl"):
        merge(merging, output="out", force=True)


def test_a_full_folder_is_left_alone_without_force(merging, inputs):
    merge(merging, output="out")
    before = (inputs / "out" / "merge.json").read_bytes()
    with pytest.raises(OutputError, match="is not empty"):
        merge(merging, output="out")
    assert (inputs / "out" / "merge.json").read_bytes() == before
    merge(merging, output="out", force=True)
    assert (inputs / "out" / "merge.log").read_text().count("process_hkl -i nograd.stream") == 3


def test_the_folder_is_named_after_the_first_stream(merging, inputs):
    merge(merging)
    assert (inputs / "nograd.merge" / "merge.json").exists()


def test_streams_of_one_name_get_different_lists(merging, inputs):
    for folder in ("before", "after"):
        (inputs / folder).mkdir()
        (inputs / folder / "run.stream").write_bytes(SHORT)
    arguments = {"symmetry": "4/mmm", "cell": "xtal.cell", "nshells": 5, "crystfel_bin": str(merging)}
    report = merge_streams(["before/run.stream", "after/run.stream"], "out", **arguments)
    assert [m.hkl for m in report.merged] == ["out/run.hkl", "out/run-2.hkl"]


def test_a_stream_with_the_name_of_a_pair_keeps_its_own_tables(merging, inputs):
    (inputs / "A-B.stream").write_bytes(SHORT)
    arguments = {"symmetry": "4/mmm", "cell": "xtal.cell", "nshells": 5, "crystfel_bin": str(merging)}
    report = merge_streams(["A-B.stream", "grad.stream"], "out", **arguments)
    assert [m.hkl for m in report.merged] == ["out/A-B-2.hkl", "out/grad.hkl"]
    assert {"A-B-2-CC.dat", "A-B-CC.dat"} < set(os.listdir(inputs / "out"))


@pytest.mark.parametrize("name", ["run.hkl", "run.hkl1", "merge.txt", "run-check.dat", "A-B-CC.dat"])
def test_no_result_replaces_an_input_even_by_force(merging, inputs, name):
    (inputs / "run.stream").write_bytes(SHORT)
    (inputs / name).write_bytes(SHORT)
    arguments = {"symmetry": "4/mmm", "nshells": 5, "crystfel_bin": str(merging), "force": True}
    with pytest.raises(OutputError, match=r"is the input itself|holds a stream, which nothing else replaces"):
        merge_streams(["run.stream", "grad.stream"], ".", cell=name, **arguments)
    with pytest.raises(OutputError, match=r"is the input itself|holds a stream, which nothing else replaces"):
        merge_streams(["run.stream", name], ".", cell="xtal.cell", **arguments)
    (inputs / name).write_text("0")
    with pytest.raises(OutputError, match=f"{name}: is the input itself"):
        options = [Option("custom-split", name)]
        merge_streams(["run.stream", "grad.stream"], ".", cell="xtal.cell", options=options, **arguments)
    assert (inputs / name).read_text() == "0"


@pytest.mark.crystfel
def test_a_folder_whose_name_begins_with_a_dash_is_no_option(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    golden = data / "golden" / "small"
    (tmp_path / "-run.stream").write_bytes((golden / NOGRAD).read_bytes())
    report = merge_streams(["./-run.stream"], "-merged", symmetry="4/mmm", cell=str(golden / "xtal.cell"), nshells=1)
    assert report.merged[0].overall["Rsplit"] > 0


def test_missing_files_are_named_before_anything_runs(merging, inputs):
    for cell, said in (("nix.cell", "No such file or directory"), (".", "Is a directory")):
        with pytest.raises(WaterbgError, match=f"{re.escape(cell)}: cannot be read .{said}"):
            merge(merging, output="out", cell=cell)
    assert not (inputs / "out").exists()


def test_a_cell_that_crystfel_cannot_read_is_told_before_anything_is_merged(merging, inputs, program):
    refuse = 'case "$*" in *few.hkl*) echo "Failed to load cell from xtal.cell" >&2; exit 1;; esac'
    program("check_hkl", refuse)
    with pytest.raises(WaterbgError, match=r"^xtal\.cell: check_hkl cannot use it .*: Failed to load cell from xtal"):
        merge(merging, output="out")
    assert not (inputs / "out").exists()


@pytest.mark.crystfel
def test_the_real_check_hkl_refuses_a_cell_file_of_rubbish_before_anything_is_merged(inputs):
    (inputs / "xtal.cell").write_text("rubbish\n")
    with pytest.raises(WaterbgError, match=r"xtal\.cell: check_hkl cannot use it as a cell file; it said: Failed to"):
        merge_streams(["nograd.stream"], "out", symmetry="4/mmm", cell="xtal.cell")
    assert not (inputs / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is empty"),
        (factory.stream([]), "has no chunks"),
        (factory.stream([factory.chunk(0), factory.chunk(1)])[:-30], "has 1 chunk, none .*; the file ends inside"),
    ],
)
def test_a_stream_with_nothing_to_merge_is_told_before_anything_runs(merging, inputs, text, said):
    (inputs / "grad.stream").write_bytes(text)
    with pytest.raises(StreamError, match=rf"grad\.stream.*{said}"):
        merge(merging, output="out")
    assert not (inputs / "out").exists()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"lowres": 2, "highres": 3}, r"--lowres=2 must be more than --highres=3"),
        ({"lowres": 3, "highres": 3}, r"--lowres=3 must be more than --highres=3"),
        ({"highres": -3}, r"--highres=-3: a resolution in Å is needed"),
        ({"lowres": 0}, r"--lowres=0: a resolution in Å is needed"),
        ({"highres": float("nan")}, r"--highres=nan: a resolution in Å is needed"),
    ],
)
def test_limits_that_leave_no_shell_are_wrong_usage_before_anything_runs(merging, inputs, limits, said):
    with pytest.raises(UsageError, match=said):
        merge(merging, output="out", **limits)
    assert not (inputs / "out").exists()


@pytest.mark.parametrize("half", ["even-only", "odd-only"])
def test_half_a_data_set_is_wrong_usage_before_anything_runs(merging, inputs, half):
    with pytest.raises(UsageError, match=f"--{half}: each half-data set is merged anyway"):
        merge(merging, output="out", options=[Option(half)])
    assert not (inputs / "out").exists()


def test_shells_that_exclude_everything_that_was_merged_are_wrong_usage(merging, inputs):
    with pytest.raises(UsageError, match="--lowres and --highres exclude everything"):
        merge(merging, output="out", highres=300)


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_the_figure_shows_any_number_of_streams(merging, inputs, streams):
    names = [f"nograd{i}.stream" for i in range(streams)]
    for name in names:
        (inputs / name).write_bytes(SHORT)
    report = merge_streams(names, "out", symmetry="4/mmm", cell="xtal.cell", crystfel_bin=str(merging), nshells=5)
    draw_merge(report, "figure.png")
    assert (inputs / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_names_in_the_figure_are_drawn_letter_by_letter_and_fit(merging, inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr("waterbg.crystfel.figures.save_figure", lambda figure, *_, **__: drawn.append(figure))
    names = ["run$a_{b$.stream", f"{'a' * 240}.stream"]
    for name in names:
        (inputs / name).write_bytes(SHORT)
    report = merge_streams(names, "out", symmetry="4/mmm", cell="xtal.cell", crystfel_bin=str(merging), nshells=5)
    draw_merge(report, "figure.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert legend.get_texts()[0].get_text().replace("\\", "") == "A run$a_{b$.stream"


def test_a_cc_star_beyond_all_bounds_does_not_flatten_the_others(merging, inputs, monkeypatch):
    drawn = []
    monkeypatch.setattr("waterbg.crystfel.figures.save_figure", lambda figure, *_, **__: drawn.append(figure))
    (inputs / "a.stream").write_bytes(SHORT)
    report = merge_streams(
        ["a.stream"], "out", symmetry="4/mmm", cell="xtal.cell", crystfel_bin=str(merging), nshells=5
    )
    columns = report.merged[0].columns
    columns["CCstar"] = (*columns["CCstar"][:-1], 9.5e7)  # as compare_hkl says where CC½ is -1
    draw_merge(report, "figure.png")
    (star,) = [axes for axes in drawn[0].axes if axes.get_ylabel() == "CC*"]
    assert star.get_ylim()[1] < 1.1


@pytest.mark.crystfel
def test_the_real_programs_give_the_recorded_numbers(data, tmp_path, recorded):
    golden = data / "golden" / "small"
    report = merge_streams(
        [str(golden / NOGRAD), str(golden / GRAD)],
        str(tmp_path / "out"),
        symmetry="4/mmm",
        cell=str(golden / "xtal.cell"),
        nshells=5,
    )
    a, b = report.merged
    assert a.overall["CC"] == pytest.approx(0.8395662, abs=1e-6)
    assert a.overall["Rsplit"] == pytest.approx(27.03, abs=0.01)
    assert a.overall["snr"] == pytest.approx(10.0367, abs=1e-3)
    assert b.columns["reflections"] == pytest.approx(
        [float(line.split()[1]) for line in (recorded / "check-grad.dat").read_text().splitlines()[1:]], abs=1
    )
    assert report.between[0].overall["R1I"] == pytest.approx(1, abs=1)
    assert math.isfinite(report.between[0].overall["CC"])


@pytest.mark.crystfel
def test_the_real_partialator_writes_its_halves_and_logs_where_they_belong(data, tmp_path, monkeypatch):
    golden = data / "golden" / "small"
    monkeypatch.chdir(tmp_path)
    report = merge_streams(
        [str(golden / NOGRAD)],
        "out",
        symmetry="4/mmm",
        cell=str(golden / "xtal.cell"),
        nshells=5,
        program="partialator",
        options=[Option("model", "unity"), Option("iterations", "1")],
    )
    assert report.merged[0].overall["CC"] > 0.5
    assert sorted(os.listdir(tmp_path)) == ["out"]


@pytest.mark.crystfel
def test_the_real_partialator_writes_its_list_of_every_cycle_and_every_part(data, tmp_path, monkeypatch):
    golden = data / "golden" / "small"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "part.lst").write_text("".join(f"images.h5 //{i} {'even odd'.split()[i % 2]}\n" for i in range(6)))
    (tmp_path / "run.stream").write_bytes((golden / NOGRAD).read_bytes())
    options = [Option("model", "xsphere"), Option("iterations", "1"), Option("output-every-cycle")]
    options += [Option("custom-split", "part.lst"), Option("unmerged-output", "all.txt")]
    merge_streams(
        ["run.stream"],
        "out",
        symmetry="4/mmm",
        cell=str(golden / "xtal.cell"),
        nshells=5,
        program="partialator",
        options=options,
    )
    lists = {f"{cycle}run{part}.hkl" for cycle in ("", "iter01_") for part in ("", "-even", "-odd")}
    assert lists | {"run-all.txt", "run.pr-logs"} <= set(os.listdir(tmp_path / "out"))
    assert set(os.listdir(tmp_path)) == {"out", "part.lst", "run.stream"}
