"""Files that are whole: the old one or the new one, whenever the disk is full or the process dies."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from awb.errors import AWBError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, or leave what was there as it was.

    The data goes to a hidden temporary file in the same folder, to the disk, and then takes the file's name in one
    step. A temporary file is left behind only if the process is killed meanwhile.

    Args:
        path: The file; a link is followed.
        data: All of it.

    Raises:
        AWBError: There is no such folder, the path is something else than a file, or the system refuses.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise AWBError(f"there is no folder {Path(path).parent} to save {Path(path).name} in")
    if target.exists() and not target.is_file():
        raise AWBError(f"{path} is not a file, so nothing can be saved there")
    temporary = target.with_name(f".awb-{secrets.token_hex(8)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except OSError as error:
        raise AWBError(f"{path} could not be written: {error.strerror or error}") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename outlast a power cut, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
