"""Locks between processes, on every system: a lock goes with its process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def try_lock(path: Path) -> BaseFileLock | None:
    """Lock a file that is there for nothing else, if nobody has; `release` gives it up."""
    lock = FileLock(path, thread_local=False)  # any thread of this process may give it up
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


@contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Lock a file as soon as nobody else has."""
    with FileLock(path):
        yield
