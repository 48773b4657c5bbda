"""Do parameters and MACs come out exactly as in the report's Table 4?

    python -m benchmarks.table4

torchvision's backbones with LKA blocks, 14 classes behind global average pooling, one 224×224 image; fvcore in eval
mode. Prints the report's numbers beside ours and exits with 1 if a parameter count or a rounded MAC count differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import awb
from benchmarks.environment import environment
from examples.chestxray14.reproduction.costs import measure
from examples.chestxray14.reproduction.published import TABLE_4, TYPO, Cost


def compare(report: Iterable[Cost], measured: Iterable[Cost], notes: Iterable[str] = ()) -> awb.Table:
    """Table of the report's numbers beside ours."""
    headers = ("backbone", "placement", "params, report", "params, awb", "GMACs, report", "GMACs, awb", "equal")
    rows = tuple(
        (theirs.backbone, theirs.placement, theirs.params, ours.params,
         f"{theirs.gmacs:.2f}", f"{ours.gmacs:.2f}", theirs == ours)
        for theirs, ours in zip(report, measured, strict=True)
    )  # fmt: skip
    return awb.Table(headers, rows, tuple(notes))


def main() -> int:
    measured, notes = measure(TABLE_4)
    table = compare(TABLE_4, measured, [*notes, TYPO])
    print(table)
    print(environment("torch", "torchvision", "fvcore"))
    return 0 if all(row["equal"] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
