"""Checked labels and predictions where each image has exactly one class; each error names the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Bools, Floats, Indices
from awb.study.exclusive import not_one_hot
from awb.study.metrics.cases import Cases, check_cases

_ROUNDING = 0.01  # of a sum of probabilities in half precision


@dataclass(frozen=True, eq=False)
class ExclusiveCases:
    """Images whose one class is known.

    Attributes:
        truth: Index of each image's class, (k,).
        values: Probabilities or logits, (k, C), all finite.
        rows: Row of each image among all n images, (k,).
        classes: C names.
        n_unknown: Number of images without a known class, n − k.
    """

    truth: Indices
    values: Floats
    rows: Indices
    classes: tuple[str, ...]
    n_unknown: int

    @property
    def predicted(self) -> Indices:
        """Index of the class with the highest value, the first of equal ones, (k,)."""
        return np.asarray(self.values.argmax(axis=1))

    @property
    def counts(self) -> Indices:
        """Number of images of each class, (C,)."""
        return np.bincount(self.truth, minlength=len(self.classes))

    @property
    def one_hot(self) -> Bools:
        """Each class against the rest, (k, C)."""
        return np.asarray(self.truth[:, None] == np.arange(len(self.classes)))

    def cases(self) -> Cases:
        """The same images as labels of C classes, for metrics of one class against the rest."""
        return Cases(self.one_hot.astype(np.float64), self.values, self.classes)

    def taken(self, chosen: Bools) -> ExclusiveCases:
        """Some of the images, given as a mask (k,)."""
        return replace(self, truth=self.truth[chosen], values=self.values[chosen], rows=self.rows[chosen])


def check_exclusive(
    labels: npt.ArrayLike,
    values: npt.ArrayLike,
    classes: Sequence[str] | None = None,
    *,
    kind: Literal["probs", "logits"] = "probs",
) -> ExclusiveCases:
    """Check one-hot labels and predictions, (n, C) each; images with a NaN among their labels are left out.

    Raises:
        AWBError: As in `check_cases`; fewer than two classes; a row with no 1 or several; no image with a known class;
            or probabilities of an image that do not sum to 1.
    """
    cases = check_cases(labels, values, classes, kind=kind)
    if len(cases.classes) < 2:
        raise AWBError(
            "labels of one class; expected two classes or more, one column each, with one 1 per row (one-hot): "
            "numpy.eye(C)[numbers] makes them of class numbers"
        )
    wrong = np.flatnonzero(not_one_hot(cases.y_true))
    if len(wrong):
        more = f" ({len(wrong):,} such images)" if len(wrong) > 1 else ""
        ones = int((cases.y_true[wrong[0]] == 1).sum())
        raise AWBError(f"row {wrong[0]}: {ones} classes are 1; expected exactly one of {len(cases.classes)}{more}")
    rows = np.flatnonzero(~np.isnan(cases.y_true).any(axis=1))
    if not len(rows):
        raise AWBError("no image has a known class: each row has a NaN; there is nothing to evaluate")
    if kind == "probs":
        _require_sums_of_1(cases.values)
    truth = cases.y_true[rows].argmax(axis=1)
    return ExclusiveCases(truth, cases.values[rows], rows, cases.classes, len(cases.y_true) - len(rows))


def _require_sums_of_1(probs: Floats) -> None:
    sums = probs.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > _ROUNDING)
    if len(wrong):
        more = f" ({len(wrong):,} such rows)" if len(wrong) > 1 else ""
        raise AWBError(
            f"row {wrong[0]}: probabilities sum to {sums[wrong[0]]:.4g}; expected 1, as after a softmax over the "
            f"classes{more}"
        )
