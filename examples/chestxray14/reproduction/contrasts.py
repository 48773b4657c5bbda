"""Contrasts: pairs of cells that differ only in the factors of a question, compared on the same test patients."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from awb import AWBError, Table
from awb.errors import shortlist
from awb.study import Interval, holm, or_none
from examples.chestxray14.evaluation.compare import require_comparable
from examples.chestxray14.evaluation.evaluated_run import RunSummary
from examples.chestxray14.reproduction.factors import PLAIN, Factors, factors_of, split_names
from examples.chestxray14.reproduction.results import Result


@dataclass(frozen=True)
class Question:
    """A question that pairs of cells, A and B, answer.

    Attributes:
        varies: Factors in which A and B may differ; all others are the same.
        a: Values of A's factors.
        subject: Subject of the sentence on one pair, with factors of A and B in braces; `blocks` are B's in words.
        subjects: Subject of the sentence on several pairs.
        b: Patterns of B's factors, as in `re.fullmatch`.
    """

    varies: tuple[str, ...]
    a: Mapping[str, str]
    subject: str
    subjects: str
    b: Mapping[str, str] = field(default_factory=dict)


QUESTIONS = {
    "Do blocks help? Each placement against none": Question(
        ("placement", "attention", "init"), {"placement": PLAIN}, "Blocks ({blocks})", "Blocks"
    ),
    "Does the schedule help? Each against one stage of BCE": Question(
        ("losses", "samples", "stages"), {"losses": "bce", "samples": "all"},
        "The schedule ({b.losses}, images {b.samples}), in place of one stage of BCE,", "The schedule",
    ),
    "Does focal loss help in the second stage?": Question(
        ("losses",), {"losses": "bce → bce"},
        "Focal loss in the second stage, in place of BCE,", "Focal loss in the second stage",
        {"losses": "bce → focal.*"},
    ),
    "Which attention? Each against LKA": Question(
        ("attention",), {"attention": "lka"},
        "The attention {b.attention}, in place of LKA,", "Another attention than LKA",
    ),
    "Which start? Default against identity": Question(
        ("init",), {"init": "identity"},
        "The default start of blocks, in place of the identity,", "The default start of blocks",
    ),
}  # fmt: skip


class Pair(NamedTuple):
    """Two cells and their difference, B − A, in the headline figure.

    Attributes:
        a: Name of A.
        b: Name of B.
        split: Name of their split.
        of_a: Figure of A.
        of_b: Figure of B.
        difference: Figure of B minus that of A.
        interval: 95 % interval of the difference, paired, over patients; None if it is not defined, or if all
            replicates have the same difference.
        p: Two-sided p of no difference; None without an interval.
        corrected: The same, corrected by Holm over the pairs of a question.
    """

    a: str
    b: str
    split: str
    of_a: float
    of_b: float
    difference: float
    interval: Interval | None
    p: float | None
    corrected: float | None = None


@dataclass(frozen=True)
class Contrast:
    """Answer to a question.

    Attributes:
        figure: Name of the figure that is compared; empty without pairs.
        pairs: Pairs of cells that answer it.
        refused: Reasons why other pairs cannot be compared.
    """

    figure: str
    pairs: tuple[Pair, ...]
    refused: tuple[str, ...]

    @property
    def table(self) -> Table:
        """One row per pair."""
        headers = (
            "A", "B", "split", f"{self.figure} of A", f"{self.figure} of B", "B − A", "95 % interval", "p", "p (Holm)",
        )  # fmt: skip
        notes = (f"{len(self.refused)} not compared: {shortlist(self.refused, 4)}",) if self.refused else ()
        return Table(headers, tuple(map(tuple, self.pairs)), notes)


def contrasts(runs: Mapping[str, RunSummary], results: Mapping[str, Result]) -> dict[str, Contrast]:
    """Differences between the cells of each pair that answers a question, by question.

    Intervals are of the paired bootstrap of patients; p is corrected by Holm over the pairs of a question. The results
    are those of `compare_runs`, but a cell, which is in many pairs, is bootstrapped once. Pairs that cannot be compared
    are named.

    Args:
        runs: Evaluated runs by cell.
        results: Their results.

    Returns:
        Contrasts by question; questions without pairs have none.
    """
    factors = {name: factors_of(run.recipe) for name, run in runs.items()}
    splits = split_names(runs)
    found = {}
    for question in QUESTIONS:
        compared, refused = [], []
        for a, b in pairs(factors, question):
            if why := _refusal(runs, results, a, b):
                refused.append(why)
            else:
                compared.append(_compare(a, b, splits[runs[a].split.checksum], results))
        if compared or refused:
            figures = dict.fromkeys(results[pair.a].figure for pair in compared)
            found[question] = Contrast(" or ".join(figures), tuple(_corrected(compared)), tuple(refused))
    return found


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


def _refusal(runs: Mapping[str, RunSummary], results: Mapping[str, Result], a: str, b: str) -> str:
    """Reason why two cells cannot be compared; empty if they can."""
    try:
        require_comparable(runs[a], runs[b], (a, b))
    except AWBError as error:
        return str(error)
    if results[a].figure != results[b].figure:
        return f"{a} is judged by its {results[a].figure}, {b} by its {results[b].figure}"
    return "" if results[a].headline and results[b].headline else f"{a} and {b}: no finding has test patients enough"


def _compare(a: str, b: str, split: str, results: Mapping[str, Result]) -> Pair:
    one, other = results[a].headline, results[b].headline
    assert one is not None
    assert other is not None
    difference = other.minus(one).macro()
    ((value,), (interval,), (p,)) = difference.values, difference.intervals(), or_none(difference.p_values())
    if difference.alike[0]:  # as of equal predictions
        interval = p = None
    of_a, of_b = (float(cell.macro().values[0]) for cell in (one, other))
    return Pair(a, b, split, of_a, of_b, float(value), interval, p)


def _corrected(compared: list[Pair]) -> Iterator[Pair]:
    nan = float("nan")
    corrected = or_none(holm([nan if pair.p is None else pair.p for pair in compared])) if compared else []
    for pair, p in zip(compared, corrected, strict=True):
        yield pair._replace(corrected=p)
