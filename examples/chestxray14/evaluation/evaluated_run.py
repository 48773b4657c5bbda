"""A run that was trained and evaluated, read back from its folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from awb import AWBError
from awb.study import LabelTable, Split, read_labels, read_predictions
from examples.chestxray14.data.labels import PATIENT
from examples.chestxray14.evaluation.leak import Leak, find_leak
from examples.chestxray14.files.checksums import Content, changed_files, read_sums
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.runs.folder import RunFolder

MIN_PATIENTS = 5  # with a finding, and without: below that, 1 of 150 bootstrap replicates has none of them
LABELS, PREDICTIONS = "labels-test.csv", "predictions-test.csv"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run's folder, read after `train` and `evaluate`, without its predictions.

    Attributes:
        folder: The run's folder.
        recipe: Recipe that it was trained by.
        info: Content of `run.json`.
        split: Split that it was trained on.
        test: Labels and patients of the test set.
        seconds: Duration of each stage: all its epochs with their validation. An epoch that was interrupted counts
            from where it was resumed.
        epochs: Number of epochs that each stage ran.
    """

    folder: RunFolder
    recipe: Recipe
    info: dict[str, Any]
    split: Split
    test: LabelTable
    seconds: dict[str, float]
    epochs: dict[str, int]

    @property
    def task(self) -> Task:
        """`findings` (any number per image) or `classes` (exactly one per image), as the recipe's loss says."""
        return self.recipe.task

    @property
    def synthetic(self) -> bool:
        """True if the images are phantoms."""
        return bool(self.info["origin"] == "phantoms")

    @cached_property
    def n_patients(self) -> int:
        """Number of test patients."""
        return len(np.unique(self.patients))

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """Patient of each test image, (n,)."""
        assert self.test.groups is not None
        return self.test.groups

    @cached_property
    def supported(self) -> npt.NDArray[np.bool_]:
        """Mask of the findings, (C,), that at least `MIN_PATIENTS` test patients have and as many do not."""
        return self.test.supported(MIN_PATIENTS)

    @property
    def unsupported(self) -> list[str]:
        """Names of the other findings, which are left out of means and tables."""
        return [name for name, ok in zip(self.test.classes, self.supported, strict=True) if not ok]

    @cached_property
    def leak(self) -> Leak:
        """Test images that were seen in training."""
        return find_leak(self.recipe, self.split, self.test)


@dataclass(frozen=True, eq=False)
class EvaluatedRun(RunSummary):
    """A run's folder, read after `train` and `evaluate`.

    Attributes:
        probs: Probabilities of the test set, float64 (n, C).
    """

    probs: Floats


def read_evaluated(path: str | Path) -> EvaluatedRun:
    """Read the folder of an evaluated run.

    Raises:
        AWBError: Not a run's folder; or the run was not evaluated, or files were changed or lost since then.
    """
    run = read_summary(path)
    probs = read_predictions(run.folder.evaluation / PREDICTIONS, run.test)
    return EvaluatedRun(**{one.name: getattr(run, one.name) for one in fields(run)}, probs=probs)


def read_summary(path: str | Path) -> RunSummary:
    """Read the folder of an evaluated run without its predictions; runs on the same data share splits and labels.

    Raises:
        AWBError: As in `read_evaluated`, but for the predictions.
    """
    folder = RunFolder(Path(path))
    info = folder.read_info()
    if not is_evaluated(folder):
        raise AWBError(f"{path} was not evaluated yet: run `evaluate {path} …`")
    if changed := changed_files(folder.sums):
        raise AWBError(
            f"{path}: {', '.join(changed)} changed since the evaluation, whose results are those of other files; "
            f"put them back, or run `evaluate {path} …`"
        )
    recipe = folder.read_recipe()
    test = _read_labels(Content.of(folder.evaluation / LABELS), tuple(info["classes"]))
    seconds, epochs = _count_epochs(folder)
    lost = [stage.name for stage in recipe.stages if stage.name not in epochs]
    if lost:
        raise AWBError(f"{folder.epochs} has no epoch of {', '.join(lost)}")
    return RunSummary(folder, recipe, info, folder.read_split(), test, seconds, epochs)


@lru_cache(maxsize=4)
def _read_labels(file: Content, classes: tuple[str, ...]) -> LabelTable:
    return read_labels(file.path, group=PATIENT, classes=classes)


def _count_epochs(folder: RunFolder) -> tuple[dict[str, float], dict[str, int]]:
    """Logged seconds and number of epochs of each stage."""
    seconds: dict[str, float] = {}
    epochs: dict[str, int] = {}
    with folder.epochs.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = row["stage"]
            seconds[name] = seconds.get(name, 0.0) + float(row["seconds"])
            epochs[name] = epochs.get(name, 0) + 1
    return seconds, epochs


def is_evaluated(folder: RunFolder) -> bool:
    """True if every file that `evaluate` reads or writes exists; SHA256SUMS is written last."""
    if not folder.sums.is_file():
        return False
    files = read_sums(folder.sums)
    needed = (folder.weights, folder.epochs, *(folder.evaluation / name for name in (LABELS, PREDICTIONS)))
    return set(needed) <= files.keys() and all(file.is_file() for file in files)
