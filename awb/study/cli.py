"""The command line `awb study`: `audit` and `evaluate`, from files to a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, get_args

from awb.errors import AWBError, did_you_mean, shortlist
from awb.study.ages import age_in_years
from awb.study.argument_names import LABEL_OPTIONS, named_as
from awb.study.array_types import Floats
from awb.study.audit import audit_leakage, describe_overlap, lookalikes
from awb.study.files import read_csv
from awb.study.label_cells import EXPECTED, Blank, Uncertain
from awb.study.label_table import LabelTable, require_groups
from awb.study.labels import read_labels
from awb.study.metrics import (
    bands,
    choose_thresholds,
    evaluate,
    evaluate_calibration,
    evaluate_subgroups,
    operating_points,
)
from awb.study.no_finding import means_no_finding
from awb.study.predictions import read_predictions
from awb.table import Table

AddCommand = Callable[[str, Any, str], argparse.ArgumentParser]
_OPTIONS = LABEL_OPTIONS | {
    "undefined": "--undefined", "min_groups": "--min-groups", "level": "--level", "n_replicates": "--replicates",
    "seed": "--seed", "rule": "--rule",
}  # fmt: skip


def add_commands(command: AddCommand) -> None:
    """Add each subcommand of `awb study`.

    Args:
        command: Function that adds a parser, given a name, a function from arguments to a Table, and a summary.
    """
    audit = command("audit", _audit, "Count the images and patients that sets share.")
    audit.add_argument(
        "files", nargs="+", metavar="LABELS.csv",
        help="two or more files, training sets first: one row per image, a column of 0 and 1 for each class, if any",
    )  # fmt: skip
    _add_columns(audit)
    _add_evaluate(command("evaluate", _evaluate, "Evaluate any model's predictions, with intervals by patients."))


@named_as(_OPTIONS)
def _audit(args: argparse.Namespace) -> Table:
    if len(set(args.files)) < len(args.files):  # two sets of one name
        raise AWBError(f"a file is named twice: {' '.join(args.files)}")
    return audit_leakage({file: _read_labels(file, args, require_classes=False) for file in args.files})


@named_as(_OPTIONS)
def _evaluate(args: argparse.Namespace) -> Table:
    """Table of `awb study evaluate`.

    Raises:
        AWBError: Files that cannot be read or do not match, or options that do not go together.
    """
    _check(args)
    labels = _read_labels(args.labels, args)
    if args.classes is None:
        _require_all_predicted(args, labels)
    scores = read_predictions(args.predictions, labels, image=args.image)
    patients = require_groups(labels, args.labels)
    options: dict[str, Any] = {"n_replicates": args.replicates, "seed": args.seed, "level": args.level}
    options |= {"classes": labels.classes, "undefined": args.undefined, "min_groups": args.min_groups}
    absent = [name for name in labels.columns if means_no_finding(name)]
    apart = (f"no finding, and no row: {shortlist(absent)}; name it in --labels for one",) * bool(absent)
    if args.subgroup is not None:
        table = evaluate_subgroups(labels.labels, scores, patients, _subgroups(args, labels), **options)
        return table.with_notes(*apart)
    table = evaluate(labels.labels, scores, patients, **options).with_notes(*apart)
    if args.min_groups is not None:  # the columns added below have the same rows
        use = labels.supported(args.min_groups)
        labels, scores = labels.classes_of(use), scores[:, use]
    if args.thresholds_from:
        thresholds, notes = _thresholds(args, labels)
        points = operating_points(labels.labels, scores, thresholds, classes=labels.classes)
        table = _beside(table, points, _thresholds_note(args), *notes)
    if args.calibration:
        calibration = evaluate_calibration(labels.labels, scores, classes=labels.classes)
        table = _beside(table, calibration, *calibration.notes)
    return table


def _require_all_predicted(args: argparse.Namespace, labels: LabelTable) -> None:
    """Refuse predictions for a column that was not read as a class: it would be missing from the table.

    Raises:
        AWBError: The predictions have such a column.
    """
    header, rows = read_csv(args.predictions)
    names = [name for name in labels.columns if name in header and not means_no_finding(name)]
    for name in names:
        predicted = [row[header.index(name)] for row in rows]
        if set(predicted) != set(labels.columns[name].tolist()) and all(map(_is_number, predicted)):
            cells = shortlist(map(repr, dict.fromkeys(labels.columns[name].tolist())), 3)
            raise AWBError(
                f"{args.predictions} predicts {name!r}, which is not a class of {args.labels}: its cells are {cells}. "
                f"Name the classes (--labels); expected {EXPECTED}"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check(args: argparse.Namespace) -> None:
    if args.subgroup is None and args.bands:
        raise AWBError("--bands needs --subgroup, the column of numbers")
    if args.subgroup is not None and (args.thresholds_from or args.calibration):
        raise AWBError("--subgroup goes with neither --thresholds-from nor --calibration; run the command for each")
    if not args.thresholds_from and (args.rule != "youden" or args.target is not None):
        raise AWBError("--rule and --target need --thresholds-from: the validation images to choose thresholds on")


def _subgroups(args: argparse.Namespace, labels: LabelTable) -> Any:
    if args.subgroup not in labels.columns:
        near = did_you_mean(args.subgroup, labels.columns)
        others = shortlist(labels.columns, 20) or "none"
        raise AWBError(f"{args.labels} has no column {args.subgroup!r} beside the labels{near}; it has {others}")
    values = labels.columns[args.subgroup]
    if not args.bands:
        return values
    return bands(_ages(labels, args) if "age" in args.subgroup.lower() else values, args.bands)


def _ages(labels: LabelTable, args: argparse.Namespace) -> list[float]:
    ages = []
    for image, cell in zip(labels.images.tolist(), labels.columns[args.subgroup].tolist(), strict=True):
        try:
            ages.append(age_in_years(cell))
        except AWBError as error:
            raise AWBError(f"{args.labels}, image {image!r}, column {args.subgroup!r}: {error}") from None
    return ages


def _thresholds(args: argparse.Namespace, labels: LabelTable) -> tuple[Floats, list[str]]:
    """Threshold of each class, and notes on images and patients that may be shared under different spellings."""
    predictions, path = args.thresholds_from
    validation = _read_labels(path, args, classes=labels.classes)
    if overlap := describe_overlap(path, validation, args.labels, labels):
        raise AWBError(f"{overlap}; thresholds must be chosen on other patients than those evaluated")
    scores = read_predictions(predictions, validation, image=args.image)
    chosen = choose_thresholds(validation.labels, scores, rule=args.rule, target=args.target, classes=labels.classes)
    return chosen, lookalikes(path, validation, args.labels, labels)


def _thresholds_note(args: argparse.Namespace) -> str:
    target = "" if args.target is None else f" {args.target:g}"
    return f"thresholds: {args.rule}{target}, chosen on {args.thresholds_from[0]}"


def _beside(table: Table, other: Table, *notes: str) -> Table:
    """Add the columns that only the other table has; that table has no macro row."""
    new = [name for name in other.headers if name not in table.headers]
    added = [tuple(row[name] for name in new) for row in other] + [(None,) * len(new)]
    rows = tuple((*row, *more) for row, more in zip(table.rows, added, strict=True))
    return Table((*table.headers, *new), rows, (*table.notes, *notes))


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `awb study evaluate`."""
    parser.add_argument("predictions", metavar="PREDICTIONS.csv", help="a column of image names and one per class")
    parser.add_argument("labels", metavar="LABELS.csv", help="the same images; each class 0, 1 or empty (unknown)")
    _add_columns(parser, group_required=True)
    parser.add_argument(
        "--thresholds-from", nargs=2, metavar=("PREDICTIONS.csv", "LABELS.csv"),
        help="choose thresholds on these validation images, and show sensitivity, specificity, … at them",
    )  # fmt: skip
    parser.add_argument(
        "--rule", default="youden", metavar="RULE", help="youden, f1, sensitivity or specificity (youden)"
    )
    parser.add_argument("--target", type=float, metavar="SHARE", help="for --rule sensitivity or specificity")
    parser.add_argument("--calibration", action="store_true", help="predictions are probabilities: add Brier and ECE")
    parser.add_argument(
        "--subgroup", metavar="COLUMN", help="evaluate each value of this column of LABELS.csv by itself"
    )
    parser.add_argument(
        "--bands", type=float, nargs="+", metavar="EDGE", help="where bands of a numeric subgroup start: 0 18 65, say"
    )
    parser.add_argument(
        "--undefined", default="raise", choices=("raise", "skip"),
        help="a class with one label only: refuse (raise), or show it without values (skip)",
    )  # fmt: skip
    parser.add_argument(
        "--min-groups", type=int, metavar="N",
        help="leave out classes that fewer than N patients have or have not, and name them; 5 is sensible",
    )  # fmt: skip
    parser.add_argument("--level", type=float, default=0.95, help="confidence level of the intervals (0.95)")
    parser.add_argument(
        "--replicates", type=int, default=2000, metavar="N", help="number of bootstrap replicates (2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="bootstrap seed (0)")


def _add_columns(parser: argparse.ArgumentParser, *, group_required: bool = False) -> None:
    """Add the options that say which columns of LABELS.csv hold what."""
    parser.add_argument(
        "--image-column", "--image", dest="image", default="image", metavar="NAME", help="names of images (image)"
    )
    parser.add_argument(
        "--patient-column", "--group", dest="group", required=group_required, metavar="NAME",
        help="group of each image, usually the patient; never split across sets",
    )  # fmt: skip
    parser.add_argument(
        "--labels", "--classes", dest="classes", nargs="+", metavar="NAME",
        help="columns of labels; by default each column of 0, 1 and empty cells",
    )  # fmt: skip
    add_label_options(parser.add_argument)


def add_label_options(add: Callable[..., object]) -> None:
    """Add the options of labels as text, and of cells that are neither 0 nor 1, by a parser's `add_argument`."""
    add("--label-column", metavar="NAME", help="column of labels as text (`Pneumonia|Edema`, or one word per image)")
    add(
        "--label-separator", default="|", metavar="TEXT",
        help="between two labels of such a cell (|); empty if each cell is one label",
    )  # fmt: skip
    add(
        "--blank", choices=get_args(Blank),
        help="what an empty cell of labels means (unknown; with --label-column it must be said)",
    )  # fmt: skip
    add("--uncertain", choices=get_args(Uncertain), default="refuse", help="what -1 or U means there (refuse)")


def _read_labels(path: str, args: argparse.Namespace, **options: Any) -> LabelTable:
    """Labels of a file by the options of `_add_columns`."""
    columns: dict[str, Any] = {
        "image": args.image, "group": args.group, "classes": args.classes, "text": args.label_column,
        "separator": args.label_separator or None, "blank": args.blank, "uncertain": args.uncertain,
    }  # fmt: skip
    return read_labels(path, **columns | options)
