"""Decode one X-ray file to square 8-bit grey. Light to import: worker processes do little else."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from awb import AWBError

# to `Image.open`, always: left to itself it tries all that it knows, and for EPS starts a program that runs the file
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_GREY_OR_COLOUR = ("L", "RGB")
_WITH_ALPHA = ("LA", "RGBA", "PA")
_PNG_BIT_DEPTH = 24  # where the file's header has it
_TIFF_BITS_PER_SAMPLE = 258  # the tag
_REDUCING_GAP = 3.0  # Pillow: "almost indistinguishable from fair resampling"


def decode(path: str | Path, size: int) -> npt.NDArray[np.uint8]:
    """Read an image and bring it to size × size, whatever its aspect ratio, by antialiased bilinear interpolation.

    It is turned and mirrored as its EXIF orientation says. Three colour channels become luma (ITU-R 601), which leaves
    three equal ones as they are.

    Returns:
        uint8 (size, size).

    Raises:
        AWBError: The file is damaged or of another format than `FORMATS`, has several frames, more than 8 bits a
            channel, or more pixels than Pillow takes for a decompression bomb, or is partly transparent.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(path, size)
    except AWBError:
        raise
    except Exception as error:  # each format's decoder raises its own; all mean that the file cannot be read
        raise AWBError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _decode(path: str | Path, size: int) -> npt.NDArray[np.uint8]:
    with Image.open(path, formats=FORMATS) as image:
        if image.format == "PNG":  # PIL checks the sums of a PNG's pixels only when asked, and then is done with it
            image.verify()
    with Image.open(path, formats=FORMATS) as image:
        _require_one_frame(image)
        _require_8_bits(image, path)
        # a JPEG may be decoded at a fraction of its size, never so small that it is sharper than others will be
        image.draft("L", (round(_REDUCING_GAP * size),) * 2)
        ImageOps.exif_transpose(image, in_place=True)
        return np.asarray(_grey(image).resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP))


def _require_one_frame(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise AWBError(f"{image.format} of {frames} frames; expected one: which of them is the X-ray, it does not say")


def _require_8_bits(image: Image.Image, path: str | Path) -> None:
    """By what the file declares: where there is colour or alpha, Pillow cuts 16 bits to 8 by itself."""
    bits = 8
    if image.format == "PNG":
        with open(path, "rb") as file:
            bits = file.read(_PNG_BIT_DEPTH + 1)[-1]
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    if bits > 8:
        raise AWBError(
            f"{bits} bits a channel; expected 8. More bits must be windowed to 8 first: which part of their range is "
            "the X-ray, the file does not say"
        )


def _grey(image: Image.Image) -> Image.Image:
    if "transparency" in image.info:  # of one colour, or of each of a palette's
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode in _WITH_ALPHA:
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise AWBError(f"mode {image.mode} is partly transparent; expected an opaque image")
        image = image.convert("RGB")
    if image.mode not in _GREY_OR_COLOUR:
        raise AWBError(f"mode {image.mode}; expected 8-bit grey or RGB")
    return image.convert("L")
