"""Whatever is typed: no traceback, one line that says what is wrong, and no file harmed."""

import errno
import os
import shutil
import signal
import subprocess
import time

import pytest

from waterbg.cli.base import run
from waterbg.cli.verify import Verify

from ..conftest import WATERBG
from .world import World

NON_UTF8 = "caf\udce9"
INPUTS = {
    "missing": lambda folder: "missing",
    "folder": lambda folder: os.mkdir(folder / "folder") or "folder",
    "empty": lambda folder: ((folder / "empty").write_bytes(b"") and None) or "empty",
    "garbage": lambda folder: (folder / "garbage").write_bytes(bytes(range(256)) * 20) and "garbage",
    "nul": lambda folder: (folder / "nul").write_bytes(bytes(3000)) and "nul",
    "text": lambda folder: (folder / "text").write_text("hello\n" * 100) and "text",
    "images": lambda folder: "run.h5",
    "device": lambda folder: "/dev/null",
    "endless": lambda folder: "/dev/zero",
    "loop": lambda folder: os.symlink("loop", folder / "loop") or "loop",
    "below a file": lambda folder: "run.stream/x",
    "long name": lambda folder: "x" * 300,
    "two lines": lambda folder: "a\nb",
    "no name": lambda folder: "",
    "no UTF-8": lambda folder: f"{NON_UTF8}.missing",
}
# what reads a stream, with its other arguments in order
READERS = [
    "subtract IN -o out --integration=rings",
    "subtract run.stream -o out -g IN",
    "subtract run.stream -o out --model IN --on-missing=keep",
    "decoys IN",
    "decoys run.stream -g IN",
    "decoys run.stream --model IN",
    "view IN -o out.png",
    "verify IN",
    "verify run.stream IN",
    "compare IN run.stream",
    "compare run.stream IN",
    "overwrite IN run.stream -o out",
    "overwrite run.stream IN -o out",
    "peaks IN",
    "rerun IN -o out --dry-run",
    "slurm status IN",
    "slurm resume IN",
    "slurm collect IN",
    "slurm cancel IN",
    "slurm task IN 0",
]
OUTPUTS = ["folder", ".", "/", "..", "folder/", "", "missing/x", "run.h5/x", "x" * 300, "/dev/full", "/proc/x"]
WRITERS = [
    "subtract run.stream --integration=rings -o OUT",
    "subtract run.stream --slurm --no-submit -o OUT",
    "overwrite run.stream run.stream --match=order -o OUT",
    "overwrite run.stream run.stream --match=order -o out --unmatched=OUT",
    "compare run.stream run.stream -o OUT",
    "peaks run.h5 --csv=OUT",
    "peaks run.h5 --scatter=OUT",
    "decoys run.stream -o OUT",
    "view run.stream -o OUT",
]
NUMBERS = ["-1", "0", "nan", "inf", "-inf", "1e999", "9" * 20, "9" * 5000, "", "abc", "1,2", "1e-320", "0x10", "\n"]
RADII = [
    "",
    "1",
    "1,2",
    "3,2,1",
    "-1,-2,-3",
    "nan,nan,nan",
    "1,2,3,4",
    "1e9,1e10,1e11",
    "0,0,0",
    "1e-9,2e-9,3e-9",
    ",,",
]
OPTIONS = [
    ("subtract run.stream -o out --int-radius=IT", RADII),
    ("subtract run.stream -o out --integration=rings --int-radius=IT", RADII),
    ("subtract run.stream -o out --integration=rings --push-res=IT", NUMBERS),
    ("subtract run.stream -o out --integration=rings -j IT", [n for n in NUMBERS if n != "inf"]),
    ("subtract run.stream -o out --polarisation=IT", [*NUMBERS, "horiz101", "9" * 400 + "deg", "horiz" + "9" * 5000]),
    ("subtract run.stream -o out --integration=IT", [*NUMBERS, "rings-cen", "rings-" * 1000, "prof2d"]),
    ("subtract run.stream -o out --slurm --no-submit --time=IT", ["\n", NON_UTF8]),
    ("verify run.stream --max=IT", NUMBERS),
    ("compare run.stream run.stream --nshells=IT", NUMBERS),
    ("peaks run.h5 --threshold=IT", NUMBERS),
    ("peaks run.h5 --frame=IT", NUMBERS),
    ("peaks run.h5 --distance=IT", NUMBERS),
    ("peaks run.h5 --radius=IT", [*NUMBERS, *RADII]),
    ("peaks run.h5 --coordinate=IT", [*NUMBERS, *RADII]),
    ("peaks run.h5 --data=IT", ["", "/", "missing", "a\nb", NON_UTF8, "/entry"]),
    ("view run.stream IT -o out.png", NUMBERS),
    ("view run.stream --3d --size=IT -o out.png", ["-1", "nan", "9" * 5000]),
    ("view run.stream --3d --at=IT -o out.png", ["nan,nan", "1", "1e999,0", "1e300,1e300", "5,5,nowhere", ""]),
    ("view run.stream --reflection=IT -o out.png", ["1", "a,b,c", "99999999999999999999,0,0", ""]),
    ("simulate small -o out --show --seed=IT", NUMBERS),
    ("simulate small -o out --show --photons=IT", NUMBERS),
    ("simulate small -o out --show --set=IT", ["", "=", "water", "water=", "water=nan", "nothing=1", "jet=[", "\n"]),
]


@pytest.fixture
def folder(world, monkeypatch):
    """The run's folder as working directory; its files must be as they were afterwards."""
    monkeypatch.chdir(world.folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    before = {path: path.read_bytes() for path in (world.stream, world.images)}
    yield world.folder
    assert {path: path.read_bytes() for path in before} == before


def clumsily(command, it, capsys):
    """Run a command with IN, OUT or IT replaced; its status and whether what it said is what a person can read."""
    words = [
        it if word in ("IN", "OUT", "IT") else word.replace("OUT", it).replace("IT", it) for word in command.split()
    ]
    status = run(["waterbg", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out, words
    assert "Warning" not in said.err, (words, said.err)
    assert status in (0, 1, 2), words
    if status:
        assert (words[0] == "verify" and not said.err) or said.err.count("\n") == 1, (words, said.err)
        assert status == 1 or not said.out, (words, said.out)
    return status


@pytest.mark.parametrize("command", READERS)
def test_what_is_no_input_of_a_command_is_refused_in_one_line(folder, command, capsys):
    for kind, make in INPUTS.items():
        name = make(folder)
        lacking = command.endswith("--model IN --on-missing=keep") and kind in ("missing", "no UTF-8", "two lines")
        status = clumsily(command, name, capsys)
        assert status or lacking or (command.split()[0] == "peaks" and kind == "images"), kind
        left = {"out", "out.stream", "out.png"} & set(os.listdir(folder))
        assert lacking or not left, (kind, left)
        for path in folder.iterdir():
            if path.name not in ("run.stream", "run.h5"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.parametrize("command", WRITERS)
def test_what_cannot_be_an_output_is_refused_in_one_line(folder, command, capsys):
    (folder / "folder").mkdir()
    for name in OUTPUTS:
        assert clumsily(command, name, capsys), name
        assert os.listdir(folder / "folder") == []


@pytest.mark.parametrize(
    "command",
    [
        "subtract run.stream -o out.stream --model=-",
        "subtract run.stream -o -",
        "overwrite run.stream run.stream -o out.stream --unmatched=-",
        "simulate small -n 1 -o -",
        "simulate small -n 1 -o out --images=-",
    ],
)
def test_no_file_is_named_as_standard_output_is(folder, command, capsys):
    before = sorted(os.listdir(folder))
    assert run(["waterbg", *command.split()]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "standard output will not do; a name is needed" in said
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(("command", "values"), OPTIONS, ids=[command for command, _ in OPTIONS])
def test_absurd_values_are_refused_or_worked_with(folder, command, values, capsys):
    for value in values:
        clumsily(f"{command} --force" if " out" in command else command, value, capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "waterbg: a command is needed; 'waterbg --help' lists them\n"),
        (["nonsense"], "waterbg: no command 'nonsense'; 'waterbg --help' lists them\n"),
        (["--no-such"], "waterbg: unknown switch --no-such; 'waterbg --help' shows what there is\n"),
        (
            ["subtract", "a"],
            "waterbg: switch -o/--output is mandatory; 'waterbg subtract --help' shows what there is\n",
        ),
        (["verify", "--max=0", "a"], "waterbg: --max is expected to be [1..1000000000], not '0'; 'waterbg "),
        (["verify", "a", "--max"], "waterbg: switch --max requires an argument; 'waterbg verify --help' shows"),
        (["verify", "--json=1", "a"], "waterbg: switch --json does not take an argument; 'waterbg verify"),
        (
            ["subtract", "a", "-o", "b", "--until-idle=5"],
            "waterbg: --until-idle needs --follow; 'waterbg ",
        ),
        (["compare", "a"], "waterbg: expected at least 2 positional arguments, got ['a']; 'waterbg compare"),
    ],
)
def test_wrong_usage_is_one_line_on_standard_error(words, said, capsys):
    assert run(["waterbg", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(said)
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["subtract - -o out", "decoys -", "view - -o out.png", "compare - run.stream", "compare run.stream -",
     "overwrite - run.stream -o out", "overwrite run.stream - -o out", "report - run.stream -o out.html",
     "rerun - -o out", "merge - -y 4 -p run.cell", "merge run.stream - -y 4 -p run.cell"],
)  # fmt: skip
def test_standard_input_is_refused_by_name_where_it_will_not_do(folder, words, capsys):
    assert run(["waterbg", *words.split()]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "standard input" in said.err
    assert "will not do" in said.err


@pytest.mark.parametrize(
    "words",
    ["decoys PIPE", "view PIPE -o out.png", "compare run.stream PIPE", "overwrite PIPE run.stream -o out",
     "overwrite run.stream PIPE -o out", "report run.stream PIPE -o out.html", "rerun PIPE -o out",
     "merge PIPE -y 4 -p run.cell", "verify run.stream PIPE"],
)  # fmt: skip
def test_a_pipe_is_refused_where_a_stream_is_read_more_than_once(folder, words, capsys):
    reading, writing = os.pipe()
    os.write(writing, (folder / "run.stream").read_bytes()[:4096])
    os.close(writing)
    assert run(["waterbg", *words.replace("PIPE", f"/dev/fd/{reading}").split()]) == 2
    os.close(reading)
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "a pipe or standard input will not do" in said.err


@pytest.mark.parametrize(
    "words",
    ["subtract run.stream -o -", "overwrite run.stream run.stream -o -", "report run.stream run.stream --output=-",
     "rerun run.stream -o -", "merge run.stream -y 4 -p run.cell -o-"],
)  # fmt: skip
def test_standard_output_is_refused_where_a_file_is_written_as_a_whole(folder, words, capsys):
    assert run(["waterbg", *words.split()]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("waterbg: -o -: ")
    assert sorted(os.listdir(folder)) == ["run.h5", "run.stream"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("merge a -y 4 -p x --lowres=abc", "--lowres is expected to be a number, not 'abc'; "),
        ("peaks run.h5 --threshold abc", "--threshold is expected to be a number, not 'abc'; "),
        ("view run.stream --serial=1.5", "--serial is expected to be a whole number, not '1.5'; "),
        ("subtract run.stream -o out --push-res=nan", "--push-res=nan: a number is needed; inf is no limit"),
        ("indexamajig -o out --waterbg-push-res=nan", "--waterbg-push-res=nan: a number is needed; inf is no limit"),
    ],
)
def test_what_is_no_number_is_told_in_words_and_not_in_pythons(folder, words, said, capsys):
    assert run(["waterbg", *words.split()]) == 2
    assert capsys.readouterr().err.startswith(f"waterbg: {said}")


def test_a_value_that_is_empty_does_not_take_the_next_word(folder, capsys):
    """As when a shell's variable is not set."""
    assert run(["waterbg", "compare", "run.stream", "run.stream", "--figure=", "--json"]) == 2
    assert "'': the name of a figure ends with" in capsys.readouterr().err
    assert run(["waterbg", "subtract", "run.stream", "-o", "out", "--prefix=", "--integration=rings"]) == 0
    assert not os.path.exists("--json")


@pytest.mark.parametrize("command", ["subtract run.stream -o out", "decoys run.stream", "view run.stream -o out.png"])
def test_an_empty_geometry_is_not_blamed_on_the_stream(folder, command, capsys):
    (folder / "e.geom").touch()
    assert run(["waterbg", *command.split(), "-g", "e.geom"]) == 1
    assert capsys.readouterr().err == "waterbg: error: e.geom: is empty\n"


@pytest.mark.parametrize(("encoding", "ring"), [("utf-8", "σ"), ("ascii", r"\u03c3")])
def test_bytes_that_are_no_utf_8_are_shown_by_their_numbers(folder, encoding, ring):
    (folder / "odd.geom").write_bytes(b"clen = 0.1\n\xff\xfe \xcf\x83\n")
    words = [WATERBG, "decoys", "run.stream", "-g", "odd.geom"]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 1
    assert done.stderr == rf"waterbg: error: odd.geom:2: '\xff\xfe {ring}' is not of the form name = value" + "\n"


def test_a_figure_in_place_of_another_needs_force(folder, capsys):
    for command in ("compare run.stream run.stream -o OUT", "decoys run.stream -o OUT", "peaks run.h5 --scatter=OUT"):
        (folder / "a.png").write_text("precious")
        assert clumsily(command, "a.png", capsys) == 1
        assert (folder / "a.png").read_text() == "precious"
        assert clumsily(f"{command} --force", "a.png", capsys) == 0
        assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")


def test_names_that_are_no_utf_8_come_through_every_command(original, tmp_path, monkeypatch, capfdbinary):
    world = World.copy(original, tmp_path / NON_UTF8)
    monkeypatch.chdir(world.folder)
    stream = f"{NON_UTF8}.stream"
    world.edit(lambda text: text.replace(b"run.h5", b"caf\xe9.h5"))
    os.rename("run.stream", stream)
    world.folder.joinpath(stream).write_bytes(
        world.folder.joinpath(stream).read_bytes().replace(b"run.h5", b"caf\xe9.h5")
    )
    os.rename("run.h5", f"{NON_UTF8}.h5")
    for words in (
        f"subtract {stream} -o {NON_UTF8}.out",
        f"verify {stream} {NON_UTF8}.out",
        f"compare {stream} {NON_UTF8}.out -o {NON_UTF8}.png",
        f"view {stream} -o {NON_UTF8}-view.png",
        f"view {stream} --3d -o {NON_UTF8}-3d.svg",
        f"decoys {stream} -o {NON_UTF8}.pdf",
        f"overwrite {stream} {NON_UTF8}.out -o {NON_UTF8}.both --unmatched={NON_UTF8}.txt",
        f"peaks {NON_UTF8}.h5 --csv={NON_UTF8}.csv --scatter={NON_UTF8}-peaks.png",
        f"subtract {stream} -o {NON_UTF8}.array --slurm --no-submit --partition={NON_UTF8}",
    ):
        assert run(["waterbg", *words.split()]) == 0, (words, capfdbinary.readouterr())


# -- ends of the program ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["--help-all"], ["verify", "--list-checks"], ["compare", "run.stream", "run.stream"]]
)
def test_a_reader_that_has_gone_is_no_error(folder, words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([WATERBG, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    "words",
    ["compare run.stream run.stream -o FILE.png", "peaks run.h5 --csv=FILE.csv", "peaks run.h5 --scatter=FILE.png"],
)
def test_files_are_there_though_the_reader_of_the_table_has_gone(folder, words):
    """`| head`: what is asked for as a file must not wait behind what is printed."""
    reading, writing = os.pipe()
    os.close(reading)
    command, environment = [WATERBG, *words.split()], {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(command, stdout=writing, env=environment)
    os.close(writing)
    assert done.returncode == 141
    assert list(folder.glob("FILE.*"))


@pytest.mark.parametrize("words", [["verify", "-"], ["script", "sum-peaks", "-", "-o", "out.h5"]])
def test_ctrl_c_is_one_line_and_status_130(folder, words):
    process = subprocess.Popen(
        [WATERBG, *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # the terminal tells a program and those it started
    )
    process.stdin.write((folder / "run.stream").read_bytes()[:100_000])
    process.stdin.flush()
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert said.count(b"\n") == 1
    assert said.endswith(b"interrupted\n")
    assert process.returncode == 130
    assert sorted(os.listdir(folder)) == ["run.h5", "run.stream"]


def test_a_terminal_without_greek_letters_shows_their_numbers(folder):
    words = [WATERBG, "decoys", "run.stream"]
    done = subprocess.run(words, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"\\xc5" in done.stdout


def test_no_error_of_the_system_is_swallowed(world, monkeypatch, capsys):
    """plumbum takes EINVAL, which some network file systems give, for a closed pipe of Windows."""

    def refuse(*_):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(Verify, "main", refuse)
    assert run(["waterbg", "verify", str(world.stream)]) == 1
    assert capsys.readouterr().err == "waterbg: error: Invalid argument\n"
