"""Locks between processes, on every system: the kernel frees a lock when its process ends, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def try_lock(path: Path, patience: float = 0.0) -> BaseFileLock | None:
    """Lock a file whose only purpose is the lock.

    Args:
        path: The file; its folder exists.
        patience: Seconds to wait while another process holds the lock.

    Returns:
        The lock, which `release` gives up; None if another process holds it.
    """
    lock = FileLock(path, thread_local=False)  # any thread of this process may give it up
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return None
    return lock


def is_locked(path: Path) -> bool:
    """True if some process holds the lock."""
    if not path.is_file():
        return False
    lock = try_lock(path)
    if lock is not None:
        lock.release()
    return lock is None


@contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Lock a file as soon as no other process holds it."""
    with FileLock(path):
        yield
