"""The four splits of ChestX-ray14, the names of their sets, and what the sets share.

In each split, stage 1 trains on images with a finding and stage 2 on all. Sets are called `stage1/train`,
`stage2/validation`, `test`, and so on: files of splits hold these names, and only this module takes them apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from awb import AWBError, Table
from awb.study import LabelTable, Split, TrainingStage, audit_leakage, nested_split, split_by_group
from examples.chestxray14.data.labels import find_nih_file
from examples.chestxray14.data.nih import read_list
from examples.chestxray14.recipes.data_settings import SplitSettings
from examples.chestxray14.recipes.stage_settings import StageSettings

STAGES = ("stage1", "stage2")
TEST = "test"
_REPORT_SEED = 85

Rows = npt.NDArray[np.intp]
Stage = TrainingStage | StageSettings


def make_split(
    table: LabelTable, settings: SplitSettings, folder: Path, files: Sequence[str | Path] | None = None
) -> Split:
    """Split a table by a recipe's settings.

    Args:
        table: Labels of all images.
        settings: The recipe's settings.
        folder: Folder with NIH's two lists, for the split `official`.
        files: Three files of image names, for the split `lists`: train, validation, test.

    Raises:
        AWBError: A list is missing or names an image that the table lacks, or `files` are given for another split.
    """
    if (files is not None) != (settings.name == "lists"):
        raise AWBError(
            f"split {settings.name}: three files of names (--lists) belong to the split `lists`, and only it"
        )
    if files is not None:
        train, validation, test = (_read_listed(path, table) for path in files)
        return lists(table, train, validation, test)
    if settings.name == "official":
        paths = [find_nih_file(folder, name) for name in ("train_val_list.txt", "test_list.txt")]
        train_val, test = (_read_listed(path, table) for path in paths)
        return official(table, train_val, test, settings.seed)
    return report(table) if settings.name == "report" else nested(table, settings.seed)


def nested(table: LabelTable, seed: int = 0) -> Split:
    """The default: 70/10/20 % by patient, label-balanced; stage 1 uses the abnormal images of stage 2's sets."""
    shares = {"train": 0.7, "validation": 0.1, TEST: 0.2}
    return _in_stages(split_by_group(table, shares, seed, name="nested"), table)


def official(table: LabelTable, train_val: Sequence[str], test: Sequence[str], seed: int = 0) -> Split:
    """NIH's two lists, 86,524 and 25,596 images; an eighth of the first list's patients is for validation."""
    rows = table.find(train_val)
    divided = split_by_group(table.take(rows), {"train": 0.875, "validation": 0.125}, seed)
    return lists(table, divided.sets["train"], divided.sets["validation"], test, name="official")


def lists(
    table: LabelTable, train: Sequence[str], validation: Sequence[str], test: Sequence[str], name: str = "lists"
) -> Split:
    """Three lists of image names, such as those used by much CheXNet code."""
    sets = {"train": train, "validation": validation, TEST: test}
    split = Split.from_rows(name, table, {key: table.find(images) for key, images in sets.items()})
    return _in_stages(split, table)


def report(table: LabelTable) -> Split:
    """The report's two unrelated partitions, with their leak. The table is in the order of NIH's file.

    Each stage shuffles its own list of patients, stage 1 without those who never have a finding, so a test patient of
    stage 2 may be a training patient of stage 1. Validation images are drawn from the training images without regard
    to patients. `stage2/test` is the set that the report tested on.
    """
    sets: dict[str, Rows] = {}
    for stage, rows in zip(STAGES, (np.flatnonzero(table.abnormal), np.arange(len(table))), strict=True):
        sets |= {f"{stage}/{name}": chosen for name, chosen in _report_partition(table, rows).items()}
    return Split.from_rows("report", table, sets)


def set_name(stage: Stage, role: Literal["train", "validation"]) -> str:
    """Name of the set on which a stage trains or validates."""
    return f"{STAGES[0] if stage.samples == 'abnormal' else STAGES[1]}/{role}"


def set_names(stages: Iterable[Stage], role: Literal["train", "validation"]) -> list[str]:
    """Names of the sets on which stages train or validate, each once."""
    return list(dict.fromkeys(set_name(stage, role) for stage in stages))


def choose_test_set(names: Collection[str]) -> str:
    """Name of the set to test on: the only test set, or in the report's split that of the second stage."""
    return TEST if TEST in names else f"{STAGES[1]}/{TEST}"


def used_sets(names: Collection[str], stages: Iterable[Stage]) -> list[str]:
    """Names of the sets on which stages train, validate and are tested, in the order of `names`."""
    stages = list(stages)
    used = {*set_names(stages, "train"), *set_names(stages, "validation"), choose_test_set(names)}
    return [name for name in names if name in used]


def selected_on(split: Split, stages: Sequence[Stage]) -> set[str]:
    """Images on which stages train or choose their weights."""
    names = [*set_names(stages, "train"), *set_names(stages, "validation")]
    return {image for name in names for image in split.sets[name]}


def held_out(split: Split) -> frozenset[str]:
    """Images of the test sets that are in no other set: the report's test sets share some with the others."""
    tests, others = set[str](), set[str]()
    for name, images in split.sets.items():
        (tests if name.rpartition("/")[2] == TEST else others).update(images)
    return frozenset(tests - others)


def count_sets(sets: Mapping[str, LabelTable], *, findings: bool = True) -> Table:
    """Table of the images and patients of each set, and unless labels are classes, of the images with a finding."""
    rows = [
        (name, len(one), len(np.unique(one.groups)), int(one.abnormal.sum()))  # type: ignore[arg-type]
        for name, one in sets.items()
    ]
    headers = ("set", "images", "patients", "with a finding")
    shown = len(headers) if findings else 3
    return Table(headers[:shown], tuple(row[:shown] for row in rows))


def count_classes(sets: Mapping[str, LabelTable]) -> Table:
    """Table of the images and patients of each set that have each label."""
    headers = ["label", *(f"{name} {what}" for name in sets for what in ("images", "patients"))]
    rows = []
    for column, label in enumerate(next(iter(sets.values())).classes):
        row: list[str | int] = [label]
        for one in sets.values():
            has_it = one.labels[:, column] == 1
            row += [int(has_it.sum()), len(np.unique(one.groups[has_it]))]  # type: ignore[index]
        rows.append(tuple(row))
    return Table(tuple(headers), tuple(rows))


def report_leak(table: LabelTable) -> Table:
    """Table of the report's test images on which its stage 1 trained, and with those it validated on, per finding."""
    split = report(table)
    sets = split.tables(table)
    train, validation, test = (f"{STAGES[0]}/train", f"{STAGES[0]}/validation", choose_test_set(split.sets))
    both = table.take(np.sort(table.find((*split.sets[train], *split.sets[validation]))))
    seen = {train: sets[train], f"{train} + validation": both}
    audits = [audit_leakage({name: one, test: sets[test]}) for name, one in seen.items()]
    headers = ("finding", "test images", "trained on", "share", "with validation", "share of both")
    rows = [
        (one["images of"], one["images"], one["seen"], one["share"], two["seen"], two["share"])
        for one, two in zip(*audits, strict=True)
    ]
    return Table(headers, tuple(rows))


def _report_partition(table: LabelTable, rows: Rows) -> dict[str, Rows]:
    from sklearn.model_selection import train_test_split  # here: slow to import, and only the report needs it

    assert table.groups is not None
    patients = list(dict.fromkeys(table.groups[rows].tolist()))  # in the order of their first images in the file
    trained, _ = train_test_split(patients, test_size=0.2, random_state=_REPORT_SEED)
    is_trained = np.isin(table.groups[rows], trained)
    kept = rows[is_trained]
    generator = torch.Generator().manual_seed(_REPORT_SEED)  # draws what torch.manual_seed(85) would
    shuffled = kept[torch.randperm(len(kept), generator=generator).numpy()]
    n_validation = int(0.125 * len(kept))
    return {"train": shuffled[n_validation:], "validation": shuffled[:n_validation], TEST: rows[~is_trained]}


def _in_stages(split: Split, table: LabelTable) -> Split:
    masks = (table.abnormal, np.ones(len(table), dtype=np.bool_))
    return nested_split(split, table, dict(zip(STAGES, masks, strict=True)), held_out=TEST)


def _read_listed(path: str | Path, table: LabelTable) -> list[str]:
    """Read a list of images, all of which must be in the table."""
    names = read_list(path)
    try:
        table.find(names)
    except AWBError as error:
        raise AWBError(f"{path}: {error}") from None
    return names
