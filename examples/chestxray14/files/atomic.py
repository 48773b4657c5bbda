"""Files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def write_atomically(path: Path, data: bytes | memoryview, *, shared: bool = False) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, whole.

    Args:
        path: The file.
        data: All of it.
        shared: Other processes may write it at the same moment. Then each has a temporary file of its own; else there
            is one, and what a killed run has left is overwritten.
    """
    temporary = path.with_name(f".{path.name}.{f'{platform.node()}.{os.getpid()}' if shared else 'tmp'}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder outlast a power cut; Windows opens no folders, and has no way to."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
