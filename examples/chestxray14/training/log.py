"""Logs of a run: `steps.csv`, `epochs.csv`, and TensorBoard's on request."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from awb import AWBError
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.runs.folder import RunFolder

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
    """Log with one row per step and one per epoch; a resumed run continues after the rows of its checkpoint.

    Args:
        folder: Folder of the run.
        steps: Number of finished optimiser steps.
        epochs: Number of finished epochs.
        active: False in all processes but the first; these write nothing.
        tensorboard: Also write for TensorBoard.
        checksums: Checksums of the files with just those rows, by name, if they were recorded.

    Raises:
        AWBError: The rows have changed since they were written.
    """

    def __init__(
        self, folder: RunFolder, steps: int, epochs: int, active: bool, tensorboard: bool,
        checksums: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._active = active
        self._board: Any = None
        if not active:
            return
        recorded = checksums or {}
        self._steps = Log(folder.steps, _STEPS, steps, recorded.get(folder.steps.name))
        try:
            self._epochs = Log(folder.epochs, _EPOCHS, epochs, recorded.get(folder.epochs.name))
        except AWBError:
            self._steps.close()
            raise
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
        self, step: int, stage: str, epoch: int, loss: float, validation: float, auroc: float, lr: float,
        seconds: float,
    ) -> None:  # fmt: skip
        if self._active:
            self._epochs.write(step, stage, epoch, repr(loss), repr(validation), repr(auroc), lr, seconds)
        self._add(step, {"loss/validation": validation, "auroc/validation, macro": auroc})

    def save(self) -> dict[str, str]:
        """Flush all rows to the disk, and return the checksum of each file by its name."""
        return {log.path.name: log.save() for log in (self._steps, self._epochs)} if self._active else {}

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                if math.isfinite(value):
                    self._board.add_scalar(name, value, step)


class Log:
    """CSV file in which a resumed run keeps the rows up to its checkpoint.

    Args:
        path: The file.
        header: Names of the columns.
        keep: Number of rows to keep.
        checksum: SHA-256 of header and kept rows, if it was recorded.

    Raises:
        AWBError: The rows have changed since they were written.
    """

    def __init__(self, path: Path, header: tuple[str, ...], keep: int, checksum: str | None = None) -> None:
        self.path = path
        text = "".join(map(_line, [header, *self._read(keep)])).encode()
        self._checksum = hashlib.sha256(text)
        if checksum not in (None, self._checksum.hexdigest()):
            raise AWBError(
                f"{path} is damaged: its first {keep:,} rows are not those that the checkpoint was written after; "
                "restore them, or train in another folder"
            )
        write_atomically(path, text)
        self._file = path.open("ab")

    def write(self, *values: object) -> None:
        line = _line(values).encode()
        self._checksum.update(line)
        self._file.write(line)
        self._file.flush()

    def save(self) -> str:
        """Flush all rows to the disk, and return the file's SHA-256."""
        os.fsync(self._file.fileno())
        return self._checksum.hexdigest()

    def close(self) -> None:
        self._file.close()

    def _read(self, keep: int) -> list[list[str]]:
        if not self.path.exists():
            return []
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                return list(itertools.islice(csv.reader(file), 1, 1 + keep))
        except (UnicodeDecodeError, csv.Error) as error:
            raise AWBError(f"{self.path} is damaged: {error}") from None


def _line(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()
