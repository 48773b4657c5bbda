"""Comparison of two models on the same bootstrap replicates of the patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.bootstrap import Metric
from awb.study.metrics.cases import Undefined, check_cases, require_both_labels
from awb.study.metrics.estimates import estimate_cases, metric_title
from awb.study.metrics.intervals import check_level
from awb.study.metrics.min_groups import keep_supported
from awb.study.metrics.p_values import holm
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


def compare(
    y_true: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    names: tuple[str, str] = ("A", "B"),
    metric: Metric = "auroc",
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
    min_groups: int | None = None,
) -> Table:
    """Table of the difference B − A of a metric, per class and macro, paired on the same patients.

    Args:
        y_true: Labels (n, C).
        scores_a: Scores of the first model, A.
        scores_b: Scores of the second model, B, in the same order.
        groups: Groups (n,).
        names: Names of the two models.
        metric: `auroc`, `auprc`, or a function as `bootstrap` takes it.
        classes: C names.
        n_replicates: Number of bootstrap replicates; the smallest possible p is 2 / (n_replicates + 1).
        seed: Bootstrap seed.
        level: Confidence level of the intervals.
        undefined: `raise` or `skip`, as in `evaluate`.
        max_left_out: As in `evaluate`; without an interval there is no p either.
        min_groups: As in `evaluate`: classes that fewer groups have, or have not, are left out and named.

    Returns:
        One row per class and a macro row: both models' values, the difference with its percentile interval, the
        two-sided bootstrap p (`bootstrap_p`), and p corrected over the classes by `holm`. The macro row asks a single
        question, so its p is not corrected.

    Raises:
        AWBError: Bad arrays, an image without a group, an undefined class, two models of one name, or no class with
            enough groups.
    """
    check_level(level, max_left_out)
    check_model_names(names)
    a, b = (check_cases(y_true, scores, classes) for scores in (scores_a, scores_b))
    use, notes = keep_supported(a, groups, min_groups)
    a, b = a.of_classes(use), b.of_classes(use)
    require_both_labels(a, undefined, what="a difference")
    replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
    replicates.require_images(len(a.y_true))
    averaged = averaged_classes(a)
    one, other = (estimate_cases(cases, replicates, metric) for cases in (a, b))
    difference = other.minus(one).with_macro(averaged)
    intervals = difference.intervals(level=level, max_left_out=max_left_out)
    ps = difference.p_values(level=level, max_left_out=max_left_out)
    counts = counts_columns(a, averaged, replicates)
    left_out = count_left_out(difference)
    columns = {
        **{name: counts[name] for name in ("class", "n", "positives", "positive groups")},
        names[0]: or_none(one.with_macro(averaged).values),
        names[1]: or_none(other.with_macro(averaged).values),
        "difference": or_none(difference.values),
        interval_header("difference", level): intervals,
        "p": or_none(ps),
        "p (Holm)": or_none([*holm(ps[:-1]), np.nan]),
        "left out": left_out,
    }
    note = f"{metric_title(metric)}, {names[1]} − {names[0]}; {interval_note(replicates)}"
    notes = (
        note,
        *class_notes(a, averaged),
        *few_replicates_notes(a, left_out, max_left_out * n_replicates),
        *one_sided_notes(a, "", intervals, left_out, max_left_out * n_replicates),
        *notes,
    )
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), notes)


def check_model_names(names: tuple[str, str]) -> None:
    """Refuse names of two models that are the same, or that of a column.

    Raises:
        AWBError: Such names.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise AWBError(f"models are named {names}; expected two different names")
    taken = [
        name for name in names if name in ("class", "n", "positives", "positive groups", "difference", "p", "measure")
    ]
    if taken:
        raise AWBError(f"a model named {taken[0]!r}: that is another column of the table")
