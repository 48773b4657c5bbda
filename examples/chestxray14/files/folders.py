"""Folders: made for output, and walked through for input."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from awb import AWBError


def make_folder(path: Path) -> None:
    """Create a folder, with those above it, unless it is there.

    Raises:
        AWBError: A file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise AWBError(f"{path} is a file; give a folder") from None


def walk_once(
    root: str | Path, onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` that follows links to folders, but gives each folder once: a link may lead to a folder above it.

    Args:
        root: Where to begin.
        onerror: Called with the error of a folder that cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, onerror=onerror, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below.sort()
        yield folder, below, names
