"""Run a function over many small jobs in worker processes, each of which survives the death of others."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

from awb import AWBError
from examples.chestxray14.child_processes import describe_end, start_child, stop_children, wait_for_end

Job = TypeVar("Job")
Result = TypeVar("Result")


class Killed(NamedTuple):
    """A job that is not done because its worker process ended in the middle of it.

    Attributes:
        job: The job.
        how: End of the process in words, such as `was killed by SIGKILL, perhaps for want of memory`.
    """

    job: Any
    how: str


class WorkersKilledError(AWBError):
    """Worker processes were killed; the jobs of all others are done.

    Attributes:
        killed: The jobs that are not done.
    """

    def __init__(self, killed: list[Killed]) -> None:
        how = ", ".join(dict.fromkeys(one.how for one in killed))
        super().__init__(
            f"{len(killed)} worker process{'es' if len(killed) > 1 else ''} ended within a job ({how}); the jobs of "
            "the others are done: run the same command again, and it goes on; with fewer processes if memory was short"
        )
        self.killed = killed


def run_all(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None = None, one_here: bool = False
) -> Iterator[Result]:
    """Results as jobs end, in any order.

    Processes are started as `start_child` does. In place of one that is killed another goes on with the jobs that are
    left.

    Args:
        function: A function of a module, so that it can be sent.
        jobs: Arguments, one per call of the function.
        workers: Number of processes, as many as there are cores by default; 1 is this process.
        one_here: Whether one of several workers is a thread of this process, which saves the memory of a process.

    Raises:
        WorkersKilledError: Processes were killed; after the last result.
    """
    left = list(jobs)
    workers = min(workers or os.cpu_count() or 1, len(left))
    if workers <= 1:
        yield from map(function, left)
        return
    left.reverse()
    killed: list[Killed] = []
    busy: dict[Any, _Worker] = {}
    started: list[_Worker] = []
    try:
        for place in range(workers):
            started.append(_start_here(function) if one_here and place == 0 else _start(function))
        for worker in started:  # while the others start
            _give(worker, left, busy)
        while busy:
            for connection in wait(list(busy)):
                worker = busy.pop(connection)
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    assert worker.process is not None  # a thread ends with this process
                    killed.append(Killed(worker.job, describe_end(wait_for_end(worker.process))))
                    if left:
                        started.append(_start(function))
                        _give(started[-1], left, busy)
                    continue
                _give(worker, left, busy)
                if isinstance(answer, _Failure):
                    raise answer.error from _InWorkerError(answer.trace)
                yield answer
    finally:
        stop_children([worker.process for worker in started if worker.process is not None])
    if killed:
        raise WorkersKilledError(killed)


@dataclass
class _Worker:
    """A process, or a thread of this one, and the job that it works on."""

    process: BaseProcess | None
    connection: Connection
    job: Any = None


class _Failure(NamedTuple):
    """Error that a job raised, in place of a result."""

    error: Exception
    trace: str


class _InWorkerError(Exception):
    """The traceback of a worker, as the cause of what it raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _start(function: Callable[[Any], Any]) -> _Worker:
    return _Worker(*start_child(_serve, function))


def _start_here(function: Callable[[Any], Any]) -> _Worker:
    ours, theirs = Pipe()
    threading.Thread(target=_serve, args=(theirs, function), daemon=True).start()
    return _Worker(None, ours)


def _give(worker: _Worker, left: list[Any], busy: dict[Any, _Worker]) -> None:
    """Send a worker the next job; without one it ends."""
    if not left:
        worker.connection.close()
        if worker.process is not None:
            worker.process.join()
        return
    worker.job = left.pop()
    busy[worker.connection] = worker
    with suppress(ConnectionError):  # it has died already, which is seen when its answer is read
        worker.connection.send(worker.job)


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    while True:
        try:
            job = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = function(job)
        except Exception as error:
            answer = _Failure(error, traceback.format_exc())
        try:
            connection.send(answer)
        except ConnectionError:  # the caller has had enough
            return
