"""waterbg subtract: the main job on golden data made by the real indexamajig, and on real images."""

import gzip
import os

import h5py
import numpy as np
import pytest

from waterbg.cli.base import run
from waterbg.stream import NUMBERS, StreamFile, find_differences

SETS = ["small", "small_gain"]
METHODS = {"rings-nograd": "rings-nocen-nosat-nograd.stream", "rings-grad": "rings-nocen-nosat-grad.stream"}


def subtract(*words):
    return run(["waterbg", "subtract", *map(str, words)])


def reflections(path):
    """{(event, crystal, h, k, l): (I, sigma, peak, background)}"""
    found = {}
    with StreamFile(path) as stream:
        for chunk in stream.chunks():
            for number, crystal in enumerate(chunk.crystals):
                for row in crystal.reflections:
                    key = (chunk.filename, chunk.event, number, *(int(row[name]) for name in "hkl"))
                    found[key] = tuple(float(row[name]) for name in NUMBERS)
    return found


def parity(out, reference):
    """Share of the reference's reflections that are equal in all four numbers, and how many lack or are extra."""
    ours, theirs = reflections(out), reflections(reference)
    equal = sum(key in ours and np.abs(np.subtract(ours[key], theirs[key])).max() <= 0.0051 for key in theirs)
    return equal / len(theirs), len(theirs.keys() - ours.keys()), len(ours.keys() - theirs.keys())


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("method", METHODS)
def test_crystfels_own_rings_come_out_as_indexamajig_wrote_them(data, tmp_path, name, method):
    stream = data / "golden" / name / METHODS[method]
    out = tmp_path / "out.stream"
    assert subtract(stream, "-o", out, f"--integration={method}") == 0
    share, lacking, extra = parity(out, stream)
    assert share >= 0.9995
    assert (lacking, extra) == (0, 0)


def test_the_rings_of_a_stream_of_crystfel_0_11_come_out_as_that_wrote_them(small):
    """It kept 95 reflections with bad pixels in the peak."""
    old = unpacked(small / "rings-0.11.1.stream.gz")
    assert subtract(old, "-o", small / "out.stream", "--integration=rings-nograd") == 0
    assert parity(small / "out.stream", old) == (1.0, 0, 0)


def test_reflections_that_an_older_crystfel_kept_beside_bad_pixels_are_fitted_and_counted(small, capsys):
    old = unpacked(small / "rings-0.11.1.stream.gz")
    assert subtract(old, "-o", small / "out.stream") == 0
    found, before = reflections(small / "out.stream"), reflections(old)
    others = reflections(small / "rings-nocen-nosat-nograd.stream")
    marred = before.keys() - others.keys()
    assert len(marred) == 95
    assert len(marred & found.keys()) == 88
    assert "  bad pixels in the peak of 88 reflections, which were left out of the fit\n" in capsys.readouterr().err
    with h5py.File(small / "truth.h5") as file:
        columns = file["reflections"].attrs["columns"].split()
        rows = file["reflections"][:]
    truth = {("images.h5", f"//{int(row[0])}", 0, *map(int, row[1:4])): row[columns.index("I_true")] for row in rows}
    ours = [(found[key][0] - truth[key]) / found[key][1] for key in marred & found.keys()]
    theirs = [(before[key][0] - truth[key]) / before[key][1] for key in marred & found.keys()]
    assert np.std(ours) < 1.2 < np.std(theirs)


def unpacked(path):
    plain = path.with_suffix("")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def test_rings_computed_over_other_numbers_are_crystfels_too(data, tmp_path):
    """Nothing of the old numbers may shine through: integrate over a stream whose numbers are all wrong."""
    stream = data / "golden/small/rings-nocen-nosat-nograd.stream"
    wrong = tmp_path / "wrong.stream"
    lines = stream.read_bytes().split(b"\n")
    for i, line in enumerate(lines):
        if len(line) == 75 and line.endswith((b" p0", b" p1")) and line[29:30] != b"":
            lines[i] = line[:14] + b"    1234.56      78.90      12.00       3.21" + line[58:]
    wrong.write_bytes(b"\n".join(lines))
    assert parity(wrong, stream)[0] < 0.01
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(data / "golden/small" / name)
    assert subtract(wrong, "-o", tmp_path / "out.stream", "--integration=rings-nograd") == 0
    assert parity(tmp_path / "out.stream", stream)[0] >= 0.999


@pytest.mark.parametrize("integration", ["rings-nosat", "profile"])
def test_saturated_reflections_that_indexamajig_kept_and_counted_are_counted_once(small, integration):
    kept = small / "kept.stream"
    stream = (small / "rings-nocen-nosat-nograd.stream").read_bytes()
    kept.write_bytes(
        stream.replace(b"--integration=rings-nocen-nosat", b"--integration=rings-nocen-sat").replace(
            b"max_adu = 250", b"max_adu = 100"
        )
    )
    assert subtract(kept, "-o", small / "out.stream", f"--integration={integration}") == 0
    assert len(reflections(small / "out.stream")) < len(reflections(kept)) - 5
    counts = [line for line in kept.read_bytes().split(b"\n") if line.startswith(b"num_saturated")]
    assert [x for x in (small / "out.stream").read_bytes().split(b"\n") if x.startswith(b"num_saturated")] == counts


@pytest.mark.parametrize("integration", ["rings", "profile"])
def test_masks_that_indexamajig_did_not_read_are_not_missed_unless_a_geometry_is_given(small, integration):
    stream = small / "unmasked.stream"
    text = (small / "rings-nocen-nosat-nograd.stream").read_bytes()
    stream.write_bytes(text.replace(b"--no-refine", b"--no-mask-data --no-refine"))
    (small / "mask.h5").unlink()
    words = (stream, "-o", small / "out.stream", f"--integration={integration}")
    assert subtract(*words) == 0
    assert subtract(*words, "--force", "-g", small / "det.geom") != 0


@pytest.mark.shared
@pytest.mark.parametrize("name", ["thaumatin", "thermolysin"])
@pytest.mark.parametrize(("method", "file"), [("rings", "rings-nocen-nosat-nograd"), ("rings-grad", "rings-grad")])
def test_real_images_give_indexamajigs_numbers_too(shared, tmp_path, name, method, file):
    stream = shared / "real" / name / f"{file}.stream"
    assert subtract(stream, "-o", tmp_path / "out.stream", f"--integration={method}") == 0
    share, lacking, extra = parity(tmp_path / "out.stream", stream)
    assert share >= 0.995
    assert lacking <= 3
    assert extra == 0


def test_the_default_changes_numbers_drops_the_implausible_and_touches_no_other_byte(small, capsys):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    assert subtract(stream, "-o", out) == 0
    assert list(find_differences(str(stream), str(out))) == []
    before, after = reflections(stream), reflections(out)
    assert len(after) > 0.99 * len(before)
    assert np.median([abs(after[key][0] - before[key][0]) for key in after]) > 0.1
    said = capsys.readouterr().err
    assert "6 chunks, 6 crystals" in said
    line = out.read_bytes().split(b"----- Begin geometry")[0].splitlines()[-1]
    assert line.startswith(b"waterbg ")
    assert b"--integration=profile" in line
    assert b"--int-radius=3,5,7" in line


def test_the_profile_fit_is_nearer_to_the_truth_than_the_rings(small):
    import h5py

    with h5py.File(small / "truth.h5") as file:
        table = file["reflections"][()]
        columns = str(file["reflections"].attrs["columns"]).split()
    column = {name: table[:, i] for i, name in enumerate(columns)}
    truth = {
        (f"//{int(f)}", int(h), int(k), int(l)): i
        for f, h, k, l, i in zip(*(column[name] for name in ("frame", "h", "k", "l", "I_true")))
    }
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    assert subtract(stream, "-o", out) == 0
    before, after = reflections(stream), reflections(out)
    keys = [key for key in after if truth[(key[1], *key[3:])] < 500]

    def rmse(found):
        return np.sqrt(np.mean([(found[key][0] - truth[(key[1], *key[3:])]) ** 2 for key in keys]))

    assert len(keys) > 1000
    assert rmse(after) < 0.8 * rmse(before)


@pytest.mark.parametrize("method", ["profile", "rings"])
def test_any_number_of_workers_gives_the_same_bytes(small, method):
    stream = small / "rings-nocen-nosat-nograd.stream"
    outputs = []
    for jobs in (1, 2, 3):
        out = small / f"out{jobs}.stream"
        assert subtract(stream, "-o", out, "-j", jobs, f"--integration={method}") == 0
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_model_that_was_written_gives_the_same_bytes_when_it_is_used(small, capsys):
    stream = small / "rings-nocen-nosat-nograd.stream"
    assert subtract(stream, "-o", small / "a.stream") == 0
    of_its_own = capsys.readouterr().err
    assert subtract(stream, "-o", small / "b.stream", "--model", small / "a.stream.model.json") == 0
    of_the_other = [line for line in capsys.readouterr().err.splitlines() if "decoys" in line]
    assert len(of_the_other) == 1
    assert of_the_other[0].endswith("(in the run that the model is of)")
    assert "the model is of" not in of_its_own
    a, b = ((small / name).read_bytes().split(b"----- Begin geometry") for name in ("a.stream", "b.stream"))
    assert a[1] == b[1]


def test_no_decoys_leaves_their_scale_out_of_a_model_that_was_learnt_with_them(small):
    stream, model = small / "rings-nocen-nosat-nograd.stream", small / "a.stream.model.json"
    assert subtract(stream, "-o", small / "a.stream") == 0
    assert subtract(stream, "-o", small / "b.stream", "--no-decoys", "--model", model) == 0
    assert subtract(stream, "-o", small / "c.stream", "--no-decoys") == 0
    a, b, c = ((small / f"{name}.stream").read_bytes().split(b"----- Begin geometry")[1] for name in "abc")
    assert b == c != a


# -- bad input: one line, status 1, nothing written ---------------------------------------------------------------


def remove_image(folder):
    (folder / "images.h5").unlink()


def truncate_image(folder):
    os.truncate(folder / "images.h5", 300_000)


def no_image(folder):
    (folder / "images.h5").write_bytes(b"not HDF5 at all" * 100)


def wrong_path(folder):
    edit(folder, b"data = /entry/data/data", b"data = /entry/data/none")


def wrong_shape(folder):
    edit(folder, b"p1/max_ss = 503", b"p1/max_ss = 603")


def cut_stream(folder):
    path = folder / "rings-nocen-nosat-nograd.stream"
    path.write_bytes(path.read_bytes()[:-5000])


def damaged_row(folder):
    edit(folder, b"End of reflections", b"\nEnd of reflections")


def no_stream(folder):
    (folder / "rings-nocen-nosat-nograd.stream").write_bytes(b"<html>404</html>\n")


def edit(folder, old, new):
    path = folder / "rings-nocen-nosat-nograd.stream"
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "harm",
    [remove_image, truncate_image, no_image, wrong_path, wrong_shape, cut_stream, damaged_row, no_stream],
    ids=lambda harm: harm.__name__,
)
def test_bad_input_is_one_clear_line_and_leaves_nothing_behind(small, harm, capsys):
    harm(small)
    before = sorted(os.listdir(small))
    assert subtract(small / "rings-nocen-nosat-nograd.stream", "-o", small / "out.stream") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("waterbg: error: ")
    assert err.count("\n") == 1
    assert sorted(os.listdir(small)) == before


def test_an_output_that_exists_is_kept_without_force(small, capsys):
    out = small / "out.stream"
    out.write_text("precious")
    assert subtract(small / "rings-nocen-nosat-nograd.stream", "-o", out) == 1
    assert "exists" in capsys.readouterr().err
    assert out.read_text() == "precious"


def test_the_input_is_never_its_own_output(small, capsys):
    stream = small / "rings-nocen-nosat-nograd.stream"
    before = stream.read_bytes()
    assert subtract(stream, "-o", stream, "--force") == 1
    assert "input" in capsys.readouterr().err
    assert stream.read_bytes() == before


@pytest.mark.parametrize(
    "words", [["--integration=prof2d"], ["--integration=rings-cen"], ["--int-radius=5,4"], ["--background=sea"]]
)
def test_wrong_usage_is_status_2(small, words):
    assert subtract(small / "rings-nocen-nosat-nograd.stream", "-o", small / "out.stream", *words) == 2
    assert not (small / "out.stream").exists()


@pytest.mark.parametrize("word", ["--background=water", "--polarisation=horiz", "--joint", "--model=new.json"])
def test_what_has_no_say_in_crystfels_rings_is_refused_beside_them(small, capsys, word):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    assert subtract(stream, "-o", out, "--integration=rings-grad", word) == 2
    name = word.partition("=")[0]
    assert capsys.readouterr().err == (
        f"waterbg: {name} has no say in --integration=rings-grad: leave one of them out\n"
    )
    assert not out.exists()


def test_an_image_file_that_lacks_its_last_frames_ends_the_run_before_it_begins(small, capsys):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    edit(small, b"Event: //5\n", b"Event: //99\n")
    assert subtract(stream, "-o", out) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "//99" in line
    assert not list(small.glob("out.stream*"))


@pytest.mark.parametrize("what", ["keep", "drop"])
def test_a_chunk_without_image_is_kept_or_dropped_when_that_is_asked_for(small, what, capsys):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    edit(small, b"Event: //2\n", b"Event: //99\n")
    assert subtract(stream, "-o", out, f"--on-missing={what}") == 0
    with StreamFile(stream) as a, StreamFile(out) as b:
        before, after = list(a.chunks()), list(b.chunks())
    events = [chunk.event for chunk in after]
    if what == "drop":
        assert events == [f"//{i}" for i in (0, 1, 3, 4, 5)]
    else:
        assert events == ["//0", "//1", "//99", "//3", "//4", "//5"]
        assert after[2].bytes == before[2].bytes
    said = capsys.readouterr().err
    assert "unreadable: 1" in said
    assert f"{len(after)} chunks, {len(after)} crystals" in said


def test_what_stands_before_a_dropped_chunk_stays(small):
    """Two streams one after the other: the second one's header is between chunks."""
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    text = stream.read_bytes()
    stream.write_bytes(text + text.replace(b"Image filename: images.h5", b"Image filename: gone.h5", 1) + b"The end\n")
    assert subtract(stream, "-o", out, "--on-missing=drop", "--integration=rings") == 0
    with StreamFile(out) as after:
        assert len(list(after.chunks())) == 11
    assert out.read_bytes().count(b"CrystFEL stream format") == 2
    assert out.read_bytes().endswith(b"The end\n")


def test_the_first_of_two_streams_may_be_dropped_whole(small):
    """The second one's header then stands directly behind the first one's."""
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    text = stream.read_bytes()
    stream.write_bytes(text.replace(b": images.h5", b": gone.h5") + text)
    assert subtract(stream, "-o", out, "--on-missing=drop", "--integration=rings") == 0
    assert out.read_bytes().count(b"CrystFEL stream format") == 2
    with StreamFile(out) as after:
        assert [chunk.event for chunk in after.chunks()] == [f"//{i}" for i in range(6)]


def test_all_chunks_may_be_dropped(small):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    stream.write_bytes(stream.read_bytes().replace(b": images.h5", b": gone.h5") + b"The end\n")
    assert subtract(stream, "-o", out, "--on-missing=drop") == 0
    assert out.read_bytes().endswith(b"The end\n")
    assert b"Begin chunk" not in out.read_bytes()


def shifted(geometry, shift):
    """The geometry with its detector shifted along x, pixels."""
    lines = [
        f"{line.partition('=')[0]}= {float(line.partition('=')[2]) + shift}" if "corner_x" in line else line
        for line in geometry.read_text().splitlines()
    ]
    other = geometry.with_name("other.geom")
    other.write_text("\n".join(lines) + "\n")
    return other


def test_a_geometry_of_other_images_is_told(small, capsys):
    stream, geometry = small / "rings-nocen-nosat-nograd.stream", small / "det.geom"
    assert subtract(stream, "-o", small / "a.stream", "-g", geometry) == 0
    assert "the geometry" not in capsys.readouterr().err
    assert subtract(stream, "-o", small / "b.stream", "-g", shifted(geometry, 6)) == 0
    assert "the predictions of 6 crystals lie more than 2 px" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--integration=rings", "-j", "2"), ("--integration=sum", "--no-decoys")])
def test_images_of_other_events_are_told(small, words, capsys):
    stream, images = small / "rings-nocen-nosat-nograd.stream", small / "images.h5"
    assert subtract(stream, "-o", small / "a.stream", *words) == 0
    assert "are these the images" not in capsys.readouterr().err
    with h5py.File(images, "r+") as file:
        pixels = file["entry/data/data"]
        pixels[...] = np.roll(pixels[()], 1, axis=0)
    assert subtract(stream, "-o", small / "b.stream", *words) == 0
    said = capsys.readouterr().err
    assert "of the strong reflections of 6 crystals hardly anything is in the images: are these the images of" in said


@pytest.mark.parametrize("words", [(), ("--integration=rings", "-j", "2")])
def test_counters_that_end_and_a_geometry_that_does_not_know_are_told(small, words, capsys):
    stream, images, geometry = small / "rings-nocen-nosat-nograd.stream", small / "images.h5", small / "det.geom"
    with h5py.File(images, "r+") as file:
        pixels = file["entry/data/data"]
        pixels[...] = np.minimum(4 * pixels[()].astype(int), 400)
    other = small / "other.geom"
    for limit, times in ((420, 0), (1000, 1), (None, 1)):
        other.write_text(geometry.read_text().replace("max_adu = 250", f"max_adu = {limit}" if limit else ""))
        assert subtract(stream, "-o", small / "out.stream", "--force", "-g", other, *words) == 0
        said = capsys.readouterr().err
        assert said.count("reflections is 400, and no other's is higher: if nothing counts beyond") == times


def test_a_geometry_that_is_a_pixel_or_two_off_is_told(small, capsys):
    stream, geometry = small / "rings-nocen-nosat-nograd.stream", small / "det.geom"
    assert subtract(stream, "-o", small / "out.stream", "-g", shifted(geometry, 1.5)) == 0
    said = capsys.readouterr().err
    assert "the detector is 1.5 px from where the geometry has it (followed here; refine the geometry)" in said


@pytest.mark.parametrize("words", [("--integration=rings", "-j", "2"), ("--on-missing=keep",)])
def test_a_mask_that_is_found_elsewhere_is_told(small, words, capsys):
    stream = small / "rings-nocen-nosat-nograd.stream"
    assert subtract(stream, "-o", small / "out.stream", *words) == 0
    said = f"mask.h5 is not in the working directory, where CrystFEL looks for it; took {small / 'mask.h5'}"
    assert capsys.readouterr().err.count(said) == 1


def test_a_statement_of_the_geometry_that_has_no_effect_is_told(small, capsys):
    stream, geometry = small / "rings-nocen-nosat-nograd.stream", small / "det.geom"
    text = geometry.read_text().replace("mask0_badbits = 0x1", "flag_moerthan = 65534")
    assert "flag_moerthan" in text
    geometry.write_text(text)
    assert subtract(stream, "-o", small / "out.stream", "-g", geometry, "--integration=rings") == 0
    said = capsys.readouterr().err
    assert f"det.geom:{1 + text.splitlines().index('flag_moerthan = 65534')}: unknown statement" in said
    assert "the mask /entry/data/mask marks nothing: it has no good and no bad bits" in said
    geometry.write_text("colour = 1\nsize = 2\nprice = 3\n" + text)
    assert subtract(stream, "-o", small / "more.stream", "-g", geometry, "--integration=rings") == 0
    said = capsys.readouterr().err
    assert said.count("unknown statement") == 3
    assert "and 2 more of the geometry" in said


def test_a_followed_stream_that_ends_within_a_chunk_is_told(small, capsys):
    stream = small / "rings-nocen-nosat-nograd.stream"
    stream.write_bytes(stream.read_bytes()[:190000])
    assert subtract(stream, "-o", small / "out.stream", "--follow", "--until-idle=1", "--integration=rings") == 0
    assert "the stream ends within a chunk (byte" in capsys.readouterr().err


def test_a_stream_whose_last_line_lacks_its_newline_gives_the_same_numbers(small, capsys):
    stream = small / "rings-nocen-nosat-nograd.stream"
    assert subtract(stream, "-o", small / "whole.stream") == 0
    stream.write_bytes(stream.read_bytes().removesuffix(b"\n"))
    capsys.readouterr()
    assert subtract(stream, "-o", small / "out.stream") == 0
    said = capsys.readouterr().err
    assert "6 chunks" in said
    assert "ends within a chunk" not in said
    assert (small / "out.stream").read_bytes() + b"\n" == (small / "whole.stream").read_bytes()


def test_streams_that_were_put_together_are_worked_on_whole(small):
    stream, both, out = small / "rings-nocen-nosat-nograd.stream", small / "both.stream", small / "out.stream"
    both.write_bytes(stream.read_bytes() * 2)
    assert subtract(both, "-o", out, "--integration=rings") == 0
    assert list(find_differences(str(both), str(out))) == []
    with StreamFile(out) as result:
        assert len(list(result.chunks())) == 12


def test_another_radius_of_a_stream_behind_the_first_is_told(small, capsys):
    one = (small / "rings-nocen-nosat-nograd.stream").read_bytes()
    (small / "both.stream").write_bytes(one + one + one.replace(b"--int-radius=3,5,7", b"--int-radius=4,6,9"))
    assert subtract(small / "both.stream", "-o", small / "out.stream", "--integration=rings") == 0
    assert "1 of the file's streams had another --int-radius than was used" in capsys.readouterr().err


def test_discs_that_are_too_small_for_the_spots_are_told(small, capsys):
    stream, out = small / "rings-nocen-nosat-nograd.stream", small / "out.stream"
    assert subtract(stream, "-o", out) == 0
    assert "the peak disc" not in capsys.readouterr().err
    assert subtract(stream, "-o", out, "--force", "--int-radius=2,4,6") == 0
    assert "the peak disc holds less than 7/8 of the spots" in capsys.readouterr().err
