"""Supported classes: enough groups (patients) have them, and enough do not, for a result to mean something."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.argument_names import argument
from awb.study.array_types import Bools, Floats


def supported_classes(labels: Floats, groups: npt.NDArray[Any], min_groups: int) -> Bools:
    """Mask of the classes, (C,), that at least `min_groups` groups have and at least as many do not.

    Args:
        labels: 0, 1 or NaN, (n, C).
        groups: Group of each image, (n,). One with images of both labels counts on both sides.
        min_groups: Smallest number of groups on either side, at least 1.

    Raises:
        AWBError: `min_groups` is not an int of at least 1.
    """
    if not isinstance(min_groups, int) or min_groups < 1:
        raise AWBError(f"{argument('min_groups')}={min_groups}; expected an int of at least 1")
    counts = [[len(np.unique(groups[column == value])) for value in (0, 1)] for column in labels.T]
    return np.array([min(both) >= min_groups for both in counts], dtype=np.bool_)


def unsupported_note(names: list[str], min_groups: int) -> str:
    """Note for a table that leaves out classes with too few groups."""
    why = "there is one label only" if min_groups == 1 else f"fewer than {min_groups} patients have it or have it not"
    return f"left out, since {why}: {', '.join(names)}"
