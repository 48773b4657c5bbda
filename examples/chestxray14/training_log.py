"""Logs of a training: `steps.csv`, `epochs.csv`, and TensorBoard's if it is wanted."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from examples.chestxray14.atomic import write_atomically
from examples.chestxray14.run_folder import RunFolder

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

    def __init__(self, folder: RunFolder, steps: int, epochs: int, active: bool, tensorboard: bool) -> None:
        self._active = active
        self._board: Any = None
        if not active:
            return
        self._steps = Log(folder.steps, _STEPS, steps)
        self._epochs = Log(folder.epochs, _EPOCHS, epochs)
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=steps + 1)

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


class Log:
    """A CSV file of which a resumed run keeps the rows up to its checkpoint.

    Args:
        path: The file.
        header: Its columns.
        keep: How many rows are kept.
    """

    def __init__(self, path: Path, header: tuple[str, ...], keep: int) -> None:
        kept: list[list[str]] = []
        if path.exists():
            with path.open(newline="") as file:
                kept = list(csv.reader(file))[1 : 1 + keep]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *kept])
        write_atomically(path, text.getvalue().encode())
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def write(self, *values: object) -> None:
        self._writer.writerow(values)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
