"""Temperature scaling: one temperature per class, by which logits are divided before the sigmoid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Floats
from awb.study.metrics.cases import ClassCases, check_cases, require_both_labels

_MANY = 20  # images; one or two logits may well lie in 0–1


def fit_temperature(y_true: npt.ArrayLike, logits: npt.ArrayLike, *, classes: Sequence[str] | None = None) -> Floats:
    """Temperature T of each class that maximises the likelihood of sigmoid(logit / T) (Guo et al. 2017, section 4).

    Fit it on validation, never on test. It changes neither the ranking, nor AUROC, nor AUPRC. A logit of 0 stays 0, so
    that it cannot correct probabilities that are all too high, as after training with class weights.

    Args:
        y_true: Labels (n, C).
        logits: Logits (n, C).
        classes: C names.

    Returns:
        Temperatures (C,), all positive.

    Raises:
        AWBError: Bad arrays; at least 20 images whose values all lie in 0–1, as probabilities do and logits do not; a
            class with one label only; or no such temperature: the sign of the logits gives every label (T → 0), or
            they are no better than chance (T → ∞).
    """
    cases = check_cases(y_true, logits, classes, kind="logits")
    refuse_probabilities(cases.values)
    require_both_labels(cases, "raise", what="a temperature")
    return np.array([_temperature(known) for known in cases])


def apply_temperature(logits: npt.ArrayLike, temperatures: npt.ArrayLike) -> Floats:
    """Probabilities sigmoid(logits / temperatures).

    Args:
        logits: Logits (n, C), or (n,) for one class.
        temperatures: Temperatures (C,), as from `fit_temperature`.

    Returns:
        Probabilities of the same shape.

    Raises:
        AWBError: Not one positive temperature per class, logits that are not finite, or at least 20 images whose logits
            all lie in 0–1, as probabilities do.
    """
    from scipy.special import expit

    values = check_cases(np.zeros(np.shape(logits)), logits, kind="logits").values
    scale = np.asarray(temperatures, dtype=np.float64)
    if scale.shape != (values.shape[1],) or not ((scale > 0) & np.isfinite(scale)).all():
        raise AWBError(f"temperatures {scale}; expected {values.shape[1]} positive numbers, one per class")
    refuse_probabilities(values)
    return np.asarray(expit(values / scale)).reshape(np.shape(logits))


def refuse_probabilities(
    values: Floats, before: str = "the sigmoid (scipy.special.logit takes probabilities back)"
) -> None:
    """Refuse logits that all lie in 0–1: as logits they would say nothing with certainty.

    Args:
        values: Logits (n, C).
        before: What logits are before, for the message.

    Raises:
        AWBError: They all lie there, and are too many for that to be chance.
    """
    if len(values) >= _MANY and (values >= 0).all() and (values <= 1).all() and ((values > 0) & (values < 1)).any():
        raise AWBError(f"all logits lie in 0–1, as probabilities do; give what was before {before}")


def _temperature(known: ClassCases) -> float:
    from scipy.optimize import brentq
    from scipy.special import expit

    z, y = known.values, known.y_true

    # the log-likelihood of sigmoid(b·z) is concave in b = 1/T, so its slope has one root if it changes sign
    def slope(log_b: float) -> float:
        return float(np.sum((y - expit(np.exp(log_b) * z)) * z))

    if np.sum((y - 0.5) * z) <= 0:
        raise AWBError(f"class {known.name!r}: no temperature, its logits are no better than chance")
    if not (z[y] < 0).any() and not (z[~y] > 0).any():
        raise AWBError(f"class {known.name!r}: no temperature, the sign of its logits tells every label already")
    bound = 1.0
    while slope(-bound) < 0 or slope(bound) > 0:
        bound *= 2
    return float(np.exp(-brentq(slope, -bound, bound, xtol=1e-12)))
