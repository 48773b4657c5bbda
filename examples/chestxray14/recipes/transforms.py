"""Transforms from a stored uint8 image to a network's input; all randomness comes from the generator passed in.

torchvision, which is large and slow to import, is imported where it is used: most commands read recipes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from awb import AWBError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True)
class RandAugment:
    """Random operations of torchvision's `v2.RandAugment` (Cubuk et al. 2020, arXiv:1909.13719).

    Attributes:
        num_ops: Number of operations in a row.
        magnitude: Strength of each, 0 to 30.
    """

    num_ops: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if self.num_ops < 1 or not 0 <= self.magnitude <= 30:
            raise AWBError(
                f"num_ops {self.num_ops}, magnitude {self.magnitude}: expected 1 or more operations, magnitude 0 to 30"
            )


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image. The defaults are what the report's code ran.

    Attributes:
        flip: Probability of a horizontal flip.
        rotation: Probability of a rotation.
        degrees: Largest angle of rotation, either way.
        crop: Smallest share of the image's area in a random crop, which is then enlarged; 1 crops nothing.
        zoom: Smallest and largest zoom about the centre; (1, 1) changes nothing.
        rand_augment: Further operations, after these; None for none.
        erasing: Probability of a black rectangle in the network's input, by torchvision's `v2.RandomErasing`.
    """

    flip: float = 0.5
    rotation: float = 0.5
    degrees: float = 10.0
    crop: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)
    rand_augment: RandAugment | None = None
    erasing: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.flip <= 1 and 0 <= self.rotation <= 1):
            raise AWBError(f"flip {self.flip}, rotation {self.rotation}: expected probabilities, 0 to 1")
        if not 0 <= self.erasing <= 1:
            raise AWBError(f"erasing {self.erasing}: expected a probability, 0 to 1")
        if not 0 < self.crop <= 1:
            raise AWBError(f"crop {self.crop}: expected the smallest share of the area, above 0 and at most 1")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise AWBError(f"zoom {self.zoom}: expected two factors, the smaller first")


@dataclass(frozen=True)
class Transform:
    """Augmentation, resizing, cropping and normalisation of one image.

    Attributes:
        size: Side of the network's input in pixels.
        augmentation: None for validation and test.
        mean, std: Mean and standard deviation of each channel, for intensities 0 to 1.
        interpolation: Interpolation of the resizing.
        resize: Side to which images are resized before a crop of `size` pixels; None crops nothing.
        random_crop: Crop anywhere, in training; else in the centre.
    """

    size: int = 224
    augmentation: Augmentation | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    resize: int | None = None
    random_crop: bool = False

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize <= self.size:
            raise AWBError(f"resize {self.resize}: expected more than the {self.size} pixels that are cut out of it")

    @property
    def random(self) -> bool:
        """True if it needs a generator."""
        return self.augmentation is not None or (self.resize is not None and self.random_crop)

    @property
    def resized(self) -> int:
        """Side in pixels to which images are resized."""
        return self.size if self.resize is None else self.resize

    @property
    def border(self) -> int:
        """Pixels of the resized image that the centre crop cuts off at the left and at the top."""
        return (self.resized - self.size) // 2

    def __call__(self, pixels: npt.NDArray[np.uint8], rng: np.random.Generator | None = None) -> Tensor:
        """Make a stored image a network's input.

        Args:
            pixels: uint8 (H, W), or in colour (H, W, 3), writable.
            rng: Required with an augmentation or a random crop, which are functions of its state alone.

        Returns:
            float32 (3, size, size).
        """
        image = torch.from_numpy(pixels)
        image = image[None] if image.ndim == 2 else image.movedim(2, 0)
        if not self.random:
            return self.finish(self._resize(image))
        if rng is None:
            raise AWBError("an augmentation needs a generator (rng)")
        return self._normalise(self._randomly(image, rng))

    def finish(self, images: Tensor) -> Tensor:
        """Cut the centre out of resized images, uint8 (…, 1, H, W), and normalise it, float32 (…, 3, size, size)."""
        return self._normalise(self._cut(images, self.border, self.border))

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return images * (1 / (255 * std)) - mean / std

    def _randomly(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """The augmented uint8 input, (1 or 3, size, size); all random numbers are drawn with any settings."""
        settings = self.augmentation
        if settings is not None:
            image = augment(image, settings, rng)
        left, top = (round(share * (self.resized - self.size)) for share in rng.random(2))
        seeds = rng.integers(2**62, size=2).tolist()
        if settings is not None and settings.rand_augment is not None:
            image = _by_torch(_rand_augment(settings.rand_augment), image, seeds[0])
        image = self._resize(image)
        image = self._cut(image, left, top) if self.random_crop else self._cut(image, self.border, self.border)
        if settings is not None and settings.erasing:
            from torchvision.transforms.v2 import RandomErasing

            image = _by_torch(RandomErasing(settings.erasing), image, seeds[1])
        return image

    def _resize(self, image: Tensor) -> Tensor:
        side = self.resized
        if image.shape[-2:] == (side, side):
            return image
        from torchvision.transforms.v2 import InterpolationMode, functional

        return functional.resize(image, [side, side], InterpolationMode(self.interpolation), antialias=True)

    def _cut(self, image: Tensor, left: int, top: int) -> Tensor:
        return image if self.resize is None else image[..., top : top + self.size, left : left + self.size]


def augment(image: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Crop, flip, then rotate and zoom in one interpolation; corners that come into view are black.

    All random numbers are drawn with any settings, so that changing one setting leaves the other draws unchanged.

    Args:
        image: uint8 (1 or 3, H, W).
        settings: Ranges and probabilities of the changes.
        rng: Source of all random numbers.

    Returns:
        uint8 (1 or 3, H', W').
    """
    flip, rotate, angle, zoom, area, across, down = rng.random(7)
    if settings.crop < 1:
        image = _crop(image, settings.crop + (1 - settings.crop) * area, across, down)
    if flip < settings.flip:
        image = image.flip(-1)
    degrees = settings.degrees * (2 * angle - 1) if rotate < settings.rotation else 0.0
    scale = settings.zoom[0] + (settings.zoom[1] - settings.zoom[0]) * zoom
    if degrees or scale != 1:
        from torchvision.transforms.v2 import InterpolationMode, functional

        image = functional.affine(image, degrees, [0, 0], scale, [0.0, 0.0], InterpolationMode.BILINEAR)
    return image


def _crop(image: Tensor, area: float, across: float, down: float) -> Tensor:
    """Crop with the image's own aspect ratio."""
    height, width = (max(1, round(side * area**0.5)) for side in image.shape[-2:])
    top = round(down * (image.shape[-2] - height))
    left = round(across * (image.shape[-1] - width))
    return image[..., top : top + height, left : left + width]


@cache
def _rand_augment(settings: RandAugment) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms.v2 import RandAugment as TorchvisionRandAugment

    # bins 0 to 30, as in the paper
    made: Callable[[Tensor], Tensor] = TorchvisionRandAugment(
        settings.num_ops, settings.magnitude, num_magnitude_bins=31
    )
    return made


def _by_torch(change: Callable[[Tensor], Tensor], image: Tensor, seed: int) -> Tensor:
    """Apply a transform of torchvision, whose random numbers come from torch's generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        return change(image)
