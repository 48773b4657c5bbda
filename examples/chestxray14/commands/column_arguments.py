"""Options that name the columns of a table of your own."""

from __future__ import annotations

import argparse

from awb.study.cli import add_label_options
from examples.chestxray14.data.columns import Columns


def add_column_arguments(parser: argparse.ArgumentParser, *, labels: bool = True) -> None:
    """Add the options that `columns_of` reads.

    Args:
        parser: Parser of the command.
        labels: Add `--labels` too; False if the command has one that means more.
    """
    usual = Columns()
    group = parser.add_argument_group("columns of your own table")
    group.add_argument(
        "--image-column", default=usual.image, metavar="NAME", help="files of images (default: %(default)s)"
    )
    group.add_argument(
        "--patient-column", default=usual.patient, metavar="NAME",
        help="patients (default: %(default)s); that of the images, if each is a patient of its own",
    )  # fmt: skip
    if labels:
        group.add_argument(
            "--labels", nargs="+", default=[], metavar="NAME",
            help="columns of labels (default: each of 0, 1 and empty cells); with --label-column, the labels",
        )  # fmt: skip
    add_label_options(group.add_argument)


def columns_of(args: argparse.Namespace) -> Columns:
    """Columns of a table, as the options say."""
    return Columns(
        args.image_column, args.patient_column, tuple(args.labels or ()), args.label_column,
        args.label_separator or None, args.blank, args.uncertain,
    )  # fmt: skip
