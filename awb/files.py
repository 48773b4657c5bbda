"""Write files whole or not at all, and read paths only if they are files."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from awb.errors import AWBError


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one step, or leave the old file as it was.

    The data goes to a hidden temporary file in the same folder, to the disk, and then takes the file's name in one
    step. A temporary file is left behind only if the process is killed meanwhile.

    Args:
        path: The file; a link is followed.
        data: The whole content.

    Raises:
        AWBError: The folder does not exist, the path is not a file, or the system refuses.
    """
    _require_path(path)
    try:
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise AWBError(f"there is no folder {Path(path).parent} to save {Path(path).name} in")
        if target.exists() and not target.is_file():
            raise AWBError(f"{path} is not a file, so nothing can be saved there")
        temporary = target.with_name(f".awb-{secrets.token_hex(8)}.tmp")
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


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not a file: reading a FIFO would block, and reading a device would never end.

    Raises:
        AWBError: Nothing is there, or something else than a file.
    """
    _require_path(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise AWBError(f"{path} cannot be read: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        raise AWBError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'something else than a file'}")


def _require_path(path: object) -> None:
    if not isinstance(path, str | os.PathLike):
        raise AWBError(f"path is a {type(path).__name__}; expected a file's path")
    if "\0" in str(path):
        raise AWBError(f"{str(path)!r} is not a file's path")


def _sync_folder(folder: Path) -> None:
    """Make a rename outlast a power cut, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
