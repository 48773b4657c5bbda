"""Comparison of two models of ordinary classification on the same bootstrap replicates of the patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.cases import Undefined
from awb.study.metrics.class_measures import OF_ALL_IMAGES, TITLES, ClassMeasure, estimate_exclusive, require_measure
from awb.study.metrics.compare import check_model_names
from awb.study.metrics.estimates import Estimates
from awb.study.metrics.evaluate_classes import checked_cases, count_note, keep_classes
from awb.study.metrics.exclusive_cases import ExclusiveCases, check_exclusive
from awb.study.metrics.intervals import check_level
from awb.study.metrics.p_values import holm
from awb.study.metrics.replicates import Replicates
from awb.study.metrics.table_columns import count_left_out, interval_header, interval_note, or_none
from awb.table import Table


def compare_classes(
    labels: npt.ArrayLike,
    probs_a: npt.ArrayLike,
    probs_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    names: tuple[str, str] = ("A", "B"),
    measure: ClassMeasure = "accuracy",
    classes: Sequence[str] | None = None,
    n_replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    undefined: Undefined = "raise",
    max_left_out: float = 0.05,
    min_groups: int | None = None,
) -> Table:
    """Table of the difference B − A of a measure of ordinary classification, paired on the same patients.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out and counted.
        probs_a: Probabilities of the first model, A.
        probs_b: Probabilities of the second model, B, in the same order.
        groups: Groups (n,).
        names: Names of the two models.
        measure: As in `estimate_classes`.
        classes: C names.
        n_replicates: Number of bootstrap replicates; the smallest possible p is 2 / (n_replicates + 1).
        seed: Bootstrap seed.
        level: Confidence level of the intervals.
        undefined: As in `evaluate_classes`.
        max_left_out: As in `evaluate_classes`; without an interval there is no p either.
        min_groups: As in `evaluate_classes`.

    Returns:
        For a measure of all classes one row; for one of each class a row per class and a macro row. Both models'
        values, the difference with its percentile interval, the two-sided bootstrap p (`bootstrap_p`), and with rows
        per class p corrected over them by `holm`.

    Raises:
        AWBError: Bad arrays, a row that is not one-hot, an image without a group, no such measure, a class without
            images, two models of one name, or no class with enough groups.

    Examples:
        >>> import numpy as np
        >>> from awb.study import compare_classes
        >>> truth = np.arange(60) % 3
        >>> good, bad = (np.eye(3)[np.where(np.arange(60) < wrong, 0, truth)] for wrong in (6, 30))
        >>> (row,) = compare_classes(np.eye(3)[truth], bad, good, range(60), names=("bad", "good"))
        >>> round(row["bad"], 3), round(row["good"], 3), round(row["difference"], 3), row["p"] < 0.01
        (0.667, 0.933, 0.267, True)
    """
    check_level(level, max_left_out)
    check_model_names(names)
    require_measure(measure)
    b = check_exclusive(labels, probs_b, classes)
    a, replicates = checked_cases(labels, probs_a, groups, classes, n_replicates, seed, undefined, "a difference")
    use, notes = keep_classes(a, replicates, min_groups)
    if not use.any():
        raise AWBError(f"no class has {min_groups} groups (patients) with it and {min_groups} without")
    one, other = (_estimates(cases, replicates, measure, use) for cases in (a, b))
    if len(one.classes) > 1:
        defined = ~np.isnan(one.values) & ~np.isnan(other.values)
        one, other = one.with_macro(defined), other.with_macro(defined)
    difference = other.minus(one)
    ps = difference.p_values(level=level, max_left_out=max_left_out)
    columns: dict[str, Sequence[object]] = {
        "class" if len(ps) > 1 else "measure": difference.classes,
        names[0]: or_none(one.values),
        names[1]: or_none(other.values),
        "difference": or_none(difference.values),
        interval_header("difference", level): difference.intervals(level=level, max_left_out=max_left_out),
        "p": or_none(ps),
        **({"p (Holm)": or_none([*holm(ps[:-1]), np.nan])} if len(ps) > 1 else {}),
        "left out": count_left_out(difference),
    }
    first = f"{TITLES[measure]}, {names[1]} − {names[0]}; {interval_note(replicates)}"
    left_out = () if measure in OF_ALL_IMAGES else notes
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), (first, count_note(a), *left_out))


def _estimates(
    cases: ExclusiveCases, replicates: Replicates, measure: ClassMeasure, use: npt.NDArray[np.bool_]
) -> Estimates:
    """The measure; one of each class for the classes used."""
    found = estimate_exclusive(cases, replicates, measure, use)
    if len(found.classes) == 1:
        return found
    names = tuple(name for name, keep in zip(found.classes, use, strict=True) if keep)
    return Estimates(names, found.values[use], found.sampled[:, use], replicates)
