"""Where the images of a table are: in NIH's `images_001/images` … folders, in one folder, or at paths of their own."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from awb.errors import AWBError, shortlist
from awb.study import LabelTable, read_labels
from awb.study.labels import open_text
from examples.chestxray14.labels import SUBGROUPS

NIH = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_table(path: str | Path) -> LabelTable:
    """A plain table of your own: columns `path` and `patient`, and one a label (0, 1 or empty).

    `view`, `sex` and `age`, however they are capitalised, are never labels, whatever they hold.

    Raises:
        AWBError: As `awb.study.read_labels` does, or there are two columns `sex` and `Sex`, say.
    """
    with open_text(Path(path)) as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    subgroups = {name: name.lower() for name in header if name.lower() in SUBGROUPS}
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

    A name is a path below `root`, or else the name of a file anywhere below it, whatever its image format:
    `00000001_000.png` is also found as `images_001/images/00000001_000.png` or `00000001_000.jpg`.

    Raises:
        AWBError: No such folder; some images are in none of its folders, or in two: all are counted and the
            first named.
    """
    root, names = Path(root), [str(name) for name in names]
    if not root.is_dir():
        raise AWBError(f"no folder {root}")
    found = {name: root / name for name in names if (root / name).is_file()}
    if len(found) < len(names):
        files = _files_below(root)
        found |= {name: _only(name, files[_stem(name)]) for name in names if name not in found and _stem(name) in files}
    missing = [name for name in names if name not in found]
    if missing:
        raise AWBError(
            f"{len(missing):,} of {len(names):,} images are not below {root}: {shortlist(missing, 4)}. If they are "
            f"NIH's, it offers them at {NIH} (images_001.tar.gz to images_012.tar.gz); else check the folder and the "
            "table's names"
        )
    return {name: found[name] for name in names}


def _files_below(root: Path) -> dict[str, list[Path]]:
    """Image files by their names without suffixes; in folders in order, links to folders followed."""
    files: dict[str, list[Path]] = {}
    for folder, _, entries in os.walk(root, followlinks=True):
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


def _only(name: str, files: list[Path]) -> Path:
    same = [file for file in files if file.name == Path(name).name] or files
    if len(same) > 1:
        raise AWBError(f"image {name!r} is there more than once: {shortlist(map(str, same), 3)}; keep one")
    return same[0]
