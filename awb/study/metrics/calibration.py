"""Do probabilities mean what they say? Brier score, ECE and reliability curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.metrics.arrays import ClassCases, Floats, Indices, check_cases
from awb.study.metrics.table_columns import or_none
from awb.table import Table

Binning = Literal["width", "mass"]


def brier_score(y_true: npt.ArrayLike, probs: npt.ArrayLike, *, classes: Sequence[str] | None = None) -> Floats:
    """Mean squared difference of probability and label (Brier 1950): scikit-learn's `brier_score_loss`.

    Always answering the prevalence p gives p · (1 − p), which is small for a rare class: compare with that.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        probs: In 0–1, same shape.
        classes: C names, for messages.

    Returns:
        (C,) in 0–1, lower is better; NaN for a class without a known label.

    Raises:
        AWBError: Bad arrays, or a value outside 0–1.
    """
    cases = check_cases(y_true, probs, classes, kind="probs")
    return np.array([_mean(np.square(known.values - known.y_true)) for known in cases])


def expected_calibration_error(
    y_true: npt.ArrayLike,
    probs: npt.ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "width",
    classes: Sequence[str] | None = None,
) -> Floats:
    """ECE: the mean over images of |share of positives − mean probability| in the image's bin.

    Of the probability of the class itself, not of the more probable answer (Naeini et al. 2015; Guo et al. 2017,
    equation 3, for the formula). It depends on the bins: state them.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        probs: In 0–1, same shape.
        n_bins: How many bins.
        binning: `width`: bins of equal width in 0–1; `mass`: of equally many images (as far as ties allow), which
            looks where the images are, as a rule near 0.
        classes: C names, for messages.

    Returns:
        (C,) in 0–1; NaN for a class without a known label.

    Raises:
        AWBError: Bad arrays, a value outside 0–1, or bad bins.
    """
    cases = check_cases(y_true, probs, classes, kind="probs")
    _check_bins(n_bins, binning)
    return np.array([_ece(known, n_bins, binning) for known in cases])


def reliability_curve(
    y_true: npt.ArrayLike,
    probs: npt.ArrayLike,
    *,
    n_bins: int = 15,
    binning: Binning = "width",
    classes: Sequence[str] | None = None,
) -> Table:
    """The points of a reliability diagram: scikit-learn's `calibration_curve`, with counts.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        probs: In 0–1, same shape.
        n_bins: How many bins.
        binning: `width` or `mass`, as in `expected_calibration_error`.
        classes: C names.

    Returns:
        A row a class and bin that is not empty: images, mean probability, share of positives.

    Raises:
        AWBError: Bad arrays, a value outside 0–1, or bad bins.
    """
    cases = check_cases(y_true, probs, classes, kind="probs")
    _check_bins(n_bins, binning)
    rows = tuple(
        (known.name, int(count), float(mean), float(share))
        for known in cases
        for count, mean, share in zip(*_bins(known, n_bins, binning), strict=True)
    )
    return Table(("class", "n", "mean prob", "share of positives"), rows)


def evaluate_calibration(
    y_true: npt.ArrayLike,
    probs: npt.ArrayLike,
    *,
    n_bins: int = 15,
    classes: Sequence[str] | None = None,
) -> Table:
    """Calibration of each class.

    Args:
        y_true: 0, 1 or NaN (unknown, left out of that class), (n, C), or (n,) for one class.
        probs: In 0–1, same shape.
        n_bins: Of both ECEs.
        classes: C names.

    Returns:
        A row a class: prevalence and mean probability, which agree if calibrated at large; the Brier score, and that
        of always answering the prevalence; ECE with bins of equal width and of equal mass.

    Raises:
        AWBError: Bad arrays, or a value outside 0–1.
    """
    cases = check_cases(y_true, probs, classes, kind="probs")
    _check_bins(n_bins, "width")
    rows = []
    for known in cases:
        prevalence = _mean(known.y_true.astype(np.float64))
        brier = _mean(np.square(known.values - known.y_true))
        errors = [_ece(known, n_bins, "width"), _ece(known, n_bins, "mass")]
        values = [prevalence, _mean(known.values), brier, prevalence * (1 - prevalence), *errors]
        rows.append((known.name, len(known.y_true), int(known.y_true.sum()), *or_none(values)))
    headers = ("class", "n", "positives", "prevalence", "mean prob", "Brier", "Brier of prevalence")
    return Table((*headers, "ECE (width)", "ECE (mass)"), tuple(rows), (f"ECE: {n_bins} bins",))


def _bins(known: ClassCases, n_bins: int, binning: Binning) -> tuple[Floats, Floats, Floats]:
    """Images, mean probability and share of positives in each bin that is not empty."""
    bins = _bin_of(known.values, n_bins, binning)
    count, probs, positives = (
        np.bincount(bins, weights, minlength=n_bins) for weights in (None, known.values, known.y_true)
    )
    full = count > 0
    return count[full].astype(np.float64), probs[full] / count[full], positives[full] / count[full]


def _bin_of(probs: Floats, n_bins: int, binning: Binning) -> Indices:
    """Scikit-learn's bins: a probability on an edge belongs to the bin below."""
    if not len(probs):
        return np.zeros(0, dtype=np.intp)
    edges = np.linspace(0, 1, n_bins + 1)
    if binning == "mass":
        edges = np.percentile(probs, edges * 100)
    return np.searchsorted(edges[1:-1], probs)


def _ece(known: ClassCases, n_bins: int, binning: Binning) -> float:
    count, probs, positives = _bins(known, n_bins, binning)
    return float(count @ np.abs(positives - probs) / count.sum()) if len(count) else float("nan")


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _check_bins(n_bins: int, binning: str) -> None:
    if n_bins < 1:
        raise AWBError(f"n_bins={n_bins}; expected a positive int")
    if binning not in ("width", "mass"):
        raise AWBError(f"binning={binning!r}; expected 'width' or 'mass'")
