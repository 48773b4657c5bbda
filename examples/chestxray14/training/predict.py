"""Predict: the network of a finished run, and logits of a data set, shared among processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.runs.checkpoint import load_weights
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.networks import build_model


def load_run(path: str | Path) -> nn.Module:
    """Network of a finished run with its final weights, in eval mode on the CPU; nothing is downloaded.

    Args:
        path: The run's folder.

    Raises:
        AWBError: The folder has no run, the run has not finished, its files have changed since, or its weights belong
            to another run.
    """
    folder = RunFolder(Path(path))
    folder.check()
    recipe, info = folder.read_recipe(), folder.read_info()
    model = build_model(recipe.model, len(info["classes"]), recipe.data.image_size, 0, pretrained=False)
    trained = info["identity"] | {"recipe": recipe.checksum}  # of the recipe as it is in the folder now
    for name in ("processes", "weights"):  # the run began with these, and ended with others
        trained.pop(name, None)
    load_weights(folder.weights, model, trained)
    return model.eval()


@torch.no_grad()
def predict_logits(
    accelerator: Accelerator, model: nn.Module, dataset: XrayDataset, batch_size: int, workers: int = 0
) -> Tensor:
    """Logits of all images, computed by all processes together; every process gets all of them.

    Args:
        accelerator: Provides device, precision and processes.
        model: Model that is not wrapped for distributed training; it is left in eval mode.
        dataset: Images without augmentation.
        batch_size: Images per forward pass and process.
        workers: Number of processes that load images.

    Returns:
        float32 (n, C) on the CPU, in the order of the data set.
    """
    model.eval()
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(
        Subset(dataset, mine), batch_size, num_workers=workers, generator=torch.Generator().manual_seed(0)
    )
    pieces: list[Tensor] = []
    show = None if accelerator.is_main_process else True
    with accelerator.autocast():
        for images, _, _ in tqdm(loader, desc="predicting", unit=" batches", leave=False, disable=show):
            pieces.append(batch_logits(model, images, accelerator.device))
    own = torch.cat(pieces) if pieces else torch.zeros(0, len(dataset.table.classes))
    logits = torch.zeros(len(dataset), len(dataset.table.classes))
    for rows, values in gather_object([(list(mine), own.numpy())]):
        logits[rows] = torch.from_numpy(values)
    return logits


@torch.no_grad()
def batch_logits(model: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """Logits of a batch, float32 (n, C) on the CPU, from a network on the device; the caller chooses the precision."""
    logits: Tensor = model(images.to(device))
    return logits.float().cpu()


def to_probabilities(logits: Tensor, task: Task) -> npt.NDArray[np.float64]:
    """Probabilities, float64 (n, C), from logits: a sigmoid per finding, or a softmax over the classes."""
    values = logits.double()
    return (values.softmax(dim=1) if task == "classes" else values.sigmoid()).numpy()
