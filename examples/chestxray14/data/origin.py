"""Data source of a study: phantoms, NIH or your own images. Permissible claims about results depend on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

PREFIX = "synthetic_"  # begins the name of every phantom image
SIGNATURE = "SYNTHETIC.json"  # marks a folder of phantoms
Origin = Literal["phantoms", "NIH", "own"]
_NIH_NAME = re.compile(r"\d{8}_\d{3}\.png")


def origin_of(images: Iterable[str], labels_from_nih: bool) -> Origin:
    """Tell the data source by the images' names, which stay the same when files are moved.

    Args:
        images: Names of all images of a study. One phantom among them makes it a study of phantoms.
        labels_from_nih: True if the labels were read from NIH's own file; NIH's images with labels of your own are your
            own.
    """
    names = [image.rpartition("/")[-1] for image in images]
    if any(name.startswith(PREFIX) for name in names):
        return "phantoms"
    return "NIH" if labels_from_nih and all(map(_NIH_NAME.fullmatch, names)) else "own"
