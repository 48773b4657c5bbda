"""Accelerate's object for devices, processes and trackers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration

from awb import AWBError
from examples.chestxray14.recipes.schema import Recipe
from examples.chestxray14.training.trackers import require_trackers


def make_accelerator(recipe: Recipe, trackers: Sequence[str] = (), folder: Path | None = None) -> Accelerator:
    """Accelerator for the devices and processes of `accelerate launch` or `torchrun`; without them one process.

    Args:
        recipe: Precision and frozen parts.
        trackers: Names of Accelerate's trackers.
        folder: Where trackers write that need a folder.

    Raises:
        AWBError: The launcher started several processes, but they did not connect; or a tracker is not installed.
    """
    require_trackers(trackers)
    frozen = any(epochs for stage in recipe.stages for epochs in stage.frozen.values())
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # several processes without a GPU do not connect otherwise
        mixed_precision="bf16" if recipe.training.precision == "bf16" else "no",
        rng_types=[],  # no random state needs to be made equal
        log_with=list(trackers) or None,
        project_config=ProjectConfiguration(logging_dir=None if folder is None else str(folder)),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=frozen)],
    )
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != wanted:
        raise AWBError(f"{wanted} processes were launched, but Accelerate trains with {accelerator.num_processes}")
    return accelerator
