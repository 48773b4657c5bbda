"""Confusion matrix of ordinary classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from awb.study.metrics.evaluate_classes import count_note
from awb.study.metrics.exclusive_cases import check_exclusive
from awb.table import Table


class CountShare(NamedTuple):
    """Number of images and their share of a row; prints as `12 (34.3 %)`."""

    number: int
    share: float

    def __str__(self) -> str:
        return f"{self.number:,} ({100 * self.share:.1f} %)"


def confusion_matrix(labels: npt.ArrayLike, probs: npt.ArrayLike, *, classes: Sequence[str] | None = None) -> Table:
    """Confusion matrix: a row per class, a column per predicted class, as scikit-learn's `confusion_matrix`.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out and counted.
        probs: Probabilities (n, C), each row of sum 1; the class of the highest is predicted, the first of equal ones.
        classes: C names.

    Returns:
        One row per class: the class, its number of images, and for each predicted class a `CountShare`: how many of the
        images, and which share. Shares of a class without images are None, and so are its counts.

    Raises:
        AWBError: Bad arrays, or a row that is not one-hot.

    Examples:
        >>> import numpy as np
        >>> from awb.study import confusion_matrix
        >>> probs = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
        >>> print(confusion_matrix(np.eye(2)[[0, 0, 0, 1]], probs, classes=["normal", "viral"]))
        class   images  as normal   as viral
        ------  ------  ----------  -----------
        normal       3  1 (33.3 %)  2 (66.7 %)
        viral        1  0 (0.0 %)   1 (100.0 %)
        4 images
    """
    cases = check_exclusive(labels, probs, classes)
    size = len(cases.classes)
    counts = np.bincount(cases.truth * size + cases.predicted, minlength=size * size).reshape(size, size)
    rows = []
    for name, row in zip(cases.classes, counts.tolist(), strict=True):
        total = sum(row)
        rows.append((name, total, *(CountShare(count, count / total) if total else None for count in row)))
    return Table(("class", "images", *(f"as {name}" for name in cases.classes)), tuple(rows), (count_note(cases),))
