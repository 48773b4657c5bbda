"""The four splits of ChestX-ray14. In each, stage 1 trains on images with a finding, stage 2 on all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from awb.study import LabelTable, Split, nested_split, split_by_group

STAGES = ("stage1", "stage2")
_REPORT_SEED = 85

Rows = npt.NDArray[np.intp]


def nested(table: LabelTable, seed: int = 0) -> Split:
    """Patient-wise 70/10/20 %, balanced; stage 1 is the abnormal part of stage 2's own sets. The default."""
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    return _in_stages(split_by_group(table, shares, seed, name="nested"), table)


def official(table: LabelTable, train_val: Sequence[str], test: Sequence[str], seed: int = 0) -> Split:
    """NIH's lists, 86,524 and 25,596 images; an eighth of the patients of the first is for validation."""
    rows = table.find(train_val)
    parted = split_by_group(table.take(rows), {"train": 0.875, "validation": 0.125}, seed)
    return lists(table, parted.sets["train"], parted.sets["validation"], test, name="official")


def lists(
    table: LabelTable, train: Sequence[str], validation: Sequence[str], test: Sequence[str], name: str = "lists"
) -> Split:
    """Any three lists of names, such as the ones much CheXNet code uses."""
    sets = {"train": train, "validation": validation, "test": test}
    split = Split.from_rows(name, table, {key: table.find(images) for key, images in sets.items()})
    return _in_stages(split, table)


def report(table: LabelTable) -> Split:
    """The two unrelated partitions that the report ran, leak and all. The table is in the order of NIH's file.

    Each stage shuffles its own list of patients, stage 1's without those who never have a finding, so a test
    patient of stage 2 may well be a training patient of stage 1. Validation images are drawn from the training
    images whosever they are. `stage2/test` is what the report tested on.
    """
    sets: dict[str, Rows] = {}
    for stage, rows in zip(STAGES, (np.flatnonzero(table.abnormal), np.arange(len(table))), strict=True):
        sets |= {f"{stage}/{name}": part for name, part in _report_partition(table, rows).items()}
    return Split.from_rows("report", table, sets)


def _report_partition(table: LabelTable, rows: Rows) -> dict[str, Rows]:
    from sklearn.model_selection import train_test_split

    assert table.groups is not None
    patients = list(dict.fromkeys(table.groups[rows].tolist()))  # in the order in which the file first has them
    trained, _ = train_test_split(patients, test_size=0.2, random_state=_REPORT_SEED)
    is_trained = np.isin(table.groups[rows], trained)
    kept = rows[is_trained]
    generator = torch.Generator().manual_seed(_REPORT_SEED)  # draws what torch.manual_seed(85) would
    shuffled = kept[torch.randperm(len(kept), generator=generator).numpy()]
    n_validation = int(0.125 * len(kept))
    return {"train": shuffled[n_validation:], "validation": shuffled[:n_validation], "test": rows[~is_trained]}


def _in_stages(split: Split, table: LabelTable) -> Split:
    masks = (table.abnormal, np.ones(len(table), dtype=np.bool_))
    return nested_split(split, table, dict(zip(STAGES, masks, strict=True)))
