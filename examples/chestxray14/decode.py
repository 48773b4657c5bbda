"""Decode one X-ray file to square 8-bit grey. Light to import: worker processes do little else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from awb.errors import AWBError

_GREY_OR_COLOUR = ("L", "RGB")
_WITH_ALPHA = ("LA", "RGBA", "PA")
_REDUCING_GAP = 3.0  # Pillow: "almost indistinguishable from fair resampling"


def decode(path: str | Path, size: int) -> npt.NDArray[np.uint8]:
    """Read an image and bring it to size × size, whatever its aspect ratio, by antialiased bilinear interpolation.

    Three colour channels become luma (ITU-R 601), which leaves three equal ones as they are.

    Returns:
        uint8 (size, size).

    Raises:
        AWBError: The file is damaged, has more than 8 bits a channel, or is partly transparent.
    """
    try:
        with Image.open(path) as image:
            if image.format == "PNG":  # PIL checks the sums of a PNG's pixels only when asked, and then is done with it
                image.verify()
        with Image.open(path) as image:
            # a JPEG may be decoded at a fraction of its size, never so small that it is sharper than others will be
            image.draft("L", (round(_REDUCING_GAP * size),) * 2)
            image.load()
            return np.asarray(_grey(image).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP))
    except AWBError:
        raise
    except Exception as error:  # each format's decoder raises its own; all mean that the file cannot be read
        raise AWBError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in _WITH_ALPHA:
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise AWBError(f"mode {image.mode} is partly transparent; expected an opaque image")
        image = image.convert("RGB")
    if image.mode not in _GREY_OR_COLOUR:
        raise AWBError(
            f"mode {image.mode}; expected 8-bit grey or RGB. More bits must be windowed to 8 first: "
            "which part of their range is the X-ray, the file does not say"
        )
    return image.convert("L")
