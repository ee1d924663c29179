"""waterbg.run.pool: order, death of workers, end with the parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from waterbg.run.pool import WorkerDied, ordered_map


def nothing():
    pass


def square(x):
    time.sleep(0.02 * (x % 3))  # later pieces finish before earlier ones
    return x * x


def die_once(path):
    marker = Path(path)
    if marker.name == "die" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker.name


def die_always(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def refuse(x):
    if x == 2:
        raise ValueError("two")
    return x


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_items_for_any_number_of_workers(jobs):
    items = [0, 1, None, 2, 3, None, 4, 5, 6, 7]
    assert list(ordered_map(square, items, jobs=jobs, prepare=nothing)) == [x * x for x in items if x is not None]


def test_a_worker_that_is_killed_once_is_reported_and_its_piece_done_again(tmp_path):
    said = []
    items = [str(tmp_path / name) for name in ("a", "b", "die", "c", "d")]
    done = list(ordered_map(die_once, items, jobs=2, prepare=nothing, report=said.append))
    assert done == ["a", "b", "die", "c", "d"]
    assert said
    assert "a worker died" in said[0]


def test_a_piece_that_kills_its_worker_twice_ends_the_run_and_is_named():
    done = []
    with pytest.raises(WorkerDied, match="3: the worker on it was killed twice"):
        done.extend(ordered_map(die_always, range(8), jobs=2, prepare=nothing))


def test_an_error_in_a_worker_reaches_the_caller_as_it_was():
    with pytest.raises(ValueError, match="two"):
        list(ordered_map(refuse, range(5), jobs=2, prepare=nothing))


def test_items_are_taken_only_a_few_ahead_of_the_result_waited_for():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    results = ordered_map(square, items(), jobs=2, prepare=nothing)
    next(results)
    assert len(taken) <= 6
    results.close()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
            import os, sys, time
            from waterbg.run.pool import ordered_map
            def work(path):
                open(path + str(os.getpid()), "w").close()
                time.sleep(60)
            list(ordered_map(work, [sys.argv[1]] * 2, jobs=2, prepare=lambda: None))
        """)
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path / "pid.")])
    pids = []
    deadline = time.monotonic() + 20
    while len(pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        pids = [int(path.suffix[1:]) for path in tmp_path.glob("pid.*")]
    parent.kill()
    parent.wait()
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(pid) for pid in pids)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
