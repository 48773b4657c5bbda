"""Atomic writes: after a crash or a power failure a file is complete or absent, never half written."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def write_atomically(path: Path, data: bytes | memoryview, *, shared: bool = False) -> None:
    """Write a file so that a crash at any moment leaves the complete old file or the complete new one.

    Args:
        path: File to write.
        data: Whole content of the file.
        shared: True if other processes may write the same file at the same time: each then has its own temporary file.
            Otherwise there is one, so that a run overwrites what a killed run has left instead of filling the disk
            with old checkpoints.

    Raises:
        OSError: The disk is full or refuses; the commands report it with advice.
    """
    temporary = path.with_name(f".{path.name}.{f'{platform.node()}.{os.getpid()}' if shared else 'tmp'}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush a rename to the disk, so that it survives a power failure; Windows cannot open folders to do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
