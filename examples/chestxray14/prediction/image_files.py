"""Files to predict: those given, and those below folders, each once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from awb import AWBError
from examples.chestxray14.files.folders import walk_once


class Skipped(NamedTuple):
    """A file or folder that could not be read."""

    path: str
    reason: str


def find_files(paths: Iterable[str | Path]) -> tuple[list[Path], list[Skipped]]:
    """Find the files at some paths: a file is taken as it is, a folder with everything below it, in order.

    A file that several paths or links lead to is taken once, by the first that is no link. Below folders, names that
    begin with a dot are hidden and left out; links are followed. What a file holds is not looked at.

    Returns:
        The files, and what cannot be a file to read: a broken link, a folder without permission, a pipe.

    Raises:
        AWBError: Nothing is at a path, or no path is given.
    """
    given = [Path(path) for path in paths]
    if not given:
        raise AWBError("no images to predict: give files or folders")
    for path in given:
        if not os.path.lexists(path):
            raise AWBError(f"no file or folder {path}")
    skipped: list[Skipped] = []
    files: dict[tuple[int, int], Path] = {}
    for path in given:
        for file in _below(path, skipped) if path.is_dir() else [path]:
            if reason := _obstacle(file):
                skipped.append(Skipped(str(file), reason))
            else:
                status = file.stat()
                same = files.setdefault((status.st_dev, status.st_ino), file)
                if same.is_symlink() and not file.is_symlink():
                    files[status.st_dev, status.st_ino] = file
    return list(files.values()), list(dict.fromkeys(skipped))


def _below(folder: Path, skipped: list[Skipped]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(str(error.filename), f"cannot be read ({error.strerror})"))

    for at, below, names in walk_once(folder, unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (Path(at, name) for name in sorted(names) if not name.startswith("."))


def _obstacle(file: Path) -> str | None:
    """Why a path cannot be read as a file, or be named in a CSV file; None if it can."""
    text = str(file)
    if text != text.strip() or "\0" in text:
        return "its path begins or ends with white space; rename it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "its name is not text in UTF-8; rename it"
    try:
        return None if file.is_file() else "not a file" if file.exists() else "a broken link"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
