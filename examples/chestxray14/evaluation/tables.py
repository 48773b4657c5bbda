"""Tables of an evaluation: ranking, decisions, calibration and subgroups, of the findings with enough patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from awb import Table
from awb.study import (
    LabelTable,
    bands,
    evaluate,
    evaluate_calibration,
    interval_header,
    operating_points,
)
from examples.chestxray14.data.labels import SUBGROUPS
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, Floats

AGES = (0, 18, 40, 60, 80)  # years at which the age bands start
_RANKING = ("AUROC", interval_header("AUROC", 0.95), "AUPRC", interval_header("AUPRC", 0.95))


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
        test.labels, probs, _patients(test), classes=test.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS
    )
    yield "AUROC and AUPRC", ranking
    test, probs = test.classes_of(use), probs[:, use]
    thresholds = [threshold for threshold, ok in zip(thresholds, use, strict=True) if ok]
    yield "Decisions at thresholds chosen on validation (Youden's)", _decisions(test, probs, thresholds)
    yield "Calibration", evaluate_calibration(test.labels, probs, classes=test.classes)
    for title, subgroups in _subgroups(test):
        yield title, _macro_by_subgroup(subgroups, test, probs, n_replicates)


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


def _macro_by_subgroup(subgroups: npt.NDArray[np.str_], test: LabelTable, probs: Floats, n_replicates: int) -> Table:
    """One row per subgroup: its macro mean over the findings that enough of its patients have.

    Args:
        subgroups: Subgroup of each image, (n,); empty if it is not known.
        test: Labels of the test set, with patients.
        probs: Probabilities of the test set, (n, C).
        n_replicates: Bootstrap replicates.
    """
    rows, small = [], []
    for name in sorted(set(subgroups.tolist()) - {""}):
        inside = test.take(subgroups == name)
        n_findings = int(inside.supported(MIN_PATIENTS).sum())
        if not n_findings:
            small.append(name)
            continue
        patients = _patients(inside)
        *_, macro = evaluate(
            inside.labels, probs[subgroups == name], patients,
            classes=inside.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS,
        )  # fmt: skip
        ranking = (macro[header] for header in _RANKING)
        rows.append((name, len(inside), len(np.unique(patients)), n_findings, *ranking))
    notes = [
        f"of each subgroup, the findings that at least {MIN_PATIENTS} of its patients have and {MIN_PATIENTS} have not"
    ]
    if len({row[3] for row in rows}) > 1:
        notes.append("means of different numbers of findings: not to be compared with each other")
    if any(row[-1] is None and row[-2] is not None for row in rows):
        notes.append("no interval where the replicates lie too far to one side of the mean for any to hold")
    if small:
        notes.append(f"left out, since there is no such finding: {', '.join(small)}")
    if unknown := int((subgroups == "").sum()):
        notes.append(f"left out, since their subgroup is not known: {unknown:,} of {len(test):,} images")
    return Table(("subgroup", "images", "patients", "findings", *_RANKING), tuple(rows), tuple(notes))


def _subgroups(test: LabelTable) -> Iterator[tuple[str, npt.NDArray[np.str_]]]:
    """Title and subgroup of each image, for each subgroup column of the table; empty where it is not known."""
    for name in SUBGROUPS:
        values = test.columns.get(name)
        if values is None:
            continue
        if name == "age":
            known = values != ""
            values = np.where(known, bands(np.where(known, values, "0").astype(np.float64), AGES), "")
        yield f"Macro, by {name}", values


def _patients(table: LabelTable) -> npt.NDArray[np.str_]:
    assert table.groups is not None  # every table of a study has patients
    return table.groups
