"""Results of a cell: the figures of its test set with their replicates, computed once for all tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from awb.study import Estimates, Interval, bias_corrected_interval, draw_replicates, estimate, or_none
from examples.chestxray14.evaluation.evaluated_run import EvaluatedRun

HEADLINE = "macro AUROC"


@dataclass(frozen=True, eq=False)
class Result:
    """Results of a cell.

    Attributes:
        figure: Name of the figure by which the run is judged.
        headline: Figures whose mean is the headline, on the test set and on each replicate of its patients: the AUROC
            of each finding that enough patients have. None if there is no such finding.
        columns: Figures and intervals for the table of results, by header; the headline first.
    """

    figure: str
    headline: Estimates | None
    columns: Mapping[str, float | Interval | None]


def measure(run: EvaluatedRun, n_replicates: int = 2000) -> Result:
    """Measure a run on its test set: macro AUROC and AUPRC as in `awb.study.evaluate`.

    Args:
        run: The run.
        n_replicates: Replicates of the bootstrap of patients.
    """
    headers = (HEADLINE, "95 %", "macro AUPRC", "95 % ")
    if not run.supported.any():
        return Result(HEADLINE, None, dict.fromkeys(headers))
    test, probs = run.test.classes_of(run.supported), run.probs[:, run.supported]
    replicates = draw_replicates(run.patients, n_replicates=n_replicates)  # the same in all runs on the same patients
    aurocs, auprcs = (
        estimate(test.labels, probs, replicates, metric=metric, classes=test.classes) for metric in ("auroc", "auprc")
    )
    auroc, auprc = aurocs.macro(), auprcs.macro()
    several = int(auprcs.averaged.sum()) > 1
    moved = bias_corrected_interval(auprc.sampled[:, 0], float(auprc.values[0])) if several else auprc.intervals()[0]
    figures: tuple[Any, ...] = (*or_none(auroc.values), *auroc.intervals(), *or_none(auprc.values), moved)
    return Result(HEADLINE, aurocs, dict(zip(headers, figures, strict=True)))


def measure_all(runs: Mapping[str, EvaluatedRun], n_replicates: int = 2000) -> dict[str, Result]:
    """Results of several runs, by name."""
    return {name: measure(run, n_replicates) for name, run in runs.items()}
