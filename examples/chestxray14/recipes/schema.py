"""Recipes: everything that decides the result of a run, as one mapping. Unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from awb import AWBError
from awb.study import Schedule
from examples.chestxray14.recipes.data_settings import DataSettings
from examples.chestxray14.recipes.model_settings import ModelSettings
from examples.chestxray14.recipes.overrides import override
from examples.chestxray14.recipes.preprocessing import own_preprocessing, with_own_preprocessing
from examples.chestxray14.recipes.sections import Section, optional_keys, validate
from examples.chestxray14.recipes.stage_settings import StageSettings, Task
from examples.chestxray14.recipes.strict_yaml import read_yaml, to_yaml


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
        if len({stage.loss.task for stage in self.stages}) > 1:
            raise ValueError("stages with the loss cross_entropy and with another: all or none may have it")
        schedule = self.schedule()  # its own checks, and the augmentation's
        self.data.transform(training=True)
        finds = any(stage.optimizer.lr is None for stage in schedule.stages)
        if finds != (self.training.lr_finder is not None):
            advice = "give it, or each stage's optimizer.lr" if finds else "set training.lr_finder=null too"
            raise ValueError(f"training.lr_finder is given if a stage's lr is null, and only then: {advice}")
        if self.data.batch_size % self.training.accumulation:
            raise ValueError(
                f"data.batch_size {self.data.batch_size} is not a multiple of training.accumulation "
                f"{self.training.accumulation}"
            )
        return self

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, name included; a key with a default counts where its value is another."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def task(self) -> Task:
        """`classes`: each image has exactly one class, as the loss `cross_entropy` asks for; else `findings`."""
        return self.stages[0].loss.task

    def schedule(self) -> Schedule:
        return Schedule(tuple(stage.build() for stage in self.stages))

    def to_yaml(self) -> str:
        """Recipe as YAML without the values that are left out in reading, where they get the same default."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        if own_preprocessing(self.model.backbone, self.model.weights) is not None:  # else it would take the place
            content["data"]["interpolation"] = self.data.interpolation
        return to_yaml(content)


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
        override(content, path, value, f"{where}: override {path!r}", recipe_options)
    return parse_recipe(content, where)


def recipe_options(path: Sequence[str]) -> set[str]:
    """Keys that a recipe may leave out of the section at a path."""
    return optional_keys(Recipe, path)


def parse_recipe(content: Any, where: str = "recipe") -> Recipe:
    """Build a recipe from plain values; what `data` leaves out of the backbone's own preprocessing is filled in.

    Raises:
        AWBError: As in `load_recipe`.
    """
    if isinstance(content, dict):
        content = with_own_preprocessing(content, where)
    return validate(Recipe, content, where)
