"""Streams and geometries that are unusual, enormous, or change while they are read."""

import errno
import os
import re
import time

import numpy as np
import pytest

from waterbg.cli.base import run
from waterbg.geometry import parse_geometry
from waterbg.simulate import write_dataset
from waterbg.stream import StreamFile
from waterbg.stream import grammar as g

from .world import EXPERIMENT, World, assert_honest, assert_one_line, harm_at, per_event

METHODS = ["profile", "rings"]
CRYSTAL = re.compile(rb"--- Begin crystal\n.*?--- End crystal\n", re.DOTALL)
ROWS = re.compile(
    rb"(num_reflections = )\d+(\n.*?" + re.escape(g.REFLECTION_COLUMNS) + rb"\n)(.*?)(End of refl)", re.DOTALL
)


def keep_rows(text, n):
    """Every crystal with its first n reflections only."""

    def shorten(found):
        rows = b"".join(found[3].splitlines(keepends=True)[:n])
        return found[1] + b"%d" % rows.count(b"\n") + found[2] + rows + found[4]

    return ROWS.sub(shorten, text)


def chunks_of(text):
    at = text.index(b"----- Begin chunk")
    return text[:at], re.findall(rb"----- Begin chunk -----\n.*?----- End chunk -----\n", text[at:], re.DOTALL)


# -- several streams in one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_streams_of_different_geometries_need_one_that_is_given_for_all(world, jobs, capsys):
    text = world.stream.read_bytes()
    first = world.folder / "first.geom"
    with StreamFile(str(world.stream)) as stream:
        first.write_bytes(stream.geometry_text)
    world.stream.write_bytes(text + text.replace(b"clen = ", b"clen = 1", 1))
    assert world.subtract("-j", jobs) == 1
    assert "take these streams one by one, or give one for all (-g)" in capsys.readouterr().err
    assert world.subtract("-j", jobs, "-g", first) == 0
    assert "10 chunks, 10 crystals" in capsys.readouterr().err


# -- chunks and crystals with nothing in them ---------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_chunks_without_crystals_among_others_are_copied_as_they_are(world, method, jobs, capsys):
    header, chunks = chunks_of(world.stream.read_bytes())
    blank = CRYSTAL.sub(b"", chunks[0]).replace(b"run.h5", b"never looked at.h5")
    world.stream.write_bytes(header + blank + chunks[0] + blank * 5 + b"".join(chunks[1:]) + blank)
    assert world.subtract(f"--integration={method}", "-j", jobs) == 0
    assert "12 chunks, 5 crystals" in capsys.readouterr().err
    assert_honest(world.stream, world.out)
    assert world.out.read_bytes().count(blank) == 7


@pytest.mark.parametrize("energy", [b"0.000000", b"nan"])
def test_a_blank_shot_may_have_no_photon_energy_and_one_with_reflections_may_not(world, energy, capsys):
    header, chunks = chunks_of(world.stream.read_bytes())
    dark = re.sub(rb"(?m)^(photon_energy_eV = ).*$", rb"\g<1>" + energy, chunks[0])
    world.stream.write_bytes(header + CRYSTAL.sub(b"", dark) + b"".join(chunks))
    assert world.subtract() == 0
    assert "6 chunks, 5 crystals" in capsys.readouterr().err
    assert_honest(world.stream, world.out)
    world.stream.write_bytes(header + b"".join(chunks) + dark)
    assert world.subtract("--force") == 1
    assert "photon energy" in capsys.readouterr().err


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_of_nothing_but_misses_comes_out_as_it_was(world, method, capsys):
    world.edit(lambda text: CRYSTAL.sub(b"", text))
    world.images.unlink()
    assert world.subtract(f"--integration={method}") == 0
    assert "5 chunks, 0 crystals" in capsys.readouterr().err
    before, after = (chunks_of(path.read_bytes())[1] for path in (world.stream, world.out))
    assert before == after


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_without_chunks_comes_out_with_its_header(world, method, capsys):
    world.edit(lambda text: chunks_of(text)[0])
    assert world.subtract(f"--integration={method}") == 0
    assert "0 chunks" in capsys.readouterr().err
    assert_honest(world.stream, world.out)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_crystals_without_reflections_stay_beside_those_that_have_some(world, method, jobs, capsys):
    header, chunks = chunks_of(world.stream.read_bytes())
    empty = keep_rows(chunks[0], 0)
    unlisted = re.sub(
        rb"Reflections measured.*End of reflections", b"No integrated reflections.", empty, flags=re.DOTALL
    )
    double = chunks[1].replace(b"----- End chunk", CRYSTAL.search(empty)[0] + b"----- End chunk")
    assert unlisted != empty
    world.stream.write_bytes(header + empty + unlisted + double + b"".join(chunks[2:]))
    assert world.subtract(f"--integration={method}", "-j", jobs) == 0
    assert "6 chunks, 7 crystals" in capsys.readouterr().err
    assert_honest(world.stream, world.out)
    assert world.out.read_bytes().count(empty) == 1
    assert world.out.read_bytes().count(unlisted) == 1


@pytest.mark.parametrize("method", METHODS)
def test_one_reflection_is_enough(world, method, capsys):
    world.edit(lambda text: (lambda header, chunks: header + keep_rows(chunks[3], 1))(*chunks_of(text)))
    assert world.subtract(f"--integration={method}") == 0
    assert "1 chunks, 1 crystals, 1 reflections integrated" in capsys.readouterr().err
    assert_honest(world.stream, world.out)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_crystal_of_a_hundred_thousand_reflections_takes_seconds(world, rng, method, jobs):
    n = 100_000
    rows = b"".join(
        b"%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f p%d\n"
        % (*rng.integers(-200, 200, 3), 10, 1, 20, 10, rng.uniform(2, 222), 110 * (p := i % 2) + rng.uniform(2, 108), p)
        for i in range(n)
    )

    def enlarge(text):
        header, chunks = chunks_of(text)
        many = ROWS.sub(lambda m: m[1] + b"%d" % n + m[2] + rows + m[4], chunks[1])
        return header + chunks[0] + many + chunks[2]

    world.edit(enlarge)
    began = time.process_time()
    assert world.subtract(f"--integration={method}", "-j", jobs) == 0
    assert time.process_time() - began < 30
    assert_honest(world.stream, world.out)


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [(b"p" * 60, b"q" * 60), ("ψ-панель".encode(), b"m\xff\xfe\xe9"), (b"'$(id)", b'a"b\\n')]
)
def test_long_and_strange_panel_names_change_no_number(world, names):
    words = ("--integration=rings", "--int-radius=3,5,8")
    assert world.subtract(*words) == 0
    plain = per_event(world.out)
    world.edit(lambda text: re.sub(rb"\bp([01])\b", lambda m: names[int(m[1])], text))
    world.out.unlink()
    assert world.subtract(*words) == 0
    assert per_event(world.out) == plain
    assert_honest(world.stream, world.out)


@pytest.mark.parametrize(
    "name", ["with spaces and ümläüts 日本", "quote' \" $(touch pwned) ; &", "-o", "a\nb", b"\xff\xfe\xe9"]
)
def test_any_name_of_folder_stream_image_geometry_and_output_will_do(original, tmp_path, name, capfd):
    folder = os.fsencode(tmp_path) + b"/" + os.fsencode(name)
    world = World.copy(original, tmp_path / os.fsdecode(name))
    inside = re.search(rb"geometry file -----\n(.*?)----- End geom", world.stream.read_bytes(), re.DOTALL)[1]
    stem = os.fsdecode(name)
    paths = {kind: world.folder / f"{stem}.{kind}" for kind in ("stream", "geom", "h5")}
    paths["geom"].write_bytes(inside)
    newline = b"\n" in os.fsencode(name)
    if not newline:  # a stream cannot name it
        world.edit(lambda text: text.replace(b"run.h5", os.fsencode(name) + b".h5"))
        world.images.rename(paths["h5"])
    world.stream.rename(paths["stream"])
    out = world.folder / f"out {stem}.stream"
    words = ["waterbg", "subtract", str(paths["stream"]), "-o", str(out), "-g", str(paths["geom"]), "-j", "2"]
    assert run([*words, "--prefix", str(world.folder)]) == 0
    assert "5 chunks, 5 crystals" in capfd.readouterr().err
    assert_honest(paths["stream"], out)
    assert not os.path.exists("pwned")
    assert os.path.isdir(folder)


def test_bytes_that_are_no_utf_8_are_copied_as_they_are(world, capsys):
    world.edit(lambda text: text.replace(b"hit = 1\n", b"hit = 1\nheader/\xff\xe9\xc0 = \xc3\xa9\x80 caf\xe9\n"))
    world.edit(lambda text: text.replace(b"Generated by", b"# caf\xe9 \xff\nGenerated by", 1))
    for jobs in (1, 2):
        assert world.subtract("--force", "-j", jobs) == 0
        assert_honest(world.stream, world.out)
        assert world.out.read_bytes().count(b"header/\xff\xe9\xc0 = \xc3\xa9\x80 caf\xe9\n") == 5


# -- enormous detectors -------------------------------------------------------------------------------------------


def cut_panel(text, rows, columns):
    """The one panel p0 as tiles of ``rows`` by ``columns`` pixels, in the geometry and in every list."""
    detector = parse_geometry(re.search(rb"geometry file -----\n(.*?)----- End geom", text, re.DOTALL)[1])
    panel = detector.panels[0]
    lines = []
    for ss in range(0, panel.n_ss, rows):
        for fs in range(0, panel.n_fs, columns):
            name = f"t{ss // rows}_{fs // columns}"
            lines += [f"{name}/min_fs = {fs}", f"{name}/max_fs = {fs + columns - 1}"]
            lines += [f"{name}/min_ss = {ss}", f"{name}/max_ss = {ss + rows - 1}"]
            lines += [f"{name}/corner_x = {panel.corner_x + fs!r}", f"{name}/corner_y = {panel.corner_y + ss!r}"]
            lines += [f"{name}/fs = +1.0x", f"{name}/ss = +1.0y"]
    geometry = "".join(f"{line}\n" for line in lines).encode()
    assert len(lines) == 8 * 4000

    def tile(found):
        fs, ss = float(found[2]), float(found[3])
        return found[1] + b"t%d_%d\n" % (ss // rows, fs // columns)

    text = re.sub(rb"p0/min_fs.*?(?=----- End geometry)", lambda _: geometry, text, flags=re.DOTALL)
    text = re.sub(rb"(?m)^(  .* +([0-9.]+) +([0-9.]+) )p0\n", tile, text)  # reflections
    return re.sub(rb"(?m)^( +([0-9.]+) +([0-9.]+) +[0-9.]+ +[0-9.]+ +)p0\n", tile, text)  # peaks


@pytest.mark.parametrize("method", METHODS)
def test_four_thousand_panels_give_what_one_gives(tmp_path, method):
    one = EXPERIMENT.replace(panel_grid=(1, 1), panel_shape=(800, 1000), camera_length=0.1)
    made = write_dataset(one, 1, tmp_path, "run")
    words = [f"--integration={method}", "--int-radius=1,2,3"]
    before, after, cut = tmp_path / "before.stream", tmp_path / "after.stream", tmp_path / "cut.stream"
    assert run(["waterbg", "subtract", str(made.stream), "-o", str(before), *words]) == 0
    cut.write_bytes(cut_panel(made.stream.read_bytes(), 20, 10))
    began = time.process_time()
    assert run(["waterbg", "subtract", str(cut), "-o", str(after), *words, "-j", "2"]) == 0
    assert time.process_time() - began < 10
    assert_honest(cut, after)
    whole, tiles = ({row[:3]: row for row in per_event(path)["//0"]} for path in (before, after))
    both = [(whole[hkl], tiles[hkl]) for hkl in tiles if hkl in whole]
    assert len(both) > 0.2 * len(whole), "reflections away from the edges of tiles"
    if method == "rings":
        assert all(a == b for a, b in both)
    else:
        apart = np.array([(a[3] - b[3]) / a[4] for a, b in both])
        assert np.median(np.abs(apart)) < 0.4, "the same within their errors"


# -- streams that change or cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stream_that_cannot_be_read_in_the_middle_is_one_line(world, monkeypatch, jobs, capsys):
    class Stale:
        def seek(self, *_):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        def close(self):
            pass

    real = StreamFile.chunks

    def chunks(self, start=0, stop=None):
        if start > 60_000:  # only workers begin in the middle
            self.close()
            self._file, self._buffer, self._base = Stale(), bytearray(), 0
        return real(self, start, stop)

    monkeypatch.setattr(StreamFile, "chunks", chunks)
    assert world.subtract("--integration=rings", "-j", jobs) == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "run.stream (byte" in said
    assert "cannot be read (Stale file handle)" in said
    assert not world.out.exists()


def add_chunk(world):
    with world.stream.open("ab") as file:
        file.write(chunks_of(world.stream.read_bytes())[1][0])


def lose_chunk(world):
    header, chunks = chunks_of(world.stream.read_bytes())
    os.truncate(world.stream, len(header) + sum(map(len, chunks[:-1])))


@pytest.mark.parametrize("verify", [[], ["--no-verify"]], ids=["verified", "not verified"])
@pytest.mark.parametrize("change", [add_chunk, lose_chunk])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stream_that_grows_or_shrinks_while_it_is_read_is_told(world, monkeypatch, change, verify, jobs, capsys):
    harm_at(monkeypatch, 2, lambda: change(world))
    assert world.subtract("--integration=rings", "-j", jobs, *verify) == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "when the run began" in said or "did not pass its verification" in said
    assert not world.out.exists()


def test_a_stream_that_is_replaced_by_another_of_the_same_size_does_not_pass_its_proof(world, monkeypatch, capsys):
    other = world.folder / "other"
    other.write_bytes(world.stream.read_bytes().replace(b"Image serial number: 2", b"Image serial number: 7"))
    harm_at(monkeypatch, 3, lambda: os.replace(other, world.stream))
    assert world.subtract("--integration=rings") == 1
    assert_one_line(said := capsys.readouterr().err)
    assert "did not pass its verification" in said
    assert not world.out.exists()


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_a_stream_that_is_no_file_is_refused_and_not_waited_for(world, what, capsys):
    path = world.folder / "pipe"
    os.mkfifo(path)
    path = {"pipe": path, "device": "/dev/zero", "folder": world.folder}[what]
    began = time.monotonic()
    assert run(["waterbg", "subtract", str(path), "-o", str(world.out)]) in (1, 2)
    assert time.monotonic() - began < 5
    assert capsys.readouterr().err.count("\n") == 1
    assert not world.out.exists()
