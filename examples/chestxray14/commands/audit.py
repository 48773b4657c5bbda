"""Print the sets of ChestX-ray14's splits, the images and patients they share, and the 2025 report's leak."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from awb.study import LabelTable, audit_leakage
from examples.chestxray14.data import splits
from examples.chestxray14.data.nih import packaged_data_entry, read_data_entry, read_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-entry",
        type=Path,
        metavar="FILE",
        help="NIH's Data_Entry_2017*.csv (default: torchxrayvision's copy)",
    )
    parser.add_argument(
        "--lists", type=Path, nargs=2, metavar=("TRAIN_VAL", "TEST"), help="NIH's two lists, for the split `official`"
    )


def run(args: argparse.Namespace) -> int:
    """Print the audit."""
    print_audit(read_data_entry(args.data_entry or packaged_data_entry()), args.lists)
    return 0


def print_audit(table: LabelTable, lists: Sequence[Path] | None) -> None:
    """Print the counts of each split, what its sets share, and the report's leak per finding."""
    chosen = [splits.nested(table), splits.report(table)]
    if lists:
        train_val, test = map(read_list, lists)
        chosen.insert(1, splits.official(table, train_val, test))
    for split in chosen:
        sets = split.tables(table)
        print(f"## {split.name}, sha256 {split.checksum[:12]}…\n\n{splits.count_sets(sets)}\n")
        print(f"{audit_leakage(sets, per_class=False)}\n")
    print(f"## report, by finding\n\n{splits.report_leak(table)}")
