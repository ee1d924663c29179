import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from waterbg.cli.base import run

A, B = "rings-nocen-nosat-nograd.stream", "rings-nocen-nosat-grad.stream"


@pytest.fixture
def golden(data, tmp_path, monkeypatch):
    for name in (A, B):
        shutil.copy(data / "golden" / "small" / name, tmp_path)
    monkeypatch.chdir(tmp_path)


def test_compare_prints_tables_and_draws(golden, capsys):
    assert run(["waterbg", "compare", A, B, "--nshells=4", "-o", "figure.png"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"A = {A}\nB = {B}\nimages: 6 in both, 0 in A only, 0 in B only\n")
    assert len([line for line in said.out.splitlines() if line.count("-") and "." in line.split()[0]]) >= 4
    assert said.err == ""
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")


def test_compare_prints_json(golden, capsys):
    assert run(["waterbg", "compare", A, A, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["overall"]["ratio"] == 1
    assert value["counts"]["reflections"] == 3681


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--", A, "-"], 2, "standard input will not do"),
        ([A, "nix.stream"], 1, "nix.stream"),
        ([A, B, "--match=name"], 2, "name"),
        ([A], 2, ""),
    ],
)
def test_wrong_usage_is_one_clear_message(golden, capsys, words, status, message):
    assert run(["waterbg", "compare", *words]) == status
    said = capsys.readouterr()
    assert message in said.out + said.err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda text: text[: text.index(b"Begin crystal")], "cut.stream (byte BYTE): has no chunks; the file ends "),
        (
            lambda text: re.sub(rb"--- Begin crystal\n.*?--- End crystal\n", b"", text, flags=re.DOTALL),
            "cut.stream (byte BYTE): has 6 chunks, none of them with reflections",
        ),
        (
            lambda text: text.replace(b"images.h5", b"others.h5"),
            f"no chunk of {A} is in cut.stream by --match=image; try another: event, serial, order",
        ),
    ],
    ids=["cut", "unindexed", "others"],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_streams_with_nothing_in_common_are_one_line_and_exit_status_1(golden, capsys, make, said, reverse):
    text = make(Path(A).read_bytes())
    Path("cut.stream").write_bytes(text)
    pair = ["cut.stream", A] if reverse else [A, "cut.stream"]
    assert run(["waterbg", "compare", *pair]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    found = re.sub(r"byte \d+", "byte BYTE", err).removeprefix("waterbg: error: ")
    assert found.startswith(said.replace(f"{A} is in cut.stream", f"{pair[0]} is in {pair[1]}"))


def test_comparing_starts_without_the_heavy_libraries(golden):
    code = (
        "import sys; from waterbg.cli.base import run; "
        f"status = run(['waterbg', 'compare', {A!r}, {B!r}]); "
        "heavy = {'numba', 'h5py', 'matplotlib'} & set(sys.modules); sys.exit(status or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
