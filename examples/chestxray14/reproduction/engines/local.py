"""Engine for one machine: one process per task, with its own GPU, restarted if it is killed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from examples.chestxray14.child_processes import describe_end, start_child, stop_children, wait_for_end, was_killed
from examples.chestxray14.reproduction.engines.devices import VISIBLE, device_of_slot, visible_devices
from examples.chestxray14.reproduction.engines.task import RESTARTS, Outcome, Task, run_task


class LocalEngine:
    """Tasks in processes of this machine.

    Each of the `jobs` slots has a GPU: those that are visible here, in turn. Where there is one or none, nothing
    changes.

    Args:
        jobs: Number of processes at once.
        say: Called with a line when a task begins, and when it begins again.
    """

    def __init__(self, jobs: int, say: Callable[[str], object] = print) -> None:
        self._say = say
        self._waiting: deque[_Attempt] = deque()
        self._running: dict[Any, _Running] = {}
        self._free = deque(range(jobs))
        self._devices = visible_devices()

    def submit(self, task: Task) -> None:
        self._waiting.append(_Attempt(task, 0))

    def results(self) -> Iterator[Outcome]:
        while self._waiting or self._running:
            while self._waiting and self._free:
                self._start(self._waiting.popleft(), self._free.popleft())
            for connection in wait(list(self._running)):
                outcome = self._end(self._running.pop(connection))
                if outcome is not None:
                    yield outcome

    def close(self) -> None:
        self._waiting.clear()
        stop_children([running.process for running in self._running.values()])
        self._running.clear()

    def _start(self, attempt: _Attempt, slot: int) -> None:
        device = device_of_slot(slot, self._devices) if len(self._devices) > 1 else None
        process, connection = start_child(_serve, attempt.task, device)
        self._running[connection] = _Running(attempt, slot, process, connection)
        if not attempt.restarts:
            self._say(f"{attempt.task.name}: begins")

    def _end(self, running: _Running) -> Outcome | None:
        """Outcome that a process has sent; None if it was killed and its task is to begin again."""
        task, restarts = running.attempt
        try:
            outcome: Outcome | None = running.connection.recv()
        except (EOFError, OSError):
            outcome = None
        running.connection.close()
        exit_code = wait_for_end(running.process)
        self._free.append(running.slot)
        if outcome is not None:
            return outcome
        if not was_killed(exit_code) or restarts == RESTARTS:
            how = describe_end(exit_code) + (f", after {restarts} restarts" if restarts else "")
            return Outcome(task.name, failure=f"its process {how}")
        self._say(f"{task.name}: its process {describe_end(exit_code)}; it goes on ({restarts + 1} of {RESTARTS})")
        self._waiting.appendleft(_Attempt(task, restarts + 1))
        return None


class _Attempt(NamedTuple):
    """A task, and its number of restarts."""

    task: Task
    restarts: int


class _Running(NamedTuple):
    """An attempt, and where it runs."""

    attempt: _Attempt
    slot: int
    process: BaseProcess
    connection: Connection


def _serve(connection: Connection, task: Task, device: str | None) -> None:
    if device is not None:
        os.environ[VISIBLE] = device  # before this process uses any
    connection.send(run_task(task))
