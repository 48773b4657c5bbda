"""Folders for output."""

from __future__ import annotations

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
