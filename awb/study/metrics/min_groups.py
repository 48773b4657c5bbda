"""Option `min_groups`: leave out the classes that too few groups have, or too few do not have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError
from awb.study.array_types import Bools
from awb.study.metrics.cases import Cases, check_groups, require_one_group_per_image
from awb.study.supported import supported_classes, unsupported_note


def keep_supported(cases: Cases, groups: npt.ArrayLike, min_groups: int | None) -> tuple[Bools, tuple[str, ...]]:
    """Mask of the classes to keep, (C,), and a note that names the others.

    Args:
        cases: Labels and predictions.
        groups: Group of each image, (n,).
        min_groups: Smallest number of groups that have a class, and that have it not; None keeps all classes.

    Raises:
        AWBError: No class is left, `min_groups` is not an int of at least 1, or bad groups.
    """
    if min_groups is None:
        return np.ones(len(cases.classes), dtype=np.bool_), ()
    numbers = check_groups(groups)
    require_one_group_per_image(numbers, len(cases.y_true))
    use = supported_classes(cases.y_true, numbers, min_groups)
    if not use.any():
        raise AWBError(
            f"no class has {min_groups} groups (patients) with it and {min_groups} without; nothing can be evaluated"
        )
    names = [name for name, keep in zip(cases.classes, use, strict=True) if not keep]
    return use, (unsupported_note(names, min_groups),) if names else ()
