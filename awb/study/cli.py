"""The command line of the wing: `awb study audit` and `awb study evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from awb.errors import AWBError
from awb.study.audit import audit_leakage
from awb.study.columns import add_columns, columns_of
from awb.study.evaluate_command import add_evaluate, evaluate_files
from awb.study.labels import read_labels
from awb.table import Table

AddCommand = Callable[[str, Any, str], argparse.ArgumentParser]


def add_commands(command: AddCommand) -> None:
    """Add each subcommand of `awb study`.

    Args:
        command: Adds a parser, given a name, a function from its arguments to a Table, and a summary.
    """
    audit = command("audit", _audit, "Count the images and patients that sets share.")
    audit.add_argument(
        "files", nargs="+", metavar="LABELS.csv",
        help="two or more files, one row an image, with a column of 0 and 1 a class if there are any; those trained on "
        "first",
    )  # fmt: skip
    add_columns(audit)
    add_evaluate(command("evaluate", evaluate_files, "Evaluate any model's predictions, with intervals by patients."))


def _audit(args: argparse.Namespace) -> Table:
    if len(set(args.files)) < len(args.files):  # two sets of one name
        raise AWBError(f"a file is named twice: {' '.join(args.files)}")
    return audit_leakage({file: read_labels(file, **columns_of(args), require_classes=False) for file in args.files})
