"""Cells that differ in one thing only, compared on the same test patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from awb.study import auroc, bootstrap, bootstrap_p, draw_replicates, holm, macro, percentile_interval
from awb.study.metrics.table_columns import or_none
from awb.table import Table
from examples.chestxray14.compare_command import require_comparable
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


@dataclass(frozen=True)
class Areas:
    """A cell's AUROC of each finding that is supported.

    Attributes:
        values: On its test set, (C,).
        sampled: The same on each replicate of its patients, (R, C).
    """

    values: npt.NDArray[np.float64]
    sampled: npt.NDArray[np.float64]


def contrasts(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> dict[str, Table]:
    """A table a question: the difference B − A in macro AUROC of each pair of cells that answers it.

    Intervals are of the bootstrap of patients, paired; p is corrected by Holm over the pairs of a question. A test set
    that supports no finding answers none. The figures are those of `compare_runs`; a cell is in many pairs and is
    bootstrapped once.

    Args:
        runs: By cell.
        n_replicates: Of the bootstrap.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    asked = {
        question: [(a, b) for a, b in pairs(factors, question) if runs[a].supported.any()] for question in QUESTIONS
    }
    used = dict.fromkeys(name for both in asked.values() for pair in both for name in pair)
    areas = {name: _areas(runs[name], n_replicates) for name in used}
    return {question: _table(runs, areas, both) for question, both in asked.items() if both}


def pairs(factors: Mapping[str, Factors], question: str) -> Iterator[tuple[str, str]]:
    """The cells A and B that answer one of `QUESTIONS`: B differs from A in what is asked, and in nothing else."""
    vary, reference = QUESTIONS[question]
    for a, ours in factors.items():
        if any(getattr(ours, name) != value for name, value in reference.items()):
            continue
        for b, theirs in factors.items():
            if theirs != ours and dataclasses.replace(theirs, **{name: getattr(ours, name) for name in vary}) == ours:
                yield a, b


def _areas(run: EvaluatedRun, n_replicates: int) -> Areas:
    labels, probs = run.test.labels[:, run.supported], run.probs[:, run.supported]
    replicates = draw_replicates(run.patients, n_replicates=n_replicates)  # the same in all runs on the same patients
    return Areas(auroc(labels, probs), bootstrap(labels, probs, replicates))


def _table(runs: Mapping[str, EvaluatedRun], areas: Mapping[str, Areas], both: Sequence[tuple[str, str]]) -> Table:
    rows, ps = [], []
    for a, b in both:
        require_comparable(runs[a], runs[b], (a, b))
        one, other = areas[a], areas[b]
        sampled = (other.sampled - one.sampled).mean(axis=1)
        interval, difference = percentile_interval(sampled), float(macro(other.values - one.values))
        ps.append(np.nan if interval is None else bootstrap_p(sampled))
        rows.append(
            (a, b, runs[a].split.name, float(macro(one.values)), float(macro(other.values)), difference, interval)
        )
    columns = zip(rows, or_none(ps), or_none(holm(ps)), strict=True)
    headers = ("A", "B", "split", "AUROC of A", "AUROC of B", "B − A", "95 % interval", "p", "p (Holm)")
    return Table(headers, tuple((*row, p, corrected) for row, p, corrected in columns))
