"""Settings of a recipe's stages of training: samples, loss, epochs, optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from awb.study import BCELoss, CrossEntropyLoss, FocalLoss, OptimizerSettings, TrainingStage
from examples.chestxray14.recipes.sections import Section

Task = Literal["findings", "classes"]  # any number of findings per image, or exactly one class
HEADLINES: Mapping[Task, str] = {"findings": "macro AUROC", "classes": "accuracy"}  # the figure that judges a run


class BCESettings(Section):
    task: ClassVar[Task] = "findings"
    kind: Literal["bce"]
    alpha: float | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def build(self) -> BCELoss:
        return BCELoss(self.alpha, label_smoothing=self.label_smoothing)


class FocalSettings(Section):
    task: ClassVar[Task] = "findings"
    kind: Literal["focal"]
    gamma: float
    alpha: float | None
    variant: Literal["two_sided", "literal"]

    def build(self) -> FocalLoss:
        return FocalLoss(self.gamma, self.alpha, self.variant)


class CrossEntropySettings(Section):
    task: ClassVar[Task] = "classes"
    kind: Literal["cross_entropy"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight: tuple[Annotated[float, Field(gt=0)], ...] | None = None  # of each class, in the order of the table

    def build(self) -> CrossEntropyLoss:
        return CrossEntropyLoss(self.label_smoothing, self.weight)


Loss = BCESettings | FocalSettings | CrossEntropySettings


class OptimizerSection(Section):
    """Optimiser of a stage; see `awb.study.OptimizerSettings`. An lr of null is found before the stage begins."""

    name: str
    lr: float | None
    weight_decay: float
    lr_schedule: Literal["one_cycle", "cosine", "constant", "step", "plateau"]
    momentum: float | None = None
    nesterov: bool | None = None
    layer_decay: float = 1.0
    decay_norms: bool = True
    clip_norm: float | None = None
    warmup_epochs: float = 0.0
    warmup_lr: float | None = None
    min_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float | None = None
    plateau_patience: int | None = None

    @model_validator(mode="after")
    def _agrees(self) -> OptimizerSection:
        self.build()  # its own checks
        return self

    def build(self) -> OptimizerSettings:
        return OptimizerSettings(**self.model_dump())


class StageSettings(Section):
    """One stage; see `awb.study.TrainingStage`."""

    name: str
    samples: Literal["all", "abnormal"]
    loss: Annotated[Loss, Field(discriminator="kind")]
    epochs: int
    frozen: dict[Literal["backbone"], int]
    optimizer: OptimizerSection
    patience: int | None
    keep_best: bool

    @model_validator(mode="after")
    def _thaws(self) -> StageSettings:
        for part, epochs in self.frozen.items():
            if not 0 <= epochs <= self.epochs:
                raise ValueError(
                    f"{part!r} is frozen for {epochs} epochs; expected 0 to {self.epochs}, the stage's epochs; set "
                    "frozen too, to {} where nothing is to be frozen: stages.*.frozen={}"
                )
        return self

    def build(self) -> TrainingStage:
        return TrainingStage(
            self.name,
            self.epochs,
            self.loss.build(),
            self.optimizer.build(),
            self.samples,
            {str(part): epochs for part, epochs in self.frozen.items()},
            self.patience,
            self.keep_best,
        )
