"""Settings of a recipe's data: split, images, batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from examples.chestxray14.recipes.sections import Section
from examples.chestxray14.recipes.transforms import Augmentation, Transform

Triple = tuple[float, float, float]


class AugmentationSettings(Section):
    """Random changes of training images; see `transforms.Augmentation`."""

    flip: float
    rotation: float
    degrees: float
    crop: float
    zoom: tuple[float, float]


class SplitSettings(Section):
    """A split of `data/splits.py`; overlapping sets are refused unless they are named here."""

    name: Literal["nested", "official", "lists", "report"]
    seed: int
    allow_overlap: tuple[tuple[str, str], ...]


class DataSettings(Section):
    """Split, images and batches."""

    split: SplitSettings
    image_size: Annotated[int, Field(ge=1)]
    mean: Triple
    std: Triple
    augmentation: AugmentationSettings | None
    batch_size: Annotated[int, Field(ge=1)]  # images per optimiser step, all processes together
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"

    def transform(self, training: bool) -> Transform:
        augmentation = None
        if training and self.augmentation is not None:
            augmentation = Augmentation(**self.augmentation.model_dump())
        return Transform(self.image_size, augmentation, self.mean, self.std)
