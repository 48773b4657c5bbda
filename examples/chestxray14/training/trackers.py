"""Trackers of experiments, such as TensorBoard and MLflow, through Accelerate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import Accelerator

from awb import AWBError
from awb.errors import did_you_mean
from examples.chestxray14.recipes.overrides import values_by_path
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.runs.folder import RunFolder

_PROJECT = "chestxray14"
_PACKAGES = {"comet_ml": "comet-ml"}  # to install, where it is not the tracker's name


def require_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that Accelerate does not know or whose package is not installed.

    Raises:
        AWBError: Names the tracker, the package to install, and the trackers that are installed.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    installed = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            near = did_you_mean(name, LOGGER_TYPE_TO_CLASS)
            raise AWBError(f"no tracker {name!r}{near}; there are {', '.join(LOGGER_TYPE_TO_CLASS)}")
        if name not in installed:
            raise AWBError(
                f"tracker {name} is not installed: pip install {_PACKAGES.get(name, name)}; "
                f"installed are {', '.join(installed) or 'none'}"
            )


class Trackers:
    """The trackers of an accelerator during a run.

    Args:
        accelerator: Accelerator with the names of the trackers.
        recipe: The run's recipe, which is their configuration.
        folder: Folder of the run.
        steps: Number of finished steps; TensorBoard hides what an interrupted run wrote after them.

    Raises:
        AWBError: A tracker cannot begin, for want of a login, say.
    """

    def __init__(self, accelerator: Accelerator, recipe: Recipe, folder: RunFolder, steps: int) -> None:
        self._accelerator = accelerator
        if accelerator.log_with:
            name = f"{recipe.name}, {folder.path.name}"
            options = {
                "tensorboard": {"purge_step": steps + 1},
                "wandb": {"name": name, "dir": str(folder.path)},
                "mlflow": {"run_name": name},
                "dvclive": {"dir": str(folder.path / "dvclive"), "resume": steps > 0},
            }
            config = {path: _plain(value) for path, value in values_by_path(recipe.model_dump(mode="json"))}
            try:
                accelerator.init_trackers(_PROJECT, config, options)
            except Exception as error:  # whatever a tracker's package raises, such as without a login
                names = ", ".join(str(name) for name in accelerator.log_with)
                raise AWBError(f"the trackers could not begin ({names}): {error}") from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the finite ones of some values."""
        if self._accelerator.log_with:
            self._accelerator.log({name: value for name, value in values.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        """Finish all trackers."""
        for tracker in self._accelerator.trackers:
            tracker.finish()
        self._accelerator.trackers = []  # `end_training` would finish them again


def _plain(value: Any) -> bool | int | float | str:
    """A value as every tracker takes it: what is neither number nor truth value is text."""
    return value if isinstance(value, bool | int | float) else str(value)
