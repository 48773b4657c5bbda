"""Table of AUROC and AUPRC, per class and macro, with patient-clustered intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy.typing as npt

from awb.study.metrics.cases import Undefined, check_cases, require_both_labels
from awb.study.metrics.estimates import estimate_cases
from awb.study.metrics.intervals import Interval, bias_corrected_interval, check_level
from awb.study.metrics.min_groups import keep_supported
from awb.study.metrics.replicates import draw_replicates
from awb.study.metrics.table_columns import (
    averaged_classes,
    class_notes,
    count_left_out,
    counts_columns,
    few_replicates_notes,
    interval_header,
    interval_note,
    one_sided_notes,
    or_none,
)
from awb.table import Table

METRICS: tuple[Literal["auroc", "auprc"], ...] = ("auroc", "auprc")


def evaluate(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
    min_groups: int | None = None,
) -> Table:
    """Table of AUROC and AUPRC, per class and macro, with patient-clustered bootstrap intervals.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        groups: Groups (n,).
        classes: C names.
        n_replicates: Number of bootstrap replicates.
        seed: Bootstrap seed.
        level: Confidence level of the intervals.
        undefined: For a class with one label only: `raise`, or `skip`: its row has no values, and the macro row says
            how many classes it averages.
        max_left_out: Largest share of replicates without a positive, or without a negative, of a class; with more,
            the class has no interval.
        min_groups: Classes that fewer groups have, or have not, get no row and are not in the macro mean; a note
            names them. None leaves no class out. 5 is sensible: with fewer, intervals say little.

    Returns:
        One row per class and a macro row: images with a known label, positives, groups with a positive, prevalence,
        AUROC and AUPRC with intervals, and the number of replicates left out. Undefined values are None. The macro
        mean is over findings: a class such as `No Finding` beside them has a row but is not averaged. The interval of
        the macro AUPRC is `bias_corrected_interval`, the others are percentile intervals. Where neither can be
        trusted, as for the macro AUPRC of many rare classes, there is none, and a note says why.

    Raises:
        AWBError: Bad arrays, an image without a group, an undefined class, or no class with enough groups.
    """
    check_level(level, max_left_out)
    cases = check_cases(y_true, scores, classes)
    use, supported_notes = keep_supported(cases, groups, min_groups)
    cases = cases.of_classes(use)
    require_both_labels(cases, undefined, what="AUROC")
    replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
    replicates.require_images(len(cases.y_true))
    averaged = averaged_classes(cases)
    columns = counts_columns(cases, averaged, replicates)
    options = {"level": level, "max_left_out": max_left_out}
    intervals: dict[str, list[Interval | None]] = {}
    left_out: list[int | None] = []
    for metric in METRICS:
        name = metric.upper()
        found = estimate_cases(cases, replicates, metric).with_macro(averaged)
        intervals[name] = found.intervals(**options)
        if metric == "auprc" and averaged.sum() > 1:
            intervals[name][-1] = bias_corrected_interval(found.sampled[:, -1], found.values[-1], **options)
        columns[name] = or_none(found.values)
        columns[interval_header(name, level)] = intervals[name]
        left_out = count_left_out(found)  # the same for both metrics
    columns["left out"] = left_out
    is_moved = averaged.sum() > 1 and intervals["AUPRC"][-1] is not None
    moved = "; the macro AUPRC's is moved by twice their bias" if is_moved else ""
    notes = [interval_note(replicates) + moved, *class_notes(cases, averaged)]
    notes += few_replicates_notes(cases, left_out, max_left_out * n_replicates)
    for name, ends in intervals.items():
        notes += one_sided_notes(cases, f" of {name}", ends, left_out, max_left_out * n_replicates)
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), (*notes, *supported_notes))
