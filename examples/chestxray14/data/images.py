"""Where the images of a table are: in NIH's `images_001/images` … folders, in one folder, or at paths of their own."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable, read_labels
from awb.study.labels import open_text
from examples.chestxray14.data.nih import SUBGROUPS, subgroup_of

NIH = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_table(path: str | Path) -> LabelTable:
    """A plain table of your own: columns `path` and `patient`, and one a label (0, 1 or empty).

    `view`, `sex` (or `gender`) and `age`, however they are capitalised, are never labels, whatever they hold.

    Raises:
        AWBError: As `awb.study.read_labels` does, or there are two columns `sex` and `Sex`, say.
    """
    with open_text(Path(path)) as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    subgroups = {name: subgroup for name in header if (subgroup := subgroup_of(name))}
    if len(set(subgroups.values())) < len(subgroups):
        raise AWBError(f"{path} has columns {', '.join(subgroups)}; expected each of {', '.join(SUBGROUPS)} once")
    table = read_labels(path, image="path", group="patient", columns=subgroups)
    return replace(table, columns={subgroups.get(name, name): cells for name, cells in table.columns.items()})


def find_nih_file(folder: str | Path, pattern: str) -> Path:
    """The one of NIH's files that is directly in a folder, such as `Data_Entry_2017*.csv` (or .gz).

    Raises:
        AWBError: There is none, or more than one.
    """
    found = sorted({*Path(folder).glob(pattern), *Path(folder).glob(f"{pattern}.gz")})
    if not found:
        raise AWBError(f"no {pattern} in {folder}; NIH offers it at {NIH}")
    if len(found) > 1:
        raise AWBError(f"{folder} has {shortlist(path.name for path in found)}; say which")
    return found[0]


def find_images(root: str | Path, names: Iterable[str]) -> dict[str, Path]:
    """The file of each name, in the order of the names.

    A name is the path of a file below `root`. One without a folder, as NIH's are, is else the name of the only such
    file anywhere below, or of that file in another image format: `00000001_000.png` is also found as
    `images_001/images/00000001_000.png` or `00000001_000.jpg`. No file is given to two names.

    Raises:
        AWBError: No such folder; some names have no file, or one of several, or one that is another's: all are counted
            and the first named.
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
                f"{_lookalike(missing, files)}If they are NIH's, it offers them at {NIH} (images_001.tar.gz to "
                "images_012.tar.gz); else check the folder and the table's names"
            )
    return {name: found[name] for name in names}


def _require_own(found: Mapping[str, Path]) -> None:
    """Refuse two names of one path, such as `a/1.png` and `a/./1.png`, or `a/1.PNG` where the disk ignores case.

    Links are files of their own: whoever made them meant them.
    """
    owners: dict[str, str] = {}
    for name, path in found.items():
        other = owners.setdefault(os.path.normpath(path).casefold(), name)
        if other != name and path.samefile(found[other]):
            raise AWBError(f"images {other!r} and {name!r} are one file, {path}; keep one of them in the table")


def _search(
    files: Mapping[str, Sequence[Path]], names: Iterable[str], taken: Iterable[Path], other_format: bool
) -> dict[str, Path]:
    """The only file of each name, unless it is another name's as well."""
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
    """Those that are files, each once, by whatever links it is found."""
    there = [path for path in paths if path.is_file()]
    return [path for i, path in enumerate(there) if not any(path.samefile(other) for other in there[:i])]


def _lookalike(missing: Iterable[str], files: Mapping[str, Sequence[Path]]) -> str:
    """Why a file that looks like one that is missing was not taken for it."""
    for name in missing:
        for path in files.get(_stem(name), ()):
            return f"{path} is not taken for {name!r}: it is another row's, or the row names another folder. "
    return ""


def _files_below(root: Path) -> dict[str, list[Path]]:
    """Image files by their names without suffixes; in folders in order, links to folders followed, each folder once."""
    files: dict[str, list[Path]] = {}
    seen: set[tuple[int, int]] = set()
    for folder, below, entries in os.walk(os.path.normpath(root), followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above, say
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below.sort()
        for entry in entries:
            if entry.lower().endswith(SUFFIXES):
                files.setdefault(_stem(entry), []).append(Path(folder, entry))
    return files


def _stem(name: str) -> str:
    """A file's name without its folders and suffixes of image formats: `a/b.png.jpg` is `b`."""
    stem = Path(name).name
    while stem.lower().endswith(SUFFIXES):
        stem = stem.rpartition(".")[0]
    return stem
