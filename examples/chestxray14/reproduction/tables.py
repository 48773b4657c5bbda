"""Tables of the cells: figures with the split and a 95 % interval in every row, times, and the splits themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awb import Table
from awb.study import audit_leakage, evaluate
from awb.study.metrics.table_columns import interval_header
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.splits import count_sets
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, EvaluatedRun
from examples.chestxray14.evaluation.leak import percent
from examples.chestxray14.reproduction.factors import PLAIN, factors_of, split_names
from examples.chestxray14.reproduction.published import published_auroc

AUROC, AUPRC = interval_header("AUROC", 0.95), interval_header("AUPRC", 0.95)


def cells_table(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> Table:
    """A row a cell: what it is, on which split, its macro AUROC and AUPRC, and the 2025 report's mean AUROC.

    Args:
        runs: By cell.
        n_replicates: Of the bootstrap of patients.
    """
    headers = (
        "cell", "split", "images seen", "of seen patients", "macro AUROC", "95 %", "macro AUPRC", "95 % ",
        "the 2025 report's AUROC", "findings", "test images", "patients", "network", "blocks", "losses",
        "stages' images", "epochs", "seed",
    )  # fmt: skip
    rows, left_out, splits = [], dict[str, None](), split_names(runs)
    for name, run in runs.items():
        factors, overall = factors_of(run.recipe), overall_figures(run, n_replicates)
        blocks = PLAIN if factors.attention == PLAIN else f"{factors.attention}, {factors.placement}, {factors.init}"
        rows.append((
            name, splits[run.split.checksum], percent(run.leak.images), percent(run.leak.patients),
            overall["AUROC"], overall[AUROC], overall["AUPRC"], overall[AUPRC],
            published_auroc(run.recipe) if _is_the_report_s_task(run) else None,
            int(run.supported.sum()), len(run.test), run.n_patients, factors.network, blocks, factors.losses,
            factors.samples, " → ".join(str(stage.epochs) for stage in run.recipe.stages), run.recipe.training.seed,
        ))  # fmt: skip
        left_out |= dict.fromkeys(run.unsupported)
    notes = [
        f"macro: the mean of the findings that at least {MIN_PATIENTS} test patients have and {MIN_PATIENTS} have not; "
        "of other findings, or on another test set, not to be compared"
    ]
    if left_out:
        notes.append(f"not averaged somewhere for want of patients: {', '.join(left_out)}")
    notes += [
        "seen: trained on, or weights chosen on; of seen patients: test images whose patient has any such image",
        f"intervals: percentile bootstrap of patients, 95 %, {n_replicates:,} replicates, that of the macro AUPRC "
        "moved by twice their bias (none where that is large); one training each, so the seed's part is not in them",
        "the 2025 report's AUROC: beside the same training only, and of its own split, where the first stage had "
        "trained on images of the test set",
    ]
    return Table(headers, tuple(rows), tuple(notes))


def _is_the_report_s_task(run: EvaluatedRun) -> bool:
    """NIH's images, and the mean of its 14 findings; the report's figure says nothing beside any other."""
    return run.info["origin"] == "NIH" and run.test.classes == FINDINGS and bool(run.supported.all())


def overall_figures(run: EvaluatedRun, n_replicates: int = 2000) -> dict[str, Any]:
    """The macro row of `awb.study.evaluate` over the findings that are supported; None throughout if there is none."""
    use = run.supported
    if not use.any():
        return dict.fromkeys(("AUROC", AUROC, "AUPRC", AUPRC))
    *_, overall = evaluate(run.test.labels[:, use], run.probs[:, use], run.patients, n_replicates=n_replicates)
    return overall


def time_table(runs: Mapping[str, EvaluatedRun]) -> Table:
    """Seconds of each stage of each cell."""
    rows, splits = [], split_names(runs)
    for name, run in runs.items():
        about = name, splits[run.split.checksum], run.info["device"]
        for stage, seconds in run.seconds.items():
            rows.append((*about, stage, run.epochs[stage], seconds, seconds / run.epochs[stage]))
    notes = (
        "epochs with their validation; the LR finder and what was lost when a run was killed are not in them; "
        "other work on the same machine is",
    )
    return Table(("cell", "split", "device", "stage", "epochs", "seconds", "seconds an epoch"), tuple(rows), notes)


def split_tables(study: Study, name: str) -> dict[str, Table]:
    """Sizes of a split's sets, and what its test set shares with those that are trained or chosen on.

    Args:
        study: On the split.
        name: Of the split, in the titles.
    """
    audit = audit_leakage(study.sets, per_class=False)
    of_test = tuple(row for row in audit.rows if row[audit.headers.index("set")] == study.test_name)
    return {
        f"Sets of the split {name}": count_sets(study.sets),
        f"What the test set of {name} shares": Table(audit.headers, of_test, audit.notes),
    }
