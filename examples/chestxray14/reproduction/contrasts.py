"""Cells that differ in what is asked and in nothing else, compared on the same test patients."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from awb import AWBError, Table
from awb.errors import shortlist
from awb.study import auroc, bootstrap, bootstrap_p, draw_replicates, holm, macro, percentile_interval
from awb.study.metrics.table_columns import or_none
from examples.chestxray14.evaluation.compare import require_comparable
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.reproduction.factors import PLAIN, Factors, factors_of, split_names


@dataclass(frozen=True)
class Question:
    """What is asked of pairs of cells A and B.

    Attributes:
        varies: The factors in which they may differ; in no other.
        a: Values of A's factors.
        b: Patterns, as in `re.fullmatch`, of B's.
    """

    varies: tuple[str, ...]
    a: Mapping[str, str]
    b: Mapping[str, str] = field(default_factory=dict)


QUESTIONS = {
    "Do blocks help? Each placement against none": Question(("placement", "attention", "init"), {"placement": PLAIN}),
    "Does the schedule help? Each against one stage of BCE": Question(
        ("losses", "samples", "stages"), {"losses": "bce", "samples": "all"}
    ),
    "Does focal loss help in the second stage?": Question(
        ("losses",), {"losses": "bce → bce"}, {"losses": "bce → focal.*"}
    ),
    "Which attention? Each against LKA": Question(("attention",), {"attention": "lka"}),
    "Which start? Default against identity": Question(("init",), {"init": "identity"}),
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

    Intervals are of the bootstrap of patients, paired; p is corrected by Holm over the pairs of a question. The
    figures are those of `compare_runs`; a cell is in many pairs and is bootstrapped once. Pairs that cannot be
    compared are named.

    Args:
        runs: By cell.
        n_replicates: Of the bootstrap.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    asked = {question: list(pairs(factors, question)) for question in QUESTIONS}
    refused = {(a, b): _refusal(runs, a, b) for both in asked.values() for a, b in both}
    used = dict.fromkeys(name for pair, why in refused.items() if not why for name in pair)
    areas = {name: _areas(runs[name], n_replicates) for name in used}
    found = {}
    for question, both in asked.items():
        if both:
            why = [refused[pair] for pair in both if refused[pair]]
            notes = (f"{len(why)} not compared: {shortlist(why, 4)}",) if why else ()
            table = _table(runs, areas, [pair for pair in both if not refused[pair]])
            found[question] = table.with_notes(*notes)
    return found


def pairs(factors: Mapping[str, Factors], question: str) -> Iterator[tuple[str, str]]:
    """The cells A and B that answer one of `QUESTIONS`. What can be an A is no B: two of them do not ask it."""
    asked = QUESTIONS[question]
    references = [
        name for name, one in factors.items() if all(getattr(one, key) == value for key, value in asked.a.items())
    ]
    for a in references:
        ours = factors[a]
        for b, theirs in factors.items():
            same = dataclasses.replace(theirs, **{name: getattr(ours, name) for name in asked.varies}) == ours
            is_b = all(re.fullmatch(pattern, getattr(theirs, name)) for name, pattern in asked.b.items())
            if b not in references and same and is_b:
                yield a, b


def _refusal(runs: Mapping[str, EvaluatedRun], a: str, b: str) -> str:
    """Why two cells are not to be compared; empty if they are."""
    try:
        require_comparable(runs[a], runs[b], (a, b))
    except AWBError as error:
        return str(error)
    return "" if runs[a].supported.any() else f"{a} and {b}: no finding has test patients enough"


def _areas(run: EvaluatedRun, n_replicates: int) -> Areas:
    labels, probs = run.test.labels[:, run.supported], run.probs[:, run.supported]
    replicates = draw_replicates(run.patients, n_replicates=n_replicates)  # the same in all runs on the same patients
    return Areas(auroc(labels, probs), bootstrap(labels, probs, replicates))


def _table(runs: Mapping[str, EvaluatedRun], areas: Mapping[str, Areas], both: Sequence[tuple[str, str]]) -> Table:
    rows, ps, splits = [], [], split_names(runs)
    for a, b in both:
        one, other = areas[a], areas[b]
        sampled = (other.sampled - one.sampled).mean(axis=1)
        interval, difference = percentile_interval(sampled), float(macro(other.values - one.values))
        ps.append(np.nan if interval is None else bootstrap_p(sampled))
        split = splits[runs[a].split.checksum]
        rows.append((a, b, split, float(macro(one.values)), float(macro(other.values)), difference, interval))
    columns = zip(rows, or_none(ps), or_none(holm(ps)), strict=True)
    headers = ("A", "B", "split", "AUROC of A", "AUROC of B", "B − A", "95 % interval", "p", "p (Holm)")
    return Table(headers, tuple((*row, p, corrected) for row, p, corrected in columns))
