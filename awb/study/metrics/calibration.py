"""Calibration of probabilities: Brier score, ECE and reliability curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Floats, Indices
from awb.study.metrics.cases import ClassCases, check_cases
from awb.study.metrics.table_columns import or_none
from awb.table import Table

Binning = Literal["width", "mass"]


def brier_score(y_true: npt.ArrayLike, probs: npt.ArrayLike, *, classes: Sequence[str] | None = None) -> Floats:
    """Mean squared difference of probability and label (Brier 1950): scikit-learn's `brier_score_loss`.

    Compare it with p · (1 − p), which a constant prediction of the prevalence p gets: small for a rare class.

    Args:
        y_true: Labels (n, C).
        probs: Probabilities (n, C).
        classes: C names.

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

    Computed on the probability of the class itself, not of the more probable answer (formula: Naeini et al. 2015; Guo
    et al. 2017, equation 3). It depends on the bins, so report them with it.

    Args:
        y_true: Labels (n, C).
        probs: Probabilities (n, C).
        n_bins: Number of bins.
        binning: `width`: bins of equal width in 0–1; `mass`: bins of equally many images (as far as ties allow), so
            that most lie where most images are, usually near 0.
        classes: C names.

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
    """Points of a reliability diagram: scikit-learn's `calibration_curve`, with counts.

    Args:
        y_true: Labels (n, C).
        probs: Probabilities (n, C).
        n_bins: Number of bins.
        binning: `width` or `mass`, as in `expected_calibration_error`.
        classes: C names.

    Returns:
        One row per class and non-empty bin: images, mean probability, share of positives.

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
    """Table of each class's calibration.

    Args:
        y_true: Labels (n, C).
        probs: Probabilities (n, C).
        n_bins: Number of bins of both ECEs.
        classes: C names.

    Returns:
        One row per class: prevalence and mean probability, equal if calibrated on average; the Brier score, and that
        of always predicting the prevalence; ECE with bins of equal width and of equal mass.

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
    """Images, mean probability and share of positives of each non-empty bin."""
    bins = _bin_of(known.values, n_bins, binning)
    count, probs, positives = (
        np.bincount(bins, weights, minlength=n_bins) for weights in (None, known.values, known.y_true)
    )
    full = count > 0
    return count[full].astype(np.float64), probs[full] / count[full], positives[full] / count[full]


def _bin_of(probs: Floats, n_bins: int, binning: Binning) -> Indices:
    """Bin of each probability, as scikit-learn assigns it: on an edge, the bin below."""
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
