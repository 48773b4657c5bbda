"""Tables of splits: what is in their sets, and what the report's sets share."""

from __future__ import annotations

import numpy as np

from awb import Table
from awb.study import LabelTable, audit_leakage
from examples.chestxray14.data import splits


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
