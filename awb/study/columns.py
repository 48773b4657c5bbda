"""Options of the command line that say what the columns of a file of labels are."""

from __future__ import annotations

import argparse
from typing import Any


def add_columns(parser: argparse.ArgumentParser, *, group_required: bool = False) -> None:
    """Add `--image`, `--group` and `--classes`."""
    parser.add_argument("--image", default="image", metavar="COLUMN", help="names of images (image)")
    parser.add_argument(
        "--group", required=group_required, metavar="COLUMN", help="what must not be parted, as a rule the patient"
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="COLUMN", help="labels; by default each column of 0, 1 and empty cells"
    )


def columns_of(args: argparse.Namespace) -> dict[str, Any]:
    """What `read_labels` is told of them."""
    return {"image": args.image, "group": args.group, "classes": args.classes}
