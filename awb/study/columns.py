"""Options of the command line that say what the columns of a file of labels are."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from awb.study.label_cells import Blank, Uncertain


def add_columns(parser: argparse.ArgumentParser, *, group_required: bool = False) -> None:
    """Add `--image`, `--group`, `--classes`, `--blank` and `--uncertain`."""
    parser.add_argument("--image", default="image", metavar="COLUMN", help="names of images (image)")
    parser.add_argument(
        "--group", required=group_required, metavar="COLUMN", help="what must not be parted, as a rule the patient"
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="COLUMN", help="labels; by default each column of 0, 1 and empty cells"
    )
    parser.add_argument(
        "--blank", choices=get_args(Blank), default="unknown", help="what an empty cell of a class means (unknown)"
    )
    parser.add_argument(
        "--uncertain", choices=get_args(Uncertain), default="refuse", help="what -1 or U means there (refuse)"
    )


def columns_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `read_labels` is told of them."""
    return {
        "image": args.image, "group": args.group, "classes": args.classes, "blank": args.blank,
        "uncertain": args.uncertain,
    }  # fmt: skip
