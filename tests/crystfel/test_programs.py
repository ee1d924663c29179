import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from waterbg.crystfel.programs import (
    Program,
    Running,
    find_program,
    is_drop_in,
    last_lines,
    run_program,
    show_command,
)
from waterbg.errors import ProgramError


def test_a_program_is_found_in_its_folder_with_its_version(program):
    folder = program("process_hkl", "")
    found = find_program("process_hkl", str(folder))
    assert found == Program("process_hkl", str(folder / "process_hkl"), "0.12.0-113-g80f24855+")
    assert str(found) == f"process_hkl 0.12.0-113-g80f24855+ ({folder}/process_hkl)"


def test_a_program_is_found_on_path(program, monkeypatch):
    folder = program("check_hkl", "")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert find_program("check_hkl").path == str(folder / "check_hkl")


def test_without_crystfel_the_message_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match=r"partialator: not found on PATH; install CrystFEL.*--crystfel-bin"):
        find_program("partialator")
    with pytest.raises(ProgramError, match=rf"partialator: no such program in {tmp_path}"):
        find_program("partialator", str(tmp_path))


def test_a_program_that_says_no_version_is_used_all_the_same(tmp_path):
    path = tmp_path / "get_hkl"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    assert find_program("get_hkl", str(tmp_path)).version == "unknown"


def test_the_drop_in_is_never_taken_for_the_real_program(program, monkeypatch, tmp_path):
    real = program("indexamajig", "")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "indexamajig").write_text('#!/bin/sh\nexec waterbg indexamajig "$@"\n')
    (mine / "indexamajig").chmod(0o755)
    assert is_drop_in(str(mine / "indexamajig"))
    assert not is_drop_in(str(real / "indexamajig"))
    monkeypatch.setenv("PATH", f"{mine}{os.pathsep}{real}{os.pathsep}{os.environ['PATH']}")
    assert find_program("indexamajig").path == str(real / "indexamajig")
    monkeypatch.setenv("PATH", str(mine))
    with pytest.raises(ProgramError, match="PATH leads only to waterbg's stand-in"):
        find_program("indexamajig")


def test_the_shipped_stand_in_knows_itself():
    scripts = Path(__file__).resolve().parents[2] / "crystfel_scripts"
    assert is_drop_in(str(scripts / "indexamajig"))
    assert os.access(scripts / "indexamajig", os.X_OK)


def test_what_a_program_has_tried_is_not_tried_again(program, monkeypatch):
    folder = program("indexamajig", "")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ProgramError, match="or back to it"):
        find_program("indexamajig", exclude=[os.path.realpath(folder / "indexamajig")])


def test_what_a_program_says_goes_into_the_log_behind_its_command(program, tmp_path):
    folder = program("check_hkl", 'echo result; echo "said $1" >&2')
    log = tmp_path / "run" / "check.log"
    done = run_program(find_program("check_hkl", str(folder)), ["a b"], log=log)
    assert done.status == 0
    assert done.output == "result\n"
    assert done.last_lines == ("said a b",)
    assert log.read_text() == f"$ {folder}/check_hkl 'a b'\nsaid a b\n"


def test_no_shell_ever_sees_the_arguments(program, tmp_path):
    folder = program("check_hkl", 'printf "%s|" "$@"')
    words = ["$(touch oops)", "; ls", "a'b", "*", ""]
    done = run_program(find_program("check_hkl", str(folder)), words, log=tmp_path / "log", cwd=str(tmp_path))
    assert done.output == "".join(f"{word}|" for word in words)
    assert not (tmp_path / "oops").exists()


def test_a_failing_program_is_reported_with_status_and_last_lines(program, tmp_path):
    folder = program("process_hkl", "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i >&2; done; echo >&2; exit 7")
    log = tmp_path / "log"
    with pytest.raises(ProgramError) as caught:
        run_program(find_program("process_hkl", str(folder)), [], log=log)
    assert caught.value.status == 7
    assert caught.value.log == str(log)
    assert "line 3 | line 4" in str(caught.value)
    assert "line 2 " not in str(caught.value)
    assert str(caught.value).startswith("process_hkl (exit status 7): it said:")


def test_a_killed_program_is_reported_by_the_name_of_the_signal(program, tmp_path):
    folder = program("process_hkl", "kill -SEGV $$")
    with pytest.raises(ProgramError, match=r"killed by SIGSEGV; it said nothing"):
        run_program(find_program("process_hkl", str(folder)), [], log=tmp_path / "log")


def test_a_log_that_cannot_be_written_is_one_line(program, tmp_path):
    folder = program("process_hkl", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProgramError, match=r"its log .* cannot be written"):
        run_program(find_program("process_hkl", str(folder)), [], log=tmp_path / "file" / "log")


def test_a_log_for_which_there_is_no_room_is_named(program):
    folder = program("process_hkl", "")
    said = "process_hkl: its log /dev/full cannot be written (No space left on device)"
    with pytest.raises(ProgramError, match=re.escape(said)):
        run_program(find_program("process_hkl", str(folder)), [], log=Path("/dev/full"))
    with pytest.raises(ProgramError, match=re.escape(said)):
        Running(find_program("process_hkl", str(folder)), [], log=Path("/dev/full"))


def test_a_program_that_cannot_be_started_is_one_line(tmp_path):
    path = tmp_path / "check_hkl"
    path.write_bytes(b"\x7fELF not really")
    path.chmod(0o755)
    with pytest.raises(ProgramError, match="cannot be started"):
        run_program(Program("check_hkl", str(path), "?"), [], log=tmp_path / "log")


def test_the_last_lines_leave_out_blank_ones_and_know_carriage_returns(tmp_path):
    log = tmp_path / "log"
    log.write_text("one\n\n10 %\r20 %\r\n  two  \n")
    assert last_lines(log, 0)[-3:] == ("10 %", "20 %", "two")


def test_a_command_is_shown_as_one_would_type_it():
    assert show_command(Program("x", "/a b/x", "1"), ["-i", "my file"]) == "'/a b/x' -i 'my file'"


def test_a_running_program_speaks_to_the_user_and_to_the_log(program, tmp_path, capfd):
    folder = program("indexamajig", "echo out; echo err >&2; echo $WATERBG_TEST >&2; exit 5")
    running = Running(
        find_program("indexamajig", str(folder)),
        ["-j", "2"],
        log=tmp_path / "log",
        environment={"WATERBG_TEST": "hello"},
    )
    assert running.wait() == 5
    assert running.ended()
    assert running.last_lines == ("err", "hello")
    said = capfd.readouterr()
    assert said.out == "out\n"
    assert "err" in said.err
    assert (tmp_path / "log").read_text() == f"$ {folder}/indexamajig -j 2\nerr\nhello\n"


def test_a_log_whose_name_begins_with_a_dash_is_no_option_of_tee(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = program("indexamajig", "echo err >&2")
    running = Running(find_program("indexamajig", str(folder)), [], log=Path("-run.stream.log"))
    assert running.wait() == 0
    assert running.last_lines == ("err",)


def test_a_signal_is_passed_on_and_its_status_is_that_of_the_shell(program, tmp_path):
    folder = program("indexamajig", "exec sleep 60")
    running = Running(find_program("indexamajig", str(folder)), [])
    threading.Timer(0.3, running.send, (signal.SIGINT,)).start()
    start = time.monotonic()
    assert running.wait() == 128 + signal.SIGINT
    assert time.monotonic() - start < 30
