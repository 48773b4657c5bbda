"""Columns and classes that say that an image shows nothing: `No Finding`, `Normal`, `healthy`. They are no findings."""

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
    """Whether a name says that there is nothing, in any case and with any separators.

    Example:
        >>> from awb.study.no_finding import means_no_finding
        >>> [means_no_finding(name) for name in ("No Finding", "no_findings", "Normal", "Abnormal", "Nodule")]
        [True, True, True, False, False]
    """
    return _ABSENCE.fullmatch(_letters(name)) is not None


def findings_among(classes: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which classes are findings, (C,)."""
    return np.array([not means_no_finding(name) for name in classes], dtype=np.bool_)


def require_no_contradiction(
    name: str, absent: npt.ArrayLike, classes: Sequence[str], labels: npt.NDArray[np.float64], images: Sequence[str]
) -> None:
    """Refuse images that are said to show nothing and something.

    Args:
        name: Of the column that says that there is nothing.
        absent: Where it is 1, a mask (n,).
        classes: C names; those that are no findings are passed over, and so is `Support Devices`.
        labels: 0, 1 or NaN, (n, C).
        images: Their names, (n,).

    Raises:
        AWBError: There is such an image.
    """
    pathology = [not means_no_finding(each) and _letters(each) != _NO_PATHOLOGY for each in classes]
    both = np.asarray(absent, dtype=np.bool_)[:, None] & (labels == 1) & np.array(pathology, dtype=np.bool_)
    if both.any():
        row, column = np.argwhere(both)[0]
        count = int(both.any(axis=1).sum())
        more = f" ({count:,} such images)" if count > 1 else ""
        raise AWBError(
            f"image {str(images[row])!r}: {name!r} is 1, and so is {classes[column]!r}{more}; "
            "expected no finding, or findings"
        )


def _letters(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.casefold()))
