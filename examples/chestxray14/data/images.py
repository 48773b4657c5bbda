"""Image files of a table: in NIH's folders `images_001/images` …, in one folder, or at paths of their own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from awb import AWBError
from awb.errors import shortlist
from examples.chestxray14.data.nih import NIH_DOWNLOAD
from examples.chestxray14.files.folders import walk_once

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def find_images(root: str | Path, names: Iterable[str]) -> dict[str, Path]:
    """Find the file of each image, in the order of the names.

    A name is the path of a file below `root`. A name without a folder, such as NIH's, may also be that of the only such
    file anywhere below, or of the same file in another image format: `00000001_000.png` is also found as
    `images_001/images/00000001_000.png` or `00000001_000.jpg`. Each file belongs to one name.

    Raises:
        AWBError: No such folder; or some names have no file, several files, or a file that belongs to another name.
            The message counts them and names the first.
    """
    root, names = Path(root), [str(name) for name in names]
    if not root.is_dir():
        raise AWBError(f"no folder {root}")
    found = {name: root / name for name in names if (root / name).is_file()}
    _require_own(found)
    if len(found) < len(names):
        files = _files_below(root)
        for other_format in (False, True):
            left = [name for name in names if name not in found and len(Path(name).parts) == 1]
            found |= _search(files, left, found.values(), other_format)
        missing = [name for name in names if name not in found]
        if missing:
            raise AWBError(
                f"{len(missing):,} of {len(names):,} images are not below {root}: {shortlist(missing, 4)}. "
                f"{_lookalike(missing, files)}If they are NIH's, it offers them at {NIH_DOWNLOAD} (images_001.tar.gz "
                "to images_012.tar.gz); else check the folder and the table's names"
            )
    return {name: found[name] for name in names}


def _require_own(found: Mapping[str, Path]) -> None:
    """Refuse two names for one path, such as `a/1.png` and `a/./1.png`, or `a/1.PNG` where the disk ignores case.

    A link counts as a separate file: it was made on purpose.
    """
    owners: dict[str, str] = {}
    for name, path in found.items():
        other = owners.setdefault(os.path.normpath(path).casefold(), name)
        if other != name and path.samefile(found[other]):
            raise AWBError(f"images {other!r} and {name!r} are one file, {path}; keep one of them in the table")


def _search(
    files: Mapping[str, Sequence[Path]], names: Iterable[str], taken: Iterable[Path], other_format: bool
) -> dict[str, Path]:
    """Map each name to its only file, leaving out files that belong to another name as well."""
    there = {
        name: _different(path for path in files.get(_stem(name), ()) if other_format or path.name == Path(name).name)
        for name in names
    }
    twice = {name: paths for name, paths in there.items() if len(paths) > 1}
    if twice:
        name, paths = next(iter(twice.items()))
        raise AWBError(
            f"{len(twice):,} images are there more than once, {name!r} as {shortlist(map(str, paths), 3)}; keep one, "
            "or give its path in the table"
        )
    users = Counter(Path(os.path.normpath(path)) for path in taken) + Counter(
        p for paths in there.values() for p in paths
    )
    return {name: paths[0] for name, paths in there.items() if paths and users[paths[0]] == 1}


def _different(paths: Iterable[Path]) -> list[Path]:
    """Existing files, each once, even if several links lead to it."""
    there = [path for path in paths if path.is_file()]
    return [path for i, path in enumerate(there) if not any(path.samefile(other) for other in there[:i])]


def _lookalike(missing: Iterable[str], files: Mapping[str, Sequence[Path]]) -> str:
    """Sentence that says why a file that resembles a missing one was not used for it."""
    for name in missing:
        for path in files.get(_stem(name), ()):
            return f"{path} is not taken for {name!r}: it is another row's, or the row names another folder. "
    return ""


def _files_below(root: Path) -> dict[str, list[Path]]:
    """Image files by name without suffixes: folders in order, each once, links to folders followed."""
    files: dict[str, list[Path]] = {}
    for folder, _, entries in walk_once(os.path.normpath(root)):
        for entry in entries:
            if entry.lower().endswith(SUFFIXES):
                files.setdefault(_stem(entry), []).append(Path(folder, entry))
    return files


def _stem(name: str) -> str:
    """File name without folders and suffixes of image formats: `a/b.png.jpg` becomes `b`."""
    stem = Path(name).name
    while stem.lower().endswith(SUFFIXES):
        stem = stem.rpartition(".")[0]
    return stem
