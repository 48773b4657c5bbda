"""Decode one X-ray file to a square of 8-bit grey or RGB. Quick to import: worker processes do little else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from awb import AWBError

# given to every `Image.open`: by default it tries all formats, and for EPS starts a program that executes the file
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_GREY_OR_COLOUR = ("L", "RGB")
_WITH_ALPHA = ("LA", "RGBA", "PA")
_PNG_BIT_DEPTH = 24  # offset in the file
_TIFF_BITS_PER_SAMPLE = 258  # tag number
_REDUCING_GAP = 3.0  # Pillow: "almost indistinguishable from fair resampling"
_GLANCE = 64  # side of a picture that shows whether an image is in colour
_TINT = 16  # by which the channels of a coloured pixel differ at least; by less, an encoder may have made grey differ


@dataclass(frozen=True)
class Decoding:
    """How the images of a store were decoded; a run records it, and `predict` decodes new files in the same way.

    Attributes:
        size: Side of the squares in pixels.
        resampling: Interpolation by which they were resized.
        version: Number of the rules in this file; stores of before it was written down have 1.
        colour: True if three channels were kept, False if they became grey.
    """

    size: int
    resampling: str = "bilinear, antialiased"
    version: int = 1
    colour: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image: (size, size), in colour (size, size, 3)."""
        return (self.size, self.size, 3) if self.colour else (self.size, self.size)


class Decoded(NamedTuple):
    """An image, and whether its file is in colour, so that its channels differ."""

    pixels: npt.NDArray[np.uint8]
    in_colour: bool


def decode(path: str | Path, size: int, *, colour: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image and resize it to size × size, whatever its aspect ratio, by antialiased bilinear interpolation.

    EXIF orientation is applied. Three colour channels become luma (ITU-R 601), which leaves three equal channels as
    they are; or with `colour` they are kept, and grey becomes three equal channels.

    Returns:
        uint8 (size, size), in colour (size, size, 3).

    Raises:
        AWBError: The file is damaged, not in one of `FORMATS`, partly transparent, or has several frames, more than 8
            bits per channel, or so many pixels that Pillow suspects a decompression bomb.
    """
    return decode_and_look(path, Decoding(size, colour=colour)).pixels


def decode_and_look(path: str | Path, decoding: Decoding) -> Decoded:
    """Decode an image as `decode` does, and tell whether its file is in colour."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(path, decoding)
    except AWBError:
        raise
    except Exception as error:  # each format's decoder raises its own kind; all mean that the file cannot be read
        raise AWBError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _decode(path: str | Path, decoding: Decoding) -> Decoded:
    mode, side = "RGB" if decoding.colour else "L", decoding.size
    with Image.open(path, formats=FORMATS) as image:
        if image.format == "PNG":  # Pillow checks a PNG's checksums only on request, and cannot decode it after that
            image.verify()
    with Image.open(path, formats=FORMATS) as image:
        _require_one_frame(image)
        _require_8_bits(image, path)
        channels = image.mode  # before the draft, which may make it grey
        # a JPEG may be decoded at a fraction of its size, but not so small that it comes out sharper than other files
        image.draft(mode, (round(_REDUCING_GAP * side),) * 2)
        ImageOps.exif_transpose(image, in_place=True)
        opaque = _opaque(image)
        small = opaque.convert(mode).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=_REDUCING_GAP)
        if (channels, opaque.mode) != ("RGB", "L"):
            return Decoded(np.asarray(small), _is_in_colour(opaque))
    with Image.open(path, formats=FORMATS) as image:  # a JPEG of three channels that was decoded to grey alone
        image.draft("RGB", (_GLANCE, _GLANCE))
        return Decoded(np.asarray(small), _is_in_colour(image))


def _is_in_colour(image: Image.Image) -> bool:
    """True if the channels of a grey or RGB image differ anywhere."""
    if image.mode == "L":
        return False
    glance = np.asarray(image.resize((_GLANCE, _GLANCE), Image.Resampling.BOX, reducing_gap=1.0), dtype=np.int16)
    return bool(np.ptp(glance, axis=2).max() > _TINT)


def _require_one_frame(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise AWBError(f"{image.format} of {frames} frames; expected one: the file does not say which is the X-ray")


def _require_8_bits(image: Image.Image, path: str | Path) -> None:
    """Check the file's declared bit depth: with colour or alpha, Pillow silently reduces 16 bits to 8."""
    bits = 8
    if image.format == "PNG":
        with open(path, "rb") as file:
            bits = file.read(_PNG_BIT_DEPTH + 1)[-1]
    elif image.format == "TIFF":
        bits = max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    if bits > 8:
        raise AWBError(
            f"{bits} bits per channel; expected 8. Window the image to 8 bits first: the file does not say which part "
            "of the range is the X-ray"
        )


def _opaque(image: Image.Image) -> Image.Image:
    """Image in grey or RGB, without the alpha or the palette."""
    if "transparency" in image.info:  # one transparent colour, or an alpha value per colour of the palette
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode in _WITH_ALPHA:
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise AWBError(f"mode {image.mode} is partly transparent; expected an opaque image")
        image = image.convert("RGB")
    if image.mode not in _GREY_OR_COLOUR:
        raise AWBError(f"mode {image.mode}; expected 8-bit grey or RGB")
    return image
