"""Logs of a training: `steps.csv`, `epochs.csv`, and TensorBoard's if it is wanted."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Any

from examples.chestxray14.run_folder import Log

_STEPS = ("step", "stage", "epoch", "step of epoch", "loss", "lr")
_EPOCHS = (
    "step",
    "stage",
    "epoch",
    "training loss",
    "validation loss",
    "validation macro AUROC",
    "highest lr",
    "seconds",
)


class TrainingLog:
    """Writes one row a step and one an epoch; a resumed run's rows follow those up to its checkpoint.

    Args:
        folder: Of the run.
        steps: Optimiser steps that were done.
        epochs: Epochs that were done.
        active: False in all processes but the first, where nothing is written.
        tensorboard: Also write for TensorBoard.
    """

    def __init__(self, folder: Path, steps: int, epochs: int, active: bool, tensorboard: bool) -> None:
        self._active = active
        self._board: Any = None
        if not active:
            return
        self._steps = Log(folder / "steps.csv", _STEPS, steps)
        self._epochs = Log(folder / "epochs.csv", _EPOCHS, epochs)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=steps + 1)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            self._steps.close()
            self._epochs.close()
        if self._board is not None:
            self._board.close()

    def step(self, step: int, stage: str, epoch: int, step_of_epoch: int, loss: float, lr: float) -> None:
        if self._active:
            self._steps.write(step, stage, epoch, step_of_epoch, repr(loss), repr(lr))
        self._add(step, {"loss/train": loss, "lr": lr})

    def epoch(
        self, step: int, stage: str, epoch: int, loss: float, validation: float, area: float, lr: float,
        seconds: float,
    ) -> None:  # fmt: skip
        if self._active:
            self._epochs.write(step, stage, epoch, repr(loss), repr(validation), repr(area), lr, seconds)
        self._add(step, {"loss/validation": validation, "auroc/validation, macro": area})

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                if math.isfinite(value):
                    self._board.add_scalar(name, value, step)
