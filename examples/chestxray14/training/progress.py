"""Progress of a training as lines that stay: in a terminal, in which bars vanish, and in a log."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from awb.study import TrainingStage
from examples.chestxray14.recipes.stage_settings import HEADLINES, Task


class EpochResult(NamedTuple):
    """Result of an epoch.

    Attributes:
        training_loss: Mean loss of its steps.
        validation_loss: Loss of the stage on the validation images.
        score: Macro AUROC or accuracy on them; NaN if it is not defined.
        improved: True if the validation loss is the stage's lowest so far.
        seconds: Duration, validation included.
    """

    training_loss: float
    validation_loss: float
    score: float
    improved: bool
    seconds: float


class Progress:
    """Lines about stages and epochs.

    Args:
        task: The recipe's task, which decides the score.
        say: Called with each line.
    """

    def __init__(self, task: Task, say: Callable[[str], object]) -> None:
        self._score = HEADLINES[task]
        self.say = say

    def begin(self, stage: TrainingStage, images: int, validation: int, lr: float) -> None:
        self.say(
            f"stage {stage.name} begins: {images:,} training and {validation:,} validation images, "
            f"{stage.epochs} {'epoch' if stage.epochs == 1 else 'epochs'}, learning rate {lr:g}"
        )

    def resume(self, stage: TrainingStage, epoch: int, steps: int) -> None:
        self.say(f"stage {stage.name} resumes in epoch {epoch + 1} of {stage.epochs}, after {steps:,} steps in all")

    def epoch(self, stage: TrainingStage, index: int, result: EpochResult, whole: float, ended: bool) -> None:
        """Say how an epoch went, how long the stage will take, and whether it stops early.

        Args:
            stage: The stage.
            index: Number of the epoch, from 0.
            result: Its result.
            whole: Seconds of a whole epoch.
            ended: True if the stage ends with it.
        """
        best = " (lowest so far)" if result.improved else ""
        score = "not defined" if math.isnan(result.score) else f"{result.score:.3f}"
        left = "" if ended else f"; about {duration(whole * (stage.epochs - index - 1))} left of this stage"
        self.say(
            f"{stage.name}, epoch {index + 1} of {stage.epochs}: training loss {result.training_loss:.4f}, "
            f"validation loss {result.validation_loss:.4f}{best}, {self._score} {score}, "
            f"{duration(result.seconds)}{left}"
        )
        if ended and index + 1 < stage.epochs:
            self.say(
                f"stage {stage.name} stops early, after {index + 1} of {stage.epochs} epochs: "
                f"no lower validation loss in {stage.patience}"
            )


def duration(seconds: float) -> str:
    """Duration in words, to two digits or so: `8 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
