"""Evaluated runs that differ from a given one, and scikit-learn's AUROC of what a run has written."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from awb.study import Split, read_labels, read_predictions
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, EvaluatedRun


def changed(run: EvaluatedRun, **fields: Any) -> EvaluatedRun:
    """The run with other fields; nothing that was computed of the old ones is kept."""
    return dataclasses.replace(run, **fields)


def with_split(run: EvaluatedRun, **sets: tuple[str, ...]) -> EvaluatedRun:
    """The run with other sets, named with two underscores for a slash."""
    others = {name.replace("__", "/"): images for name, images in sets.items()}
    return changed(run, split=Split(run.split.name, {**run.split.sets, **others}, run.split.groups))


def macro_auroc(run: EvaluatedRun) -> float:
    """From the run's files, over the findings that enough patients have."""
    folder = run.folder.evaluation
    labels = read_labels(folder / "labels-test.csv", group="patient", classes=run.test.classes)
    probs = read_predictions(folder / "predictions-test.csv", labels)
    assert labels.groups is not None
    found = aurocs(labels.labels, probs, labels.groups)
    assert found
    return float(np.mean(found))


def aurocs(labels: np.ndarray, probs: np.ndarray, patients: np.ndarray) -> list[float]:
    """Of the findings that `MIN_PATIENTS` have, and have not."""
    return [
        float(roc_auc_score(y, p))
        for y, p in zip(labels.T, probs.T, strict=True)
        if min(len(set(patients[y == value].tolist())) for value in (0, 1)) >= MIN_PATIENTS
    ]
