"""How well scores rank positives above negatives: scikit-learn's AUROC and AUPRC, class by class."""

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
    """Area under the ROC curve of each class: scikit-learn's `roc_auc_score`.

    The probability that a positive image scores higher than a negative one, ties counted as half.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        scores: Any numbers that grow with the finding: logits or probabilities alike, same shape.
        classes: C names, for messages.
        undefined: What to do with a class that has one label only: `raise`, or `skip` (NaN, never 0.5).

    Returns:
        (C,) in 0–1.

    Raises:
        AWBError: Bad arrays (see `check_cases`), or an undefined class.
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
    """Area under the precision–recall curve of each class: scikit-learn's `average_precision_score`.

    The mean precision over the positives, no interpolation. Scores that tell nothing give the prevalence, not 0.5.
    Arguments, result and errors as for `auroc`.
    """
    from sklearn.metrics import average_precision_score

    return each_class(average_precision_score, check_cases(y_true, scores, classes), undefined, what="AUPRC")


def macro(values: npt.ArrayLike) -> float:
    """The mean over the classes where a metric is defined (not NaN); each class counts the same.

    Args:
        values: (C,), such as `auroc(...)`.

    Returns:
        The mean; NaN if no class is defined.
    """
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    return float(defined.mean()) if len(defined) else float("nan")


def each_class(metric: Callable[..., float], cases: Cases, undefined: Undefined, *, what: str) -> Floats:
    """A metric of (y_true, values), class by class; NaN where a class has one label only and that is allowed.

    Raises:
        AWBError: A class has one label only, and `undefined` is `raise`.
    """
    require_both_labels(cases, undefined, what=what)
    return np.array([np.nan if known.missing else metric(known.y_true, known.values) for known in cases])
