"""Spread independent pieces of work over processes; results come back in order, and a dead worker is noticed.

Every worker has a pipe of its own, and nothing else is shared: a process that is killed, at whatever moment, leaves
no lock held and no half message in anybody else's way, which :class:`concurrent.futures.ProcessPoolExecutor` waits
for without end.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from waterbg.errors import WaterbgError
from waterbg.interrupts import checkpoint

Item = TypeVar("Item")
Result = TypeVar("Result")

_DEEP = 2  # items a worker has: the next one lies ready when it is done with one
_IDLE_DEATHS = 5  # workers for each one wanted that may die before they begin, in a row
_FILES, _OTHER_FILES = 3, 64  # that are open for each worker, and besides
_SMALL = 32768  # bytes of an item that fits into a pipe nobody reads: larger ones wait until the worker does


class WorkerDied(WaterbgError):
    """A worker was killed (by the kernel for its memory, or by hand) while it worked on one piece, twice."""


def as_many_as_files(jobs: int, report: Callable[[str], None]) -> int:
    """How many processes the limit of open files leaves, which is raised as far as this is allowed."""
    wanted = _OTHER_FILES + _FILES * jobs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if jobs == 1 or soft == resource.RLIM_INFINITY or soft >= wanted:
        return jobs
    with suppress(OSError, ValueError):  # macOS has a limit beside this one
        more = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    possible = max(1, min(jobs, (soft - _OTHER_FILES) // _FILES))
    if possible < jobs:
        report(f"{possible} instead of {jobs} processes: no more than {soft} files may be open (ulimit -n)")
    return possible


def ordered_map(
    work: Callable[[Item], Result],
    items: Iterable[Item | None],
    *,
    jobs: int,
    prepare: Callable[[], None],
    report: Callable[[str], None] = lambda message: None,
) -> Generator[Result, None, None]:
    """Do :meth:`Pool.map` with processes of its own, which end with it."""
    with Pool(jobs, prepare, report) as pool:
        yield from pool.map(work, items)


class Pool:
    """Processes that do one map after the other; a context manager that ends them.

    Parameters
    ----------
    jobs : int
        Number of processes; 1 works in this one. They are started when there is something for them.
    prepare : callable
        Called once in each process before its first item (file handles, maps). What it holds is inherited, not sent.
    report : callable
        Called with one line when a worker died and its piece is tried again.
    """

    def __init__(
        self, jobs: int, prepare: Callable[[], None], report: Callable[[str], None] = lambda message: None
    ) -> None:
        self.jobs = jobs
        self._prepare: Callable[[], None] | None = prepare
        self._crew = _Crew(jobs, prepare, report)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the processes, with what they hold; the next map starts others."""
        self._crew.end()

    def map(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item | None],
        *,
        describe: Callable[[Item], str] = str,
        ahead: int | None = None,
    ) -> Generator[Result, None, None]:
        """Yield ``work(item)`` for each item, in the order of the items. One map at a time.

        Parameters
        ----------
        work : callable
            Function of one item; both are picklable, and its result is, too. What a `functools.partial` holds is sent
            with every item.
        items : iterable
            May be endless; at most ``ahead`` items are taken ahead of the result being waited for. None means
            that there is nothing yet (a stream that still grows): what is ready goes out before the next item is asked
            for.
        describe : callable
            Words for an item in a message about a dead worker.
        ahead : int, optional
            Default: three for each process, so that no worker waits for the slowest.

        Raises
        ------
        WorkerDied
            When the same piece killed its worker twice.
        """
        if self.jobs == 1:
            if self._prepare is not None:
                self._prepare()
                self._prepare = None
            for item in items:
                if item is not None:
                    yield work(item)
            return
        source, ahead = iter(items), 3 * self.jobs if ahead is None else ahead
        waiting: deque[_Task[Item, Result]] = deque()  # in the order of the items
        try:
            more = True
            while more or waiting:
                checkpoint()
                while more and len(waiting) < ahead:
                    try:
                        new = next(source)
                    except StopIteration:
                        more = False
                        break
                    if new is None:
                        break
                    waiting.append(_Task(work, new, describe))
                    self._crew.take(waiting[-1])
                if not waiting:
                    continue
                while not waiting[0].done:
                    self._crew.wait()
                yield waiting.popleft().result()
        finally:
            self._crew.forget(waiting)


class _Task(Generic[Item, Result]):
    """An item on its way."""

    def __init__(self, work: Callable[[Item], Result], item: Item, describe: Callable[[Item], str]) -> None:
        self.sent = pickle.dumps((work, item))
        self.describe = lambda: describe(item)
        self.deaths = 0
        self.wanted = True  # until its map ends without it
        self.done = False
        self._good, self._value = False, None

    def finish(self, good: bool, value: Any) -> None:
        self.done, self._good, self._value = True, good, value

    def result(self) -> Result:
        """What the work gave back; raises what it raised."""
        if not self._good:
            raise self._value  # type: ignore[misc]
        return self._value  # type: ignore[return-value]


class _Worker:
    """A process, this end of its pipe, and what it was given and has not given back, oldest first."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        # fork: workers share compiled kernels and per-detector maps with the parent, and start in milliseconds
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.tasks: deque[_Task[Any, Any]] = deque()
        self.process = context.Process(target=_serve, args=(theirs, self.pipe, prepare), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads; ours are OpenBLAS's sleeping ones, which survive a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()  # the only other end is the worker's: when it dies, this end says so

    def end(self) -> None:
        """End it now, whatever it does: it holds nothing that it would have to put in order."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


class _Crew:
    """The workers, started when there is something for them, and the tasks that none of them has yet."""

    def __init__(self, jobs: int, prepare: Callable[[], None], report: Callable[[str], None]) -> None:
        self.jobs, self.prepare, self.report = jobs, prepare, report
        self._workers: list[_Worker] = []
        self._ready: deque[_Task[Any, Any]] = deque()
        self._idle_deaths = 0  # since something was done

    def take(self, task: _Task[Any, Any]) -> None:
        """Give a task to a worker as soon as one has room."""
        self._ready.append(task)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._ready:
            least = min(self._workers, key=lambda worker: len(worker.tasks), default=None)
            if (least is None or least.tasks) and len(self._workers) < self.jobs:
                least = self._start() or least
            room = 1 if len(self._ready[0].sent) > _SMALL else _DEEP
            if least is None or len(least.tasks) >= room:
                return
            task = self._ready.popleft()
            try:
                least.pipe.send_bytes(task.sent)
            except OSError:  # it was dead before it got this, which is not to blame
                self._idle_deaths += 1
                if self._idle_deaths > _IDLE_DEATHS * self.jobs:
                    task.finish(False, WorkerDied("workers are killed before they begin (out of memory?)"))
                else:
                    self._ready.appendleft(task)
                self._bury(least)
            else:
                least.tasks.append(task)

    def _start(self) -> _Worker | None:
        """One more worker; None, from now on, when the system has no room for it but for others."""
        try:
            self._workers.append(_Worker(self.prepare))
        except OSError as err:
            if not self._workers:
                raise
            self.report(
                f"{len(self._workers)} instead of {self.jobs} processes: no more can be started ({err.strerror})"
            )
            self.jobs = len(self._workers)
            return None
        return self._workers[-1]

    def wait(self) -> None:
        """Wait until a worker has something to say, or dies."""
        pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers if worker.tasks}
        for pipe in wait(list(pipes)):
            if not self._hear(pipes[pipe]):
                self._bury(pipes[pipe])
        self._hand_out()

    def _hear(self, worker: _Worker) -> bool:
        """Take an answer; False when there will be none any more."""
        try:
            good, value = pickle.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            return False
        worker.tasks.popleft().finish(good, value)
        self._idle_deaths = 0
        return True

    def _bury(self, worker: _Worker) -> None:
        """Give the tasks of a dead worker to others; the oldest, which it died over, only once more."""
        while worker.tasks and self._hear(worker):  # what it had done before it died
            pass
        self._workers.remove(worker)
        worker.end()
        if worker.tasks and worker.tasks[0].wanted:
            task = worker.tasks[0]
            task.deaths += 1
            what = task.describe()
            if task.deaths > 1:  # said when its turn comes: what is before it is done, or being done
                task.finish(
                    False,
                    WorkerDied(
                        f"{what}: the worker on it was killed twice (out of memory?); fewer workers (-j) need less"
                    ),
                )
                worker.tasks.popleft()
            else:
                self.report(f"a worker died; trying {what} again")
        self._ready.extendleft(reversed([task for task in worker.tasks if task.wanted]))

    def forget(self, tasks: Iterable[_Task[Any, Any]]) -> None:
        """Want tasks no more; what a worker has already is done, and its answer is passed over."""
        for task in tasks:
            task.wanted = False
        self._ready = deque(task for task in self._ready if task.wanted)

    def end(self) -> None:
        """End all workers now: what they still work on is not wanted any more."""
        for worker in self._workers:  # first all of them: where they are many, those that work on keep one from dying
            worker.process.kill()
        while self._workers:
            self._workers.pop().end()


def _serve(pipe: Connection, parents: Connection, prepare: Callable[[], None]) -> None:
    """Work until the parent ends this process, or ends itself."""
    parents.close()
    # Ctrl-C reaches every process of the terminal: the parent alone answers it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepared = False
    while True:
        try:
            sent = pipe.recv_bytes()
        except (EOFError, OSError):  # the parent is gone
            os._exit(0)
        try:
            work, item = pickle.loads(sent)
            if not prepared:
                prepare()
                prepared = True
            answer = pickle.dumps((True, work(item)))
        except BaseException as err:  # whatever it is, it is raised where the result is waited for
            answer = _as_bytes(err)
        try:
            pipe.send_bytes(answer)
        except OSError:
            os._exit(1)


def _as_bytes(err: BaseException) -> bytes:
    try:
        answer = pickle.dumps((False, err))
        pickle.loads(answer)
    except Exception:  # an exception of somebody else's that does not survive the way: its words do
        answer = pickle.dumps((False, RuntimeError("".join(traceback.format_exception(err)))))
    return answer


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
