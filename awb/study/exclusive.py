"""Labels of ordinary classification: each image has exactly one class, or its class is not known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from awb.errors import AWBError, shortlist
from awb.study.array_types import Bools, Floats, Strings
from awb.study.no_finding import means_no_finding


def not_one_hot(labels: Floats) -> Bools:
    """Mask of the images, (n,), that have another number of classes than one; those with a NaN are not known."""
    known = ~np.isnan(labels).any(axis=1)
    return np.asarray(known & ((labels == 1).sum(axis=1) != 1))


def require_one_hot(images: Strings, classes: Sequence[str], labels: Floats, aside: Iterable[str], name: str) -> None:
    """Refuse labels of which a row has no class or several.

    Args:
        images: Names of the images, (n,).
        classes: C names.
        labels: 0, 1 or NaN, (n, C).
        aside: Names of the table's other columns; one such as `Normal` among them may be the class that is missing.
        name: What the table is, for the message.

    Raises:
        AWBError: An image has no class or several, or there are fewer than two classes.
    """
    if len(classes) < 2:
        raise AWBError(f"{name} has {len(classes)} class; expected two or more, of which each image has exactly one")
    wrong = np.flatnonzero(not_one_hot(labels))
    if not len(wrong):
        return
    own = [each for each, label in zip(classes, labels[wrong[0]], strict=True) if label == 1]
    has = f"has {len(own)} classes ({shortlist(own, 4)})" if own else "has no class"
    left_out = [column for column in aside if means_no_finding(column)]
    hint = f"; {left_out[0]!r} was not read as a class: name it among the classes" if left_out and not own else ""
    raise AWBError(
        f"{name}: image {str(images[wrong[0]])!r} {has}, and so {len(wrong):,} of {len(images):,} images have none or "
        f"several; expected exactly one of {shortlist(classes)}{hint}"
    )
