"""Whole streams, the real indexamajig's among them, overwritten with their own numbers and with each other's."""

import subprocess

import pytest

from waterbg import overwrite as tool
from waterbg.errors import StreamError
from waterbg.stream import StreamFile, check_stream


@pytest.mark.parametrize("match", ["crystal", "order", "hkl"])
def test_overwriting_with_its_own_numbers_changes_no_byte(data, tmp_path, match):
    own = data / "golden" / "small" / "rings-nocen-nosat-nograd.stream"
    report = tool.overwrite_stream(own, own, tmp_path / "out.stream", match=match)
    assert (tmp_path / "out.stream").read_bytes() == own.read_bytes()
    assert report.matched == report.reflections > 2000
    assert (report.changed, report.unused) == (0, 0)
    columns = tool.load_stream(own)
    tool.overwrite_low_in_high(own, columns, tmp_path / "again.stream", match=match)
    tool.overwrite_low_in_high(own, dict(columns), tmp_path / "plain.stream")
    assert (tmp_path / "again.stream").read_bytes() == (tmp_path / "plain.stream").read_bytes() == own.read_bytes()


@pytest.mark.shared
@pytest.mark.parametrize("match", ["crystal", "order", "hkl"])
def test_overwriting_any_odd_stream_with_its_own_numbers_changes_no_byte(shared, tmp_path, match):
    out, done = tmp_path / "out.stream", 0
    for own in sorted(shared.glob("conformance/*.stream")):
        try:
            report = tool.overwrite_stream(own, own, out, match=match, force=True)
        except StreamError:
            continue  # libcrystfel does not open it either
        assert report.changed == 0
        assert out.read_bytes() == own.read_bytes(), own
        done += 1
    assert done > 100


@pytest.mark.shared
def test_overwriting_any_real_stream_with_its_own_numbers_changes_no_byte(shared, tmp_path):
    for own in sorted([*shared.glob("streams/*.stream"), *shared.glob("real/*/*.stream")]):
        out = tmp_path / f"{own.parent.name}-{own.name}"
        assert tool.overwrite_stream(own, own, out).changed == 0
        assert out.read_bytes() == own.read_bytes(), own


def test_the_grad_stream_gets_the_nograd_numbers_and_passes_verify(data, tmp_path):
    folder = data / "golden" / "small"
    grad, nograd = folder / "rings-nocen-nosat-grad.stream", folder / "rings-nocen-nosat-nograd.stream"
    out = tmp_path / "out.stream"
    report = tool.overwrite_stream(grad, nograd, out)
    assert report.unmatched == 0  # a gradient only drops more of them
    found = tool.load_stream(out)
    wanted = dict(zip(*[_keys_and_values(nograd)[i] for i in (0, 1)]))
    assert len(found["h"]) == report.reflections
    keys, values = _keys_and_values(out)
    assert [wanted[key] for key in keys] == values
    with StreamFile(out) as stream:
        assert list(check_stream(stream)) == []


def _keys_and_values(path):
    keys, values = [], []
    with StreamFile(path) as stream:
        for number, chunk in enumerate(stream.chunks()):
            for crystal in chunk.crystals:
                for r in crystal.reflections:
                    keys.append((number, *(int(r[name]) for name in "hkl")))
                    values.append(tuple(float(r[name]) for name in ("I", "sigma", "peak", "background")))
    return keys, values


@pytest.mark.crystfel
def test_process_hkl_reads_the_result_whole(data, tmp_path):
    folder = data / "golden" / "small"
    grad, nograd = folder / "rings-nocen-nosat-grad.stream", folder / "rings-nocen-nosat-nograd.stream"
    tool.overwrite_stream(grad, nograd, tmp_path / "out.stream", drop_unmatched=True)
    merged = []
    for number, name in enumerate([grad, tmp_path / "out.stream"]):
        out = tmp_path / f"{number}.hkl"
        subprocess.run(["process_hkl", "-i", name, "-o", out, "-y", "4/mmm"], check=True, capture_output=True)
        lines = out.read_text().splitlines()
        body = lines[
            lines.index("   h    k    l          I    phase   sigma(I)   nmeas") + 1 : lines.index("End of reflections")
        ]
        merged.append({tuple(line.split()[:3]): line.split()[-1] for line in body})
    assert merged[0] == merged[1]
