"""Counts of each combination of findings in NIH ChestX-ray14, from `nih_counts.csv`.

    python -m examples.chestxray14.phantoms.nih_counts > examples/chestxray14/phantoms/nih_counts.csv

writes that file from NIH's labels (the copy in torchxrayvision's wheel, or `--data-entry FILE`).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from awb.study import LabelTable
from examples.chestxray14.data.nih import NO_FINDING, packaged_data_entry, read_data_entry

_FILE = Path(__file__).with_name("nih_counts.csv")
_HEADER = ("findings", "images", "images_ap")


@dataclass(frozen=True)
class Combination:
    """Findings that occur together, with the number of images that have exactly these, and of those in AP view."""

    findings: tuple[str, ...]
    images: int
    images_ap: int


@cache
def nih_counts() -> tuple[Combination, ...]:
    """Counts from the file, the most frequent combination first: no finding."""
    with _FILE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Combination(
            () if row["findings"] == NO_FINDING else tuple(row["findings"].split("|")),
            int(row["images"]),
            int(row["images_ap"]),
        )
        for row in rows
    )


def count_combinations(table: LabelTable) -> Iterator[tuple[str, int, int]]:
    """Rows of `nih_counts.csv`: findings joined by `|`, number of images, and number in AP view."""
    joined = ["|".join(f for f, on in zip(table.classes, row, strict=True) if on) or NO_FINDING for row in table.labels]
    images = Counter(joined)
    ap = Counter(name for name, view in zip(joined, table.columns["view"], strict=True) if view == "AP")
    for name, count in sorted(images.items(), key=lambda item: (-item[1], item[0])):
        yield name, count, ap[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-entry", type=Path, default=None)
    args = parser.parse_args()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(count_combinations(read_data_entry(args.data_entry or packaged_data_entry())))


if __name__ == "__main__":
    main()
