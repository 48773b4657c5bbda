"""Columns and classes that say that nothing was found, and are not findings: `No Finding`, `Normal`, `healthy`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from awb.errors import AWBError

_ABSENCE = re.compile(
    r"(is)?("
    r"(no|without|withoutany)(acute|significant|relevant|obvious)?"
    r"(finding|abnormality|abnormalitie|abnormal|anomaly|anomalie|disease|pathology|pathologie|lesion)s?"
    r"(detected|found|present|seen)?"
    r"|(normal|healthy|unremarkable|negative|none|nil)"
    r"(case|chest|control|cxr|exam|image|lung|patient|radiograph|scan|study|xray)?s?"
    r")"
)
_NO_PATHOLOGY = "supportdevices"  # CheXpert's and MIMIC-CXR's `No Finding` allows them


def means_no_finding(name: str) -> bool:
    """True if a class name says that nothing was found, in any case and with any separators.

    Examples:
        >>> from awb.study.no_finding import means_no_finding
        >>> [means_no_finding(name) for name in ("No Finding", "no_findings", "Normal", "Abnormal", "Nodule")]
        [True, True, True, False, False]
    """
    return _ABSENCE.fullmatch(_letters(name)) is not None


def findings_among(classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Mask of the classes that are findings, (C,)."""
    return np.array([not means_no_finding(name) for name in classes], dtype=np.bool_)


def require_no_contradiction(
    name: str, absent: npt.ArrayLike, classes: Sequence[str], labels: npt.NDArray[np.float64], images: Sequence[str]
) -> None:
    """Refuse images that have both a finding and a column such as `No Finding`.

    Args:
        name: Name of the column that means that nothing was found.
        absent: Mask of the images where it is 1, (n,).
        classes: C names; classes that are not findings are ignored, and so is `Support Devices`.
        labels: Labels (n, C).
        images: Names of the images, (n,).

    Raises:
        AWBError: An image has both.
    """
    pathology = [not means_no_finding(each) and _letters(each) != _NO_PATHOLOGY for each in classes]
    both = np.asarray(absent, dtype=np.bool_)[:, None] & (labels == 1) & np.array(pathology, dtype=np.bool_)
    if both.any():
        row, column = np.argwhere(both)[0]
        count = int(both.any(axis=1).sum())
        more = f" ({count:,} such images)" if count > 1 else ""
        raise AWBError(
            f"image {str(images[row])!r}: {name!r} is 1, and so is {classes[column]!r}{more}; expected only one of them"
        )


def _letters(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.casefold()))
