"""Logs of a run: `steps.csv` and `epochs.csv`."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from awb import AWBError
from examples.chestxray14.files.atomic import write_atomically
from examples.chestxray14.recipes.stage_settings import HEADLINES, Task
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.progress import EpochResult

_STEPS = ("step", "stage", "epoch", "step of epoch", "loss", "lr")


def epoch_columns(task: Task) -> tuple[str, ...]:
    """Columns of `epochs.csv`."""
    return (
        "step", "stage", "epoch", "training loss", "validation loss", f"validation {HEADLINES[task]}", "highest lr",
        "seconds",
    )  # fmt: skip


class TrainingLog:
    """Log with one row per step and one per epoch; a resumed run continues after the rows of its checkpoint.

    Args:
        folder: Folder of the run.
        task: The recipe's task, which decides a column.
        steps: Number of finished optimiser steps.
        epochs: Number of finished epochs.
        active: False in all processes but the first; these write nothing.
        checksums: Checksums of the files with just those rows, by name, if they were recorded.

    Raises:
        AWBError: The rows have changed since they were written.
    """

    def __init__(
        self, folder: RunFolder, task: Task, steps: int, epochs: int, active: bool,
        checksums: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._active = active
        if not active:
            return
        recorded = checksums or {}
        self._steps = Log(folder.steps, _STEPS, steps, recorded.get(folder.steps.name))
        try:
            self._epochs = Log(folder.epochs, epoch_columns(task), epochs, recorded.get(folder.epochs.name))
        except AWBError:
            self._steps.close()
            raise

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            self._steps.close()
            self._epochs.close()

    def step(self, step: int, stage: str, epoch: int, step_of_epoch: int, loss: float, lr: float) -> None:
        if self._active:
            self._steps.write(step, stage, epoch, step_of_epoch, repr(loss), repr(lr))

    def epoch(self, step: int, stage: str, epoch: int, result: EpochResult, lr: float) -> None:
        if self._active:
            numbers = map(repr, (result.training_loss, result.validation_loss, result.score))
            self._epochs.write(step, stage, epoch, *numbers, lr, round(result.seconds, 1))

    def save(self) -> dict[str, str]:
        """Flush all rows to the disk, and return the checksum of each file by its name."""
        return {log.path.name: log.save() for log in (self._steps, self._epochs)} if self._active else {}


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
