"""The numbers of a report: those of the two streams, by an independent hand."""

import itertools
import re
import statistics
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.plots.plain import read_plainly, thin
from waterbg.errors import StreamError
from waterbg.geometry import parse_geometry
from waterbg.plots.report_bins import BATCH, FINE, FRAME, MEASURED, STEP, Resolution, TimeLine
from waterbg.plots.report_numbers import Place, Spread, gather, kept_rows, read_provenance
from waterbg.run import resolve_job
from waterbg.settings import Settings
from waterbg.stream import REFLECTION, StreamFile


def detector_of(path):
    with StreamFile(path) as stream:
        return parse_geometry(stream.geometry_text, lenient=True)


def read(before, after, frames=0):
    return gather(before, after, detector_of(before), frames)


def pairs(before, after):
    """(before, after or None) of every reflection, by frame, crystal and index, as plain tuples."""
    found = []
    for one, other in zip(read_plainly(before), read_plainly(after), strict=True):
        assert (one["name"], one["event"]) == (other["name"], other["event"])
        for old, new in zip(one["crystals"], other["crystals"], strict=True):
            known = {row[:3]: row for row in new}
            found += [(row, known.get(row[:3])) for row in old]
    return found


# -- by resolution -----------------------------------------------------------------------------------------------------


def test_every_number_of_every_shell_is_that_of_the_two_streams(stream, thinned):
    numbers = read(stream, thinned)
    both = pairs(stream, thinned)
    shells = numbers.resolution.shells()
    assert sum(shell.listed for shell in shells) == len(both) == numbers.listed
    assert sum(shell.dropped for shell in shells) == sum(new is None for _, new in both) == numbers.dropped > 100
    assert len(shells) > 8
    for shell in shells:
        here = [(old, new) for old, new in both if shell.low <= old[-1] < shell.high]
        kept = [(old, new) for old, new in here if new is not None]
        assert (shell.listed, shell.n, shell.dropped) == (len(here), len(kept), len(here) - len(kept))
        for i in (0, 1):
            rows = [pair[i] for pair in kept]
            assert getattr(shell, f"I{i}") == pytest.approx(statistics.fmean(row[3] for row in rows))
            assert getattr(shell, f"b{i}") == pytest.approx(statistics.fmean(row[6] for row in rows))
            assert getattr(shell, f"z{i}") == pytest.approx(statistics.fmean(row[3] / row[4] for row in rows))
        ratios = [new[4] / old[4] for old, new in kept]
        # a histogram of cells of 0.7 %, and a median of few values may lie anywhere between two of them
        near = sorted(ratios)[len(ratios) // 2 - 2 : len(ratios) // 2 + 2]
        assert near[0] * 0.993 <= shell.sigma[1] <= near[-1] * 1.007
        strong = [new[3] / old[3] for old, new in kept if old[3] >= 5 * old[4]]
        assert shell.n_strong == len(strong)
        if len(strong) > 10:
            near = sorted(strong)[len(strong) // 2 - 2 : len(strong) // 2 + 2]
            assert near[0] * 0.993 <= shell.strong <= near[-1] * 1.007


def test_the_whole_is_all_shells_together(stream, thinned):
    numbers = read(stream, thinned)
    whole = numbers.resolution.whole()
    kept = [(old, new) for old, new in pairs(stream, thinned) if new is not None]
    assert whole.n == len(kept)
    assert whole.z1 == pytest.approx(statistics.fmean(new[3] / new[4] for _, new in kept))
    before, after = numbers.resolution.median_snr()
    assert before == pytest.approx(statistics.median(old[3] / old[4] for old, _ in kept), abs=0.05)
    assert after == pytest.approx(statistics.median(new[3] / new[4] for _, new in kept), abs=0.05)
    assert numbers.resolution.map.sum() == len(kept)


def test_backgrounds_are_in_photons_and_intensities_in_adu(stream, subtracted, tmp_path):
    plain = read(stream, subtracted).resolution.whole()
    other = []
    for path in (stream, subtracted):
        other.append(tmp_path / Path(path).name)
        text = Path(path).read_bytes()
        changed = re.sub(rb"(?m)^adu_per_photon = .*$", b"adu_per_photon = 4", text)
        assert changed != text
        other[-1].write_bytes(changed)
    scaled = read(*map(str, other)).resolution.whole()
    adu = detector_of(stream).adu_per_photon(9000.0)[0]
    assert scaled.b0 == pytest.approx(plain.b0 * adu / 4)
    assert scaled.b1 == pytest.approx(plain.b1 * adu / 4)
    assert pytest.approx(plain.I1) == scaled.I1


def measured(n, rng, ratio=1.0):
    rows = np.zeros(n, MEASURED)
    rows["inv_d"] = rng.uniform(0.5, 5, n)
    rows["I0"], rows["s0"] = rng.normal(20, 50, n), rng.uniform(5, 20, n)
    rows["I1"], rows["s1"] = rows["I0"] * ratio, rows["s0"] * ratio
    return rows


def test_what_did_not_change_has_a_ratio_of_exactly_one():
    resolution = Resolution()
    resolution.add(measured(5000, np.random.default_rng(1)), np.zeros(0))
    whole = resolution.whole()
    assert whole.sigma[1] == pytest.approx(1, abs=1e-3)
    assert whole.strong == pytest.approx(1, abs=1e-3)


def test_quantiles_of_the_histogram_are_those_of_the_values():
    rng = np.random.default_rng(2)
    rows = measured(20_000, rng)
    rows["s1"] = rows["s0"] * rng.lognormal(0.2, 0.3, len(rows))
    resolution = Resolution()
    for part in np.array_split(rows, 7):
        resolution.add(part, np.zeros(0))
    expected = np.quantile(rows["s1"] / rows["s0"], [0.1587, 0.5, 0.8413])
    np.testing.assert_allclose(resolution.whole().sigma, expected, rtol=0.004)


def test_numbers_that_are_none_are_counted_and_left_out():
    rows = measured(100, np.random.default_rng(3))
    rows["I1"][0], rows["s0"][1], rows["inv_d"][2], rows["s1"][3] = np.nan, 0, np.nan, -1
    resolution = Resolution()
    resolution.add(rows, np.array([1.0, np.nan]))
    whole = resolution.whole()
    assert resolution.odd == 4
    assert whole.n == 96
    assert whole.dropped == 1
    assert np.isfinite(whole.z1)


def test_shells_join_on_to_each_other_and_none_is_nearly_empty():
    rng = np.random.default_rng(4)
    resolution = Resolution()
    rows = measured(3000, rng)
    rows["inv_d"] = 6 * rng.uniform(0, 1, len(rows)) ** (1 / 3)
    resolution.add(rows, np.array([6.9, 30.0]))
    shells = resolution.shells()
    assert all(one.high == other.low for one, other in itertools.pairwise(shells))
    assert min(shell.listed for shell in shells) >= 20
    assert sum(shell.listed for shell in shells) == 3002
    assert shells[-1].high == FINE * STEP  # beyond the last bin counts in it
    assert Resolution().shells() == []


# -- which reflections -------------------------------------------------------------------------------------------------


def some(n, rng):
    rows = np.zeros(n, REFLECTION)
    for name in "hkl":
        rows[name] = rng.integers(-3, 4, n)  # so that indices stand twice
    rows["fs"], rows["ss"] = rng.uniform(0, 100, (2, n)).round(1)
    return rows


def test_the_rows_that_are_kept_are_found_also_where_an_index_stands_twice():
    rng = np.random.default_rng(5)
    for _ in range(50):
        rows = some(60, rng)
        keep = np.flatnonzero(rng.random(60) < 0.8)
        np.testing.assert_array_equal(kept_rows(rows, rows[keep]), keep)


def test_other_reflections_or_another_order_are_no_part_of_a_list():
    rows = some(40, np.random.default_rng(6))
    assert kept_rows(rows, rows[::-1]) is None
    assert kept_rows(rows[:30], rows[:31]) is None
    other = rows[:20].copy()
    other["h"][7] += 10
    assert kept_rows(rows, other) is None
    other = rows.copy()
    other["fs"][7] += 0.1
    assert kept_rows(rows, other) is None


# -- in order ----------------------------------------------------------------------------------------------------------


def test_frames_stand_in_the_order_of_the_stream(stream, thinned):
    numbers = read(stream, thinned)
    columns = numbers.time.columns
    kept = [sum(map(len, chunk["crystals"])) for chunk in read_plainly(thinned)]
    listed = [sum(map(len, chunk["crystals"])) for chunk in read_plainly(stream)]
    assert columns["kept"].tolist() == kept
    assert columns["listed"].tolist() == listed
    assert columns["crystals"].tolist() == [0, 1, 1]
    np.testing.assert_array_equal(numbers.time.at, [1, 2, 3])
    for number, (one, other) in enumerate(zip(read_plainly(stream), read_plainly(thinned))):
        if not one["crystals"]:
            continue
        there = {row[:3] for row in other["crystals"][0]}
        rows = [row for row in one["crystals"][0] if row[:3] in there]
        assert columns["b0"][number] == pytest.approx(statistics.fmean(row[6] for row in rows))
        assert columns["z0"][number] == pytest.approx(statistics.median(row[3] / row[4] for row in rows))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 17, 1000])
def test_long_streams_are_added_up_in_few_bins_of_equal_length(n):
    time = TimeLine(most=4)
    for number in range(n):
        time.add([1, number, *[0] * (len(FRAME) - 2)])
    columns = time.columns
    assert len(columns["frames"]) <= 8
    assert columns["frames"].sum() == n
    assert set(columns["frames"][:-1]) <= {time.stride}
    np.testing.assert_allclose(columns["crystals"] / columns["frames"], time.at - 1)


@pytest.mark.parametrize("n", [0, 1, 5, 6, 11, 12, 500])
def test_the_sample_is_spread_evenly_over_the_stream(n):
    spread = Spread(5)
    for number in range(n):
        spread.add(Place(number, (0, 0), (0, 0)))
        assert len(spread._places) <= 10
    chosen = [place.number for place in spread.places]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, 5)
    if n >= 100:
        assert chosen[0] < n / 4
        assert chosen[-1] > n / 2
        assert max(np.diff(chosen)) < 2.1 * min(np.diff(chosen))


# -- do they belong together -------------------------------------------------------------------------------------------


def changed(path, change, folder):
    out = folder / "changed.stream"
    out.write_bytes(change(Path(path).read_bytes()))
    return str(out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(b"Event: //1", b"Event: //7"), "chunk 1 (images.h5 //7) is not there"),
        (lambda text: text.replace(b"images.h5", b"others.h5"), "chunk 1 (others.h5 //1) is not there"),
        (lambda text: re.sub(rb"(?m)^( +-?\d+ +-?\d+ +)-?\d+( +-?\d+\.\d\d +\d)", rb"\g<1>99\2", text, count=1),
         "images.h5 //0 has crystals or reflections that are not there"),
        (lambda text: re.sub(rb"--- Begin crystal\n.*?--- End crystal\n", b"", text, count=1, flags=re.DOTALL),
         "images.h5 //0 has crystals or reflections that are not there"),
    ],
)  # fmt: skip
def test_a_stream_that_does_not_come_from_the_other_is_refused(stream, subtracted, tmp_path, change, said):
    other = changed(subtracted, change, tmp_path)
    with pytest.raises(StreamError) as caught:
        read(stream, other)
    assert said in str(caught.value)
    assert stream in str(caught.value)
    assert caught.value.path == other


def test_frames_that_were_left_out_or_kept_as_they_were_are_counted(stream, subtracted, tmp_path):
    chunk = rb"----- Begin chunk -----\n.*?----- End chunk -----\n"
    first = re.compile(chunk, re.DOTALL)
    without = changed(subtracted, lambda text: text.replace(first.findall(text)[1], b""), tmp_path)
    numbers = read(stream, without)
    assert (numbers.chunks, numbers.left_out) == (3, 1)
    assert numbers.left_out_listed > 500
    assert numbers.dropped + numbers.kept + numbers.left_out_listed == numbers.listed
    assert read(stream, stream).untouched == 2
    assert read(stream, subtracted).untouched == 0


def test_reasons_that_a_stream_counts_are_read_from_its_lines(stream, subtracted, tmp_path):
    more = changed(
        subtracted,
        lambda text: re.sub(rb"num_saturated_reflections = (\d+)", lambda m: b"%b" % _plus(m, 3), text),
        tmp_path,
    )
    base = read(stream, subtracted).counted
    assert read(stream, more).counted == {**base, "saturated": base["saturated"] + 6}
    none = changed(subtracted, lambda text: re.sub(rb"num_implausible_reflections = .*\n", b"", text), tmp_path)
    assert read(stream, none).counted["I < -5 sigma"] is None


def _plus(match, number):
    return b"num_saturated_reflections = %d" % (int(match[1]) + number)


def test_a_truncated_stream_is_said_to_end_early_and_at_which_byte_of_the_file(stream, subtracted, tmp_path):
    text = Path(stream).read_bytes() + b"----- Begin chunk -----\nImage filename: x.h5\n"
    (tmp_path / "before.stream").write_bytes(text)
    numbers = read(str(tmp_path / "before.stream"), subtracted)
    assert len(numbers.ended) == 1
    assert "before.stream" in numbers.ended[0]
    assert numbers.ended[0].endswith(f"(byte {len(text)})")


def test_memory_does_not_grow_with_the_stream(stream, subtracted, tmp_path):
    peaks = []
    for repeats in (60, 240):
        paths = []
        for path in (stream, subtracted):
            with StreamFile(path) as file:
                header, chunks = file.header, [chunk.bytes for chunk in file.chunks()]
            paths.append(tmp_path / f"{repeats}-{Path(path).name}")
            paths[-1].write_bytes(header + b"".join(chunks) * repeats)
        detector = detector_of(stream)
        tracemalloc.start()
        numbers = gather(*map(str, paths), detector, 4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert numbers.kept > 4 * BATCH
    assert peaks[1] < 1.1 * peaks[0] < 100e6


# -- what the stream says of itself ------------------------------------------------------------------------------------


def test_the_line_of_subtract_is_understood(stream, subtracted, tmp_path):
    assert read_provenance(subtracted).settings == resolve_job(stream).settings
    for given in (
        {"integration": "sum", "background": "plane", "polarisation": "45deg70", "joint": True},
        {"integration": "rings-nograd", "int_radius": (3.0, 4.5, 8.0), "push_res": 1.5},
        {"decoys": False},
    ):
        job = resolve_job(stream, settings=given)
        line = job.provenance
        out = changed(subtracted, lambda text, line=line: re.sub(rb"waterbg \S+ subtract .*", line, text), tmp_path)
        assert read_provenance(out).settings == replace(resolve_job(stream).settings, **given)


def test_geometry_and_model_of_a_run_are_known_by_their_sums(stream, subtracted, tmp_path):
    line = b" --geometry=my --model=x.geom (sha256 0123456789ab) --model=a b.json (sha256 ba9876543210)\n-----"
    out = changed(subtracted, lambda text: text.replace(b"\n-----", line, 1), tmp_path)
    provenance = read_provenance(out)
    assert (provenance.geometry, provenance.model) == ("0123456789ab", "ba9876543210")
    assert provenance.settings == Settings(int_radius=(3.0, 5.0, 7.0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: re.sub(rb"waterbg \S+ subtract .*\n", b"", text), "no line before its geometry says that"),
        (lambda text: text.replace(b"--int-radius=3,5,7\n-----", b"--int-radius=3,5\n-----"), "cannot be understood"),
        (lambda text: text.replace(b"--background=water", b"--background=wine"), "cannot be understood"),
    ],
)
def test_a_stream_that_no_subtract_wrote_is_refused(subtracted, tmp_path, change, said):
    with pytest.raises(StreamError, match=said):
        read_provenance(changed(subtracted, change, tmp_path))


def test_thinning_takes_a_seventh_off(stream):
    """The fixture itself."""
    text = Path(stream).read_bytes()
    lost = len(text.splitlines()) - len(thin(text).splitlines())
    assert lost == sum(len(crystal) for chunk in read_plainly(stream) for crystal in chunk["crystals"]) // 7
