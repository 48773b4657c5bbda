"""SHA256SUMS of files that belong together: `sha256sum -c SHA256SUMS` in their folder checks them too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from awb import AWBError
from examples.chestxray14.files.atomic import write_atomically


def write_sums(path: Path, files: Iterable[Path], recorded: Mapping[Path, str] | None = None) -> None:
    """Write the sums of files in or below the folder of `path`.

    Args:
        path: The file of sums.
        files: Summed as they lie there now.
        recorded: Sums of other files, from when these were written: a file that has changed since keeps its own.
    """
    sums = dict(recorded or {}) | {file: digest(file) for file in files}
    lines = (f"{checksum}  {file.relative_to(path.parent)}\n" for file, checksum in sums.items())
    write_atomically(path, "".join(lines).encode())


def read_sums(path: Path) -> dict[Path, str]:
    """The files that `write_sums` was given, and their sums.

    Raises:
        AWBError: It is damaged.
    """
    try:
        lines = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise AWBError(f"{path} is damaged: {error}") from None
    return {path.parent / name: recorded for recorded, _, name in lines}


def changed_files(path: Path, among: Iterable[Path] | None = None) -> list[str]:
    """Names of the files that are lost, or have another content than when the sums were written.

    Args:
        path: The file of sums.
        among: Files to compare; by default all that have a sum.
    """
    sums = read_sums(path)
    return [
        str(file.relative_to(path.parent))
        for file in (sums if among is None else among)
        if not file.is_file() or digest(file) != sums[file]
    ]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()
