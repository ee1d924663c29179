"""Spread independent pieces of work over processes; results come back in order, and a dead worker is noticed.

The processes are those of :class:`concurrent.futures.ProcessPoolExecutor`. What it lacks for unattended runs is
here: a bounded number of pieces under way (memory), the finding of the piece that kills its worker, and workers
that end with their parent however it dies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, TypeVar

from waterbg.errors import WaterbgError

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(WaterbgError):
    """A worker was killed (by the kernel for its memory, or by hand) while it worked on one piece, twice."""


def ordered_map(
    work: Callable[[Item], Result],
    items: Iterable[Item | None],
    *,
    jobs: int,
    prepare: Callable[..., None],
    prepare_args: tuple[Any, ...] = (),
    describe: Callable[[Item], str] = str,
    report: Callable[[str], None] = lambda message: None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in the order of the items.

    Parameters
    ----------
    work : callable
        Importable function of one picklable item.
    items : iterable
        May be endless; at most ``ahead`` items are taken ahead of the result being waited for. None means
        that there is nothing yet (a stream that still grows): what is ready goes out before the next item is asked for.
    jobs : int
        Number of processes; 1 works in this one.
    prepare, prepare_args
        Called once in each process before its first item (file handles, maps).
    describe : callable
        Words for an item in a message about a dead worker.
    report : callable
        Called with one line when a worker died and its piece is tried again.
    ahead : int, optional
        Default: ``3 * jobs``, so that no worker waits for the slowest.

    Raises
    ------
    WorkerDied
        When the same piece killed its worker twice.
    """
    if jobs == 1:
        prepare(*prepare_args)
        for item in items:
            if item is not None:
                yield work(item)
        return
    source, ahead = iter(items), 3 * jobs if ahead is None else ahead
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = _new_pool(jobs, prepare, prepare_args)
    try:
        more = True
        while more or waiting:
            while more and len(waiting) < ahead:
                try:
                    new = next(source)
                except StopIteration:
                    more = False
                    break
                if new is None:
                    break
                waiting.append((new, pool.submit(work, new)))
            if not waiting:
                continue
            item, future = waiting[0]
            try:
                result = future.result()
            except BrokenProcessPool:
                # One death breaks the whole pool and does not say whose work it was. The oldest piece is tried alone,
                # which finds the culprit; the others are submitted again.
                report(f"a worker died; trying {describe(item)} again")
                _kill(pool)
                result = _alone(work, item, prepare, prepare_args, describe)
                pool = _new_pool(jobs, prepare, prepare_args)
                waiting = deque([waiting[0], *((i, _again(f, pool, work, i)) for i, f in list(waiting)[1:])])
            waiting.popleft()
            yield result
    finally:
        _kill(pool)


def _again(
    future: Future[Result], pool: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item
) -> Future[Result]:
    """Keep a result that was ready before the pool broke, else submit the item to the new pool."""
    if future.done() and not isinstance(future.exception(), BrokenProcessPool):
        return future
    return pool.submit(work, item)


def _alone(
    work: Callable[[Item], Result],
    item: Item,
    prepare: Callable[..., None],
    prepare_args: tuple[Any, ...],
    describe: Callable[[Item], str],
) -> Result:
    pool = _new_pool(1, prepare, prepare_args)
    try:
        return pool.submit(work, item).result()
    except BrokenProcessPool:
        raise WorkerDied(
            f"{describe(item)}: the worker on it was killed twice (out of memory?); fewer workers (-j) need less"
        ) from None
    finally:
        _kill(pool)


def _new_pool(jobs: int, prepare: Callable[..., None], args: tuple[Any, ...]) -> ProcessPoolExecutor:
    # fork: workers share compiled kernels and per-detector maps with the parent, and start in milliseconds
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(prepare, args))
    with warnings.catch_warnings():
        # Python 3.12 warns of forking beside threads; ours are OpenBLAS's sleeping ones, which survive a fork
        warnings.simplefilter("ignore", DeprecationWarning)
        pool.submit(os.getpid).result()
    return pool


def _start(prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    # Ctrl-C reaches every process of the terminal: the parent alone answers it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*args)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _kill(pool: ProcessPoolExecutor) -> None:
    """End the pool's processes now: what they still work on is not wanted any more."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)
