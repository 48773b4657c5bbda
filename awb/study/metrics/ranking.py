"""AUROC and AUPRC of each class, as scikit-learn computes them, and the macro mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from awb.study.array_types import Floats
from awb.study.metrics.cases import Cases, Undefined, check_cases, require_both_labels


def auroc(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    undefined: Undefined = "raise",
) -> Floats:
    """AUROC of each class, the area under the ROC curve: scikit-learn's `roc_auc_score`.

    It is the probability that a positive image scores higher than a negative one, ties counted as half.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        classes: C names.
        undefined: For a class with one label only: `raise`, or `skip` (NaN, never 0.5).

    Returns:
        (C,) in 0–1.

    Raises:
        AWBError: Bad arrays, or an undefined class.
    """
    from sklearn.metrics import roc_auc_score

    return each_class(roc_auc_score, check_cases(y_true, scores, classes), undefined, what="AUROC")


def auprc(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    undefined: Undefined = "raise",
) -> Floats:
    """AUPRC of each class, the area under the precision–recall curve: scikit-learn's `average_precision_score`.

    It is the mean precision over the positives, without interpolation. Random scores get the prevalence, not 0.5.
    Arguments, result and errors as for `auroc`.
    """
    from sklearn.metrics import average_precision_score

    return each_class(average_precision_score, check_cases(y_true, scores, classes), undefined, what="AUPRC")


def macro(values: npt.ArrayLike) -> float:
    """Macro mean: the unweighted mean over the classes where a metric is defined (not NaN).

    Args:
        values: Metric of each class, (C,), such as `auroc(...)`.

    Returns:
        The mean; NaN if no class is defined.
    """
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    return float(defined.mean()) if len(defined) else float("nan")


def each_class(metric: Callable[..., float], cases: Cases, undefined: Undefined, *, what: str) -> Floats:
    """Apply a metric of (y_true, values) to each class; a class with a single label gives NaN if `undefined` is `skip`.

    Raises:
        AWBError: A class has one label only, and `undefined` is `raise`.
    """
    require_both_labels(cases, undefined, what=what)
    return np.array([np.nan if known.missing else metric(known.y_true, known.values) for known in cases])
