"""Whatever a script is given: one line that says what is wrong, and no traceback."""

import os

import pytest

from tests.fuzz.test_fuzz import short_stream

COMMANDS = [
    "ave-peak-resolution IT",
    "ave-resolution IT",
    "check-hkl IT",
    "check-hkl-completeness IT",
    "check-hkl-quality IT",
    "clean-stream IT out",
    "clean-stream a.stream IT",
    "clean-stream a.stream out --count=IT",
    "compare-hkl IT IT",
    "crystal-frame-number IT a.stream",
    "detector-shift IT -o out.png",
    "detector-shift a.stream -g IT --geometry-out=out -o out.png",
    "detector-shift a.stream -g det.geom --geometry-out=IT -o out.png",
    "display-hdf5 IT -o out.png",
    "display-hdf5 images.h5 -o IT",
    "display-hdf5 images.h5 IT -o out.png",
    "eiger-badmap IT -o out",
    "eiger-badmap images.h5 -o IT",
    "extract-geom IT -o out",
    "extract-geom a.stream -o IT",
    "find-filename IT images.h5",
    "find-filename a.stream IT",
    "find-multiples IT",
    "gaincal-to-saturation-map IT -o out",
    "indexed-filenames IT",
    "make-csplit IT",
    "move-entire-detector IT 1 2 3",
    "move-entire-detector det.geom IT 2 3",
    "peak-intensity IT",
    "peakogram-stream IT -o out.png",
    "peakogram-stream a.stream -o IT",
    "plot-pr-contourmap IT -o out.png",
    "plot-radius-resolution IT -o out.png",
    "Rsplit_surface IT -o out.png",
    "split-by-mask -i IT --mask=mask.h5 --output1=out --output2=out2",
    "split-by-mask -i a.stream --mask=IT --output1=out --output2=out2",
    "split-by-mask -i a.stream --mask=mask.h5 --output1=IT --output2=out2",
    "stream2sol -i IT -o out",
    "stream2sol -i a.stream -o IT",
    "stream_grep IT --cell-a --gt=1",
    "stream_grep a.stream --cell-a --gt=IT",
    "sum-hdf5-files IT -o out",
    "sum-hdf5-files a.stream -o IT",
    "sum-hdf5-files a.stream -o out --dark=IT",
    "sum-peaks IT -o out",
    "sum-peaks a.stream -o IT",
    "transfer-geom IT det.geom -o out",
    "transfer-geom det.geom IT -o out",
    "transfer-geom det.geom det.geom -o IT",
    "truncate-stream -i IT -o out",
    "truncate-stream -i a.stream -o IT",
    "truncate-stream -i a.stream -o out --stop-after=IT",
    "turbo-index-slurm IT lab det.geom streams --dry-run",
    "turbo-index-slurm list lab IT streams --dry-run",
    "turbo-index-slurm list lab det.geom IT --dry-run",
]
VALUES = [
    "missing", "folder", "empty", "garbage", "nul", "text", "images.h5", "det.geom", "loop", "", "a.stream/x",
    "x" * 300, "-1", "nan", "9" * 5000, "1e999", "a\nb", "caf\udce9", "/dev/null", "/dev/full", "/dev/zero",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_script_cannot_use_is_refused_in_one_line(command, script, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    golden = data / "golden/small"
    precious = {name: (golden / name).read_bytes() for name in ("images.h5", "mask.h5", "det.geom")}
    precious["a.stream"] = short_stream(data)
    precious.update({"empty": b"", "garbage": bytes(range(256)) * 20, "nul": bytes(3000), "text": b"hello\n" * 100})
    precious["list"] = b"images.h5 //0\n"
    for name, text in precious.items():
        (tmp_path / name).write_bytes(text)
    os.mkdir("folder")
    os.symlink("loop", "loop")
    name, *words = command.split()
    for value in VALUES:
        said = script(name, *(word.replace("IT", value) for word in words))
        assert "Traceback" not in said.err
        assert said.status in (0, 1, 2), value
        assert not said.status or said.err.count("\n") == 1, (value, said)
        assert {name: (tmp_path / name).read_bytes() for name in precious} == precious, value
