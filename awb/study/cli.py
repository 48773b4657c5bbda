"""The command line of the wing: `awb study audit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from awb.errors import AWBError
from awb.study.audit import audit_leakage
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
        help="two or more files, one row an image, one column of 0 and 1 a class; those trained on first",
    )  # fmt: skip
    _add_columns(audit)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    """Options that say what the columns of a file of labels are."""
    parser.add_argument("--image", default="image", metavar="COLUMN", help="names of images (image)")
    parser.add_argument("--group", metavar="COLUMN", help="what must not be parted, as a rule the patient")
    parser.add_argument(
        "--classes", nargs="+", metavar="COLUMN", help="labels; by default each column of 0, 1 and empty cells"
    )


def _audit(args: argparse.Namespace) -> Table:
    if len(set(args.files)) < len(args.files):  # two sets of one name
        raise AWBError(f"a file is named twice: {' '.join(args.files)}")
    columns = {"image": args.image, "group": args.group, "classes": args.classes}
    return audit_leakage({file: read_labels(file, **columns) for file in args.files})
