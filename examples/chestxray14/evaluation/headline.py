"""The figure by which a run is judged: macro AUROC of findings, accuracy of ordinary classes."""

from __future__ import annotations

from collections.abc import Mapping

from awb.study import Estimates, draw_replicates, estimate, estimate_classes
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.recipes.stage_settings import Task

NOUNS: Mapping[Task, tuple[str, str]] = {"findings": ("finding", "findings"), "classes": ("class", "classes")}


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
