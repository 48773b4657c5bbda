"""Predictions of any model, as CSV files: read into the order of the labels, and written."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.argument_names import chosen_by
from awb.study.files import read_csv, write_csv
from awb.study.label_table import LabelTable
from awb.study.metrics.cases import check_cases


def read_predictions(path: str | Path, labels: LabelTable, *, image: str = "image") -> npt.NDArray[np.float64]:
    """Read predictions from a CSV file (or CSV.gz) with one row per image, matched to labels by image name.

    Args:
        path: The file; its columns must include the image names and every class of the labels. Rows and columns may
            be in any order; other columns are ignored.
        labels: Labels to match.
        image: Name of the column of image names.

    Returns:
        Prediction for each image and class, in the order of the labels, float64 (n, C).

    Raises:
        AWBError: No such file or column, a cell that is not a finite number, an image given twice, or an image that is
            only in the file or only in the labels.
    """
    header, rows = read_csv(path)
    for name in (image, *labels.classes):
        if name not in header:
            raise AWBError(
                f"{path} has no column {name!r}{did_you_mean(name, header)}; it has {shortlist(header, 20)}; "
                f"the labels' classes are {shortlist(labels.classes, 20)}{chosen_by('image') if name == image else ''}"
            )
    at = header.index(image)
    chosen = _match(str(path), [row[at] for row in rows], labels.images.tolist())
    columns = [(name, header.index(name)) for name in labels.classes]
    values = [[_number(str(path), rows[i][at], name, rows[i][c]) for name, c in columns] for i in chosen]
    return np.array(values, dtype=np.float64)


def write_predictions(
    path: str | Path, labels: LabelTable, predictions: npt.ArrayLike, *, image: str = "image"
) -> None:
    """Write predictions as a CSV file (or CSV.gz) that `read_predictions` reads back to the bit.

    One row per image: its name, and one number per class. A file of that name is replaced in one step; it stays if
    writing fails.

    Args:
        path: The file.
        labels: Table that names the images and classes.
        predictions: Any finite numbers (scores, probabilities or logits), (n, C), in the order of the labels.
        image: Header of the column of image names.

    Raises:
        AWBError: Another shape, a number that is not finite, no images, a class named as the column of images, or a
            path that cannot be written to.
    """
    values = check_cases(labels.labels, predictions, labels.classes).values
    rows = zip(labels.images.tolist(), values.tolist(), strict=True)
    write_csv(path, [image, *labels.classes], ([name, *map(repr, row)] for name, row in rows))


def _match(path: str, given: list[str], wanted: list[str]) -> list[int]:
    """Row of each wanted image."""
    row_of = {name: i for i, name in enumerate(given)}
    known = set(wanted)
    for names, what in (
        ([name for name, count in Counter(given).items() if count > 1], "are named more than once"),
        ([name for name in wanted if name not in row_of], "of the labels are missing"),
        ([name for name in given if name not in known], "have no labels"),
    ):
        if names:
            raise AWBError(f"{path}: {len(names):,} images {what}: {shortlist(names, 4)}")
    return [row_of[name] for name in wanted]


def _number(path: str, image: str, name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AWBError(f"{path}, image {image!r}, class {name!r}: {cell!r}; expected a finite number")
    return value
