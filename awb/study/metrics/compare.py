"""Is model B better than model A? Both on the same replicates of the patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.arrays import Floats, Undefined, check_cases, require_both_labels
from awb.study.metrics.bootstrap import Metric, bootstrap
from awb.study.metrics.intervals import check_level
from awb.study.metrics.ranking import each_class, macro
from awb.study.metrics.replicates import draw_replicates
from awb.study.metrics.table_columns import (
    averaged_classes,
    class_and_macro_intervals,
    class_notes,
    count_left_out,
    counts_columns,
    few_replicates_notes,
    interval_header,
    interval_note,
    macro_replicates,
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
) -> Table:
    """The difference B − A of a metric, class by class and macro, paired on the same patients.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        scores_a: Of the first model, same shape.
        scores_b: Of the second model, same shape and order.
        groups: The patient of each image, (n,).
        names: Of the two models.
        metric: `auroc`, `auprc`, or a function as `bootstrap` takes it.
        classes: C names.
        n_replicates: Of the bootstrap; the smallest possible p is 2 / (n_replicates + 1).
        seed: Of the bootstrap.
        level: Of the intervals.
        undefined: `raise` or `skip`, as in `evaluate`.
        max_left_out: As in `evaluate`; without an interval there is no p either.

    Returns:
        A row a class and a macro row: both models' values, the difference with its percentile interval, the
        two-sided bootstrap p (`bootstrap_p`), and p corrected over the classes by `holm`; the macro row is one
        question by itself, so it is not corrected.

    Raises:
        AWBError: Bad arrays, an image without a group, an undefined class, or two models of one name.
    """
    check_level(level, max_left_out)
    _check_names(names)
    a, b = (check_cases(y_true, scores, classes) for scores in (scores_a, scores_b))
    require_both_labels(a, undefined, what="a difference")
    replicates = draw_replicates(groups, n_replicates=n_replicates, seed=seed)
    replicates.require_images(len(a.y_true))
    plain = _plain(metric)
    values_a, values_b = (each_class(plain, cases, "skip", what="a difference") for cases in (a, b))
    sampled = bootstrap(b.y_true, b.values, replicates, metric=metric) - bootstrap(
        a.y_true, a.values, replicates, metric=metric
    )
    averaged = averaged_classes(a)
    intervals = class_and_macro_intervals(sampled, values_b - values_a, averaged, level, max_left_out)
    ps = [bootstrap_p(column) for column in (*sampled.T, macro_replicates(sampled, averaged))]
    ps = [np.nan if interval is None else p for p, interval in zip(ps, intervals, strict=True)]
    counts = counts_columns(a, averaged, replicates)
    left_out = count_left_out(sampled, values_a, averaged)
    columns = {
        **{name: counts[name] for name in ("class", "n", "positives", "positive groups")},
        names[0]: or_none([*values_a, macro(values_a[averaged])]),
        names[1]: or_none([*values_b, macro(values_b[averaged])]),
        "difference": or_none([*(values_b - values_a), macro((values_b - values_a)[averaged])]),
        interval_header("difference", level): intervals,
        "p": or_none(ps),
        "p (Holm)": or_none([*holm(ps[:-1]), np.nan]),
        "left out": left_out,
    }
    title = metric.upper() if isinstance(metric, str) else getattr(metric, "__name__", "the metric")
    note = f"{title}, {names[1]} − {names[0]}; {interval_note(replicates)}"
    notes = (
        note,
        *class_notes(a, averaged),
        *few_replicates_notes(a, left_out, max_left_out * n_replicates),
        *one_sided_notes(a, "", intervals, left_out, max_left_out * n_replicates),
    )
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), notes)


def bootstrap_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of no difference, from a paired difference on each replicate.

    Twice the smaller share of replicates at or beyond 0 on either side, each share counted as (k + 1) / (R + 1) so
    that it is never 0, and at most 1 (Davison & Hinkley 1997, *Bootstrap Methods*, section 4.2 for the +1). The
    percentile interval at level 1 − p just touches 0.

    Args:
        differences: (R,), NaN where not defined.

    Returns:
        p; NaN without a defined replicate.
    """
    defined = np.asarray(differences, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return float("nan")
    beyond = min((defined <= 0).sum(), (defined >= 0).sum())
    return min(1.0, 2 * float(beyond + 1) / (len(defined) + 1))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's step-down correction (1979): the chance of any false claim among all m stays below the level.

    The i-th smallest p is multiplied by m − i + 1, and is at least the one before it, at most 1.

    Args:
        p: (m,); NaN is no test: it is not counted and stays NaN.

    Returns:
        Corrected p, (m,).
    """
    values = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    corrected = np.full(values.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def _check_names(names: tuple[str, str]) -> None:
    if len(names) != 2 or names[0] == names[1]:
        raise AWBError(f"models are named {names}; expected two different names")
    taken = [name for name in names if name in ("class", "n", "positives", "positive groups", "difference", "p")]
    if taken:
        raise AWBError(f"a model named {taken[0]!r}: that is another column of the table")


def _plain(metric: Metric) -> Callable[..., float]:
    """The metric on all images, each once."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not isinstance(metric, str):
        return lambda y, s: metric(y, s, sample_weight=np.ones(len(y)))
    known: dict[str, Callable[..., float]] = {"auroc": roc_auc_score, "auprc": average_precision_score}
    return known[metric]
