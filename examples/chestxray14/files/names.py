"""Names of files that are made of names of images, findings and stages, in which anything may be."""

from __future__ import annotations

import re


def file_name(text: str) -> str:
    """The text with `_` for what a file's name may not hold on every system: `a/b: c` becomes `a_b_ c`."""
    return re.sub(r"[^\w .,+=()-]", "_", text)
