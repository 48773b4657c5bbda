"""Ages as tables write them: `58`, `58.0`, and DICOM's `058Y`, `018M`, `003W`, `010D`."""

from __future__ import annotations

import re

from awb.errors import AWBError

OLDEST = 120  # years; NIH's first release has ages such as 411, a misprint of 41 years and one month, or of nothing
_AGE = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*([YMWD]?)", re.IGNORECASE)
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def age_in_years(text: str) -> float:
    """Age in years, from 0 to 120.

    Args:
        text: `58`, `58.0`, or DICOM's `058Y`, `018M`, `003W`, `010D`.

    Raises:
        AWBError: Not an age, or not a human's.

    Examples:
        >>> from awb.study import age_in_years
        >>> [age_in_years(age) for age in ("58", "058Y", "018M")]
        [58.0, 58.0, 1.5]
    """
    found = _AGE.fullmatch(text.strip())
    age = float(found[1]) * _YEARS[found[2].upper()] if found else -1.0
    if not 0 <= age <= OLDEST:
        raise AWBError(f"age {text!r}; expected years from 0 to {OLDEST}, or 058Y, 018M, 010D")
    return age
