"""Thresholds and temperatures of a run, chosen on its validation set; `evaluate` keeps them, `predict` applies them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from awb import AWBError, Table
from awb.study import LabelTable, choose_thresholds, fit_softmax_temperature, fit_temperature
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, Floats
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.files.checksums import changed_files, read_sums
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.predict import to_probabilities

FILE = "decisions.json"


@dataclass(frozen=True)
class Decisions:
    """How a run's logits become probabilities and decisions.

    Attributes:
        task: `findings`, each decided by its own threshold; or `classes`, of which the most probable is predicted.
        classes: Names of the C logits.
        chosen_on: Name of the set of the split that thresholds and temperatures were chosen on.
        calibrated: True if temperatures were fitted.
        thresholds: Youden's threshold of each finding's probability: positive if probability ≥ threshold. None where
            the set has one label only, and for `classes`.
        temperatures: Temperature by which each logit is divided; None where there is none, which leaves the logit.
        few_patients: Findings with a threshold that fewer than `MIN_PATIENTS` patients of the set have, or have not.
    """

    task: Task
    classes: tuple[str, ...]
    chosen_on: str
    calibrated: bool
    thresholds: tuple[float | None, ...]
    temperatures: tuple[float | None, ...]
    few_patients: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """True if there is a decision on any image."""
        return self.task == "classes" or any(threshold is not None for threshold in self.thresholds)

    @property
    def scale(self) -> list[float]:
        """Number by which each logit is divided."""
        return [1.0 if temperature is None else temperature for temperature in self.temperatures]

    def probabilities(self, logits: Tensor) -> Floats:
        """Probabilities, float64 (n, C), calibrated if the run was."""
        return to_probabilities(logits.double() / torch.tensor(self.scale, dtype=torch.float64), self.task)

    def table(self) -> Table:
        """The temperatures, with a note that names the classes without one."""
        rows = tuple(zip(self.classes, self.scale, strict=True))
        without = [name for name, t in zip(self.classes, self.temperatures, strict=True) if t is None]
        notes = [f"logits are divided by these, which were fitted on {self.chosen_on}, before any other table is made"]
        if without:
            notes.append(f"no temperature could be fitted, so 1: {', '.join(without)}")
        return Table(("class", "temperature"), rows, tuple(notes))


def undecided(task: Task, classes: tuple[str, ...]) -> Decisions:
    """Neither thresholds nor temperatures, as of a run that was not evaluated."""
    none = (None,) * len(classes)
    return Decisions(task, classes, "", False, none, none)


def choose_decisions(
    validation: LabelTable, logits: Tensor, task: Task, chosen_on: str, *, calibrate: bool = False
) -> Decisions:
    """Choose a run's thresholds, and temperatures if asked for.

    Args:
        validation: Labels of the validation set.
        logits: Logits of its images, (n, C).
        task: The recipe's task.
        chosen_on: Name of the set.
        calibrate: Fit temperatures, and choose thresholds of the calibrated probabilities.
    """
    decisions = replace(undecided(task, validation.classes), chosen_on=chosen_on, calibrated=calibrate)
    if calibrate:
        temperatures = tuple(_temperatures(validation, logits.double().numpy(), task))
        decisions = replace(decisions, temperatures=temperatures)
    if task == "classes":
        return decisions
    thresholds = tuple(_thresholds(validation, decisions.probabilities(logits)))
    enough = zip(validation.classes, thresholds, validation.supported(MIN_PATIENTS), strict=True)
    few = tuple(name for name, threshold, ok in enough if threshold is not None and not ok)
    return replace(decisions, thresholds=thresholds, few_patients=few)


def write_decisions(folder: RunFolder, decisions: Decisions) -> None:
    """Write `decisions.json` into the folder of the evaluation."""
    content = json.dumps(asdict(decisions), indent=2, ensure_ascii=False)
    write_atomically(folder.evaluation / FILE, f"{content}\n".encode())


def read_decisions(folder: RunFolder) -> Decisions | None:
    """Read what the run's last evaluation chose; None if it was not evaluated, or by a version that kept nothing.

    Raises:
        AWBError: The file changed since then, or is missing.
    """
    path = folder.evaluation / FILE
    if not folder.sums.is_file() or path not in read_sums(folder.sums):
        return None
    if changed_files(folder.sums, [path]):
        raise AWBError(f"{path} changed since the evaluation; put it back, or run `evaluate {folder.path} …`")
    content = json.loads(path.read_text(encoding="utf-8"))
    fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    try:
        return Decisions(**fields)
    except TypeError as error:
        raise AWBError(f"{path} is of another version ({error}); run `evaluate {folder.path} …`") from None


def _thresholds(validation: LabelTable, probs: Floats) -> Iterator[float | None]:
    for column, both in enumerate(validation.supported(1)):
        one = slice(column, column + 1)
        yield float(choose_thresholds(validation.labels[:, one], probs[:, one])[0]) if both else None


def _temperatures(validation: LabelTable, logits: Floats, task: Task) -> Iterator[float | None]:
    """Temperature of each finding, or the one of all classes at each class."""
    if task == "classes":
        yield from [_softmax_temperature(validation.labels, logits)] * len(validation.classes)
        return
    for labels, values in zip(validation.labels.T, logits.T, strict=True):
        try:
            yield float(fit_temperature(labels[:, None], values[:, None])[0])
        except AWBError:  # one label only, no better than chance, or separated: the table names the finding
            yield None


def _softmax_temperature(labels: Floats, logits: Floats) -> float | None:
    try:
        return float(fit_softmax_temperature(labels, logits))
    except AWBError:
        return None
