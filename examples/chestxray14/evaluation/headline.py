"""The figure by which a run is judged: macro AUROC of findings, accuracy of ordinary classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from awb.study import Estimates, Interval, draw_replicates, estimate, estimate_classes
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.recipes.stage_settings import HEADLINES as HEADLINES
from examples.chestxray14.recipes.stage_settings import Task

NOUNS: Mapping[Task, tuple[str, str]] = {"findings": ("finding", "findings"), "classes": ("class", "classes")}


@dataclass(frozen=True)
class Headline:
    """A run's headline figure on its test set; value and interval are None where they are not defined."""

    name: str
    value: float | None
    interval: Interval | None


def headline(run: EvaluatedRun, n_replicates: int = 2000) -> Headline:
    """Headline figure of a run with its 95 % interval over patients."""
    name = HEADLINES[run.task]
    if not can_be_compared(run):
        return Headline(name, None, None)
    found = headline_estimates(run, n_replicates).macro()
    (value,), (interval,) = found.values.tolist(), found.intervals()
    return Headline(name, None if np.isnan(value) else value, interval)


def can_be_compared(run: EvaluatedRun) -> bool:
    """True if the headline figure is defined: enough test patients have some finding, or are of some class."""
    return bool(run.supported.any())


def headline_estimates(run: EvaluatedRun, n_replicates: int = 2000) -> Estimates:
    """The figures whose mean is the headline: on the test set, and on each replicate of its patients.

    They are the AUROCs of the findings that enough patients have, or the accuracy alone. `.macro()` gives the headline
    figure, `b.minus(a).macro()` a paired difference.
    """
    replicates = draw_replicates(run.patients, n_replicates=n_replicates)  # the same in all runs on the same patients
    if run.task == "classes":
        return estimate_classes(run.test.labels, run.probs, replicates, undefined="skip")
    test = run.test.classes_of(run.supported)
    return estimate(test.labels, run.probs[:, run.supported], replicates, classes=test.classes)
