"""Training schedules in stages, as plain values: samples, loss, optimiser, frozen parts and epochs of each stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from awb.errors import AWBError, did_you_mean
from awb.study.label_table import LabelTable
from awb.study.losses import BCELoss, FocalLoss
from awb.study.optimizer import OptimizerSettings
from awb.table import Table

Mask = npt.NDArray[np.bool_]
Samples = Literal["all", "abnormal"] | Callable[[LabelTable], Mask]
_SAMPLES = ("all", "abnormal")


@dataclass(frozen=True)
class TrainingStage:
    """One training stage: samples, loss, number of epochs, optimiser, and frozen parts.

    Attributes:
        name: Name of the stage, unique in a schedule.
        epochs: Number of epochs, including those with frozen parts.
        loss: Function of logits and targets: `BCELoss()`, `FocalLoss()`, or any other.
        optimizer: Settings of the optimiser, which is built anew at the start of the stage.
        samples: `all`, `abnormal` (images with at least one label of 1), or a function from a LabelTable to a mask
            (n,).
        frozen: Number of epochs at the start during which a part of the model is frozen, by part. What the names
            stand for is up to the caller: see `freeze_parts`.
        patience: Number of consecutive epochs without a lower validation loss after which the stage stops; None
            never stops early.
        keep_best: End the stage with the weights of its lowest validation loss.

    Raises:
        AWBError: A value is out of range.
    """

    name: str
    epochs: int
    loss: Callable[..., Any]
    optimizer: OptimizerSettings
    samples: Samples = "all"
    frozen: Mapping[str, int] = field(default_factory=dict)
    patience: int | None = None
    keep_best: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise AWBError(f"stage {self.name!r}: epochs={self.epochs!r}; expected at least 1")
        if not callable(self.samples) and self.samples not in _SAMPLES:
            near = did_you_mean(str(self.samples), _SAMPLES)
            raise AWBError(f"stage {self.name!r}: samples={self.samples!r}; expected all, abnormal or a function{near}")
        if self.patience is not None and self.patience < 1:
            raise AWBError(f"stage {self.name!r}: patience={self.patience!r}; expected None or at least 1 epoch")
        try:
            self.optimizer.require_fit(self.epochs)
        except AWBError as error:
            raise AWBError(f"stage {self.name!r}: {error}") from None
        for part, epochs in self.frozen.items():
            if not 0 <= epochs <= self.epochs:
                raise AWBError(
                    f"stage {self.name!r}: {part!r} is frozen for {epochs} epochs; expected 0 to {self.epochs}"
                )
        _identify(self.loss)
        _identify(self.samples)

    def rows(self, table: LabelTable) -> Mask:
        """Mask of the images that the stage trains (and validates) on, (n,).

        Raises:
            AWBError: No image is among the samples, or `samples` did not return a mask.
        """
        mask = np.ones(len(table), dtype=np.bool_)
        if callable(self.samples):
            mask = np.asarray(self.samples(table))
        elif self.samples == "abnormal":
            mask = table.abnormal
        if mask.dtype != np.bool_ or mask.shape != (len(table),):
            raise AWBError(
                f"stage {self.name!r}: samples returned {mask.dtype} of shape {mask.shape}; "
                f"expected a boolean mask of shape {(len(table),)}"
            )
        if not mask.any():
            raise AWBError(f"stage {self.name!r}: none of {len(table):,} images is among its samples")
        return mask

    def frozen_at(self, epoch: int) -> frozenset[str]:
        """Names of the parts that are frozen in an epoch, counted from 0."""
        return frozenset(part for part, epochs in self.frozen.items() if epoch < epochs)

    def describe(self) -> dict[str, Any]:
        """Stage as plain JSON values, with functions and losses given by their names and settings."""
        return {
            "name": self.name,
            "samples": _identify(self.samples),
            "loss": _identify(self.loss),
            "epochs": self.epochs,
            "frozen": dict(sorted(self.frozen.items())),
            "optimizer": self.optimizer.describe(),
            "patience": self.patience,
            "keep_best": self.keep_best,
        }


@dataclass(frozen=True)
class Schedule:
    """Training stages in order. It prints as a table.

    Raises:
        AWBError: There is no stage, or two have the same name.
    """

    stages: tuple[TrainingStage, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise AWBError(f"stages {names}: expected at least one, each with a name of its own")

    @property
    def checksum(self) -> str:
        """SHA-256 of the stages' `describe()`, for the record of a run."""
        text = json.dumps([stage.describe() for stage in self.stages], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __str__(self) -> str:
        headers = ("stage", "samples", "loss", "epochs", "frozen at first", "optimiser", "lr", "decay", "patience")
        rows = []
        for stage in self.stages:
            frozen = ", ".join(f"{part} {epochs}" for part, epochs in stage.frozen.items() if epochs) or None
            optimizer, rate = stage.optimizer.summary()
            line = (stage.name, _identify(stage.samples), _identify(stage.loss), stage.epochs, frozen)
            rows.append((*line, optimizer, rate, stage.optimizer.weight_decay, stage.patience))
        return str(Table(headers, tuple(rows)))


def two_stage(
    *,
    loss: Callable[..., Any] | None = None,
    first_lr: float | None = None,
    second_lr: float = 8e-5,
    frozen_epochs: int = 3,
    part: str = "backbone",
) -> Schedule:
    """Two-stage schedule of the 2025 report: first the abnormal images, then all images.

    Stage 1: images with a finding, BCE, 3 epochs with a frozen backbone and 20 with none, weight decay 1e-3.
    Stage 2: all images, focal loss (γ = 2) or BCE, 10 epochs, weight decay 1e-2. Both use AdamW with one cycle of the
    learning rate over all their epochs, stop after 5 epochs without a lower validation loss, and keep the best
    weights.

    Args:
        loss: Loss of stage 2: `FocalLoss(gamma=2)` by default, `BCELoss()` for the report's other row.
        first_lr: Highest learning rate of stage 1. None if it is found later (the report used an LR finder), and set
            by `ScheduleState.set_lr`.
        second_lr: Highest learning rate of stage 2.
        frozen_epochs: Number of epochs of stage 1 with a frozen part.
        part: Name of the frozen part.
    """
    first = TrainingStage(
        "abnormal",
        samples="abnormal",
        loss=BCELoss(),
        epochs=frozen_epochs + 20,
        frozen={part: frozen_epochs},
        optimizer=OptimizerSettings("adamw", lr=first_lr, weight_decay=1e-3, lr_schedule="one_cycle"),
        patience=5,
    )
    second = TrainingStage(
        "all",
        loss=FocalLoss(gamma=2) if loss is None else loss,
        epochs=10,
        optimizer=OptimizerSettings("adamw", lr=second_lr, weight_decay=1e-2, lr_schedule="one_cycle"),
        patience=5,
    )
    return Schedule((first, second))


def _identify(value: Any) -> str:
    """Text that identifies a loss or choice of samples, the same in every process."""
    if isinstance(value, str):
        return value
    if isinstance(value, nn.Module):
        return repr(value)
    name = getattr(value, "__qualname__", "<lambda>")
    if "<lambda>" in name:
        raise AWBError(f"{value!r} has no name by which a resumed run could recognise it: define a function")
    return str(name)  # without its module, which is __main__ in one process and not in another
