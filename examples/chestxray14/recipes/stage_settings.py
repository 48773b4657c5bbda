"""Settings of a recipe's stages of training: samples, loss, epochs, optimiser."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from awb.study import BCELoss, CrossEntropyLoss, FocalLoss, OptimizerSettings, TrainingStage
from examples.chestxray14.recipes.sections import Section

Task = Literal["findings", "classes"]  # any number of findings per image, or exactly one class


class BCESettings(Section):
    task: ClassVar[Task] = "findings"
    kind: Literal["bce"]
    alpha: float | None

    def build(self) -> BCELoss:
        return BCELoss(self.alpha)


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

    def build(self) -> CrossEntropyLoss:
        return CrossEntropyLoss(self.label_smoothing)


Loss = BCESettings | FocalSettings | CrossEntropySettings


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
    loss: Annotated[Loss, Field(discriminator="kind")]
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
