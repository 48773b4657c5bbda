"""p-values of paired differences, and their correction for many classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from awb.study.array_types import Floats


def bootstrap_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of no difference, from a paired difference on each replicate.

    Twice the smaller share of replicates at or beyond 0 on either side, at most 1. Each share is (k + 1) / (R + 1), so
    that it is never 0 (Davison & Hinkley 1997, *Bootstrap Methods*, section 4.2). The percentile interval at level
    1 − p just touches 0.

    Args:
        differences: Difference on each replicate, (R,); NaN where it is not defined.

    Returns:
        p; NaN without a defined replicate.
    """
    defined = np.asarray(differences, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return float("nan")
    beyond = min((defined <= 0).sum(), (defined >= 0).sum())
    return min(1.0, 2 * float(beyond + 1) / (len(defined) + 1))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's step-down correction (1979) of m p-values: the chance of any false claim stays below the level.

    The i-th smallest p is multiplied by m − i + 1, and is at least the one before it, at most 1.

    Args:
        p: p-values, (m,). NaN is not a test: it is not counted and stays NaN.

    Returns:
        Corrected p, (m,).
    """
    values = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    corrected = np.full(values.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected
