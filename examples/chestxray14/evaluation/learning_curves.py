"""Learning curves of a run: losses, the validation figure and the learning rate over the epochs of each stage."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from examples.chestxray14.evaluation.figures import make_figure
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder

Rows = Sequence[Mapping[str, str]]

_TRAINING, _VALIDATION, _RATE, _KEPT = "#0072b2", "#d55e00", "#009e73", "0.75"
_MOST_STEPS = 400  # points of a stage's learning rate: more than a panel has pixels for


@dataclass(frozen=True)
class StageLog:
    """What a run logged in one stage.

    Attributes:
        name: Name of the stage.
        about: Its loss and images, in words.
        epochs: Rows of `epochs.csv`.
        steps: Rows of `steps.csv`.
        keeps_best: True if the weights of the best epoch were kept, and not those of the last.
    """

    name: str
    about: str
    epochs: Rows
    steps: Rows
    keeps_best: bool

    @property
    def validation(self) -> str:
        """Header of the figure that was computed on validation beside the loss."""
        others = (name for name in self.epochs[0] if name.startswith("validation") and name != "validation loss")
        return next(others, "")

    @property
    def kept(self) -> int:
        """Place of the epoch whose weights were kept: the first of the lowest validation loss, or the last."""
        losses = [float(row["validation loss"]) for row in self.epochs]
        return losses.index(min(losses)) if self.keeps_best and not math.isnan(min(losses)) else len(losses) - 1


def read_logs(folder: RunFolder, recipe: Recipe) -> list[StageLog]:
    """Logged epochs and steps of each stage that has any; without `steps.csv` there are no steps."""
    epochs, steps = _read(folder.epochs), _read(folder.steps) if folder.steps.is_file() else []
    logs = (
        StageLog(
            stage.name,
            f"{stage.loss.kind}, {stage.samples} images",
            [row for row in epochs if row["stage"] == stage.name],
            [row for row in steps if row["stage"] == stage.name],
            stage.keep_best,
        )
        for stage in recipe.stages
    )
    return [log for log in logs if log.epochs]


def learning_curves(stages: Sequence[StageLog], title: str) -> Figure:
    """One column per stage: training and validation loss, the validation figure, and the learning rate.

    Losses of stages may be of different kinds, so each stage has its own scale. The epoch whose weights were kept is
    marked.

    Args:
        stages: Logs of the stages, one or more.
        title: Title above the figure.
    """
    figure = make_figure(3.8 * len(stages) + 0.6, 5.6, title, "Grey: the epoch whose weights were kept.")
    grid = figure.subplots(3, len(stages), squeeze=False, sharex="col")
    for axes in grid[1, 1:]:
        axes.sharey(grid[1, 0])
    for column, stage in zip(grid.T, stages, strict=True):
        _draw_losses(column[0], stage)
        _draw_validation(column[1], stage)
        _draw_rate(column[2], stage)
        for axes in column:
            axes.axvline(stage.kept + 1, color=_KEPT, linewidth=4, zorder=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize="small")
        column[0].set_title(f"stage {stage.name}: {stage.about}", fontsize="medium")
        column[2].set(xlabel="epoch", xlim=(0, len(stage.epochs) + 0.5))
        column[2].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    for axes, label in zip(grid[:, 0], ("loss", stages[0].validation.removeprefix("validation "), "lr"), strict=True):
        axes.set_ylabel(label)
    return figure


def _draw_losses(axes: Axes, stage: StageLog) -> None:
    for name, colour, dash in (("training", _TRAINING, "-"), ("validation", _VALIDATION, "--")):
        _draw_epochs(axes, stage, f"{name} loss", colour, dash, name)
    axes.legend(frameon=False, fontsize="small")


def _draw_validation(axes: Axes, stage: StageLog) -> None:
    if stage.validation:
        _draw_epochs(axes, stage, stage.validation, _VALIDATION, "--", "validation")
        axes.legend(frameon=False, fontsize="small")


def _draw_rate(axes: Axes, stage: StageLog) -> None:
    """The rate of each step at its place in its epoch; of each epoch the highest, if no step is logged."""
    if not stage.steps:
        _draw_epochs(axes, stage, "highest lr", _RATE, "-", "highest")
        return
    per_epoch = 1 + max(int(row["step of epoch"]) for row in stage.steps)
    shown = stage.steps[:: -(-len(stage.steps) // _MOST_STEPS)]
    places = [int(row["epoch"]) + (int(row["step of epoch"]) + 1) / per_epoch for row in shown]
    axes.plot(places, [float(row["lr"]) for row in shown], color=_RATE, linewidth=1.4)
    axes.set_ylim(bottom=0)


def _draw_epochs(axes: Axes, stage: StageLog, column: str, colour: str, dash: str, label: str) -> None:
    values = [float(row[column]) for row in stage.epochs]
    places = range(1, len(values) + 1)
    axes.plot(places, values, color=colour, linestyle=dash, linewidth=1.4, marker="o", markersize=3, label=label)


def _read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
