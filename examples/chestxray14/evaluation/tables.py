"""Tables of an evaluation: ranking, decisions, calibration and subgroups, of the findings with enough patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from awb import Table
from awb.study import (
    LabelTable,
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
    test: LabelTable, probs: Floats, thresholds: Sequence[float | None], n_replicates: int
) -> Iterator[tuple[str, Table]]:
    """Titles and tables: ranking with patient-clustered intervals, decisions, calibration, and subgroups.

    Findings that fewer than `MIN_PATIENTS` test patients have, or have not, are left out and named.

    Args:
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        thresholds: Threshold of each finding, chosen on validation; None where validation has one label only.
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
    thresholds = [threshold for threshold, ok in zip(thresholds, use, strict=True) if ok]
    yield "Decisions at thresholds chosen on validation (Youden's)", _decisions(test, probs, thresholds)
    yield "Calibration", evaluate_calibration(test.labels, probs, classes=test.classes)
    for name, subgroups in subgroups_of(test):
        measure = partial(_macro, n_replicates=n_replicates)
        table = table_by_subgroup(subgroups, test, probs, NOUNS["findings"], _RANKING, measure, _NO_INTERVAL)
        yield f"Macro, by {name}", table


def _decisions(test: LabelTable, probs: Floats, thresholds: Sequence[float | None]) -> Table:
    """Operating points at the thresholds; findings without one are named."""
    chosen = np.array([threshold is not None for threshold in thresholds])
    left_out = [name for name, ok in zip(test.classes, chosen, strict=True) if not ok]
    notes = (f"no threshold, since validation has one label only: {', '.join(left_out)}",) if left_out else ()
    if not chosen.any():
        return Table(("class",), (), notes)
    test, probs = test.classes_of(chosen), probs[:, chosen]
    at = [threshold for threshold in thresholds if threshold is not None]
    return operating_points(test.labels, probs, at, classes=test.classes).with_notes(*notes)


def _macro(test: LabelTable, probs: Floats, n_replicates: int) -> Sequence[object]:
    """Macro means over the findings that enough patients have."""
    *_, macro = evaluate(
        test.labels, probs, patients_of(test),
        classes=test.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS,
    )  # fmt: skip
    return [macro[header] for header in _RANKING]
