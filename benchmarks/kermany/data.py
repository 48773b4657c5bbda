"""Labels, patient-wise split and pixels of the Kermany X-rays.

The folder has `labels.csv` with the columns file (path of a JPEG below the folder), patient and kind (normal,
bacteria or virus).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from awb import AWBError, Table
from awb.study import LabelTable, Split, require_disjoint, split_by_group

CLASSES = ("pneumonia", "bacteria")  # bacteria against virus, among pneumonia: unknown where there is none
_LABELS = {"normal": (0.0, np.nan), "bacteria": (1.0, 1.0), "virus": (1.0, 0.0)}
SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}


def read_table(folder: Path) -> LabelTable:
    """Read the labels and patients, one row per image.

    Raises:
        AWBError: labels.csv is missing, or has an unknown kind.
    """
    path = folder / "labels.csv"
    if not path.is_file():
        raise AWBError(f"no {path}: expected a folder with labels.csv (columns file, patient, kind) and its JPEGs")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    unknown = {row["kind"] for row in rows} - set(_LABELS)
    if unknown:
        raise AWBError(f"{path}: kind {sorted(unknown)[0]!r}; expected {', '.join(_LABELS)}")
    labels = np.array([_LABELS[row["kind"]] for row in rows])
    return LabelTable(
        np.array([row["file"] for row in rows]), CLASSES, labels, np.array([row["patient"] for row in rows])
    )


def split_table(table: LabelTable) -> tuple[Split, dict[str, LabelTable]]:
    """Split that all arms share, 60/10/30 % of the patients, and its sets."""
    split = split_by_group(table, SHARES, seed=0, name="kermany 60/10/30")
    sets = split.tables(table)
    require_disjoint({"train": sets["train"]}, {name: sets[name] for name in ("validation", "test")})
    return split, sets


def describe(split: Split, sets: dict[str, LabelTable]) -> Table:
    """Table of the images and patients of each kind in each set."""
    headers = ("set", "patients", "images", "normal", "bacteria", "virus")
    rows = []
    for name, subset in sets.items():
        kinds = [int(np.sum(subset.labels[:, column] == value)) for column, value in ((0, 0), (1, 1), (1, 0))]
        rows.append((name, len(np.unique(subset.groups)), len(subset), *kinds))
    return Table(headers, tuple(rows), (f"{split.name}, sha256 {split.checksum[:12]}…",))


def read_images(folder: Path, table: LabelTable, size: int) -> Tensor:
    """Read all images in the order of the table: grey, resized to a square, N×3×size×size in [−1, 1]."""
    pixels = np.empty((len(table), size, size), dtype=np.uint8)
    for i, name in enumerate(table.images):
        with Image.open(folder / str(name), formats=["JPEG"]) as image:
            pixels[i] = np.asarray(image.convert("L").resize((size, size), Image.Resampling.BICUBIC))
    # the weights were trained with mean and deviation 0.5
    return (torch.from_numpy(pixels)[:, None].float() / 127.5 - 1).expand(-1, 3, -1, -1)
