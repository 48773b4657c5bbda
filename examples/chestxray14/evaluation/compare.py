"""Paired comparison of evaluated runs on the same test patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from awb import AWBError, Table
from awb.markup import in_markdown
from awb.study import compare, compare_classes
from examples.chestxray14.data.study import synthetic_note
from examples.chestxray14.evaluation.evaluated_run import MIN_PATIENTS, EvaluatedRun, RunSummary, read_evaluated
from examples.chestxray14.evaluation.leak import percent
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.stage_settings import Task

Metric = Literal["auroc", "auprc", "accuracy", "balanced_accuracy", "macro_f1", "kappa"]
METRICS: Mapping[Task, tuple[Metric, ...]] = {  # the first is the default
    "findings": ("auroc", "auprc"),
    "classes": ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "auroc"),
}


def read_to_compare(folders: Sequence[Path]) -> dict[str, EvaluatedRun]:
    """Read evaluated runs, by the names of their folders, or by their paths where two names are the same.

    Raises:
        AWBError: Fewer than two folders, one given twice, or as `read_evaluated`.
    """
    if len(folders) < 2:
        raise AWBError("one run to compare; give two or more")
    resolved = [path.resolve() for path in folders]
    for i, path in enumerate(folders):
        if resolved[i] in resolved[:i]:
            raise AWBError(f"{path} is given twice; a run does not differ from itself")
    names = [path.name for path in resolved]
    if len(set(names)) < len(names):
        names = list(map(str, folders))
    return {name: read_evaluated(path) for name, path in zip(names, folders, strict=True)}


def compare_with_first(
    runs: Mapping[str, EvaluatedRun], *, metric: Metric | None = None, n_replicates: int = 2000
) -> Iterator[tuple[str, Table]]:
    """Title and table of each run's difference from the first one.

    Raises:
        AWBError: As in `compare_runs`.
    """
    (first, reference), *others = runs.items()
    for name, run in others:
        table = compare_runs(reference, run, names=(first, name), metric=metric, n_replicates=n_replicates)
        yield f"{name} against {first}", table


def comparison_headline(first: EvaluatedRun) -> list[str]:
    """Sentences above the tables: data, split, test set and leak, which are the same for all runs of a comparison."""
    test = f"{len(first.test):,} test images of {first.n_patients:,} patients"
    leak = first.leak.note()
    return [f"{synthetic_note(first.synthetic)}split {first.split.name}; {test}", *([leak] if leak else [])]


def save_comparison(path: Path, headline: Sequence[str], tables: Mapping[str, Table]) -> None:
    """Write a headline and tables by title as Markdown."""
    parts = [in_markdown(sentence) for sentence in headline]
    parts += [f"## {in_markdown(title)}\n\n{table.to_markdown()}" for title, table in tables.items()]
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())


def compare_runs(
    a: EvaluatedRun, b: EvaluatedRun, *, names: tuple[str, str], metric: Metric | None = None, n_replicates: int = 2000
) -> Table:
    """`awb.study.compare`, or `compare_classes`, of two runs on their test set.

    Findings, and classes in means over the classes, are those that enough patients have.

    Args:
        a: The first run.
        b: The second run; differences are B − A.
        names: Names of the two runs.
        metric: One of `METRICS`; None is the first one of the runs' task.
        n_replicates: Bootstrap replicates.

    Raises:
        AWBError: No finding or class has enough patients, the metric is for the other task, or `require_comparable`
            refuses the pair.
    """
    require_comparable(a, b, names)
    chosen = metric or METRICS[a.task][0]
    if chosen not in METRICS[a.task]:
        raise AWBError(f"--metric {chosen}: runs of {a.task} are compared by {', '.join(METRICS[a.task])}")
    data = a.test.labels, a.probs, b.probs, a.patients
    options: dict[str, Any] = {
        "names": names, "classes": a.test.classes, "n_replicates": n_replicates, "min_groups": MIN_PATIENTS
    }  # fmt: skip
    if a.task == "classes":
        return compare_classes(*data, undefined="skip", **options | {"measure": chosen})
    return compare(*data, **options | {"metric": chosen})


def require_comparable(a: RunSummary, b: RunSummary, names: tuple[str, str]) -> None:
    """Refuse two runs whose difference would not be a difference between the models.

    Raises:
        AWBError: The runs have different test sets, labels, patients or tasks; or they have seen different parts of the
            test set in training, so that the leak would make the difference.
    """
    if a.test.classes != b.test.classes or not np.array_equal(a.test.images, b.test.images):
        raise AWBError(
            f"{names[0]} and {names[1]} have different test sets ({a.split.name}: {len(a.test):,} images; "
            f"{b.split.name}: {len(b.test):,}); only runs on the same test images can be compared"
        )
    if a.task != b.task:
        raise AWBError(
            f"{names[0]} was trained for {a.task} and {names[1]} for {b.task}; only runs with the same kind of labels "
            "can be compared"
        )
    for what, same in (
        ("labels", np.array_equal(a.test.labels, b.test.labels, equal_nan=True)),
        ("patients", np.array_equal(a.patients, b.patients)),
    ):
        if not same:
            raise AWBError(f"{names[0]} and {names[1]} have different {what} for the same test images")
    for what, ours, theirs in (
        ("test images", a.leak.images, b.leak.images),
        ("test images by their patients", a.leak.patients, b.leak.patients),
    ):
        if not np.array_equal(ours, theirs):
            raise AWBError(
                f"{names[0]} and {names[1]} have seen different parts of their {what} in training "
                f"({names[0]} {percent(ours)}, {names[1]} {percent(theirs)}), so they cannot be compared: the "
                "difference would be the leak's"
            )
