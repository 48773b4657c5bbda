"""Print the sets of a study's splits, and the images and patients that they share.

For ChestX-ray14 also the 2025 report's leak. With --table, the sets of the split `nested` of a table of your own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from awb import AWBError
from awb.study import LabelTable, Split, audit_leakage
from examples.chestxray14.commands.column_arguments import add_column_arguments, columns_of
from examples.chestxray14.data import splits
from examples.chestxray14.data.labels import has_no_patients, read_table
from examples.chestxray14.data.nih import packaged_data_entry, read_data_entry, read_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--data-entry",
        type=Path,
        metavar="FILE",
        help="NIH's Data_Entry_2017*.csv (default: torchxrayvision's copy)",
    )
    labels.add_argument("--table", type=Path, metavar="FILE", help="your own table of labels instead of NIH's")
    parser.add_argument(
        "--lists", type=Path, nargs=2, metavar=("TRAIN_VAL", "TEST"), help="NIH's two lists, for the split `official`"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split of --table, as data.split.seed (default: %(default)s)"
    )
    add_column_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the audit."""
    if args.table is None:
        print_audit(read_data_entry(args.data_entry or packaged_data_entry()), args.lists)
        return 0
    if args.lists:
        raise AWBError("--lists are NIH's, and --table is your own; give one of them")
    table = read_table(args.table, columns_of(args))
    print_split(split := splits.nested(table, args.seed), table)
    # stage 1 has the same images with a finding
    sets = {name: one for name, one in split.tables(table).items() if not name.startswith(splits.STAGES[0])}
    print(f"## labels by set\n\n{splits.count_classes(sets)}")
    if has_no_patients(table):
        print("\neach image is taken for a patient of its own: images that share a patient cannot be found")
    return 0


def print_audit(table: LabelTable, lists: Sequence[Path] | None) -> None:
    """Print the counts of each of ChestX-ray14's splits, what its sets share, and the report's leak per finding."""
    chosen = [splits.nested(table), splits.report(table)]
    if lists:
        train_val, test = map(read_list, lists)
        chosen.insert(1, splits.official(table, train_val, test))
    for split in chosen:
        print_split(split, table)
    print(f"## report, by finding\n\n{splits.report_leak(table)}")


def print_split(split: Split, table: LabelTable) -> None:
    """Print the counts of a split, and what its sets share."""
    sets = split.tables(table)
    print(f"## {split.name}, sha256 {split.checksum[:12]}…\n\n{splits.count_sets(sets)}\n")
    print(f"{audit_leakage(sets, per_class=False)}\n")
