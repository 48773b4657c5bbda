"""One task of an engine: a function that runs alone, with its output in a log, and how it ended."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from awb.errors import AWBError
from examples.chestxray14.files.locks import try_lock

RESTARTS = 3  # of a task whose process is killed
_PATIENCE = 60.0  # seconds that the processes of a killed attempt have to end


@dataclass(frozen=True)
class Task:
    """A function to call in another process, perhaps on another machine.

    It may be called again after its process was killed, or after its last answer was lost with the driver. So the
    function itself must check whether its work is done, and continue from saved work.

    Attributes:
        name: Unique name of the task, which is also a file name.
        function: A module's function, so that it can be sent.
        argument: Argument of the function, which is pickled.
        logs: The folder of NAME.log, to which all that is printed goes, and NAME.lock, which is locked meanwhile.
    """

    name: str
    function: Callable[[Any], Any]
    argument: Any
    logs: Path


class Outcome(NamedTuple):
    """Outcome of a task: a result or a failure.

    Attributes:
        name: Name of the task.
        result: Return value of the function; None if the task failed.
        failure: Error that the function raised, or the end of its process; None if it returned.
        seconds: Duration of the last attempt.
    """

    name: str
    result: Any = None
    failure: str | None = None
    seconds: float = 0.0


class Engine(Protocol):
    """Runner of tasks in other processes, as many at once as there is room for."""

    def submit(self, task: Task) -> None:
        """Run a task when there is room."""

    def results(self) -> Iterator[Outcome]:
        """Outcomes as tasks end, in any order, one per task."""

    def close(self) -> None:
        """End all running tasks, and release their resources."""


def lock_of(logs: Path, name: str) -> Path:
    """The file that is locked while a task runs."""
    return logs / f"{name}.lock"


def run_task(task: Task) -> Outcome:
    """Run a task in this process; an error of its function becomes the outcome."""
    started = time.monotonic()
    result, failure = None, None
    try:
        task.logs.mkdir(parents=True, exist_ok=True)
        with _alone(task), _output_to(task.logs / f"{task.name}.log"):
            print(f"--- {datetime.datetime.now():%Y-%m-%d %H:%M:%S}, process {os.getpid()} on {platform.node()}")
            try:
                result = task.function(task.argument)
            except Exception:
                traceback.print_exc()
                raise
    # whatever goes wrong with one task, such as a download or memory, is that task's
    except Exception as error:
        failure = str(error) if isinstance(error, AWBError) else traceback.format_exc()
    return Outcome(task.name, result, failure, time.monotonic() - started)


@contextlib.contextmanager
def _alone(task: Task) -> Iterator[None]:
    """Wait for the processes of an attempt whose driver or parent was killed: they end soon, but not at once."""
    lock = try_lock(lock_of(task.logs, task.name), _PATIENCE)
    if lock is None:
        raise AWBError(
            f"another process has been at {task.name} for {_PATIENCE:.0f} s more; its log, {task.name}.log, names it"
        )
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send what this process prints to the end of a file, line by line: Python's output, and that of C libraries."""
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = {number: os.dup(number) for number in (1, 2)}
        try:
            for number in kept:
                os.dup2(log.fileno(), number)
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
