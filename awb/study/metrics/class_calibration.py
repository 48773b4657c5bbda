"""Calibration of softmax probabilities: of the predicted class, the Brier score, and one temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Floats
from awb.study.metrics.calibration import expected_calibration_error
from awb.study.metrics.cases import check_cases
from awb.study.metrics.evaluate_classes import count_note
from awb.study.metrics.exclusive_cases import ExclusiveCases, check_exclusive
from awb.study.metrics.temperature import refuse_probabilities
from awb.table import Table

_BACK = "the softmax (numpy.log takes probabilities back)"


def top_class(labels: npt.ArrayLike, probs: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Whether the predicted class is right, and its probability, for `reliability_curve` and the like.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class.
        probs: Probabilities (n, C), each row of sum 1; the class of the highest is predicted, the first of equal ones.

    Returns:
        1 where the predicted class is right, 0 where it is wrong, NaN where the class is not known, float64 (n,); and
        the highest probability of each image, (n,).

    Raises:
        AWBError: Bad arrays, or a row that is not one-hot.

    Examples:
        >>> import numpy as np
        >>> from awb.study import expected_calibration_error, top_class
        >>> right, confidence = top_class(np.eye(2)[[0, 1]], [[0.9, 0.1], [0.8, 0.2]])
        >>> right.tolist(), confidence.tolist()
        ([1.0, 0.0], [0.9, 0.8])
        >>> expected_calibration_error(right, confidence, n_bins=1).round(3).tolist()
        [0.35]
    """
    cases = check_exclusive(labels, probs)
    confidence = check_cases(labels, probs).values.max(axis=1)
    right = np.full(len(confidence), np.nan)
    right[cases.rows] = cases.truth == cases.predicted
    return right, confidence


def evaluate_class_calibration(
    labels: npt.ArrayLike, probs: npt.ArrayLike, *, n_bins: int = 15, classes: Sequence[str] | None = None
) -> Table:
    """Table of the calibration of softmax probabilities, in one row.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out and counted.
        probs: Probabilities (n, C), each row of sum 1.
        n_bins: Number of bins of both ECEs.
        classes: C names.

    Returns:
        Accuracy and mean probability of the predicted class, equal if it is calibrated on average; its expected
        calibration error (Guo et al. 2017, equation 3) with bins of equal width and of equal mass; the mean Brier score
        (1950), Σ_c (p_c − y_c)², from 0 to 2, and that of always predicting the classes' shares; and the log loss, the
        mean of −log p of the true class, ∞ if one p is 0.

    Raises:
        AWBError: Bad arrays, a row that is not one-hot, or bad bins.

    Examples:
        >>> import numpy as np
        >>> from awb.study import evaluate_class_calibration
        >>> (row,) = evaluate_class_calibration(np.eye(2)[[0, 1]], [[0.9, 0.1], [0.8, 0.2]])
        >>> row["accuracy"], round(row["mean prob"], 3), round(row["Brier"], 3)
        (0.5, 0.85, 0.65)
    """
    cases = check_exclusive(labels, probs, classes)
    right, confidence = cases.truth == cases.predicted, cases.values.max(axis=1)
    shares = cases.counts / len(cases.rows)
    of_truth = cases.values[np.arange(len(cases.truth)), cases.truth]
    with np.errstate(divide="ignore"):
        log_loss = -np.log(of_truth).mean()
    values = {
        "accuracy": right.mean(),
        "mean prob": confidence.mean(),
        "ECE (width)": expected_calibration_error(right, confidence, n_bins=n_bins)[0],
        "ECE (mass)": expected_calibration_error(right, confidence, n_bins=n_bins, binning="mass")[0],
        "Brier": np.square(cases.values - cases.one_hot).sum(axis=1).mean(),
        "Brier of the shares": 1 - np.square(shares).sum(),
        "log loss": log_loss,
    }
    notes = (count_note(cases), f"mean prob, ECE: of the predicted class; {n_bins} bins")
    return Table(("images", *values), ((len(cases.rows), *map(float, values.values())),), notes)


def fit_softmax_temperature(
    labels: npt.ArrayLike, logits: npt.ArrayLike, *, classes: Sequence[str] | None = None
) -> float:
    """Temperature T that maximises the likelihood of softmax(logits / T) (Guo et al. 2017, section 4.2).

    Fit it on validation, never on test. It is one number for all classes, so that the predicted classes stay; the AUROC
    of a class against the rest changes a little.

    Args:
        labels: One-hot labels (n, C); a row with a NaN has no known class, and its image is left out.
        logits: Logits (n, C), before the softmax.
        classes: C names.

    Returns:
        The temperature, above 0; above 1 if the network is too sure.

    Raises:
        AWBError: Bad arrays; a row that is not one-hot; at least 20 images whose values all lie in 0–1, as
            probabilities do and logits do not; or no such temperature: the highest logit gives every class (T → 0), or
            the logits are no better than chance (T → ∞).

    Examples:
        >>> import numpy as np
        >>> from awb.study import fit_softmax_temperature
        >>> rng = np.random.default_rng(0)
        >>> logits = rng.normal(size=(50_000, 3))
        >>> truth = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
        >>> round(fit_softmax_temperature(np.eye(3)[truth], 2 * logits), 1)
        2.0
    """
    cases = check_exclusive(labels, logits, classes, kind="logits")
    refuse_probabilities(cases.values, _BACK)
    return _temperature(cases)


def apply_softmax_temperature(logits: npt.ArrayLike, temperature: float) -> Floats:
    """Probabilities softmax(logits / temperature).

    Args:
        logits: Logits (n, C).
        temperature: A number above 0, as from `fit_softmax_temperature`.

    Returns:
        Probabilities (n, C), each row of sum 1.

    Raises:
        AWBError: Not a positive temperature, logits that are not finite or have one class, or at least 20 images whose
            logits all lie in 0–1, as probabilities do.

    Examples:
        >>> from awb.study import apply_softmax_temperature
        >>> apply_softmax_temperature([[2.0, 0.0]], 2.0).round(3).tolist()
        [[0.731, 0.269]]
    """
    from scipy.special import softmax

    values = check_cases(np.zeros(np.shape(logits)), logits, kind="logits").values
    if values.shape[1] < 2:
        raise AWBError("logits of one class; a softmax needs two or more")
    if not (np.isfinite(temperature) and temperature > 0):
        raise AWBError(f"temperature={temperature!r}; expected a number above 0")
    refuse_probabilities(values, _BACK)
    return np.asarray(softmax(values / temperature, axis=1))


def _temperature(cases: ExclusiveCases) -> float:
    from scipy.optimize import brentq
    from scipy.special import softmax

    z = cases.values - cases.values.max(axis=1, keepdims=True)
    own = z[np.arange(len(z)), cases.truth]

    # the log-likelihood is concave in b = 1/T, so its slope has one root if it changes sign
    def slope(log_b: float) -> float:
        expected = (softmax(np.exp(log_b) * z, axis=1) * z).sum(axis=1)
        return float((own - expected).sum())

    if (own - z.mean(axis=1)).sum() <= 0:
        raise AWBError("no temperature: the logits are no better than chance")
    if (own == 0).all():
        raise AWBError("no temperature: the highest logit of each image tells its class already")
    bound = 1.0
    while slope(-bound) < 0 or slope(bound) > 0:
        bound *= 2
    return float(np.exp(-brentq(slope, -bound, bound, xtol=1e-12)))
