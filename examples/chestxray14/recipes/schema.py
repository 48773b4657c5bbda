"""Recipes: everything that decides the result of a run, as one mapping. Unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awb import AWBError
from awb.study import BCELoss, FocalLoss, OptimizerSettings, Schedule, TrainingStage
from examples.chestxray14.recipes.overrides import override
from examples.chestxray14.recipes.sections import Section, validate
from examples.chestxray14.recipes.strict_yaml import read_yaml, to_yaml
from examples.chestxray14.recipes.transforms import Augmentation, Transform

PART = "backbone"  # what `frozen` may name: everything but the blocks and the classifier
Triple = tuple[float, float, float]


class ModelSettings(Section):
    """The network."""

    backbone: Literal["densenet121", "vgg16_bn", "efficientnet_lite0", "tiny"]
    pretrained: bool
    final_relu: bool  # false: DenseNet without the ReLU that torchvision's has before pooling
    placement: Annotated[str, Field(pattern=r"^(plain|after|all|last(:[1-9][0-9]*)?)$")]
    attention: str | None
    init: Literal["identity", "default"] | None
    dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def _agrees(self) -> ModelSettings:
        plain = self.placement == "plain"
        if plain != (self.attention is None) or plain != (self.init is None):
            raise ValueError("attention and init are null with placement plain, and only then")
        if not self.final_relu and self.backbone != "densenet121":
            raise ValueError(f"final_relu: false is for densenet121, not {self.backbone}")
        if self.pretrained and self.backbone == "tiny":
            raise ValueError("there are no pretrained weights of tiny")
        return self


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

    def transform(self, training: bool) -> Transform:
        augmentation = None
        if training and self.augmentation is not None:
            augmentation = Augmentation(**self.augmentation.model_dump())
        return Transform(self.image_size, augmentation, self.mean, self.std)


class BCESettings(Section):
    kind: Literal["bce"]
    alpha: float | None

    def build(self) -> BCELoss:
        return BCELoss(self.alpha)


class FocalSettings(Section):
    kind: Literal["focal"]
    gamma: float
    alpha: float | None
    variant: Literal["two_sided", "literal"]

    def build(self) -> FocalLoss:
        return FocalLoss(self.gamma, self.alpha, self.variant)


class OptimizerSection(Section):
    """Optimiser of a stage; see `awb.study.OptimizerSettings`. An lr of null is found before the stage begins."""

    name: Literal["adamw", "adam", "sgd"]
    lr: float | None
    weight_decay: float
    lr_schedule: Literal["one_cycle", "cosine", "constant"]


class StageSettings(Section):
    """One stage; see `awb.study.TrainingStage`."""

    name: str
    samples: Literal["all", "abnormal"]
    loss: Annotated[BCESettings | FocalSettings, Field(discriminator="kind")]
    epochs: int
    frozen: dict[Literal["backbone"], int]
    optimizer: OptimizerSection
    patience: int | None
    keep_best: bool

    def build(self) -> TrainingStage:
        return TrainingStage(
            self.name,
            self.epochs,
            self.loss.build(),
            OptimizerSettings(**self.optimizer.model_dump()),
            self.samples,
            {str(part): epochs for part, epochs in self.frozen.items()},
            self.patience,
            self.keep_best,
        )


class LRFinderSettings(Section):
    """Range test of the learning rate; see `training/lr_finder.py`."""

    lowest: Annotated[float, Field(gt=0)]
    highest: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=10)]


class TrainingSettings(Section):
    seed: int
    accumulation: Annotated[int, Field(ge=1)]
    precision: Literal["fp32", "bf16"]
    ema: Annotated[float, Field(gt=0, lt=1)] | None  # decay per step; the average is validated and kept
    lr_finder: LRFinderSettings | None


class Recipe(Section):
    """All settings of a run."""

    name: str
    model: ModelSettings
    data: DataSettings
    stages: Annotated[tuple[StageSettings, ...], Field(min_length=1)]
    training: TrainingSettings

    @model_validator(mode="after")
    def _agrees(self) -> Recipe:
        schedule = self.schedule()  # its own checks, and the augmentation's
        self.data.transform(training=True)
        finds = any(stage.optimizer.lr is None for stage in schedule.stages)
        if finds != (self.training.lr_finder is not None):
            raise ValueError("training.lr_finder is given if a stage's lr is null, and only then")
        if self.data.batch_size % self.training.accumulation:
            raise ValueError(
                f"data.batch_size {self.data.batch_size} is not a multiple of training.accumulation "
                f"{self.training.accumulation}"
            )
        return self

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, name included."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def schedule(self) -> Schedule:
        return Schedule(tuple(stage.build() for stage in self.stages))

    def to_yaml(self) -> str:
        return to_yaml(self.model_dump(mode="json"))


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a file that holds one whole recipe.

    Args:
        path: The YAML file.
        overrides: Values in place of the file's, by their paths: `{"data.image_size": 64, "stages.*.epochs": 2}`;
            a number is a place in a list, `*` each of them.

    Raises:
        AWBError: No such file, or not YAML; a key is unknown, missing or given twice; a value is of another type or
            out of its range; an override names no value.
    """
    return build_recipe(read_yaml(Path(path)), str(path), overrides)


def build_recipe(content: Any, where: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Build a recipe from plain values after applying the overrides.

    Raises:
        AWBError: As in `load_recipe`.
    """
    if not isinstance(content, dict):
        what = "nothing" if content is None else f"a {type(content).__name__}"
        raise AWBError(
            f"{where} holds {what}; expected a recipe ({', '.join(Recipe.model_fields)}) or a study (base, axes, cells)"
        )
    for path, value in (overrides or {}).items():
        override(content, path, value, f"{where}: override {path!r}")
    return parse_recipe(content, where)


def parse_recipe(content: Any, where: str = "recipe") -> Recipe:
    """Build a recipe from plain values.

    Raises:
        AWBError: As in `load_recipe`.
    """
    return validate(Recipe, content, where)
