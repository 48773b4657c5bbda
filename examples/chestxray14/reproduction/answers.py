"""Answers: one sentence per question, which claims no more than its intervals do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from examples.chestxray14.evaluation.evaluated_run import RunSummary
from examples.chestxray14.recipes.words import where_in_words
from examples.chestxray14.reproduction.contrasts import QUESTIONS, Contrast, Pair
from examples.chestxray14.reproduction.factors import Factors, factors_of

ALPHA = 0.05  # of a question's pairs together, by Holm's correction


def answers(found: Mapping[str, Contrast], runs: Mapping[str, RunSummary]) -> Iterator[str]:
    """One sentence per question.

    A difference is claimed only if its interval does not hold 0 and its p, corrected for the pairs of the question, is
    below 0.05.

    Args:
        found: Contrasts by question.
        runs: The runs by cell.
    """
    for question, contrast in found.items():
        asked = QUESTIONS[question]
        if len(contrast.pairs) == 1:
            (pair,) = contrast.pairs
            factors = {"a": factors_of(runs[pair.a].recipe), "b": factors_of(runs[pair.b].recipe)}
            subject = asked.subject.format(**factors, blocks=_blocks(factors["b"]))
            text = f"{subject} changed the {contrast.figure} by {_of_pair(pair, runs)}: {_verdict(pair)}"
        elif contrast.pairs:
            text = _of_several(asked.subjects, contrast, runs)
        else:
            text = f"{asked.subjects}: no two cells can be compared"
        refused = f" Pairs not compared: {len(contrast.refused)}." if contrast.refused else ""
        yield f"{text}.{_leak(contrast, runs)}{refused}"


def is_shown(pair: Pair) -> bool:
    """True if the difference has been shown: its interval does not hold 0, and its corrected p is below 0.05."""
    if pair.interval is None or pair.corrected is None:
        return False
    low, high = pair.interval
    return not low <= 0 <= high and pair.corrected < ALPHA


def _of_several(subject: str, contrast: Contrast, runs: Mapping[str, RunSummary]) -> str:
    differences = [pair.difference for pair in contrast.pairs]
    text = (
        f"{subject} changed the {contrast.figure} by {_signed(min(differences))} to {_signed(max(differences))} in "
        f"{len(differences)} pairs of cells"
    )
    tested = [pair for pair in contrast.pairs if pair.corrected is not None]
    if not tested:
        return f"{text}: no difference shown, since none has an interval"
    shown = sum(map(is_shown, contrast.pairs))
    clearest = min(tested, key=lambda pair: (pair.corrected, pair.p))
    claim = f"a difference shown in {shown} of them" if shown else "no difference shown in any"
    named = f"{clearest.b} against {clearest.a}: {_of_pair(clearest, runs)}"
    return f"{text}: {claim}. The smallest p, {clearest.corrected:.2g} after Holm's correction, is that of {named}"


def _verdict(pair: Pair) -> str:
    if not is_shown(pair):
        return "no difference shown"
    return "higher" if pair.difference > 0 else "lower"


def _of_pair(pair: Pair, runs: Mapping[str, RunSummary]) -> str:
    """Difference, interval and number of patients, as `−0.002 (95 % −0.022 to +0.017, 120 patients)`."""
    interval = "no interval" if pair.interval is None else f"95 % {' to '.join(map(_signed, pair.interval))}"
    return f"{_signed(pair.difference)} ({interval}, {runs[pair.a].n_patients:,} patients)"


def _leak(contrast: Contrast, runs: Mapping[str, RunSummary]) -> str:
    leaking = sum(runs[pair.a].leak.any or runs[pair.b].leak.any for pair in contrast.pairs)
    if not leaking:
        return ""
    which = "Both cells have" if len(contrast.pairs) == 1 else f"The cells of {leaking} of these pairs have"
    return f" LEAK: {which} trained on part of the test set or on its patients."


def _blocks(factors: Factors) -> str:
    return " ".join(filter(None, (factors.attention, where_in_words(factors.placement))))


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
