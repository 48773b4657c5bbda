"""Read a table of labels from a CSV file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.argument_names import argument, chosen_by
from awb.study.files import read_csv
from awb.study.label_cells import Blank, LabelCells, Uncertain, is_positive
from awb.study.label_table import LabelTable
from awb.study.no_finding import means_no_finding, require_no_contradiction
from awb.study.text_labels import FoundLabels, TextCells


def read_labels(
    path: str | Path,
    *,
    image: str = "image",
    group: str | None = None,
    classes: Sequence[str] | None = None,
    columns: Collection[str] = (),
    text: str | None = None,
    separator: str | None = "|",
    blank: Blank | None = None,
    uncertain: Uncertain = "refuse",
    require_classes: bool = True,
) -> LabelTable:
    r"""Read labels from a CSV file (or CSV.gz) with a header and one row per image.

    Cells of a class are 0 or 1 (with any number of decimals), true or false, yes or no (Y, N), or unknown: empty, NA,
    NaN. By default every column of such cells is a class, except

    - a column that means that nothing was found, such as `No Finding` or `Normal`: it is kept among the other columns,
      and an image where both it and a finding are 1 is refused. Named in `classes` it is a class, but never a finding;
    - sex, gender, age, view and the like, and the columns named in `columns`.

    Or the labels are written as text in one column, `text`: `Pneumonia|Edema`, or one class word per image. Each word
    becomes a class, in alphabetical order. If every cell has exactly one word, all are classes, `Normal` too; otherwise
    they are findings, and `No Finding` means that there is none.

    Args:
        path: The file.
        image: Name of the column of image names.
        group: Name of the column of groups, usually the patient.
        classes: Names of the columns of labels; by default every other column that holds only labels and is not
            entirely empty. A column with more labels than other values is then refused rather than left out, since
            one misprint would make a class disappear; so is a column of ones only, which may not be a class.
        columns: Names of columns that are not classes by default, with any content.
        text: Name of a column of labels as text, in place of columns of 0 and 1. With `classes`, those are the words,
            in that order, and any other word is refused.
        separator: Text between two labels of a cell of `text`; None if each cell is one label.
        blank: Meaning of an empty cell (NA, NaN): `unknown`, or `negative`, as in CheXpert's table, where most are
            empty. By default unknown; refused in a column of text, where it may also mean that nothing was found.
        uncertain: Meaning of −1 or U, as in CheXpert: `refuse`, `unknown`, `negative` or `positive`.
        require_classes: Refuse a file without a column of labels.

    Raises:
        AWBError: No such file or column; a row of another length; a cell that is not a label; a name given twice.

    Examples:
        >>> from pathlib import Path
        >>> from awb.study import read_labels
        >>> rows = ["image,diagnosis", "a.png,Pneumonia|Edema", "b.png,No Finding", "c.png,Edema"]
        >>> _ = Path("labels.csv").write_text("\n".join(rows))
        >>> table = read_labels("labels.csv", text="diagnosis")
        >>> table.classes, table.labels.tolist()
        (('Edema', 'Pneumonia'), [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    """
    header, rows = read_csv(path)
    cells = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    _require_columns(path, header, {"image": image, "group": group, "text": text}, () if text else classes or ())
    others = {name: cells[name] for name in header if name not in (image, group)}
    if text is None:
        rule = LabelCells("unknown" if blank is None else blank, uncertain)
        found = _read_columns(path, rule, others, classes, columns, len(rows))
        if not found.classes and require_classes:
            _refuse_without_classes(path, list(others), list(found.absent))
    else:
        rules = TextCells(separator, blank, uncertain)
        found = rules.read(f"{path}, column {text!r}", cells[text], classes)
    kept = [name for name in others if text is not None or name not in found.classes]
    try:
        table = LabelTable(
            np.array(cells[image], dtype=np.str_),
            found.classes,
            found.labels,
            None if group is None else np.array(cells[group], dtype=np.str_),
            {name: np.array(cells[name], dtype=np.str_) for name in kept},
        )
        for name, said in found.absent.items():
            require_no_contradiction(name, said, table.classes, table.labels, cells[image])
    except AWBError as error:
        raise AWBError(f"{path}: {error}") from None
    return table


def _read_columns(
    path: str | Path,
    rule: LabelCells,
    cells: Mapping[str, Sequence[str]],
    classes: Sequence[str] | None,
    never: Collection[str],
    n_rows: int,
) -> FoundLabels:
    """Labels of columns of 0 and 1: those named, or all that hold labels but for `never`."""
    absent = [name for name in cells if means_no_finding(name) and name not in (classes or ())]
    if classes is None:
        candidates = [name for name in cells if name not in never and name not in absent]
        classes = [name for name in candidates if rule.is_class(str(path), name, cells[name])]
    elif both := [name for name in classes if name not in cells]:
        raise AWBError(f"{path}: column {both[0]!r} names images or groups; expected columns of labels")
    labels = np.array([rule.values(str(path), name, cells[name]) for name in classes], dtype=np.float64)
    return FoundLabels(
        tuple(classes),
        labels.T if len(classes) else np.zeros((n_rows, 0)),
        {name: np.array(list(map(is_positive, cells[name])), dtype=np.bool_) for name in absent},
    )


def _require_columns(
    path: str | Path, header: Sequence[str], special: Mapping[str, str | None], classes: Sequence[str]
) -> None:
    """Refuse a file that lacks a column, and name the option that chooses it."""
    for role, name in (*special.items(), *(("classes", name) for name in classes)):
        if name is not None and name not in header:
            near = did_you_mean(name, header)
            raise AWBError(f"{path} has no column {name!r}{near}; it has {shortlist(header, 20)}{chosen_by(role)}")


def _refuse_without_classes(path: str | Path, others: Sequence[str], absent: Sequence[str]) -> None:
    beside = f"; {absent[0]!r} says that there is none" if absent else ""
    among = shortlist(others, 20) or "the others: there are none"
    raise AWBError(
        f"{path} has no column of labels (0, 1 or empty) among {among}{beside}; a column of labels as text is named by "
        f"{argument('text')}"
    )
