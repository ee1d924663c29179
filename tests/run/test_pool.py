"""waterbg.run.pool: order, death of workers, end with the parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from waterbg.run import pool
from waterbg.run.pool import Pool, WorkerDied, ordered_map


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
        for result in ordered_map(die_always, range(8), jobs=2, prepare=nothing):
            done.append(result)  # noqa: PERF402 (what comes before the error counts)
    assert done == [0, 1, 2]


def test_idle_workers_that_are_killed_cost_no_piece():
    def items():
        for round_ in range(4):
            yield from range(6 * round_, 6 * round_ + 6)
            yield from [None] * 7  # until all results are out
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)
                os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)

    said = []
    assert list(ordered_map(square, items(), jobs=3, prepare=nothing, report=said.append)) == [x * x for x in range(24)]
    assert said == []


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


def large(x):
    return bytes(len(x) if isinstance(x, bytes) else x)


def test_large_items_and_large_results_do_not_block_each_other():
    items = [bytes(1_000_000 + i) for i in range(12)]
    found = list(ordered_map(large, items, jobs=2, prepare=nothing))
    assert [len(result) for result in found] == [len(item) for item in items]


def test_leaving_while_workers_send_large_results_ends_at_once():
    for _ in range(20):
        results = ordered_map(large, [5_000_000] * 12, jobs=3, prepare=nothing)
        assert len(next(results)) == 5_000_000
        results.close()
    assert not multiprocessing.active_children()


class Stillborn(pool._Worker):
    """Killed before it hears of anything."""

    def __init__(self, *args):
        super().__init__(*args)
        self.process.kill()
        self.process.join()


def test_workers_that_are_all_killed_before_they_begin_end_the_work(monkeypatch):
    monkeypatch.setattr(pool, "_Worker", Stillborn)
    with pytest.raises(WorkerDied, match="workers are killed before they begin"):
        list(ordered_map(square, range(3), jobs=2, prepare=nothing))
    assert not multiprocessing.active_children()


def die_while_sending(path):
    marker = Path(path)
    if marker.name == "die" and not marker.exists():
        marker.touch()
        pid = os.getpid()
        threading.Timer(0.3, os.kill, (pid, signal.SIGKILL)).start()
        return Slow()
    return marker.name


class Slow:
    """Takes longer to be pickled than its process lives."""

    def __reduce__(self):
        time.sleep(30)
        return Slow, ()


def test_a_worker_that_dies_while_it_packs_its_result_is_noticed(tmp_path):
    said = []
    items = [str(tmp_path / name) for name in ("a", "die", "c", "d", "e", "f")]
    assert list(ordered_map(die_while_sending, items, jobs=2, prepare=nothing, report=said.append)) == [
        "a", "die", "c", "d", "e", "f",
    ]  # fmt: skip
    assert len(said) == 1


class Stubborn(Exception):
    """Does not survive pickling."""

    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


def refuse_stubbornly(x):
    raise Stubborn("a", "b")


def test_an_error_that_cannot_travel_arrives_as_its_words():
    with pytest.raises(RuntimeError, match="Stubborn: a"):
        list(ordered_map(refuse_stubbornly, range(3), jobs=2, prepare=nothing))


def refuse_to_begin():
    raise ValueError("no way to begin")


def test_a_worker_that_cannot_be_prepared_says_why():
    with pytest.raises(ValueError, match="no way to begin"):
        list(ordered_map(square, range(3), jobs=2, prepare=refuse_to_begin))


def whose(x):
    time.sleep(0.05)
    return os.getpid(), x


def test_one_crew_does_one_map_after_the_other_and_what_was_left_disturbs_nothing():
    with Pool(2, nothing) as pool:
        first = pool.map(whose, range(20))
        crew = {next(first)[0] for _ in range(4)}
        first.close()  # while others are under way
        found = list(pool.map(whose, range(100, 110)))
        assert [x for _, x in found] == list(range(100, 110))
        assert {pid for pid, _ in found} == crew
        assert len(crew) == 2
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_over_what_nobody_wants_any_more_is_replaced(tmp_path):
    with Pool(2, nothing) as pool:
        left = pool.map(die_once, [str(tmp_path / "a"), str(tmp_path / "die")] * 2)
        assert next(left) == "a"
        left.close()
        assert list(pool.map(square, range(6))) == [x * x for x in range(6)]
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        assert list(pool.map(square, range(6))) == [x * x for x in range(6)]


def test_the_processes_are_prepared_once_each(tmp_path):
    for jobs in (1, 3):
        marks = tmp_path / str(jobs)
        marks.mkdir()
        with Pool(jobs, partial(mark, marks)) as pool:
            for _ in range(3):
                list(pool.map(square, range(9)))
        assert len(list(marks.iterdir())) == jobs


def mark(folder):
    (folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()


def says(script):
    """What a process of its own prints, whose limits may be changed."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_limit_of_open_files_is_raised_for_many_processes_or_said():
    assert says("""
        import resource
        from waterbg.run.pool import as_many_as_files
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 128))
        for jobs in (1, 10, 30):
            print(as_many_as_files(jobs, print), *resource.getrlimit(resource.RLIMIT_NOFILE))
    """) == [
        "1 32 128",
        "10 94 128",
        "21 instead of 30 processes: no more than 128 files may be open (ulimit -n)",
        "21 128 128",
    ]


def test_as_many_files_are_open_as_are_counted_for_a_worker():
    assert says("""
        import resource
        from waterbg.run import pool
        files = 10 + 30 * pool._FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        with pool.Pool(30, lambda: None, print) as crew:
            print(sum(crew.map(abs, range(100))), len(crew._crew._workers))
    """) == ["4950 30"]


def test_where_no_more_processes_can_be_started_those_that_are_there_do_the_work(monkeypatch):
    forks, fork, said = [], os.fork, []

    def fork_twice():
        forks.append(1)
        if len(forks) > 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", fork_twice)
    found = ordered_map(square, range(20), jobs=5, prepare=nothing, report=said.append)
    assert list(found) == [x * x for x in range(20)]
    assert said == ["2 instead of 5 processes: no more can be started (Resource temporarily unavailable)"]
    with pytest.raises(BlockingIOError):
        list(ordered_map(square, range(20), jobs=5, prepare=nothing))


def test_a_crew_that_was_ended_begins_anew():
    with Pool(2, nothing) as pool:
        first = {pid for pid, _ in pool.map(whose, range(8))}
        pool.end()
        assert not multiprocessing.active_children()
        assert len(first | {pid for pid, _ in pool.map(whose, range(8))}) == 4


def test_all_workers_are_killed_before_the_first_is_waited_for(monkeypatch):
    still, end = [], pool._Worker.end

    def look_and_end(worker):
        for other in crew._crew._workers:
            other.process.join(1)
            still.append(other.process.is_alive())
        end(worker)

    monkeypatch.setattr(pool._Worker, "end", look_and_end)
    with Pool(3, nothing) as crew:
        list(crew.map(whose, range(9)))
    assert still == [False] * 3
