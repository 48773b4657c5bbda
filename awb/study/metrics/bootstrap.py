"""AUROC and AUPRC on every bootstrap replicate: scikit-learn's weighted values exactly, without repeated sorting.

A replicate draws patients with replacement: the same images with whole-number weights (Field & Welsh 2007,
"Bootstrapping clustered data"). Weights do not change ranks. So the images are sorted once, into bins between the
distinct scores of positives, and counted by patient in a sparse (bins × patients) matrix. Its product with the
patients' counts, for a block of replicates that fits in the cache, is the weight in each bin; a cumulative sum gives
the weight of the negatives below each positive. All sums are of whole numbers in float64, so they are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean
from awb.study.array_types import Floats, Indices
from awb.study.metrics.cases import ClassCases, check_cases
from awb.study.metrics.replicates import Replicates


class WeightedMetric(Protocol):
    """Signature of scikit-learn's metrics."""

    def __call__(self, y_true: Any, y_score: Any, *, sample_weight: Any) -> float:
        """Metric of one class, from labels, scores and weights, (k,) each."""


Metric = Literal["auroc", "auprc"] | WeightedMetric
_OfBlock = Callable[[Floats], Floats]  # counts (G, B) → values (B,)


def bootstrap(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    replicates: Replicates,
    *,
    metric: Metric = "auroc",
    classes: Sequence[str] | None = None,
) -> Floats:
    """Compute a metric of each class on each bootstrap replicate.

    Args:
        y_true: Labels (n, C).
        scores: Scores (n, C).
        replicates: `draw_replicates(groups)`, of the same n images.
        metric: `auroc` or `auprc`, both fast, or a function `metric(y_true, scores, sample_weight=…)` of one class,
            called for each class and replicate.
        classes: C names.

    Returns:
        float64 (replicates, C). NaN where no positive or no negative of a class was drawn; such a replicate says
        nothing about that class and is left out of its interval.

    Raises:
        AWBError: Bad arrays, replicates of other images, or no such metric.
    """
    cases = check_cases(y_true, scores, classes)
    replicates.require_images(len(cases.y_true))
    prepare = _find(metric)
    of_block = [prepare(known, replicates.groups[known.rows], replicates.n_groups) for known in cases]
    values = np.empty((len(replicates), len(cases.classes)))
    for block, counts in replicates.blocks():
        for c, of_class in enumerate(of_block):
            values[block, c] = of_class(counts)
    return values


def _find(metric: Metric) -> Callable[[ClassCases, Indices, int], _OfBlock]:
    fast = {"auroc": _auroc, "auprc": _auprc}
    if isinstance(metric, str):
        if metric not in fast:
            raise AWBError(f"no metric {metric!r}{did_you_mean(metric, fast)}; there are auroc, auprc, or a function")
        return fast[metric]
    return lambda known, groups, n_groups: _any(metric, known, groups)


def _auroc(known: ClassCases, groups: Indices, n_groups: int) -> _OfBlock:
    y, scores = known.y_true, known.values
    if 2 * y.sum() > len(y):  # the same AUROC with labels and signs swapped, and fewer bins
        y, scores = ~y, -scores
    levels, level = np.unique(scores[y], return_inverse=True)
    positives = histogram(level, groups[y], len(levels), n_groups)
    # the cumulative sum at a level counts a negative once if its score is at most the level, twice if it is below
    at_least, above = (np.searchsorted(levels, scores[~y], side) for side in ("left", "right"))
    negatives = histogram(
        np.concatenate([at_least, above]), np.concatenate([groups[~y], groups[~y]]), len(levels), n_groups
    )
    negatives_of = np.bincount(groups[~y], minlength=n_groups).astype(np.float64)

    def of_block(counts: Floats) -> Floats:
        positive = positives @ counts
        twice_beaten = negatives @ counts
        np.cumsum(twice_beaten, axis=0, out=twice_beaten)
        return _ratio(np.einsum("lb,lb->b", positive, twice_beaten), 2 * positive.sum(axis=0) * (negatives_of @ counts))

    return of_block


def _auprc(known: ClassCases, groups: Indices, n_groups: int) -> _OfBlock:
    y, scores = known.y_true, -known.values  # the highest scores first
    levels, level = np.unique(scores[y], return_inverse=True)
    positives = histogram(level, groups[y], len(levels), n_groups)
    negatives = histogram(np.searchsorted(levels, scores[~y]), groups[~y], len(levels), n_groups)
    negatives_of = np.bincount(groups[~y], minlength=n_groups).astype(np.float64)

    def of_block(counts: Floats) -> Floats:
        positive = positives @ counts
        true_positive = np.cumsum(positive, axis=0)
        called = true_positive + np.cumsum(negatives @ counts, axis=0)
        np.maximum(called, 1, out=called)  # nothing drawn so far: true_positive is 0, and so is the term
        precision = np.divide(true_positive, called, out=called)
        average = _ratio(np.einsum("lb,lb->b", positive, precision), positive.sum(axis=0))
        # without negatives AUPRC is defined but says nothing, so it follows AUROC's rule
        return np.where(negatives_of @ counts > 0, average, np.nan)

    return of_block


def _any(metric: WeightedMetric, known: ClassCases, groups: Indices) -> _OfBlock:
    def of_replicate(count: Floats) -> float:
        weight = count[groups]
        drawn = weight > 0
        y = known.y_true[drawn]
        return metric(y, known.values[drawn], sample_weight=weight[drawn]) if y.any() and not y.all() else np.nan

    return lambda counts: np.array([of_replicate(count) for count in counts.T])


def histogram(bins: Indices, groups: Indices, n_bins: int, n_groups: int) -> Any:
    """Number of images of each group in each bin, sparse (n_bins, n_groups); bins beyond n_bins are dropped."""
    from scipy.sparse import csr_array

    inside = bins < n_bins
    ones = np.ones(int(inside.sum()))
    return csr_array((ones, (bins[inside], groups[inside])), shape=(n_bins, n_groups))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
