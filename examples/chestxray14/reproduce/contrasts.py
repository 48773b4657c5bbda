"""Cells that differ in one thing only, compared on the same test patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from awb.study import holm
from awb.study.metrics.table_columns import interval_header
from awb.table import Table
from examples.chestxray14.compare_command import compare_runs
from examples.chestxray14.evaluated_run import EvaluatedRun
from examples.chestxray14.reproduce.factors import PLAIN, Factors, factors_of

# what is asked: the factors that may differ, and which cell is A
QUESTIONS: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "Do blocks help? Each placement against none": (("placement", "attention", "init"), {"placement": PLAIN}),
    "Does the schedule help? Each against one stage of BCE": (("losses", "stages"), {"losses": "bce"}),
    "Does focal loss help in the second stage?": (("losses",), {"losses": "bce → bce"}),
    "Which attention? Each against LKA": (("attention",), {"attention": "lka"}),
    "Which start? Default against identity": (("init",), {"init": "identity"}),
}


def contrasts(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> dict[str, Table]:
    """A table a question: the difference B − A in macro AUROC of each pair of cells that answers it.

    Intervals are of the bootstrap of patients, paired; p is corrected by Holm over the pairs of a question. A test set
    that supports no finding answers none.

    Args:
        runs: By cell.
        n_replicates: Of the bootstrap.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    found = {}
    for question in QUESTIONS:
        asked = [(a, b) for a, b in pairs(factors, question) if runs[a].supported.any()]
        rows = [_row(runs, a, b, n_replicates) for a, b in asked]
        if rows:
            corrected = holm([np.nan if row[-1] is None else row[-1] for row in rows])
            headers = ("A", "B", "split", "AUROC of A", "AUROC of B", "B − A", "95 % interval", "p", "p (Holm)")
            found[question] = Table(headers, tuple(
                (*row, None if np.isnan(p) else float(p)) for row, p in zip(rows, corrected, strict=True)
            ))  # fmt: skip
    return found


def pairs(factors: Mapping[str, Factors], question: str) -> Iterator[tuple[str, str]]:
    """The cells A and B that answer one of `QUESTIONS`: B differs from A in what is asked, and in nothing else."""
    vary, reference = QUESTIONS[question]
    for a, ours in factors.items():
        if any(getattr(ours, name) != value for name, value in reference.items()):
            continue
        for b, theirs in factors.items():
            if theirs != ours and dataclasses.replace(theirs, **{name: getattr(ours, name) for name in vary}) == ours:
                yield a, b


def _row(runs: Mapping[str, EvaluatedRun], a: str, b: str, n_replicates: int) -> tuple[object, ...]:
    table = compare_runs(runs[a], runs[b], names=(a, b), n_replicates=n_replicates)
    *_, overall = table
    interval = overall[interval_header("difference", 0.95)]
    return (a, b, runs[a].split.name, overall[a], overall[b], overall["difference"], interval, overall["p"])
