"""Contrasts: pairs of cells that differ only in the factors of a question, compared on the same test patients."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from awb import AWBError, Table
from awb.errors import shortlist
from awb.study import Estimates, draw_replicates, estimate, holm, or_none
from examples.chestxray14.evaluation.compare import require_comparable
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.reproduction.factors import PLAIN, Factors, factors_of, split_names


@dataclass(frozen=True)
class Question:
    """A question that pairs of cells, A and B, answer.

    Attributes:
        varies: Factors in which A and B may differ; all others are the same.
        a: Values of A's factors.
        b: Patterns of B's factors, as in `re.fullmatch`.
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


def contrasts(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> dict[str, Table]:
    """One table per question: the difference B − A in macro AUROC of each pair of cells that answers it.

    Intervals are of the paired bootstrap of patients; p is corrected by Holm over the pairs of a question. The results
    are those of `compare_runs`, but a cell, which is in many pairs, is bootstrapped once. Pairs that cannot be compared
    are named.

    Args:
        runs: Evaluated runs by cell.
        n_replicates: Bootstrap replicates.

    Returns:
        Tables by question; questions without pairs have none.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    asked = {question: list(pairs(factors, question)) for question in QUESTIONS}
    refusals = {(a, b): _refusal(runs, a, b) for listed in asked.values() for a, b in listed}
    used = dict.fromkeys(name for pair, why in refusals.items() if not why for name in pair)
    aurocs = {name: _aurocs(runs[name], n_replicates) for name in used}
    tables = {}
    for question, listed in asked.items():
        if listed:
            why = [refusals[pair] for pair in listed if refusals[pair]]
            notes = (f"{len(why)} not compared: {shortlist(why, 4)}",) if why else ()
            table = _table(runs, aurocs, [pair for pair in listed if not refusals[pair]])
            tables[question] = table.with_notes(*notes)
    return tables


def pairs(factors: Mapping[str, Factors], question: str) -> Iterator[tuple[str, str]]:
    """Pairs of cells, A and B, that answer one of `QUESTIONS`. A cell that can be an A is never a B."""
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
    """Reason why two cells cannot be compared; empty if they can."""
    try:
        require_comparable(runs[a], runs[b], (a, b))
    except AWBError as error:
        return str(error)
    return "" if runs[a].supported.any() else f"{a} and {b}: no finding has test patients enough"


def _aurocs(run: EvaluatedRun, n_replicates: int) -> Estimates:
    """AUROC of each finding with enough patients, on the test set and on each replicate of its patients."""
    test = run.test.classes_of(run.supported)
    replicates = draw_replicates(run.patients, n_replicates=n_replicates)  # the same in all runs on the same patients
    return estimate(test.labels, run.probs[:, run.supported], replicates, classes=test.classes)


def _table(
    runs: Mapping[str, EvaluatedRun], aurocs: Mapping[str, Estimates], pairs: Sequence[tuple[str, str]]
) -> Table:
    """One row per pair."""
    rows, ps, splits = [], [], split_names(runs)
    for a, b in pairs:
        one, other = aurocs[a], aurocs[b]
        difference = other.minus(one).macro()
        ((value,), (interval,), (p,)) = difference.values, difference.intervals(), difference.p_values()
        macros = (float(cell.macro().values[0]) for cell in (one, other))
        rows.append((a, b, splits[runs[a].split.checksum], *macros, float(value), interval))
        ps.append(p)
    columns = zip(rows, or_none(ps), or_none(holm(ps)), strict=True)
    headers = ("A", "B", "split", "AUROC of A", "AUROC of B", "B − A", "95 % interval", "p", "p (Holm)")
    return Table(headers, tuple((*row, p, corrected) for row, p, corrected in columns))
