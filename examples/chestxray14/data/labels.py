"""Labels of a study: NIH's label file in its folder, or a table of your own."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from awb import AWBError
from awb.errors import shortlist
from awb.study import LabelTable, age_in_years, is_missing, open_text, read_labels, require_commas
from awb.study.argument_names import LABEL_OPTIONS, named_as
from examples.chestxray14.data.columns import Columns
from examples.chestxray14.data.nih import NIH_DOWNLOAD, read_data_entry

IMAGE, PATIENT = "image", "patient"  # columns of the labels that `evaluate` writes
SUBGROUPS = ("view", "sex", "age")  # columns of a table by which results are also given; findings only if named


def read_study_labels(
    folder: str | Path,
    *,
    table: str | Path | None = None,
    data_entry: str | Path | None = None,
    columns: Columns | None = None,
) -> LabelTable:
    """Labels of all images of a study.

    Args:
        folder: Folder with NIH's `Data_Entry_2017*.csv`; not looked into if one of the next two is given.
        table: Table of your own, in place of NIH's file.
        data_entry: NIH's file, if it is elsewhere.
        columns: Columns of the table.

    Raises:
        AWBError: A file is missing or wrong; or columns are named without a table.
    """
    if table:
        return read_table(table, columns)
    if columns not in (None, Columns()):
        raise AWBError("columns are named, but no --table; NIH's own file needs no names")
    return read_data_entry(data_entry or find_nih_file(folder, "Data_Entry_2017*.csv"))


def read_table(path: str | Path, columns: Columns | None = None) -> LabelTable:
    """Table of your own: images, patients, and labels as columns of 0 and 1 or as text.

    `view`, `sex` (or `gender`) and `age`, in any capitalisation and with any content, are no labels, unless named.

    Raises:
        AWBError: As in `awb.study.read_labels`; a column is missing; there are two columns `sex` and `Sex`, say; or a
            label is called like a column of the files that `evaluate` writes.
    """
    columns = columns or Columns()
    header = read_header(path)
    columns.require(path, header)
    taken = {columns.image, columns.patient, columns.text, *columns.labels}
    subgroups = {name: group for name in header if name not in taken and (group := subgroup_of(name))}
    if len(set(subgroups.values())) < len(subgroups):
        raise AWBError(f"{path} has columns {', '.join(subgroups)}; expected each of {', '.join(SUBGROUPS)} once")
    with named_as(LABEL_OPTIONS):
        table = read_labels(
            path, image=columns.image, group=columns.patient, classes=columns.labels or None, columns=subgroups,
            text=columns.text, separator=columns.separator, blank=columns.blank, uncertain=columns.uncertain,
        )  # fmt: skip
    if reserved := [name for name in table.classes if name in (IMAGE, PATIENT, *SUBGROUPS)]:
        raise AWBError(f"{path}: a label called {reserved[0]!r}, as a column of results is; call it something else")
    others = {subgroups.get(name, name): cells for name, cells in table.columns.items() if name not in table.classes}
    return replace(table, columns=others)


def has_no_patients(table: LabelTable) -> bool:
    """True if images stand for patients: one column was named for both."""
    return table.groups is not None and np.array_equal(table.groups, table.images)


def read_header(path: str | Path) -> list[str]:
    """Names of a table's columns.

    Raises:
        AWBError: No such file, not text in UTF-8, or columns that are not separated by commas.
    """
    with open_text(path) as file:
        header = [name.strip() for name in next(csv.reader(file), [])]
    require_commas(path, header)
    return header


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
        raise AWBError(f"{folder} has {shortlist(path.name for path in found)}; expected one: move the others")
    return found[0]
