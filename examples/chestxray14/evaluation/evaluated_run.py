"""A run that was trained and evaluated, read back from its folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.study import LabelTable, Split, read_labels, read_predictions
from examples.chestxray14.data.study import PATIENT
from examples.chestxray14.data.supported_findings import supported, unsupported
from examples.chestxray14.evaluation.leak import Leak, find_leak
from examples.chestxray14.files.checksums import changed_files, read_sums
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder

LABELS, PREDICTIONS = "labels-test.csv", "predictions-test.csv"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """What `train` and `evaluate` left.

    Attributes:
        folder: Of the run.
        recipe: As it was trained.
        info: What `run.json` says.
        split: On which.
        test: Labels and patients of the test set.
        probs: Of the test set, float64 (n, C).
        seconds: Of each stage, all its epochs with their validation. An epoch that was killed counts from where it
            went on.
        epochs: That each stage ran.
    """

    folder: RunFolder
    recipe: Recipe
    info: dict[str, Any]
    split: Split
    test: LabelTable
    probs: Floats
    seconds: dict[str, float]
    epochs: dict[str, int]

    @property
    def synthetic(self) -> bool:
        return bool(self.info["origin"] == "phantoms")

    @cached_property
    def n_patients(self) -> int:
        return len(np.unique(self.patients))

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        assert self.test.groups is not None
        return self.test.groups

    @cached_property
    def supported(self) -> npt.NDArray[np.bool_]:
        """The findings, (C,), that enough test patients have, and have not, for an interval to mean something."""
        return supported(self.test)

    @property
    def unsupported(self) -> list[str]:
        return unsupported(self.test)

    @cached_property
    def leak(self) -> Leak:
        return find_leak(self.recipe, self.split, self.test)


def read_evaluated(path: str | Path) -> EvaluatedRun:
    """Read a run's folder.

    Raises:
        AWBError: This is no run, it was not evaluated, or files were changed or lost since then.
    """
    folder = RunFolder(Path(path))
    info = folder.read_info()
    if not is_evaluated(folder):
        raise AWBError(f"{path} was not evaluated yet: run `evaluate {path} …`")
    if changed := changed_files(folder.sums):
        raise AWBError(
            f"{path}: {', '.join(changed)} changed since the evaluation, whose figures are of other files; "
            f"put them back, or run `evaluate {path} …`"
        )
    recipe = folder.read_recipe()
    classes = tuple(info["classes"])
    test = read_labels(folder.evaluation / LABELS, group=PATIENT, classes=classes)
    probs = read_predictions(folder.evaluation / PREDICTIONS, test)
    seconds: dict[str, float] = {}
    epochs: dict[str, int] = {}
    with folder.epochs.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["stage"]
            seconds[name] = seconds.get(name, 0.0) + float(row["seconds"])
            epochs[name] = epochs.get(name, 0) + 1
    lost = [stage.name for stage in recipe.stages if stage.name not in epochs]
    if lost:
        raise AWBError(f"{folder.epochs} has no epoch of {', '.join(lost)}")
    return EvaluatedRun(folder, recipe, info, folder.read_split(), test, probs, seconds, epochs)


def is_evaluated(folder: RunFolder) -> bool:
    """Whether all is there that `evaluate` has made its figures from and written; its sums are the last."""
    if not folder.sums.is_file():
        return False
    files = read_sums(folder.sums)
    needed = (folder.weights, folder.epochs, *(folder.evaluation / name for name in (LABELS, PREDICTIONS)))
    return set(needed) <= files.keys() and all(file.is_file() for file in files)
