"""Read a table of labels from a CSV file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.files import read_csv
from awb.study.label_cells import Blank, LabelCells, Uncertain, is_positive
from awb.study.label_table import LabelTable
from awb.study.no_finding import means_no_finding, require_no_contradiction


def read_labels(
    path: str | Path,
    *,
    image: str = "image",
    group: str | None = None,
    classes: Sequence[str] | None = None,
    columns: Collection[str] = (),
    blank: Blank = "unknown",
    uncertain: Uncertain = "refuse",
    require_classes: bool = True,
) -> LabelTable:
    """Read labels from a CSV file (or CSV.gz) with a header and one row per image.

    Cells of a class are 0 or 1 (with any number of decimals), true or false, yes or no (Y, N), or unknown: empty, NA,
    NaN. By default every column of such cells is a class, except

    - a column that means that nothing was found, such as `No Finding` or `Normal`: it is kept among the other columns,
      and an image where both it and a finding are 1 is refused. Named in `classes` it is a class, but never a finding;
    - sex, gender, age, view and the like, and the columns named in `columns`.

    Args:
        path: The file.
        image: Name of the column of image names.
        group: Name of the column of groups, usually the patient.
        classes: Names of the columns of labels; by default every other column that holds only labels and is not
            entirely empty. A column with more labels than other values is then refused rather than left out, since
            one misprint would make a class disappear; so is a column of ones only, which may not be a class.
        columns: Names of columns that are not classes by default, with any content.
        blank: Meaning of an empty cell (NA, NaN): `unknown`, or `negative`, as in CheXpert's table, where most are
            empty.
        uncertain: Meaning of −1 or U, as in CheXpert: `refuse`, `unknown`, `negative` or `positive`.
        require_classes: Refuse a file without a column of labels.

    Raises:
        AWBError: No such file or column; a row of another length; a cell that is not a label; a name given twice.
    """
    cell_rule = LabelCells(blank, uncertain)
    header, rows = read_csv(path)
    cells = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    special = [image] if group is None else [image, group]
    for name in (*special, *(classes or ())):
        if name not in cells:
            raise AWBError(f"{path} has no column {name!r}{did_you_mean(name, header)}; it has {shortlist(header, 20)}")
    others = [name for name in header if name not in special]
    absent = [name for name in others if means_no_finding(name) and name not in (classes or ())]
    if classes is None:
        candidates = [name for name in others if name not in columns and name not in absent]
        classes = [name for name in candidates if cell_rule.is_class(str(path), name, cells[name])]
        if not classes and require_classes:
            beside = f"; {absent[0]!r} says that there is none" if absent else ""
            among = shortlist(others, 20) or "the others: there are none"
            raise AWBError(f"{path} has no column of labels (0, 1 or empty) among {among}{beside}")
    labels = np.array([cell_rule.values(str(path), name, cells[name]) for name in classes], dtype=np.float64)
    try:
        table = LabelTable(
            np.array(cells[image], dtype=np.str_),
            tuple(classes),
            labels.T if len(classes) else np.zeros((len(rows), 0)),
            None if group is None else np.array(cells[group], dtype=np.str_),
            {name: np.array(cells[name], dtype=np.str_) for name in others if name not in classes},
        )
    except AWBError as error:
        raise AWBError(f"{path}: {error}") from None
    for name in absent:
        said = [is_positive(cell) for cell in cells[name]]
        require_no_contradiction(name, said, table.classes, table.labels, cells[image])
    return table
