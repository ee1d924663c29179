"""What waterbg reads from a stream is what the real process_hkl merges from it, damaged or not.

A few dozen cases run here; ``WATERBG_FUZZ=2000 pytest tests/fuzz/test_differential.py`` is the nightly run.
"""

import os
import re

import pytest

from waterbg.cli.base import run
from waterbg.stream import StreamFile, check_stream
from waterbg.stream.check import LOSSES

from .merging import Cuts, differences, merge, process_hkl, refusal
from .mutate import mutate
from .test_fuzz import short_stream

pytestmark = pytest.mark.crystfel

CASES = int(os.environ.get("WATERBG_FUZZ", "60"))
BATCH = 20
CUTS = (Cuts(), Cuts(min_snr=3.0, max_adu=60.0))
ROW = re.compile(rb"^ *-?[0-9]+ +-?[0-9]+ +-?[0-9]+(?: +-?[0-9]+\.[0-9]+){6} [^ \n]+$", re.MULTILINE)


def few_peaks(text):
    """Text with three peaks in each list, so that damage falls on what is merged."""
    return re.sub(rb"(Intensity  Panel\n(?:.*\n){3})(?:.* p[0-9]\n)*", rb"\1", text)


def without_peaks(path):
    """Spoil the peak lists where one ends waterbg's reading: process_hkl does not ask libcrystfel to read them."""
    if refusal(path) is not None:
        return
    with StreamFile(path) as stream:
        for _ in stream.chunks():
            pass
    if stream.ended is not None and stream.ended.check == "peak_list":
        path.write_bytes(path.read_bytes().replace(b"Peaks from peak search", b"peaks from peak search"))


def compare(path, cuts=CUTS[0]):
    """Hold waterbg against process_hkl on one stream; say how it ended."""
    without_peaks(path)
    theirs = process_hkl(path, path.with_suffix(".hkl"), cuts)
    why = refusal(path)
    if theirs.how == "refused":
        assert why is not None, theirs.said
        assert run(["waterbg", "verify", str(path)]) == 1
        return "refused"
    assert why is None, f"{why}, but process_hkl {theirs.how}"
    with StreamFile(path) as stream:
        found = {finding.check for finding in check_stream(stream)}
    if theirs.how == "crashed":
        # an index in its assertion; a geometry's line of several pieces in its memory
        assert found & {"index", "long_line"}, theirs.said
        return "crashed"
    mine, _ = merge(path, cuts)
    assert not differences(mine, theirs.table)
    if not found & LOSSES and cuts == CUTS[0]:
        # a mutation may leave a row or two where nobody reads them; a list lost without a word is what must not be
        body = path.read_bytes().partition(b"----- End geometry file -----\n")[2]
        assert len(ROW.findall(body)) - sum(n for _, _, n in theirs.table.values()) <= 4, found
    return "merged"


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH)))
def test_mutated_streams_are_read_as_process_hkl_merges_them(data, tmp_path, batch):
    good = few_peaks(short_stream(data))
    path = tmp_path / "bad.stream"
    ends = set()
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        path.write_bytes(mutate(good, 300_000 + seed))
        try:
            ends.add(compare(path, CUTS[seed % 2]))
        except AssertionError as err:
            raise AssertionError(f"seed {seed}") from err
    assert "merged" in ends


@pytest.mark.shared
def test_every_conformance_stream_is_read_as_process_hkl_merges_it(shared, tmp_path):
    ends, wrong = [], {}
    for path in sorted((shared / "conformance").glob("*.stream")):
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        try:
            ends.append(compare(copy))
        except AssertionError as err:
            wrong[path.name] = str(err)
    assert not wrong
    assert ends.count("merged") > 150


@pytest.mark.shared
@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH)))
def test_mutated_conformance_streams_are_read_as_process_hkl_merges_them(shared, tmp_path, batch):
    good = sorted((shared / "conformance").glob("*.stream"))
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        source = good[seed * 7 % len(good)]
        path = tmp_path / source.name
        path.write_bytes(mutate(source.read_bytes(), 400_000 + seed))
        try:
            compare(path, CUTS[seed % 2])
        except AssertionError as err:
            raise AssertionError(f"seed {seed}, {source.name}") from err


@pytest.mark.parametrize("batch", range(max(1, CASES // BATCH // 3)))
def test_outputs_of_the_main_job_on_mutated_streams_are_merged_as_waterbg_reads_them(data, tmp_path, batch, said):
    good = few_peaks(short_stream(data))
    for name in ("images.h5", "mask.h5"):
        (tmp_path / name).symlink_to(data / "golden/small" / name)
    path, out = tmp_path / "bad.stream", tmp_path / "out.stream"
    merged = []
    for seed in (None, *range(batch * BATCH, (batch + 1) * BATCH)):
        path.write_bytes(good if seed is None else mutate(good, 500_000 + seed))
        if run(["waterbg", "subtract", str(path), "-o", str(out), "--integration=rings"]) == 0:
            summary = said()
            ended = compare(out, CUTS[(seed or 0) % 2])
            # old geometries are read leniently, and what 0.12 says to them is passed on
            assert ended == "merged" or (ended == "refused" and "opens neither" in summary), seed
            out.unlink()
            merged += [seed] if ended == "merged" else []
        said()
    assert None in merged, "the undamaged one"
