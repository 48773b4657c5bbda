"""Print what the splits of ChestX-ray14 share: `python -m examples.chestxray14.audit [--data-entry FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from awb.study import LabelTable, audit_leakage
from awb.table import Table
from examples.chestxray14 import splits
from examples.chestxray14.command_line import run_main
from examples.chestxray14.labels import packaged_data_entry, read_data_entry, read_list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-entry", type=Path, metavar="FILE", help="NIH's Data_Entry_2017*.csv (torchxrayvision's)"
    )
    parser.add_argument(
        "--lists", type=Path, nargs=2, metavar=("TRAIN_VAL", "TEST"), help="NIH's two lists, for the split `official`"
    )


def run(args: argparse.Namespace) -> int:
    """Print everything about the splits."""
    print_audit(read_data_entry(args.data_entry or packaged_data_entry()), args.lists)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.chestxray14.audit", description=__doc__)
    add_arguments(parser)
    return run_main(parser, argv, run)


def print_audit(table: LabelTable, lists: Sequence[Path] | None) -> None:
    """Counts of each split; what its sets share; and the report's leak by finding."""
    chosen = [splits.nested(table), splits.report(table)]
    if lists:
        train_val, test = map(read_list, lists)
        chosen.insert(1, splits.official(table, train_val, test))
    for split in chosen:
        sets = split.tables(table)
        print(f"## {split.name}, sha256 {split.checksum[:12]}…\n\n{count_sets(sets)}\n")
        print(f"{audit_leakage(sets, per_class=False)}\n")
    print(f"## report, by finding\n\n{report_leak(table)}")


def count_sets(sets: dict[str, LabelTable]) -> Table:
    rows = tuple(
        (name, len(one), len(np.unique(one.groups)), int(one.abnormal.sum()))  # type: ignore[arg-type]
        for name, one in sets.items()
    )
    return Table(("set", "images", "patients", "with a finding"), rows)


def report_leak(table: LabelTable) -> Table:
    """Per finding, the report's test images that stage 1 trained on, and with those it validated on."""
    sets = splits.report(table)
    stage1 = sets.tables(table)
    both = table.take(np.sort(table.find((*sets.sets["stage1/train"], *sets.sets["stage1/validation"]))))
    seen = {"stage1/train": stage1["stage1/train"], "stage1/train + validation": both}
    audits = [audit_leakage({name: one, "stage2/test": stage1["stage2/test"]}) for name, one in seen.items()]
    headers = ("finding", "test images", "trained on", "share", "with validation", "share of both")
    rows = [
        (train["images of"], train["images"], train["seen"], train["share"], both["seen"], both["share"])
        for train, both in zip(*audits, strict=True)
    ]
    return Table(headers, tuple(rows))


if __name__ == "__main__":
    sys.exit(main())
