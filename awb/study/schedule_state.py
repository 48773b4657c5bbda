"""Position in a schedule, epoch by epoch, without a trainer; it can be saved and resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from awb.errors import AWBError
from awb.study.schedule import Schedule, TrainingStage


@dataclass(frozen=True)
class Epoch:
    """One epoch of a schedule.

    Attributes:
        stage: The stage it belongs to.
        index: Number of the epoch within the stage, from 0.
        frozen: Names of the frozen parts.
        lr: Learning rate of the stage, from the optimiser settings or `set_lr`; None if not set yet.
    """

    stage: TrainingStage
    index: int
    frozen: frozenset[str]
    lr: float | None

    @property
    def first(self) -> bool:
        """True in the first epoch of a stage, which needs a new optimiser."""
        return self.index == 0


class ScheduleState:
    """Position of a run in its schedule. Iterating gives the remaining epochs.

    Call `finish_epoch` at the end of each. It counts epochs, compares validation losses within a stage (different
    stages differ in loss and samples), and ends a stage after its last epoch or when its patience is used up.

    Args:
        schedule: The schedule to follow.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._stage = 0
        self._epoch = 0
        self._best: float | None = None
        self._best_epoch: int | None = None
        self._found: dict[str, float] = {}
        self._stage_ended = False

    @property
    def epoch(self) -> Epoch | None:
        """Next epoch; None at the end."""
        if self._stage == len(self.schedule.stages):
            return None
        stage = self.schedule.stages[self._stage]
        lr = self._found.get(stage.name, stage.optimizer.lr)
        return Epoch(stage, self._epoch, stage.frozen_at(self._epoch), lr)

    @property
    def stage_ended(self) -> bool:
        """True if the last finished epoch ended its stage: restore the best weights now, if the stage keeps them."""
        return self._stage_ended

    def __iter__(self) -> Iterator[Epoch]:
        while (epoch := self.epoch) is not None:
            yield epoch
            after = self.epoch
            if after is not None and (after.stage, after.index) == (epoch.stage, epoch.index):
                raise AWBError(f"epoch {epoch.index} of stage {epoch.stage.name!r} was not finished: call finish_epoch")

    def finish_epoch(self, validation_loss: float | None = None) -> bool:
        """Mark the current epoch as done.

        Args:
            validation_loss: Lower is better; not needed by a stage that neither keeps the best nor stops early.

        Returns:
            True if it is the lowest of the stage so far: save the weights then.

        Raises:
            AWBError: The schedule is at its end, or the loss is missing, NaN or infinite.
        """
        epoch = self.epoch
        if epoch is None:
            raise AWBError("the schedule is at its end: there is no next epoch")
        stage = epoch.stage
        if validation_loss is None and (stage.keep_best or stage.patience is not None):
            raise AWBError(f"stage {stage.name!r} keeps the best or stops early: finish_epoch needs a validation loss")
        if validation_loss is not None and not math.isfinite(validation_loss):
            raise AWBError(f"stage {stage.name!r}, epoch {epoch.index}: validation loss {validation_loss}")
        improved = validation_loss is not None and (self._best is None or validation_loss < self._best)
        if improved:
            self._best, self._best_epoch = float(validation_loss), epoch.index  # type: ignore[arg-type]
        since = epoch.index - (-1 if self._best_epoch is None else self._best_epoch)
        stopped = stage.patience is not None and since >= stage.patience
        self._epoch += 1
        self._stage_ended = stopped or self._epoch == stage.epochs
        if self._stage_ended:
            self._stage, self._epoch, self._best, self._best_epoch = self._stage + 1, 0, None, None
        return improved

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next stage, as an LR finder found it. It is part of the state.

        Raises:
            AWBError: The rate is not positive, the schedule is at its end, or the stage has begun.
        """
        epoch = self.epoch
        if epoch is None or not epoch.first:
            raise AWBError("a learning rate can only be set before its stage begins")
        if not (math.isfinite(lr) and lr > 0):
            raise AWBError(f"lr={lr!r}: expected a positive number")
        self._found[epoch.stage.name] = float(lr)

    def state_dict(self) -> dict[str, Any]:
        """State as plain JSON values."""
        return {
            "schedule": self.schedule.checksum,
            "stage": self._stage,
            "epoch": self._epoch,
            "best": self._best,
            "best_epoch": self._best_epoch,
            "found_lr": dict(self._found),
            "stage_ended": self._stage_ended,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state dict.

        Raises:
            AWBError: It belongs to another schedule, or is not a state dict of ScheduleState.
        """
        missing = sorted(self.state_dict().keys() ^ state.keys())
        if missing:
            raise AWBError(f"not a ScheduleState state dict: missing or unknown {', '.join(missing)}")
        if state["schedule"] != self.schedule.checksum:
            raise AWBError(
                f"the state belongs to another schedule: its checksum is {state['schedule'][:12]}…, this one's "
                f"{self.schedule.checksum[:12]}…. Resume with the schedule that the run was started with"
            )
        self._stage, self._epoch = int(state["stage"]), int(state["epoch"])
        self._best, self._best_epoch = state["best"], state["best_epoch"]
        self._found, self._stage_ended = dict(state["found_lr"]), bool(state["stage_ended"])
