"""Checks of a file to write, before the work that leads to it begins."""

from __future__ import annotations

from pathlib import Path

from awb import AWBError


def require_output_file(path: Path, *, replace: bool) -> None:
    """Refuse a file that cannot be written.

    Args:
        path: The file.
        replace: Accept a file that is there.

    Raises:
        AWBError: A folder, no folder to write in, or a file that is there.
    """
    if path.is_dir():
        raise AWBError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise AWBError(f"there is no folder {path.parent} to write {path.name} in")
    if path.exists() and not replace:
        raise AWBError(f"{path} is there already; give another name, or --force to replace it")
