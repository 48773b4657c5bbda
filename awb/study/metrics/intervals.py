"""From replicates to an interval, and the rule for replicates that say nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError


class Interval(NamedTuple):
    """A confidence interval; prints as `0.790–0.834`."""

    low: float
    high: float

    def __str__(self) -> str:
        dash = "–" if self.low >= 0 else " to "
        return f"{self.low:.3f}{dash}{self.high:.3f}"


def percentile_interval(values: npt.ArrayLike, *, level: float = 0.95, max_left_out: float = 0.05) -> Interval | None:
    """The percentile bootstrap interval.

    Replicates without a positive or without a negative (NaN) are left out. If they are many, what is left is no
    sample of what could have been seen, and there is no interval.

    Args:
        values: A metric on each replicate, (R,), NaN where it is not defined.
        level: The share of replicates inside.
        max_left_out: The largest share of replicates that may be left out.

    Returns:
        The interval; None if more than `max_left_out` of the replicates are undefined.

    Raises:
        AWBError: No replicates, or a level or share outside 0–1.
    """
    check_level(level, max_left_out)
    replicates = np.asarray(values, dtype=np.float64)
    if replicates.ndim != 1 or not len(replicates):
        raise AWBError(f"values have shape {replicates.shape}; expected (replicates,), at least one")
    defined = replicates[~np.isnan(replicates)]
    left_out = len(replicates) - len(defined)
    if left_out > max_left_out * len(replicates) or not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def check_level(level: float, max_left_out: float) -> None:
    """Refuse shares that are none.

    Raises:
        AWBError: `level` is not between 0 and 1, or `max_left_out` not in 0–1 (1 excluded).
    """
    if not 0 < level < 1:
        raise AWBError(f"level={level}; expected a share between 0 and 1, such as 0.95")
    if not 0 <= max_left_out < 1:
        raise AWBError(f"max_left_out={max_left_out}; expected a share from 0 to below 1, such as 0.05")
