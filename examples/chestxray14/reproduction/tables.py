"""Tables of the cells: results with split and 95 % interval in every row, times, and the splits themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awb import Table
from awb.study import audit_leakage, evaluate, interval_header
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.splits import count_sets
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, EvaluatedRun
from examples.chestxray14.evaluation.leak import percent
from examples.chestxray14.reproduction.factors import PLAIN, factors_of, split_names
from examples.chestxray14.reproduction.published import published_auroc

AUROC, AUPRC = interval_header("AUROC", 0.95), interval_header("AUPRC", 0.95)


def cells_table(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> Table:
    """One row per cell: split, leak, macro AUROC and AUPRC, the 2025 report's mean AUROC, and the recipe in words.

    Args:
        runs: Evaluated runs by cell.
        n_replicates: Replicates of the bootstrap of patients.
    """
    headers = (
        "cell", "split", "images seen", "of seen patients", "macro AUROC", "95 %", "macro AUPRC", "95 % ",
        "the 2025 report's AUROC", "findings", "test images", "patients", "network", "blocks", "losses",
        "stages' images", "epochs", "seed",
    )  # fmt: skip
    rows, left_out, splits = [], dict[str, None](), split_names(runs)
    for name, run in runs.items():
        factors, macro = factors_of(run.recipe), macro_row(run, n_replicates)
        blocks = PLAIN if factors.attention == PLAIN else f"{factors.attention}, {factors.placement}, {factors.init}"
        rows.append((
            name, splits[run.split.checksum], percent(run.leak.images), percent(run.leak.patients),
            macro["AUROC"], macro[AUROC], macro["AUPRC"], macro[AUPRC],
            published_auroc(run.recipe) if _has_task_of_the_report(run) else None,
            int(run.supported.sum()), len(run.test), run.n_patients, factors.network, blocks, factors.losses,
            factors.samples, " → ".join(str(stage.epochs) for stage in run.recipe.stages), run.recipe.training.seed,
        ))  # fmt: skip
        left_out |= dict.fromkeys(run.unsupported)
    notes = [
        f"macro: the mean over the findings that at least {MIN_PATIENTS} test patients have and {MIN_PATIENTS} have "
        "not; means over other findings, or on another test set, cannot be compared"
    ]
    if left_out:
        notes.append(f"not in every mean, since too few patients have it or have it not: {', '.join(left_out)}")
    notes += [
        "images seen: trained on, or weights chosen on; of seen patients: test images whose patient has any such image",
        f"intervals: percentile bootstrap of patients, 95 %, {n_replicates:,} replicates, that of the macro AUPRC "
        "moved by twice their bias (none where that is large); one run per cell, so the seed's share is not included",
        "the 2025 report's AUROC: shown beside the same training only; it is of the report's own split, whose first "
        "stage had trained on images of the test set",
    ]
    return Table(headers, tuple(rows), tuple(notes))


def _has_task_of_the_report(run: EvaluatedRun) -> bool:
    """True for NIH's images and the mean of its 14 findings: only then is the report's AUROC comparable."""
    return run.info["origin"] == "NIH" and run.test.classes == FINDINGS and bool(run.supported.all())


def macro_row(run: EvaluatedRun, n_replicates: int = 2000) -> dict[str, Any]:
    """The macro row of `awb.study.evaluate` over the findings with enough patients; all None if there is none."""
    if not run.supported.any():
        return dict.fromkeys(("AUROC", AUROC, "AUPRC", AUPRC))
    *_, macro = evaluate(
        run.test.labels, run.probs, run.patients,
        classes=run.test.classes, n_replicates=n_replicates, min_groups=MIN_PATIENTS,
    )  # fmt: skip
    return macro


def time_table(runs: Mapping[str, EvaluatedRun]) -> Table:
    """Seconds per stage of each cell."""
    rows, splits = [], split_names(runs)
    for name, run in runs.items():
        about = name, splits[run.split.checksum], run.info["device"]
        for stage, seconds in run.seconds.items():
            rows.append((*about, stage, run.epochs[stage], seconds, seconds / run.epochs[stage]))
    notes = (
        "epochs include their validation, and are slowed down by other work on the same machine; the LR finder, and "
        "work lost when a run was killed, are not included",
    )
    return Table(("cell", "split", "device", "stage", "epochs", "seconds", "seconds per epoch"), tuple(rows), notes)


def split_tables(study: Study, name: str) -> dict[str, Table]:
    """Sizes of a split's sets, and the images and patients that its test set shares with the others.

    Args:
        study: Study on the split.
        name: Name of the split in the titles.
    """
    audit = audit_leakage(study.sets, per_class=False)
    of_test = tuple(row for row in audit.rows if row[audit.headers.index("set")] == study.test_name)
    return {
        f"Sets of the split {name}": count_sets(study.sets),
        f"What the test set of {name} shares": Table(audit.headers, of_test, audit.notes),
    }
