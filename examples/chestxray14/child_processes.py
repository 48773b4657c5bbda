"""Child processes that ignore Ctrl-C, end with their parent, and report how they ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

_PATIENCE = 20.0  # seconds that a process has to end by itself
_SPAWN = multiprocessing.get_context("spawn")
_TERMINATED = 128 + signal.SIGTERM  # as shells say it


def start_child(function: Callable[..., object], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Call a function in a new process, with a connection to this one as its first argument.

    The process is spawned, not forked, since torch's threads do not survive a fork: a script needs the usual
    `if __name__ == "__main__":`. It does not hear Ctrl-C, since its parent does; it ends when its parent does, however
    that ends; SIGTERM ends it after its `finally` clauses.

    Args:
        function: A module's function, so that it can be sent.
        arguments: Other arguments of the function, which are pickled.

    Returns:
        The process and this end of the connection, which is at its end when the process is.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_begin, args=(function, theirs, *arguments))
    with _no_interrupts():
        process.start()
    theirs.close()  # so that the child's end is the end of the connection
    return process, ours


def stop_children(processes: Sequence[BaseProcess]) -> None:
    """End processes, all at once: by SIGTERM, so that they release their resources, or else by force."""
    for process in processes:
        process.terminate()
    for process in processes:
        wait_for_end(process)


def wait_for_end(process: BaseProcess) -> int:
    """Wait for a process that has nothing left to do, and kill it if it does not end.

    Returns:
        Its exit code, minus the signal's number if a signal killed it.
    """
    process.join(_PATIENCE)
    process.kill()
    process.join()
    return process.exitcode or 0


def was_killed(exit_code: int) -> bool:
    """True if a signal ended the process, and not the process itself."""
    return exit_code < 0 or exit_code == _TERMINATED


def describe_end(exit_code: int) -> str:
    """End of a process in words, such as `was killed by SIGKILL`."""
    if not was_killed(exit_code):
        return f"ended with exit code {exit_code}"
    number = signal.SIGTERM if exit_code > 0 else -exit_code
    name = next((one.name for one in signal.Signals if one == number), f"signal {number}")
    return f"was killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


def _begin(function: Callable[..., object], connection: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    _end_with_parent()
    function(connection, *arguments)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let processes started inside ignore Ctrl-C from the very beginning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """Let a child end when its parent is killed, instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
