"""Checksums: SHA256SUMS files, which `sha256sum -c SHA256SUMS` checks as well, and SHA-256 of JSON values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from awb import AWBError
from examples.chestxray14.files.atomic import write_atomically


@dataclass(frozen=True)
class Content:
    """A file as the key of a cache: files with the same content are equal, and only one of them is read.

    Attributes:
        checksum: SHA-256 of the content; empty if there is no such file.
        path: The file.
    """

    checksum: str
    path: Path = field(compare=False)

    @classmethod
    def of(cls, path: Path) -> Content:
        return cls(file_digest(path) if path.is_file() else "", path)


def write_sums(path: Path, files: Iterable[Path], recorded: Mapping[Path, str] | None = None) -> None:
    """Write the checksums of files in or below the folder of `path`.

    Args:
        path: SHA256SUMS file to write.
        files: Files to read and add now.
        recorded: Checksums of other files from when these were written, so that later changes are noticed.
    """
    sums = dict(recorded or {}) | {file: file_digest(file) for file in files}
    lines = (f"{checksum}  {file.relative_to(path.parent)}\n" for file, checksum in sums.items())
    write_atomically(path, "".join(lines).encode())


def read_sums(path: Path) -> dict[Path, str]:
    """Read the files that `write_sums` was given, with their checksums.

    Raises:
        AWBError: The file is damaged.
    """
    try:
        lines = [line.partition("  ") for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise AWBError(f"{path} is damaged: {error}") from None
    return {path.parent / name: recorded for recorded, _, name in lines}


def changed_files(path: Path, among: Iterable[Path] | None = None) -> list[str]:
    """Names of files that are missing, or differ from when the checksums were written.

    Args:
        path: SHA256SUMS file.
        among: Files to compare; by default all that it lists.
    """
    sums = read_sums(path)
    return [
        str(file.relative_to(path.parent))
        for file in (sums if among is None else among)
        if not file.is_file() or file_digest(file) != sums[file]
    ]


def json_digest(content: object) -> str:
    """SHA-256 of any value that JSON can write."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum.update(block)
    return checksum.hexdigest()
