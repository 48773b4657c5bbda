"""Driver of a reproduction: gives the cells to an engine, and records those that fail."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.reproduction.engines.task import Engine, Outcome, Task
from examples.chestxray14.reproduction.output import Output
from examples.chestxray14.reproduction.work import Job, do_cell


def do_cells(
    output: Output, jobs: Iterable[Job], open_engine: Callable[[], Engine], say: Callable[[str], object] = print
) -> int:
    """Run cells on an engine, and record those that fail; without cells no engine is opened.

    Args:
        output: The output folder.
        jobs: The cells to do.
        open_engine: Makes the engine, which is closed at the end, however that comes.
        say: Called with a line for each cell that ends.

    Returns:
        Number of cells done here.
    """
    tasks = [Task(job.cell, do_cell, job, job.output.logs) for job in jobs]
    if not tasks:
        return 0
    engine = open_engine()
    done = 0
    try:
        with _sigterm_exits():
            for task in tasks:
                engine.submit(task)
            for outcome in engine.results():
                done += _write_down(outcome, output, say)
    finally:
        engine.close()
    return done


def _write_down(outcome: Outcome, output: Output, say: Callable[[str], object]) -> bool:
    """Record a failure or say that a cell is done; True if it was done here."""
    if outcome.failure is not None:
        failure, text = output.failure(outcome.name), outcome.failure.strip()
        failure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(failure, f"{text}\n".encode(), shared=True)
        say(f"{outcome.name}: FAILED, {text.splitlines()[-1]}")
        return False
    if outcome.result:
        say(f"{outcome.name}: done in {outcome.seconds:,.0f} s")
    return bool(outcome.result)


@contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Let SIGTERM run the `finally` clauses, which end what the engine has started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
