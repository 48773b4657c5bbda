"""A metric on every replicate of the patients: exactly scikit-learn's weighted numbers, without its sorting.

A replicate draws patients with replacement, so it is the same images with whole-number weights (Field & Welsh 2007,
"Bootstrapping clustered data"). Ranks do not change with the weights. So the images are put in order once, into bins
between the distinct scores of positives, and summed by patient: a sparse (bins × patients) matrix. That matrix times
the patients' counts, for a block of replicates that stays in the cache, gives the weight in each bin; a cumulative
sum gives what a positive beats. All sums are of whole numbers in float64, so they are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean
from awb.study.metrics.arrays import ClassCases, Floats, Indices, check_cases
from awb.study.metrics.replicates import Replicates


class WeightedMetric(Protocol):
    """What scikit-learn's metrics look like."""

    def __call__(self, y_true: Any, y_score: Any, *, sample_weight: Any) -> float:
        """The metric of one class: labels, scores and weights, (k,) each."""


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
    """A metric of each class on each replicate.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        scores: Same shape.
        replicates: `draw_replicates(groups)`, of the same n images.
        metric: `auroc` or `auprc`, both fast, or a function `metric(y_true, scores, sample_weight=…)` of one class,
            called for each class and replicate.
        classes: C names, for messages.

    Returns:
        (replicates, C). NaN where no positive or no negative of a class was drawn; such a replicate tells
        nothing of that class and is left out of its interval.

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
    if 2 * y.sum() > len(y):  # the same area from the other side, with fewer bins
        y, scores = ~y, -scores
    levels, level = np.unique(scores[y], return_inverse=True)
    positives = _histogram(level, groups[y], len(levels), n_groups)
    # a negative is in the sum of a level once if the level is at least its score, and once more if it is above it
    at_least, above = (np.searchsorted(levels, scores[~y], side) for side in ("left", "right"))
    negatives = _histogram(
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
    positives = _histogram(level, groups[y], len(levels), n_groups)
    negatives = _histogram(np.searchsorted(levels, scores[~y]), groups[~y], len(levels), n_groups)
    negatives_of = np.bincount(groups[~y], minlength=n_groups).astype(np.float64)

    def of_block(counts: Floats) -> Floats:
        positive = positives @ counts
        true_positive = np.cumsum(positive, axis=0)
        called = true_positive + np.cumsum(negatives @ counts, axis=0)
        np.maximum(called, 1, out=called)  # nothing drawn so far: the term is 0
        precision = np.divide(true_positive, called, out=called)
        average = _ratio(np.einsum("lb,lb->b", positive, precision), positive.sum(axis=0))
        # defined with no negative too, but then it says nothing; AUROC's rule for both
        return np.where(negatives_of @ counts > 0, average, np.nan)

    return of_block


def _any(metric: WeightedMetric, known: ClassCases, groups: Indices) -> _OfBlock:
    def of_replicate(count: Floats) -> float:
        weight = count[groups]
        drawn = weight > 0
        y = known.y_true[drawn]
        return metric(y, known.values[drawn], sample_weight=weight[drawn]) if y.any() and not y.all() else np.nan

    return lambda counts: np.array([of_replicate(count) for count in counts.T])


def _histogram(bins: Indices, groups: Indices, n_bins: int, n_groups: int) -> Any:
    """How many images of each group are in each bin, sparse (n_bins, n_groups); later bins are dropped."""
    from scipy.sparse import csr_array

    inside = bins < n_bins
    ones = np.ones(int(inside.sum()))
    return csr_array((ones, (bins[inside], groups[inside])), shape=(n_bins, n_groups))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
