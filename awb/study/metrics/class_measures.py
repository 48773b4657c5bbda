"""Measures of ordinary classification on all images and on each replicate of the patients, as `Estimates`.

All but AUROC are functions of three counts of each class: its images, those predicted as it, and those that are both. A
replicate's counts are a product of sparse (classes × patients) matrices with the patients' numbers of draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError, did_you_mean
from awb.study.array_types import Bools, Floats
from awb.study.metrics.bootstrap import histogram
from awb.study.metrics.cases import Undefined, require_both_labels
from awb.study.metrics.estimates import Estimates, estimate_cases
from awb.study.metrics.exclusive_cases import ExclusiveCases, check_exclusive
from awb.study.metrics.replicates import Replicates

ClassMeasure = Literal[
    "accuracy", "balanced_accuracy", "macro_f1", "kappa", "macro_auroc", "sensitivity", "precision", "f1", "auroc"
]
TITLES: dict[str, str] = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "kappa": "Cohen's kappa",
    "macro_auroc": "macro AUROC",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "f1": "F1",
    "auroc": "AUROC",
}
_MEANS = {"balanced_accuracy": "sensitivity", "macro_f1": "f1", "macro_auroc": "auroc"}  # over the classes
OF_ALL_IMAGES = ("accuracy", "kappa")  # whatever their classes
OVERALL: tuple[ClassMeasure, ...] = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "macro_auroc")


class Counts(NamedTuple):
    """Numbers of images of each class, (C, B) each, in each of B samples: of the class, predicted as it, and both."""

    truth: Floats
    predicted: Floats
    both: Floats


def estimate_classes(
    labels: npt.ArrayLike,
    probs: npt.ArrayLike,
    replicates: Replicates,
    *,
    measure: ClassMeasure = "accuracy",
    classes: Sequence[str] | None = None,
    undefined: Undefined = "raise",
) -> Estimates:
    """A measure of ordinary classification, on all images and on each replicate of the patients.

    An image is predicted as the class of the highest probability, the first of equal ones. Measures are scikit-learn's:

    - of all classes: `accuracy`; `balanced_accuracy`, the mean sensitivity; `macro_f1`, the mean F1; `kappa`, Cohen's
      (1960), unweighted; `macro_auroc`, the mean AUROC of each class against the rest;
    - of each class: `sensitivity` (recall), `precision`, `f1`, and `auroc` against the rest.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out.
        probs: Probabilities (n, C), each row of sum 1.
        replicates: `draw_replicates(groups)`, of the same n images.
        measure: One of those above.
        classes: C names.
        undefined: For a class without images: `raise`, or `skip`: its measures are NaN, and means leave it out.

    Returns:
        Estimates of one value, named as the measure, or of C. NaN where a ratio has a denominator of 0, such as the
        precision of a class that is never predicted; a mean over the classes is NaN on replicates without one of them.

    Raises:
        AWBError: Bad arrays, a row that is not one-hot, replicates of other images, no such measure, or a class without
            images.

    Examples:
        >>> import numpy as np
        >>> from awb.study import draw_replicates, estimate_classes
        >>> labels = np.eye(3)[[0, 1, 2, 0, 1, 2]]
        >>> probs = np.full((6, 3), 0.1) + 0.7 * np.eye(3)[[0, 1, 2, 0, 1, 1]]
        >>> replicates = draw_replicates(range(6), n_replicates=100)
        >>> estimate_classes(labels, probs, replicates, classes=["a", "b", "c"]).values.round(3).tolist()
        [0.833]
        >>> estimate_classes(labels, probs, replicates, measure="sensitivity").values.tolist()
        [1.0, 1.0, 0.5]
    """
    require_measure(measure)
    cases = check_exclusive(labels, probs, classes)
    require_both_labels(cases.cases(), undefined, what=TITLES[measure])
    replicates.require_images(len(cases.rows) + cases.n_unknown)
    return estimate_exclusive(cases, replicates, measure)


def estimate_exclusive(
    cases: ExclusiveCases, replicates: Replicates, measure: ClassMeasure, averaged: Bools | None = None
) -> Estimates:
    """`estimate_classes` of checked cases.

    Args:
        cases: Images whose class is known.
        replicates: Replicates of all n images, those without a known class as well.
        measure: The measure.
        averaged: Mask of the classes in a mean over classes, (C,); by default those with images, and others.
    """
    if measure in _MEANS:
        each = estimate_exclusive(cases, replicates, _MEANS[measure])  # type: ignore[arg-type]
        use = averaged_measures(cases) if averaged is None else averaged
        mean = each.macro(use)
        return Estimates((TITLES[measure],), mean.values, mean.sampled, replicates)
    if measure == "auroc":
        return _aurocs(cases, replicates)
    compute = _OF_COUNTS[measure]
    groups = replicates.groups[cases.rows]
    sampled = []
    of_groups = [
        histogram(index, groups[chosen], len(cases.classes), replicates.n_groups) for index, chosen in _images_of(cases)
    ]
    for _, draws in replicates.blocks():
        sampled.append(compute(Counts(*(matrix @ draws for matrix in of_groups))))
    values = compute(Counts(*(matrix @ np.ones((replicates.n_groups, 1)) for matrix in of_groups)))
    names = cases.classes if len(values) == len(cases.classes) else (TITLES[measure],)
    return Estimates(names, values[:, 0], np.concatenate(sampled, axis=1).T, replicates)


def averaged_measures(cases: ExclusiveCases) -> Bools:
    """Mask of the classes in means over classes, (C,): those that some images have, and some have not."""
    return np.asarray((cases.counts > 0) & (cases.counts < len(cases.rows)))


def require_measure(measure: str) -> None:
    """Refuse a measure that does not exist.

    Raises:
        AWBError: There is none of this name.
    """
    if measure not in TITLES:
        raise AWBError(f"no measure {measure!r}{did_you_mean(str(measure), TITLES)}; there are {', '.join(TITLES)}")


def _images_of(cases: ExclusiveCases) -> list[tuple[npt.NDArray[np.intp], Bools]]:
    """Class indices and masks of images, in the order of `Counts`."""
    everyone, right = np.ones(len(cases.truth), dtype=np.bool_), cases.truth == cases.predicted
    return [(cases.truth, everyone), (cases.predicted, everyone), (cases.truth[right], right)]


def _aurocs(cases: ExclusiveCases, replicates: Replicates) -> Estimates:
    """AUROC of each class against the rest, by `bootstrap`, which takes all n images."""
    n = len(cases.rows) + cases.n_unknown
    known = cases.cases()
    labels, values = np.full((n, len(cases.classes)), np.nan), np.zeros((n, len(cases.classes)))
    labels[cases.rows], values[cases.rows] = known.y_true, known.values
    return estimate_cases(type(known)(labels, values, cases.classes), replicates, "auroc")


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _accuracy(counts: Counts) -> Floats:
    return _ratio(counts.both.sum(axis=0), counts.truth.sum(axis=0))[None]


def _kappa(counts: Counts) -> Floats:
    """Agreement beyond chance over the most that there can be; NaN where there is one class only, and predicted."""
    n = counts.truth.sum(axis=0)
    chance = (counts.truth * counts.predicted).sum(axis=0)  # times n²
    return _ratio(n * counts.both.sum(axis=0) - chance, n * n - chance)[None]


def _f1(counts: Counts) -> Floats:
    f1 = _ratio(2 * counts.both, counts.truth + counts.predicted)
    return np.where(counts.truth > 0, f1, np.nan)  # without images it says nothing, as sensitivity


_OF_COUNTS: dict[str, Callable[[Counts], Floats]] = {
    "accuracy": _accuracy,
    "kappa": _kappa,
    "sensitivity": lambda counts: _ratio(counts.both, counts.truth),
    "precision": lambda counts: _ratio(counts.both, counts.predicted),
    "f1": _f1,
}
