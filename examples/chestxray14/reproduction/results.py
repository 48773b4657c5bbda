"""Results of a cell: the figures of its test set with their replicates, computed once for all tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awb.study import Estimates, Interval, bias_corrected_interval, estimate, interval_header, or_none
from examples.chestxray14.evaluation.class_tables import overall_measures
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun
from examples.chestxray14.evaluation.headline import can_be_compared, headline_estimates
from examples.chestxray14.recipes.stage_settings import HEADLINES

Columns = Mapping[str, float | Interval | None]


@dataclass(frozen=True, eq=False)
class Result:
    """Results of a cell.

    Attributes:
        figure: Name of the figure by which the run is judged.
        headline: Its estimates, whose mean is the figure. None if too few patients have any finding or class.
        columns: Figures and intervals for the table of results, by header; the headline first.
    """

    figure: str
    headline: Estimates | None
    columns: Columns


def measure(run: EvaluatedRun, n_replicates: int = 2000) -> Result:
    """Measure a run on its test set: of findings macro AUROC and AUPRC, of ordinary classes accuracies and macro AUROC.

    The figures are those of `awb.study.evaluate` and `evaluate_classes`.

    Args:
        run: The run.
        n_replicates: Replicates of the bootstrap of patients.
    """
    figure = HEADLINES[run.task]
    if not can_be_compared(run):
        return Result(figure, None, {figure: None, interval_header(figure, 0.95): None})
    headline = headline_estimates(run, n_replicates)
    if run.task == "classes":
        return Result(figure, headline, overall_measures(run.test, run.probs, n_replicates))
    return Result(figure, headline, _of_findings(run, headline))


def measure_all(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> dict[str, Result]:
    """Results of several runs, by name."""
    return {name: measure(run, n_replicates) for name, run in runs.items()}


def _of_findings(run: EvaluatedRun, aurocs: Estimates) -> Columns:
    """Macro AUROC and AUPRC on the same replicates."""
    test, replicates = run.test.classes_of(run.supported), aurocs.replicates
    assert replicates is not None
    auprcs = estimate(test.labels, run.probs[:, run.supported], replicates, metric="auprc", classes=test.classes)
    auroc, auprc = aurocs.macro(), auprcs.macro()
    several = int(auprcs.averaged.sum()) > 1
    moved = bias_corrected_interval(auprc.sampled[:, 0], float(auprc.values[0])) if several else auprc.intervals()[0]
    figures: tuple[Any, ...] = (*or_none(auroc.values), *auroc.intervals(), *or_none(auprc.values), moved)
    headers = (header for name in ("macro AUROC", "macro AUPRC") for header in (name, interval_header(name, 0.95)))
    return dict(zip(headers, figures, strict=True))
