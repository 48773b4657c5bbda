"""Do parameters and MACs come out exactly as in the report's Table 4?

    python -m benchmarks.table4

torchvision's backbones with LKA blocks, 14 classes behind global average pooling, one 224×224 image; fvcore in eval
mode. Prints the report's figures beside ours and exits with 1 if a parameter count or a rounded MAC count differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

import torchvision
from torch import nn

import awb
from benchmarks.environment import environment


class Row(NamedTuple):
    """One line of the report's Table 4.

    Attributes:
        backbone: Name in `torchvision.models`.
        placement: The report's word for it.
        stages: `attach_awb`'s.
        params: All parameters.
        gmacs: Multiply–accumulates of one image, in 10⁹, to two decimals.
    """

    backbone: str
    placement: str
    stages: str
    params: int
    gmacs: float


REPORT = (
    Row("densenet121", "full", "all", 9_609_870, 3.64),
    Row("densenet121", "last two", "last:2", 9_223_054, 3.14),
    Row("densenet121", "after", "after", 8_095_630, 2.92),
    Row("vgg16_bn", "full", "all", 15_453_966, 16.70),
    Row("vgg16_bn", "last three", "last:3", 15_418_702, 15.93),
    Row("vgg16_bn", "after", "after", 15_031_886, 15.39),
)

TYPO = "the report prints 8,096,530 for 8,095,630 in one place"


def measure(rows: Iterable[Row]) -> tuple[list[Row], list[str]]:
    """The same rows with our figures, and the notes on what fvcore did not count."""
    measured, notes = [], {}
    for row in rows:
        table = awb.profile_placements(lambda row=row: _network(row.backbone), [row.stages], 224)
        (profile,) = table
        measured.append(row._replace(params=profile["params"], gmacs=round(profile["MACs"] / 1e9, 2)))
        notes.update(dict.fromkeys(f"{row.backbone}, {note}" for note in table.notes))
    return measured, list(notes)


def compare(report: Iterable[Row], measured: Iterable[Row], notes: Iterable[str] = ()) -> awb.Table:
    """Both side by side."""
    headers = ("backbone", "placement", "params, report", "params, awb", "GMACs, report", "GMACs, awb", "equal")
    rows = tuple(
        (theirs.backbone, theirs.placement, theirs.params, ours.params,
         f"{theirs.gmacs:.2f}", f"{ours.gmacs:.2f}", theirs == ours)
        for theirs, ours in zip(report, measured, strict=True)
    )  # fmt: skip
    return awb.Table(headers, rows, tuple(notes))


def _network(backbone: str) -> nn.Module:
    return awb.replace_head(getattr(torchvision.models, backbone)(weights=None), 14)


def main() -> int:
    measured, notes = measure(REPORT)
    table = compare(REPORT, measured, [*notes, TYPO])
    print(table)
    print(environment("torch", "torchvision", "fvcore"))
    return 0 if all(row["equal"] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
