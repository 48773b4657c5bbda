"""Decisions at thresholds, chosen on validation and applied to test. An image is positive if score ≥ threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean
from awb.study.argument_names import argument
from awb.study.array_types import Floats
from awb.study.metrics.cases import ClassCases, check_cases, require_both_labels
from awb.study.metrics.table_columns import or_none
from awb.table import Table

Rule = Literal["youden", "f1", "sensitivity", "specificity"]
_RULES = ("youden", "f1", "sensitivity", "specificity")
_NEED_TARGET = ("sensitivity", "specificity")


def choose_thresholds(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    rule: Rule = "youden",
    target: float | None = None,
    classes: Sequence[str] | None = None,
) -> Floats:
    """Threshold of each class, chosen among the scores of these images: use validation, never test.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        rule: `youden`: largest sensitivity + specificity − 1 (Youden 1950); `f1`: largest F1; `sensitivity`: the
            highest threshold that reaches `target`; `specificity`: the lowest that does. Among equals, the highest.
        target: A share in 0–1, for the last two rules.
        classes: C names.

    Returns:
        Thresholds (C,); just above the highest score where only calling nothing positive reaches the target.

    Raises:
        AWBError: Bad arrays, a class with one label only, no such rule, or a target missing or out of place.
    """
    if rule not in _RULES:
        raise AWBError(f"no rule {rule!r}{did_you_mean(str(rule), _RULES)}; there are {', '.join(_RULES)}")
    if (target is not None) != (rule in _NEED_TARGET):
        raise AWBError(f"{argument('rule')}={rule!r} {'needs a' if target is None else 'takes no'} target")
    if target is not None:
        _check_share(target, "target")
    cases = check_cases(y_true, scores, classes)
    require_both_labels(cases, "raise", what="a threshold")
    return np.array([_choose(known, rule, target) for known in cases])


def sensitivity_at_specificity(
    y_true: npt.ArrayLike, scores: npt.ArrayLike, specificity: float, *, classes: Sequence[str] | None = None
) -> Floats:
    """Highest sensitivity on each class's own ROC curve where specificity is at least a given share.

    Like AUROC it describes the ranking. For a decision made beforehand, choose the threshold on validation.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        specificity: A share in 0–1.
        classes: C names.

    Returns:
        Sensitivities (C,), in 0–1.

    Raises:
        AWBError: Bad arrays, a class with one label only, or a share outside 0–1.
    """
    _check_share(specificity, "specificity")
    thresholds = choose_thresholds(y_true, scores, rule="specificity", target=specificity, classes=classes)
    cases = check_cases(y_true, scores)
    return np.array([(k.values[k.y_true] >= t).mean() for k, t in zip(cases, thresholds, strict=True)])


def operating_points(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
) -> Table:
    """Table of sensitivity, specificity and other measures of decisions at given thresholds.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        thresholds: Thresholds (C,), as `choose_thresholds` chose them on other images; an image with a score at or
            above the threshold is called positive.
        classes: C names.

    Returns:
        One row per class: sensitivity, specificity, PPV, NPV, F1 and MCC (Matthews correlation). A ratio with a
        denominator of 0, such as the PPV where nothing is called positive, is None.

    Raises:
        AWBError: Bad arrays, or not one finite threshold per class.
    """
    cases = check_cases(y_true, scores, classes)
    chosen = np.asarray(thresholds, dtype=np.float64)
    if chosen.shape != (len(cases.classes),) or not np.isfinite(chosen).all():
        raise AWBError(f"thresholds {chosen}; expected {len(cases.classes)} finite numbers, one per class")
    rows = tuple(_row(known, float(t)) for known, t in zip(cases, chosen, strict=True))
    headers = ("class", "n", "positives", "threshold", "sensitivity", "specificity", "PPV", "NPV", "F1", "MCC")
    return Table(headers, rows)


def _row(known: ClassCases, threshold: float) -> tuple[object, ...]:
    y, called = known.y_true, known.values >= threshold
    tp, fn, fp, tn = (float((a & b).sum()) for a, b in ((y, called), (y, ~called), (~y, called), (~y, ~called)))
    pairs = ((tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn), (2 * tp, 2 * tp + fp + fn))
    ratios = [top / bottom if bottom else np.nan for top, bottom in pairs]
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    ratios.append((tp * tn - fp * fn) / spread if spread else np.nan)
    return known.name, len(y), int(y.sum()), threshold, *or_none(ratios)


def _choose(known: ClassCases, rule: Rule, target: float | None) -> float:
    thresholds, tp, fp = _curve(known)
    positives, negatives = tp[-1], fp[-1]
    sensitivity, specificity = tp / positives, (negatives - fp) / negatives
    if rule == "youden":
        # as whole numbers, so that equals are equal
        best = int(np.argmax(tp * negatives - fp * positives))
    elif rule == "f1":
        best = int(np.argmax(2 * tp / (tp + fp + positives)))
    elif rule == "sensitivity":
        best = int(np.argmax(sensitivity >= target))
    else:
        best = int(np.flatnonzero(specificity >= target)[-1])
    return float(thresholds[best])


def _curve(known: ClassCases) -> tuple[Floats, Floats, Floats]:
    """Thresholds from the highest, with true and false positives at each; the first calls nothing positive."""
    levels, level = np.unique(-known.values, return_inverse=True)
    tp, fp = (np.bincount(level[of], minlength=len(levels)).cumsum() for of in (known.y_true, ~known.y_true))
    none = np.nextafter(-levels[0], np.inf)
    return np.array([none, *-levels]), np.array([0.0, *tp]), np.array([0.0, *fp])


def _check_share(share: float, name: str) -> None:
    if not 0 <= share <= 1:
        raise AWBError(f"{name}={share}; expected a share in 0–1")
