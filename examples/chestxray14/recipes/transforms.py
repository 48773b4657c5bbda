"""Transforms from a stored uint8 image to a network's input; all randomness comes from the generator passed in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from awb import AWBError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image. The defaults are what the report's code ran.

    Attributes:
        flip: Probability of a horizontal flip.
        rotation: Probability of a rotation.
        degrees: Largest angle of rotation, either way.
        crop: Smallest share of the image's area in a random crop, which is then enlarged; 1 crops nothing.
        zoom: Smallest and largest zoom about the centre; (1, 1) changes nothing.
    """

    flip: float = 0.5
    rotation: float = 0.5
    degrees: float = 10.0
    crop: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.rotation <= 1):
            raise AWBError(f"flip {self.flip}, rotation {self.rotation}: expected probabilities, 0 to 1")
        if not 0 < self.crop <= 1:
            raise AWBError(f"crop {self.crop}: expected the smallest share of the area, above 0 and at most 1")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise AWBError(f"zoom {self.zoom}: expected two factors, the smaller first")


@dataclass(frozen=True)
class Transform:
    """Augmentation, resizing and normalisation of one image.

    Attributes:
        size: Side of the network's input in pixels.
        augmentation: None for validation and test.
        mean, std: Mean and standard deviation of each channel, for intensities 0 to 1.
    """

    size: int = 224
    augmentation: Augmentation | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator | None = None) -> Tensor:
        """Make a stored image a network's input.

        Args:
            pixels: uint8 (H, W), writable.
            rng: Required with an augmentation, which is a function of its state alone.

        Returns:
            float32 (3, size, size).
        """
        image = torch.from_numpy(pixels)[None]
        if self.augmentation is not None:
            if rng is None:
                raise AWBError("an augmentation needs a generator (rng)")
            image = augment(image, self.augmentation, rng)
        if image.shape[-2:] != (self.size, self.size):
            image = F.resize(image, [self.size, self.size], InterpolationMode.BILINEAR, antialias=True)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return image * (1 / (255 * std)) - mean / std


def augment(image: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Crop, flip, then rotate and zoom in one interpolation; corners that come into view are black.

    All random numbers are drawn with any settings, so that changing one setting leaves the other draws unchanged.

    Args:
        image: uint8 (1, H, W).
        settings: Ranges and probabilities of the changes.
        rng: Source of all random numbers.

    Returns:
        uint8 (1, H', W').
    """
    flip, rotate, angle, zoom, area, across, down = rng.random(7)
    if settings.crop < 1:
        image = _crop(image, settings.crop + (1 - settings.crop) * area, across, down)
    if flip < settings.flip:
        image = F.horizontal_flip(image)
    degrees = settings.degrees * (2 * angle - 1) if rotate < settings.rotation else 0.0
    scale = settings.zoom[0] + (settings.zoom[1] - settings.zoom[0]) * zoom
    if degrees or scale != 1:
        image = F.affine(image, degrees, [0, 0], scale, [0.0, 0.0], InterpolationMode.BILINEAR)
    return image


def _crop(image: Tensor, area: float, across: float, down: float) -> Tensor:
    """Crop with the image's own aspect ratio."""
    height, width = (max(1, round(side * area**0.5)) for side in image.shape[-2:])
    top = round(down * (image.shape[-2] - height))
    left = round(across * (image.shape[-1] - width))
    return F.crop(image, top, left, height, width)
