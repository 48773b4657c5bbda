"""File names made from names of images, findings and stages, which may contain any character."""

from __future__ import annotations

import re


def file_name(text: str) -> str:
    """Replace characters that some system forbids in file names by `_`: `a/b: c` becomes `a_b_ c`."""
    return re.sub(r"[^\w .,+=()-]", "_", text)
