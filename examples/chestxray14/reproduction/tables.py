"""Tables of the cells: results with split and 95 % interval in every row, times, and the splits themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from awb import Table
from awb.study import audit_leakage
from examples.chestxray14.data.nih import FINDINGS
from examples.chestxray14.data.splits import count_sets, used_sets
from examples.chestxray14.data.study import Study
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, RunSummary
from examples.chestxray14.evaluation.headline import NOUNS
from examples.chestxray14.evaluation.leak import percent
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.reproduction.factors import split_names
from examples.chestxray14.reproduction.published import published_auroc
from examples.chestxray14.reproduction.results import Result


def results_table(runs: Mapping[str, RunSummary], results: Mapping[str, Result], n_replicates: int = 2000) -> Table:
    """One row per cell: figures of the test set with their intervals, the leak, and the 2025 report's mean AUROC.

    Args:
        runs: Evaluated runs by cell.
        results: Their results.
        n_replicates: Replicates of the intervals, for the note.
    """
    figures = dict.fromkeys(header for result in results.values() for header in result.columns)
    published = {name: _published(run) for name, run in runs.items()}
    is_published = any(published.values())
    nouns = dict.fromkeys(NOUNS[run.task][1] for run in runs.values())
    headers = (
        "cell", *figures, *(["the 2025 report's AUROC"] if is_published else []), "images seen", "of seen patients",
        "split", " or ".join(nouns), "test images", "patients",
    )  # fmt: skip
    moved = "macro AUPRC" in figures
    rows, left_out, splits = [], dict[str, None](), split_names(runs)
    for name, run in runs.items():
        rows.append((
            name, *(results[name].columns.get(header) for header in figures),
            *([published[name]] if is_published else []), percent(run.leak.images), percent(run.leak.patients),
            splits[run.split.checksum], int(run.supported.sum()), len(run.test), run.n_patients,
        ))  # fmt: skip
        left_out |= dict.fromkeys(run.unsupported)
    notes = [
        f"{'macro' if 'findings' in nouns else 'macro, balanced accuracy'}: the mean over the "
        f"{' or '.join(nouns)} that at least {MIN_PATIENTS} test patients have and "
        f"{MIN_PATIENTS} have not; means over others, or on another test set, cannot be compared"
    ]
    if left_out:
        notes.append(f"not in every mean, since too few patients have it or have it not: {', '.join(left_out)}")
    unknown = max(int(np.isnan(run.test.labels).any(axis=1).sum()) for run in runs.values())
    if unknown:
        notes.append(f"of the test images, up to {unknown:,} have an unknown label, and do not count for it")
    notes += [
        "images seen: trained on, or weights chosen on; of seen patients: test images whose patient has any such image",
        f"intervals: percentile bootstrap of patients, 95 %, {n_replicates:,} replicates"
        + (", that of the macro AUPRC moved by twice their bias (none where that is large)" if moved else "")
        + "; one run per cell, so the seed's share is not included",
    ]
    if is_published:
        notes.append(
            "the 2025 report's AUROC: shown beside the same training only; it is of the report's own split, whose "
            "first stage had trained on images of the test set"
        )
    return Table(headers, tuple(rows), tuple(notes))


def _published(run: RunSummary) -> float | None:
    """The 2025 report's AUROC for a run's recipe; only beside NIH's images and the mean of its 14 findings."""
    is_comparable = run.info["origin"] == "NIH" and run.test.classes == FINDINGS and bool(run.supported.all())
    return published_auroc(run.recipe) if is_comparable else None


def time_table(runs: Mapping[str, RunSummary]) -> Table:
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


def split_tables(study: Study, name: str, recipes: Sequence[Recipe]) -> dict[str, Table]:
    """Sizes of a split's sets, and the images and patients that its test set shares with the others.

    Args:
        study: Study on the split.
        name: Name of the split in the titles.
        recipes: Recipes that were trained on it; sets that none of them uses are left out.
    """
    names = used_sets(study.sets, [stage for recipe in recipes for stage in recipe.stages])
    sets = {each: study.sets[each] for each in names}
    findings = any(recipe.task == "findings" for recipe in recipes)
    audit = audit_leakage(sets, per_class=False)
    of_test = [row for row in audit if row["set"] == study.test_name]
    shown = tuple(tuple(row.values()) for row in of_test if findings or row["images of"] == "all images")
    return {
        f"Sets of the split {name}": count_sets(sets, findings=findings),
        f"What the test set of {name} shares": Table(audit.headers, shown, audit.notes),
    }
