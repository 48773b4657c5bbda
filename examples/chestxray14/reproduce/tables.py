"""Tables of the cells: figures with the split and a 95 % interval in every row, times, and the splits themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awb.study import audit_leakage, evaluate
from awb.study.metrics.table_columns import interval_header
from awb.table import Table
from examples.chestxray14.audit import count_sets
from examples.chestxray14.evaluated_run import FEWEST, EvaluatedRun
from examples.chestxray14.labels import FINDINGS
from examples.chestxray14.reproduce.factors import factors_of, published_auroc
from examples.chestxray14.study_data import Study

AUROC, AUPRC = interval_header("AUROC", 0.95), interval_header("AUPRC", 0.95)


def cells_table(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> Table:
    """A row a cell: what it is, on which split, its macro AUROC and AUPRC, and the report's mean AUROC.

    Args:
        runs: By cell.
        n_replicates: Of the bootstrap of patients.
    """
    headers = (
        "cell", "network", "blocks", "losses", "split", "test images", "patients", "seen in training", "findings",
        "macro AUROC", "95 %", "macro AUPRC", "95 % ", "the report's AUROC",
    )  # fmt: skip
    rows, left_out = [], dict[str, None]()
    for name, run in runs.items():
        factors, overall = factors_of(run.recipe), overall_figures(run, n_replicates)
        blocks = factors.attention if factors.attention == "none" else (
            f"{factors.attention}, {factors.placement}, {factors.init}"
        )  # fmt: skip
        rows.append((
            name, factors.network, blocks, factors.losses, run.split.name, len(run.test), run.n_patients,
            f"{100 * run.seen:.1f} %", int(run.supported.sum()), overall["AUROC"], overall[AUROC],
            overall["AUPRC"], overall[AUPRC], published_auroc(factors) if _is_the_report_s_task(run) else None,
        ))  # fmt: skip
        left_out |= dict.fromkeys(run.unsupported)
    notes = [f"macro: the mean of the findings that at least {FEWEST} test patients have and {FEWEST} have not"]
    if left_out:
        notes.append(f"not averaged somewhere for want of patients: {', '.join(left_out)}")
    notes.append(
        "intervals: percentile bootstrap of patients, 95 %; one training each, so the seed's part is not in them"
    )
    notes.append("the report's AUROC is of its own split: its first stage had trained on images of its test set")
    return Table(headers, tuple(rows), tuple(notes))


def _is_the_report_s_task(run: EvaluatedRun) -> bool:
    """Its findings, on X-rays, at its size; its figure says nothing beside any other."""
    return not run.synthetic and run.test.classes == FINDINGS and run.recipe.data.image_size == 224


def overall_figures(run: EvaluatedRun, n_replicates: int = 2000) -> dict[str, Any]:
    """The macro row of `awb.study.evaluate` over the findings that are supported; None throughout if there is none."""
    use = run.supported
    if not use.any():
        return dict.fromkeys(("AUROC", AUROC, "AUPRC", AUPRC))
    *_, overall = evaluate(run.test.labels[:, use], run.probs[:, use], run.patients, n_replicates=n_replicates)
    return overall


def time_table(runs: Mapping[str, EvaluatedRun]) -> Table:
    """Seconds of each stage of each cell."""
    rows = [
        (name, run.split.name, run.info.get("device"), stage, run.epochs[stage], seconds, seconds / run.epochs[stage])
        for name, run in runs.items()
        for stage, seconds in run.seconds.items()
    ]
    notes = (
        "epochs with their validation; the LR finder and what was lost when a run was killed are not in them; "
        "other work on the same machine is",
    )
    return Table(("cell", "split", "device", "stage", "epochs", "seconds", "seconds an epoch"), tuple(rows), notes)


def split_tables(study: Study) -> dict[str, Table]:
    """Sizes of a split's sets, and what its test set shares with those that are trained or chosen on."""
    audit = audit_leakage(study.sets, per_class=False)
    of_test = tuple(row for row in audit.rows if row[audit.headers.index("set")] == study.test_name)
    return {
        f"Sets of the split {study.split.name}": count_sets(study.sets),
        f"What the test set of {study.split.name} shares": Table(audit.headers, of_test, audit.notes),
    }
