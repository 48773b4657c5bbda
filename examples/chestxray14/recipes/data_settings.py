"""Settings of a recipe's data: split, images, batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from examples.chestxray14.recipes.sections import Section
from examples.chestxray14.recipes.transforms import Augmentation, Interpolation, RandAugment, Transform

Triple = tuple[float, float, float]


class RandAugmentSettings(Section):
    num_ops: int = 2
    magnitude: int = 9


class AugmentationSettings(Section):
    """Random changes of training images; see `transforms.Augmentation`."""

    flip: float
    rotation: float
    degrees: float
    crop: float
    zoom: tuple[float, float]
    rand_augment: RandAugmentSettings | None = None
    erasing: float = 0.0

    def build(self) -> Augmentation:
        values: dict[str, Any] = self.model_dump(exclude={"rand_augment"})
        operations = None if self.rand_augment is None else RandAugment(**self.rand_augment.model_dump())
        return Augmentation(**values, rand_augment=operations)


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
    interpolation: Interpolation = "bilinear"
    enlarge: bool = False  # images of a store that is smaller are enlarged; otherwise it is refused
    resize: int | None = None  # side before a crop of image_size pixels: random in training, else in the centre

    def transform(self, training: bool) -> Transform:
        augmentation = self.augmentation.build() if training and self.augmentation is not None else None
        return Transform(
            self.image_size, augmentation, self.mean, self.std, self.interpolation, self.resize, random_crop=training
        )
