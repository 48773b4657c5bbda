"""Whose images these are; what may be said of figures depends on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

PREFIX = "synthetic_"  # of the names of phantom images
SIGNATURE = "SYNTHETIC.json"  # the file that marks a folder of phantoms
Origin = Literal["phantoms", "NIH", "own"]
_NIH_NAME = re.compile(r"\d{8}_\d{3}\.png")


def origin_of(images: Iterable[str], labels_are_nih_s: bool) -> Origin:
    """Judged by the images' names, which stay when files are moved.

    Args:
        images: All of a study. One phantom among them makes it one of phantoms.
        labels_are_nih_s: Whether the labels were read from NIH's own file; labels of one's own for NIH's images are
            one's own.
    """
    names = [image.rpartition("/")[-1] for image in images]
    if any(name.startswith(PREFIX) for name in names):
        return "phantoms"
    return "NIH" if labels_are_nih_s and all(map(_NIH_NAME.fullmatch, names)) else "own"
