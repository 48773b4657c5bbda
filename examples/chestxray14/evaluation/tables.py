"""Tables of an evaluation: ranking, decisions, calibration and subgroups, of the findings with enough patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from awb import Table
from awb.study import (
    LabelTable,
    choose_thresholds,
    evaluate,
    evaluate_calibration,
    interval_header,
    operating_points,
)
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, Floats
from examples.chestxray14.evaluation.headline import NOUNS
from examples.chestxray14.evaluation.subgroup_tables import patients_of, subgroups_of, table_by_subgroup

_RANKING = ("AUROC", interval_header("AUROC", 0.95), "AUPRC", interval_header("AUPRC", 0.95))
_NO_INTERVAL = "the replicates lie too far to one side of the mean for any to hold"


def evaluation_tables(
    test: LabelTable, probs: Floats, validation: LabelTable, validation_probs: Floats, n_replicates: int
) -> Iterator[tuple[str, Table]]:
    """Titles and tables: ranking with patient-clustered intervals, decisions, calibration, and subgroups.

    Findings that fewer than `MIN_PATIENTS` test patients have, or have not, are left out and named.

    Args:
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        validation: Labels of the validation set, on which thresholds are chosen.
        validation_probs: Probabilities of the validation set, (m, C).
        n_replicates: Bootstrap replicates.
    """
    use = test.supported(MIN_PATIENTS)
    if not use.any():
        note = f"left out, since fewer than {MIN_PATIENTS} patients have it or have it not: {', '.join(test.classes)}"
        yield "AUROC and AUPRC", Table(("class",), (), (note,))
        return
    ranking = evaluate(
        test.labels, probs, patients_of(test), classes=test.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS
    )
    yield "AUROC and AUPRC", ranking
    test, probs = test.classes_of(use), probs[:, use]
    validation, validation_probs = validation.classes_of(use), validation_probs[:, use]
    yield (
        "Decisions at thresholds chosen on validation (Youden's)",
        _decisions(test, probs, validation, validation_probs),
    )
    yield "Calibration", evaluate_calibration(test.labels, probs, classes=test.classes)
    for name, subgroups in subgroups_of(test):
        measure = partial(_macro, n_replicates=n_replicates)
        table = table_by_subgroup(subgroups, test, probs, NOUNS["findings"], _RANKING, measure, _NO_INTERVAL)
        yield f"Macro, by {name}", table


def _decisions(test: LabelTable, probs: Floats, validation: LabelTable, validation_probs: Floats) -> Table:
    """Operating points at Youden's thresholds; findings with one label only in validation have none, and are named."""
    both = validation.supported(1)
    left_out = [name for name, ok in zip(test.classes, both, strict=True) if not ok]
    notes = (f"no threshold, since validation has one label only: {', '.join(left_out)}",) if left_out else ()
    if not both.any():
        return Table(("class",), (), notes)
    chosen = test.classes_of(both)
    thresholds = choose_thresholds(validation.labels[:, both], validation_probs[:, both], classes=chosen.classes)
    table = operating_points(chosen.labels, probs[:, both], thresholds, classes=chosen.classes)
    return table.with_notes(*notes)


def _macro(test: LabelTable, probs: Floats, n_replicates: int) -> Sequence[object]:
    """Macro means over the findings that enough patients have."""
    *_, macro = evaluate(
        test.labels, probs, patients_of(test),
        classes=test.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS,
    )  # fmt: skip
    return [macro[header] for header in _RANKING]
