"""Tables of an evaluation of ordinary classes: all together, each, confusions, calibration and subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from awb import Table
from awb.study import (
    LabelTable,
    confusion_matrix,
    evaluate_class_calibration,
    evaluate_classes,
    evaluate_each_class,
    interval_header,
)
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, Floats
from examples.chestxray14.evaluation.headline import NOUNS
from examples.chestxray14.evaluation.subgroup_tables import patients_of, subgroups_of, table_by_subgroup

_OVERALL = ("accuracy", "balanced accuracy", "macro AUROC")
_NO_INTERVAL = "all replicates have the same value, or too many have none"


def class_tables(test: LabelTable, probs: Floats, n_replicates: int) -> Iterator[tuple[str, Table]]:
    """Titles and tables, with intervals over patients.

    Classes that fewer than `MIN_PATIENTS` test patients have, or have not, are left out of means over the classes, have
    no row of their own, and are named; accuracy, kappa and the confusion matrix count all images.

    Args:
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        n_replicates: Bootstrap replicates.
    """
    if not test.supported(1).any():
        yield "All classes", Table(("measure",), (), ("the test set has images of fewer than two classes",))
        return
    patients = patients_of(test)
    for title, evaluate in (("All classes", evaluate_classes), ("Each class", evaluate_each_class)):
        yield (
            title,
            evaluate(
                test.labels, probs, patients, classes=test.classes, n_replicates=n_replicates,
                undefined="skip", min_groups=MIN_PATIENTS,
            ),
        )  # fmt: skip
    yield "Confusion matrix", confusion_matrix(test.labels, probs, classes=test.classes)
    yield "Calibration", evaluate_class_calibration(test.labels, probs, classes=test.classes)
    headers = [header for name in _OVERALL for header in (name, interval_header(name, 0.95))]
    for name, subgroups in subgroups_of(test):
        measure = partial(_of_subgroup, n_replicates=n_replicates)
        table = table_by_subgroup(subgroups, test, probs, NOUNS["classes"], headers, measure, _NO_INTERVAL)
        yield f"All classes, by {name}", table


def overall_measures(test: LabelTable, probs: Floats, n_replicates: int) -> dict[str, Any]:
    """Accuracy, balanced accuracy and macro AUROC with their intervals, by header.

    Args:
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        n_replicates: Bootstrap replicates.
    """
    table = evaluate_classes(
        test.labels, probs, patients_of(test), classes=test.classes, n_replicates=n_replicates,
        undefined="skip", min_groups=MIN_PATIENTS,
    )  # fmt: skip
    found = {row["measure"]: row for row in table}
    figures = {name: (found[name]["value"], found[name]["95 %"]) for name in _OVERALL}
    return {
        header: figure
        for name, pair in figures.items()
        for header, figure in zip((name, interval_header(name, 0.95)), pair, strict=True)
    }


def _of_subgroup(test: LabelTable, probs: Floats, n_replicates: int) -> Sequence[object]:
    return list(overall_measures(test, probs, n_replicates).values())
