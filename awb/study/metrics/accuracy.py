"""Accuracy of ordinary classification as plain numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.exclusive_cases import check_exclusive


def accuracy(labels: npt.ArrayLike, probs: npt.ArrayLike, *, top: int = 1) -> float:
    """Share of the images whose class is among those of the `top` highest probabilities.

    It is scikit-learn's `accuracy_score`, and `top_k_accuracy_score` with k = `top`; of equal probabilities the first
    come first. `evaluate_classes` gives it an interval.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out.
        probs: Probabilities (n, C), each row of sum 1.
        top: Number of classes that may be named, from 1 to C.

    Raises:
        AWBError: Bad arrays, a row that is not one-hot, or `top` out of range.

    Examples:
        >>> import numpy as np
        >>> from awb.study import accuracy
        >>> labels, probs = np.eye(3)[[0, 2]], [[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]]
        >>> accuracy(labels, probs), accuracy(labels, probs, top=2)
        (0.5, 1.0)
    """
    cases = check_exclusive(labels, probs)
    if not isinstance(top, int) or not 1 <= top <= len(cases.classes):
        raise AWBError(f"top={top!r}; expected an int from 1 to {len(cases.classes)}, the number of classes")
    ranked = np.argsort(-cases.values, axis=1, kind="stable")[:, :top]
    return float((ranked == cases.truth[:, None]).any(axis=1).mean())


def balanced_accuracy(labels: npt.ArrayLike, probs: npt.ArrayLike) -> float:
    """Mean over the classes with images of their sensitivity: scikit-learn's `balanced_accuracy_score`.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out.
        probs: Probabilities (n, C), each row of sum 1; the class of the highest is predicted, the first of equal ones.

    Raises:
        AWBError: Bad arrays, or a row that is not one-hot.

    Examples:
        >>> import numpy as np
        >>> from awb.study import balanced_accuracy
        >>> balanced_accuracy(np.eye(2)[[0, 0, 0, 1]], [[0.9, 0.1]] * 4)  # always the first class
        0.5
    """
    cases = check_exclusive(labels, probs)
    right = np.bincount(cases.truth[cases.truth == cases.predicted], minlength=len(cases.classes))
    seen = cases.counts > 0
    return float((right[seen] / cases.counts[seen]).mean())
