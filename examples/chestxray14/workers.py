"""Run a function over jobs in worker processes that do not outlive their parent, and do not end with each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

from awb import AWBError

Job = TypeVar("Job")
Result = TypeVar("Result")
_PATIENCE = 20.0  # seconds that a process has to end by itself
_SPAWN = multiprocessing.get_context("spawn")


class Killed(NamedTuple):
    """A worker process that ended within a job, which is therefore not done.

    Attributes:
        job: What it was at.
        pid: Of the process.
        how: Such as `was killed by SIGKILL, perhaps for want of memory`.
    """

    job: Any
    pid: int
    how: str


class WorkersKilledError(AWBError):
    """Worker processes were killed; the jobs of all others are done.

    Attributes:
        killed: Which, and how.
    """

    def __init__(self, killed: list[Killed]) -> None:
        how = ", ".join(dict.fromkeys(one.how for one in killed))
        super().__init__(
            f"{len(killed)} worker process{'es' if len(killed) > 1 else ''} ended within a job ({how}); the jobs of "
            "the others are done: run the same command again, and it goes on; with fewer processes if memory was short"
        )
        self.killed = killed


def run_all(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
    begin: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """Results as they come, in any order.

    Processes are spawned, not forked, since torch's threads do not survive a fork: a script needs the usual
    `if __name__ == "__main__":`. In place of one that is killed another goes on with the jobs that are left. Workers do
    not hear Ctrl-C: they are ended by their parent, which does.

    Args:
        function: A function of a module, so that it can be sent.
        jobs: Its arguments.
        workers: Processes, as many as there are cores by default; 1 is this process.
        begin: Called first in each worker with its slot, 0 to workers − 1, and not in this process.

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
        for slot in range(workers):
            started.append(_start(function, slot, begin))
        for worker in started:  # while the others start
            _give(worker, left, busy)
        while busy:
            for connection in wait(list(busy)):
                worker = busy.pop(connection)
                try:
                    answer = worker.connection.recv()
                except (EOFError, ConnectionError):
                    worker.process.join()
                    how = describe_end(worker.process.exitcode or 0)
                    killed.append(Killed(worker.job, worker.process.pid or 0, how))
                    if left:
                        started.append(_start(function, worker.slot, begin))
                        _give(started[-1], left, busy)
                    continue
                _give(worker, left, busy)
                if isinstance(answer, _Failure):
                    raise answer.error from _InWorkerError(answer.trace)
                yield answer
    finally:
        _stop([worker.process for worker in started])
    if killed:
        raise WorkersKilledError(killed)


def describe_end(exit_code: int) -> str:
    """How a process ended, in words."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = next((one.name for one in signal.Signals if one == -exit_code), f"signal {-exit_code}")
    return f"was killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


@dataclass
class _Worker:
    """A process, and what it is at."""

    slot: int
    process: BaseProcess
    connection: Connection
    job: Any = None


class _Failure(NamedTuple):
    """What a job raised, in place of its result."""

    error: Exception
    trace: str


class _InWorkerError(Exception):
    """The traceback of a worker, as the cause of what it raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _start(function: Callable[[Any], Any], slot: int, begin: Callable[[int], None] | None) -> _Worker:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, function, slot, begin))
    with _no_interrupts():
        process.start()
    theirs.close()  # so that the worker's end is the end of the connection
    return _Worker(slot, process, ours)


def _give(worker: _Worker, left: list[Any], busy: dict[Any, _Worker]) -> None:
    """Send a worker the next job; without one it ends."""
    if not left:
        worker.connection.close()
        worker.process.join()
        return
    worker.job = left.pop()
    busy[worker.connection] = worker
    with suppress(ConnectionError):  # it has died already, which is seen when its answer is read
        worker.connection.send(worker.job)


def _stop(processes: Sequence[BaseProcess]) -> None:
    """End processes, or see that they have ended: by themselves, so that they give up what they hold, or by force."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_PATIENCE)
        process.kill()
        process.join()


def _serve(
    connection: Connection, function: Callable[[Any], Any], slot: int, begin: Callable[[int], None] | None
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _end_with_parent()
    if begin is not None:
        begin(slot)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            answer = function(job)
        except Exception as error:
            answer = _Failure(error, traceback.format_exc())
        connection.send(answer)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process that is started within does not hear Ctrl-C, from its very beginning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """If the parent is killed, a worker ends too instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
