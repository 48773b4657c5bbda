"""Labels of a study: NIH's label file in its folder, or a table of your own."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable, age_in_years, is_missing, open_text, read_labels
from examples.chestxray14.data.nih import NIH_DOWNLOAD, read_data_entry

IMAGE, PATIENT = "image", "patient"  # columns of the labels that `evaluate` writes
SUBGROUPS = ("view", "sex", "age")  # columns of a table by which results are also given; never findings


def read_study_labels(
    folder: str | Path, *, table: str | Path | None = None, data_entry: str | Path | None = None
) -> LabelTable:
    """Labels of all images of a study.

    Args:
        folder: Folder with NIH's `Data_Entry_2017*.csv`; not looked into if one of the other two is given.
        table: Table of your own, in place of NIH's file.
        data_entry: NIH's file, if it is elsewhere.

    Raises:
        AWBError: A file is missing or wrong.
    """
    if table:
        return read_table(table)
    return read_data_entry(data_entry or find_nih_file(folder, "Data_Entry_2017*.csv"))


def read_table(path: str | Path) -> LabelTable:
    """Table of your own: columns `path` and `patient`, and one column per label (0, 1 or empty).

    `view`, `sex` (or `gender`) and `age`, in any capitalisation and with any content, are never labels.

    Raises:
        AWBError: As in `awb.study.read_labels`, or there are two columns `sex` and `Sex`, say.
    """
    with open_text(path) as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    subgroups = {name: subgroup for name in header if (subgroup := subgroup_of(name))}
    if len(set(subgroups.values())) < len(subgroups):
        raise AWBError(f"{path} has columns {', '.join(subgroups)}; expected each of {', '.join(SUBGROUPS)} once")
    table = read_labels(path, image="path", group="patient", columns=subgroups)
    return replace(table, columns={subgroups.get(name, name): cells for name, cells in table.columns.items()})


def subgroup_of(header: str) -> str | None:
    """Subgroup of a column, one of `SUBGROUPS`, or None: `gender` is `sex`, `Patient Age` is `age`."""
    name = "".join(filter(str.isalpha, header.lower())).removeprefix("patient")
    return {"gender": "sex", "viewposition": "view"}.get(name, name if name in SUBGROUPS else None)


def ages_in_years(table: LabelTable) -> LabelTable:
    """Table with ages in years, empty where unknown; a table without ages is returned unchanged.

    A study reads them before training, so that a wrong age does not end the evaluation, which groups by age.

    Raises:
        AWBError: A cell is not an age.
    """
    if "age" not in table.columns:
        return table
    ages = []
    for image, age in zip(table.images.tolist(), table.columns["age"].tolist(), strict=True):
        try:
            ages.append("" if is_missing(age) else f"{age_in_years(age):g}")
        except AWBError as error:
            raise AWBError(f"image {image}: {error}, or nothing where it is not known") from None
    return replace(table, columns={**table.columns, "age": np.array(ages, dtype=np.str_)})


def find_nih_file(folder: str | Path, pattern: str) -> Path:
    """Path of one of NIH's files directly in a folder, such as `Data_Entry_2017*.csv` (or .gz).

    Raises:
        AWBError: There is none, or more than one.
    """
    found = sorted({*Path(folder).glob(pattern), *Path(folder).glob(f"{pattern}.gz")})
    if not found:
        raise AWBError(f"no {pattern} in {folder}; NIH offers it at {NIH_DOWNLOAD}")
    if len(found) > 1:
        raise AWBError(f"{folder} has {shortlist(path.name for path in found)}; say which")
    return found[0]
