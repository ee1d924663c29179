"""waterbg verify: every row of the table of silent losses is found, and honest changes are not."""

import json
import os
import re
import subprocess

import pytest

from waterbg.cli.base import run
from waterbg.stream import StreamFile, find_differences

from ..conftest import WATERBG
from ..stream import factory

ROW = factory.row()
GOOD = [factory.chunk(i, [factory.crystal([factory.row(h=h) for h in range(3)])]) for i in range(3)]
MIDDLE = GOOD[1]

DAMAGE = {
    "incomplete_chunk": MIDDLE.replace(b"photon_energy_eV = 9500.000000\n", b""),
    "peak_list": MIDDLE.replace(b"      300.00", b"   pixel"),
    "reflection_list": MIDDLE.replace(factory.row(h=1), factory.row(h=1) + b"\n"),
    "end_chunk": MIDDLE.replace(b"----- End chunk -----\n", b""),
    "end_crystal": MIDDLE.replace(b"--- End crystal\n", b""),
    "not_finite": MIDDLE.replace(b"      10.00", b"        nan", 1),
    "unknown_panel": MIDDLE.replace(b"   20.0 p0", b"   20.0 p9", 1),
    "off_panel": MIDDLE.replace(b"   20.0 p0", b"  -20.0 p0", 1),
    "lost_peaks": MIDDLE.replace(b"  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel\n", b""),
    "cell": MIDDLE.replace(b"bstar", b"starb"),
    "photon_energy": MIDDLE.replace(b"9500.000000", b"-1"),
    "index": MIDDLE.replace(b"   1    2    3", b" 600    2    3"),
    "index_base": MIDDLE.replace(b"   1    2    3", b"   1  002    3"),
    "num_reflections": MIDDLE.replace(b"num_reflections = 3", b"num_reflections = 4"),
    "panel_name": MIDDLE.replace(b"   20.0 p0", b"   20.0 " + b"p" * 70, 1),
    "long_line": MIDDLE.replace(b"hit = 1", b"note = " + b"x" * 1100),
    "header_line": MIDDLE.replace(b"hit = 1", b"header/int//a=3"),
    "nul": MIDDLE.replace(b"hit = 1", b"hit\0= 1"),
    "geometry": None,
    "several_streams": factory.stream() + MIDDLE,
    "other_geometry": factory.stream(geometry=factory.GEOMETRY.replace(b"-50", b"-60")) + MIDDLE,
    "stray_end": MIDDLE.replace(b"----- Begin chunk -----\n", b""),
    "repeated_end": MIDDLE.replace(b"End of reflections\n", b"End of reflections\n" * 2),
}


def verify(*words, capsys=None):
    status = run(["waterbg", "verify", *map(str, words)])
    return status, *(capsys.readouterr() if capsys else ())


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.stream"
    path.write_bytes(factory.stream(GOOD))
    return path


def test_a_clean_stream_is_clean(good, capsys):
    status, out, _ = verify(good, capsys=capsys)
    assert status == 0
    assert out == f"{good}: 3 chunks, 3 crystals, 9 reflections, 3 peaks; no findings\n"


@pytest.mark.parametrize("check", DAMAGE)
def test_each_kind_of_damage_is_named_with_line_and_byte_and_can_be_skipped(check, tmp_path, capsys):
    path = tmp_path / "bad.stream"
    if check == "geometry":
        text = factory.stream(GOOD, geometry=factory.GEOMETRY.replace(b"clen = 0.1\n", b""))
    else:
        text = factory.stream([GOOD[0], DAMAGE[check], GOOD[2]])
    path.write_bytes(text)
    status, out, _ = verify(path, "--json", capsys=capsys)
    found = json.loads(out)["findings"]
    assert status == 1
    assert check in [finding["check"] for finding in found]
    for finding in found:
        assert finding["line"] == text.count(b"\n", 0, finding["offset"]) + 1
    skips = [word for name in {finding["check"] for finding in found} for word in ("--skip", name)]
    assert verify(path, *skips) == (0,)


LOST = {
    "the beginning of the first chunk": ("stray_end", lambda text: text.replace(b"----- Begin chunk -----\n", b"", 1)),
    "the beginning of the last chunk": (
        "stray_end",
        lambda text: b"".join(text.rpartition(b"----- Begin chunk -----\n")[::2]),
    ),
    "the beginning of a crystal": ("stray_end", lambda text: text.replace(b"--- Begin crystal\n", b"", 1)),
    "the beginning of a peak list": ("stray_end", lambda text: text.replace(b"Peaks from peak search\n", b"", 1)),
    "the beginning of a list": (
        "stray_end",
        lambda text: text.replace(b"Reflections measured after indexing\n", b"", 1),
    ),
    "both ends of a list": (
        "reflection_list",
        lambda text: text.replace(b"Reflections measured after indexing\n", b"", 1).replace(
            b"End of reflections\n", b"", 1
        ),
    ),
    "a list before a second one in its crystal": (
        "reflection_list",
        lambda text: text.replace(b"--- End crystal\n--- Begin crystal\n", b""),
    ),
    "the program, at an index in a list that is lost": (
        "index",
        lambda text: text.replace(factory.row(h=1), factory.row(h=0x80000000 - 2**32) + b"\n", 1),
    ),
    "the end of a chunk and the beginning of the next": (
        "end_chunk",
        lambda text: text.replace(b"----- End chunk -----\n----- Begin chunk -----\n", b""),
    ),
    "a crystal from its cell on, up to the cell of the next": (
        "lost_crystal",
        lambda text: re.sub(rb"(Cell par.*\n)(?s:.*?)Cell (par.*\n)", rb"\g<1>Cell  \2", text, count=1),
    ),
    "a chunk from its peaks on, up to the peaks of the next": (
        "end_chunk",
        lambda text: text.replace(b"num_peaks = 1\n", b"num_peaks = 1\nnum_peaks = 2\n", 1),
    ),
    "a crystal from its radius on, up to the radius of the next": (
        "lost_crystal",
        lambda text: text.replace(b"profile_radius", b"profile_radius = 0.02 nm^-1\nprofile_radius", 1),
    ),
    "a peak list before a second one in its chunk": (
        "lost_peaks",
        lambda text: text.replace(
            b"End of peak list\n", b"End of peak list\nPeaks from peak search\nEnd of peak list\n"
        ),
    ),
    "a list, at a line that takes a piece for itself and its end the next": (
        "long_line",
        lambda text: text.replace(factory.row(h=1), factory.row(h=1)[:-1].ljust(1022) + b"\n", 1),
    ),
    "a chunk, at its end, after a line in pieces": ("long_line", lambda text: text[:-30] + b"x" * 1022 + b"\n"),
    "an I that is no float": ("not_finite", lambda text: text.replace(b"     10.00", b"      1e39", 1)),
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_lost_without_a_word_of_libcrystfel_is_named(what, tmp_path, capsys):
    check, damage = LOST[what]
    rows = [factory.row(h=h) for h in range(3)]
    good = factory.stream([factory.chunk(i, [factory.crystal(rows), factory.crystal(rows)]) for i in range(2)])
    text = damage(good)
    assert text != good
    path = tmp_path / "lost.stream"
    path.write_bytes(text)
    status, out, _ = verify(path, "--json", capsys=capsys)
    assert status == 1
    assert check in [finding["check"] for finding in json.loads(out)["findings"]]


@pytest.mark.parametrize(("fs", "off"), [(0.0, 0), (99.9, 0), (100.0, 0), (100.2, 1), (-0.1, 1), (float("nan"), 1)])
def test_a_position_is_on_its_panel_as_far_as_its_last_pixel_reaches(tmp_path, capsys, fs, off):
    path = tmp_path / "edge.stream"
    rows = [factory.row(), factory.row(h=2, fs=fs), factory.row(h=3, fs=fs)]
    path.write_bytes(factory.stream([factory.chunk(0, [factory.crystal(rows)])]))
    status, out, _ = verify(path, "--json", capsys=capsys)
    assert status == off
    found = [(finding["check"], finding["message"]) for finding in json.loads(out)["findings"]]
    said = f"fs {fs:g}, ss 20 is not on panel p0, and 1 more of this crystal"
    assert found == [("off_panel", said)] * off


def test_what_is_wrong_with_one_row_is_said_in_the_order_of_the_checks(tmp_path, capsys):
    row = factory.row(h=600, I=float("nan"), panel=b"p9")
    path = tmp_path / "bad.stream"
    path.write_bytes(factory.stream([factory.chunk(1, [factory.crystal([row])])]))
    _, out, _ = verify("--json", path, capsys=capsys)
    assert [finding["check"] for finding in json.loads(out)["findings"]] == ["not_finite", "index", "unknown_panel"]


def test_an_unknown_panel_is_named_once_where_its_first_reflection_is_and_with_their_number(tmp_path, capsys):
    path = tmp_path / "panel.stream"
    rows = [factory.row(h=h, panel=b"p9" if h in (1, 3, 4) else b"p0") for h in range(6)]
    text = factory.stream([factory.chunk(0, [factory.crystal(rows)])])
    path.write_bytes(text)
    _, out, _ = verify(path, "--json", capsys=capsys)
    (found,) = json.loads(out)["findings"]
    assert found["message"] == "no panel 'p9' in the geometry, 3 reflections here"
    assert found["offset"] == text.index(rows[1])


def test_a_long_comment_does_no_harm_in_the_geometry_but_in_a_chunk(tmp_path, capsys):
    path = tmp_path / "comment.stream"
    comment = b"; " + b"x" * 1100 + b"\n"
    path.write_bytes(factory.stream(GOOD, geometry=comment + factory.GEOMETRY))
    assert verify(path, capsys=capsys)[0] == 0
    path.write_bytes(factory.stream([GOOD[0].replace(b"hit = 1\n", comment)]))
    status, out, _ = verify(path, "--json", capsys=capsys)
    assert status == 1
    assert [finding["check"] for finding in json.loads(out)["findings"]] == ["long_line"]


@pytest.mark.parametrize("end", [b"End of peak list\n", b"End of reflections\n", b"--- End crystal\n"])
def test_an_end_that_stands_twice_loses_nothing(tmp_path, capsys, end):
    path = tmp_path / "twice.stream"
    path.write_bytes(factory.stream([GOOD[0].replace(end, end * 2)]))
    status, out, _ = verify(path, "--json", capsys=capsys)
    assert status == 1
    assert [finding["check"] for finding in json.loads(out)["findings"]] == ["repeated_end"]


def test_a_nul_in_the_geometry_ends_its_line_alone(tmp_path, capsys):
    path = tmp_path / "nul.stream"
    path.write_bytes(factory.stream(GOOD, geometry=factory.GEOMETRY.replace(b"clen", b"\0 = not read\nclen")))
    status, out, _ = verify(path, "--json", capsys=capsys)
    assert status == 1
    assert [finding["check"] for finding in json.loads(out)["findings"]] == ["nul"]


def test_a_lost_end_of_a_chunk_is_said_once(tmp_path, capsys):
    path = tmp_path / "joined.stream"
    text = factory.stream(GOOD[:2])
    for lost in (b"----- End chunk -----\n", b"----- End chunk -----\n----- Begin chunk -----\n"):
        path.write_bytes(text.replace(lost, b"", 1))
        _, out, _ = verify(path, "--json", capsys=capsys)
        found = [finding["check"] for finding in json.loads(out)["findings"]]
        assert found == ["end_chunk"]


def test_lines_that_stand_twice_with_one_value_are_no_finding(tmp_path, capsys):
    path = tmp_path / "twice.stream"
    once = rb"(?m)^((?:Image|Event|photon|Cell|astar|num_refl).*\n)"
    path.write_bytes(factory.stream([re.sub(once, rb"\1\1", chunk) for chunk in GOOD]))
    assert verify(path, capsys=capsys)[0] == 0


def test_what_is_left_of_a_long_line_is_not_called_a_blank_line(tmp_path, capsys):
    path = tmp_path / "long.stream"
    long = factory.row(panel=b"p0" + b" " * 3000)
    path.write_bytes(factory.stream([factory.chunk(0, [factory.crystal([factory.row(), long])])]))
    status, out, _ = verify(path, capsys=capsys)
    assert status == 1
    assert "found what is left of a line over 1021 bytes" in out
    assert "blank line" not in out


def test_a_last_line_that_is_no_peak_ends_the_reading_and_is_no_cut(tmp_path):
    path = tmp_path / "peaks.stream"
    text = factory.stream(GOOD[:1])
    for last, check in ((b"----- End chunk -----\n", "peak_list"), (b"  10.00   20.", "cut")):
        path.write_bytes(text[: text.index(b"End of peak list")] + last)
        with StreamFile(path) as stream:
            assert list(stream.chunks()) == []
            assert stream.ended.check == check


def test_a_stream_cut_in_its_last_chunk_is_found(tmp_path, capsys):
    path = tmp_path / "cut.stream"
    path.write_bytes(factory.stream(GOOD)[:-30])
    status, out, _ = verify(path, capsys=capsys)
    assert status == 1
    assert "[cut]" in out


def test_a_stream_that_cannot_be_opened_is_one_line_and_status_1(tmp_path, capsys):
    path = tmp_path / "none.stream"
    status, out, err = verify(path, capsys=capsys)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert str(path) in err


def test_wrong_usage_is_status_2(good, capsys):
    assert verify() == (2,)
    assert verify(good, "--skip", "nonsense") == (2,)
    assert verify(good, good, good) == (2,)


ALLOWED = {
    "numbers": (factory.row(h=1), factory.row(h=1, I=-99999.0, sigma=3.5, peak=0.0, background=1e8)),
    "a dropped row": (factory.row(h=1), b""),
}
FORBIDDEN = {
    "an index": (factory.row(h=1), factory.row(h=9)),
    "a position": (factory.row(h=1), factory.row(h=1, fs=11.0)),
    "a panel": (b"   20.0 p0", b"   20.0 p1"),
    "a note": (b"hit = 1", b"hit = 0"),
    "an axis": (b"+0.2222222", b"+0.2222223"),
    "a new row": (factory.row(h=1), factory.row(h=1) + factory.row(h=7)),
    "an infinite number": (factory.row(h=1), factory.row(h=1, I=float("inf"))),
    "a peak": (b"300.00", b"301.00"),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_what_subtract_may_change_is_no_difference(good, tmp_path, change, capsys):
    old, new = ALLOWED[change]
    changed = GOOD[1].replace(old, new)
    if not new:
        changed = changed.replace(b"num_reflections = 3", b"num_reflections = 2")
    other = tmp_path / "other.stream"
    text = factory.stream([GOOD[0], changed, GOOD[2]])
    other.write_bytes(text.replace(b"----- Begin geometry", b"waterbg 0.1 subtract\n----- Begin geometry"))
    status, out, err = verify(good, other, capsys=capsys)
    assert (status, err) == (0, "")
    changed, dropped = (1, 0) if new else (0, 1)
    assert f"{changed} of 9 reflections changed, {dropped} dropped; nothing else differs" in out


@pytest.mark.parametrize("change", FORBIDDEN)
def test_any_other_change_is_a_difference(good, tmp_path, change, capsys):
    old, new = FORBIDDEN[change]
    assert old in GOOD[1]
    other = tmp_path / "other.stream"
    other.write_bytes(factory.stream([GOOD[0], GOOD[1].replace(old, new, 1), GOOD[2]]))
    status, out, _ = verify(good, other, "--json", capsys=capsys)
    said = json.loads(out)
    assert status == 1
    assert said["n_differences"] >= 1
    _, _, told = verify(good, other, capsys=capsys)
    n = said["n_differences"]
    assert f"{n} other difference{'s' if n > 1 else ''}\n" in told


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_chunk_is_a_difference_unless_it_may_lack(good, tmp_path, lost):
    other = tmp_path / "other.stream"
    other.write_bytes(factory.stream([text for number, text in enumerate(GOOD) if number != lost]))
    assert verify(good, other) == (1,)
    assert verify(good, other, "--may-lack-chunks") == (0,)


def differences(tmp_path, before, after, chunks_may_lack=False):
    paths = tmp_path / "before.stream", tmp_path / "after.stream"
    for path, chunks in zip(paths, (before, after), strict=True):
        path.write_bytes(factory.stream(chunks))
    return list(find_differences(*map(str, paths), chunks_may_lack))


def test_chunks_that_are_new_or_lost_are_said_in_one_line(tmp_path):
    (said,) = differences(tmp_path, GOOD[:2], GOOD)
    assert "has more chunks, from byte" in said
    (said,) = differences(tmp_path, GOOD, GOOD[:1])
    assert "lacks the chunk at byte" in said


@pytest.mark.parametrize("at", range(4))
def test_a_line_outside_of_the_chunks_is_a_difference(tmp_path, at):
    noted = [*GOOD[:at], b"a note\n", *GOOD[at:]]
    assert len(differences(tmp_path, GOOD, noted)) == 1
    assert len(differences(tmp_path, noted, GOOD)) == 1
    assert differences(tmp_path, noted, noted) == []


@pytest.mark.parametrize("lost", [[0], [1], [2], [1, 2], [0, 1, 2]])
def test_what_stands_before_chunks_that_may_lack_must_stay(tmp_path, lost):
    noted = [part for i, text in enumerate(GOOD) for part in (b"note %d\n" % i, text)]
    left = [part for part in noted if part not in [GOOD[i] for i in lost]]
    assert differences(tmp_path, noted, left, chunks_may_lack=True) == []
    for i in lost:
        less = [part for part in left if part != b"note %d\n" % i]
        assert differences(tmp_path, noted, less, chunks_may_lack=True) != []


def test_a_line_of_an_earlier_subtraction_is_not_taken_for_a_new_one(tmp_path):
    paths = tmp_path / "before.stream", tmp_path / "after.stream"
    for path, chunks in zip(paths, ([GOOD[0], b"a note\n", GOOD[1]], [b"a note\n"]), strict=True):
        path.write_bytes(factory.stream(chunks, audit=b"Generated by CrystFEL 0.12.0\nwaterbg 0.1 subtract\n"))
    assert list(find_differences(*map(str, paths), True)) == []


def test_standard_input_is_checked_through_a_pipe(good):
    import subprocess

    words = [WATERBG, "verify", "-", "--json"]
    done = subprocess.run(words, input=good.read_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["reflections"] == 9


def test_what_is_wrong_with_a_stream_from_a_pipe_is_said_without_its_line(good, capsys):
    ours, theirs = os.pipe()
    os.write(theirs, good.read_bytes()[:-1000])
    os.close(theirs)
    assert verify(f"/dev/fd/{ours}") == (1,)
    os.close(ours)
    assert f"/dev/fd/{ours} (byte " in capsys.readouterr().out


def test_names_that_are_no_utf_8_are_printed_as_they_are(tmp_path):
    path = tmp_path / "latin.stream"
    path.write_bytes(factory.stream(GOOD, geometry=factory.GEOMETRY + b"p0/caf\xe9\n"))
    words = [WATERBG, "verify", str(path)]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONUTF8": "1"}, check=False)
    assert done.returncode == 1
    assert b"caf\xe9" in done.stdout
    assert b"Traceback" not in done.stderr
