"""SHA256SUMS of files that belong together: `sha256sum -c SHA256SUMS` in their folder checks them too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from awb.errors import AWBError
from examples.chestxray14.atomic import write_atomically


def write_sums(path: Path, files: Iterable[Path]) -> None:
    """Write the sums of files in or below the folder of `path`."""
    lines = (f"{_digest(file)}  {file.relative_to(path.parent)}\n" for file in files)
    write_atomically(path, "".join(lines).encode())


def read_sums(path: Path) -> dict[Path, str]:
    """The files that `write_sums` was given, and their sums.

    Raises:
        AWBError: It is damaged.
    """
    try:
        lines = [line.partition("  ") for line in path.read_text().splitlines()]
    except UnicodeDecodeError as error:
        raise AWBError(f"{path} is damaged: {error}") from None
    return {path.parent / name: recorded for recorded, _, name in lines}


def changed_files(path: Path) -> list[str]:
    """Names of the files that are lost, or have another content than when the sums were written."""
    return [
        str(file.relative_to(path.parent))
        for file, recorded in read_sums(path).items()
        if not file.is_file() or _digest(file) != recorded
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
