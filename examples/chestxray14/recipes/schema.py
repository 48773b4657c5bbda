"""Recipes: everything that decides what a training gives, in one YAML file. Unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from awb import AWBError
from awb.errors import did_you_mean
from awb.study import BCELoss, FocalLoss, OptimizerSettings, Schedule, TrainingStage
from examples.chestxray14.recipes.strict_yaml import read_yaml, to_yaml
from examples.chestxray14.recipes.transforms import Augmentation, Transform

RECIPES = Path(__file__).parent
PART = "backbone"  # what `frozen` may name: everything but the blocks and the classifier
Triple = tuple[float, float, float]
_MOST_ERRORS = 8  # that are shown


class _Section(BaseModel):
    # strict: "0.1" in quotes is no number, 1 is no boolean
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ModelSettings(_Section):
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


class AugmentationSettings(_Section):
    """Of training images; see `transforms.Augmentation`."""

    flip: float
    rotation: float
    degrees: float
    crop: float
    zoom: tuple[float, float]


class SplitSettings(_Section):
    """Which of `splits.py`; overlapping sets are refused unless they are named here."""

    name: Literal["nested", "official", "lists", "report"]
    seed: int
    allow_overlap: tuple[tuple[str, str], ...]


class DataSettings(_Section):
    """Images and batches."""

    split: SplitSettings
    image_size: Annotated[int, Field(ge=1)]
    mean: Triple
    std: Triple
    augmentation: AugmentationSettings | None
    batch_size: Annotated[int, Field(ge=1)]  # images of one optimiser step, of all processes together

    def transform(self, training: bool) -> Transform:
        augmentation = None
        if training and self.augmentation is not None:
            augmentation = Augmentation(**self.augmentation.model_dump())
        return Transform(self.image_size, augmentation, self.mean, self.std)


class BCESettings(_Section):
    kind: Literal["bce"]
    alpha: float | None

    def build(self) -> BCELoss:
        return BCELoss(self.alpha)


class FocalSettings(_Section):
    kind: Literal["focal"]
    gamma: float
    alpha: float | None
    variant: Literal["two_sided", "literal"]

    def build(self) -> FocalLoss:
        return FocalLoss(self.gamma, self.alpha, self.variant)


class OptimizerSection(_Section):
    """See `awb.study.OptimizerSettings`; an lr of null is found before the stage begins."""

    name: Literal["adamw", "adam", "sgd"]
    lr: float | None
    weight_decay: float
    lr_schedule: Literal["one_cycle", "cosine", "constant"]


class StageSettings(_Section):
    """See `awb.study.TrainingStage`."""

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


class LRFinderSettings(_Section):
    """See `lr_finder.py`."""

    lowest: Annotated[float, Field(gt=0)]
    highest: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=10)]


class TrainingSettings(_Section):
    seed: int
    accumulation: Annotated[int, Field(ge=1)]
    precision: Literal["fp32", "bf16"]
    ema: Annotated[float, Field(gt=0, lt=1)] | None  # decay a step; the average is validated and kept
    lr_finder: LRFinderSettings | None


class Recipe(_Section):
    """All of a training."""

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
                f"data.batch_size {self.data.batch_size} is no multiple of training.accumulation "
                f"{self.training.accumulation}"
            )
        return self

    @property
    def checksum(self) -> str:
        """SHA-256 of its content, name included."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def schedule(self) -> Schedule:
        return Schedule(tuple(stage.build() for stage in self.stages))

    def to_yaml(self) -> str:
        return to_yaml(self.model_dump(mode="json"))


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: The YAML file.
        overrides: Values in place of the file's, by their paths: `{"data.image_size": 64, "stages.*.epochs": 2}`;
            a number is a place in a list, `*` each of them.

    Raises:
        AWBError: No such file or no YAML; a key is unknown, missing or given twice; a value is of another type or
            out of its range; an override names no value.
    """
    content = read_yaml(Path(path))
    if not isinstance(content, dict):
        what = "nothing" if content is None else f"a {type(content).__name__}"
        raise AWBError(f"{path} holds {what}; expected {', '.join(Recipe.model_fields)}, and what belongs to each")
    for key, value in (overrides or {}).items():
        _override(content, key.split("."), value, f"{path}: override {key!r}")
    return parse_recipe(content, str(path))


def shipped_recipes() -> dict[str, Path]:
    """The example's own recipe files, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def parse_recipe(content: Any, where: str = "recipe") -> Recipe:
    """A recipe of plain values.

    Raises:
        AWBError: As `load_recipe`.
    """
    try:
        # through JSON, whose lists may be tuples in strict mode too
        return Recipe.model_validate_json(json.dumps(content))
    except ValidationError as error:
        lines = [_explain(one) for one in error.errors()]
        more = f"; and {len(lines) - _MOST_ERRORS:,} more" if len(lines) > _MOST_ERRORS else ""
        raise AWBError(f"{where}: " + "; ".join(lines[:_MOST_ERRORS]) + more) from None
    except TypeError as error:  # a date, say
        raise AWBError(f"{where}: {error}") from None


def _override(content: Any, keys: list[str], value: Any, where: str) -> None:
    key, *rest = keys
    if isinstance(content, list) and key == "*":
        for i in range(len(content)):
            _override(content, [str(i), *rest], value, where)
        return
    place: Any = int(key) if isinstance(content, list) and key.isdigit() else key
    known = range(len(content)) if isinstance(content, list) else content if isinstance(content, dict) else ()
    if place not in known:
        near = did_you_mean(key, map(str, known))
        raise AWBError(f"{where}: nothing is at {key!r}{near}; there are {', '.join(map(str, known)) or 'no keys'}")
    if rest:
        _override(content[place], rest, value, where)
    else:
        content[place] = value


def _explain(error: Any) -> str:
    """One of pydantic's errors: the path, what is wrong, and the nearest key."""
    path = ".".join(str(part) for part in error["loc"] if part not in ("bce", "focal"))
    if error["type"] == "extra_forbidden":
        return f"{path} is no key{did_you_mean(str(error['loc'][-1]), _fields(error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{path} is missing"
    message = error["msg"].removeprefix("Value error, ")
    place = f"{path}: " if path else ""  # else of several values together
    return f"{place}{message}" + ("" if isinstance(error["input"], dict) else f", not {_short(error['input'])}")


def _short(value: Any) -> str:
    """A value as Python writes it, or the beginning of it."""
    short = reprlib.Repr()
    short.maxstring = 100
    return short.repr(value)


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that belong at a place in a recipe."""
    unions: dict[str, Any] = {"bce": BCESettings, "focal": FocalSettings}
    sections = {
        "model": ModelSettings, "data": DataSettings, "split": SplitSettings, "augmentation": AugmentationSettings,
        "stages": StageSettings, "optimizer": OptimizerSection, "training": TrainingSettings,
        "lr_finder": LRFinderSettings, **unions,
    }  # fmt: skip
    named = [part for part in loc if part in sections]
    return list((sections[named[-1]] if named else Recipe).model_fields)
