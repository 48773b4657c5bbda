"""Predict: logits of a data set, shared among processes."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from examples.chestxray14.data.dataset import XrayDataset


@torch.no_grad()
def predict_logits(
    accelerator: Accelerator, model: nn.Module, dataset: XrayDataset, batch_size: int, workers: int = 0
) -> Tensor:
    """Logits of all images, shared among the processes and then the same in each.

    Args:
        accelerator: Whose device, precision and processes are used.
        model: Not wrapped; it is left in eval mode.
        dataset: Not augmented.
        batch_size: Images a forward, in each process.
        workers: Of the loader.

    Returns:
        float32 (n, C) on the CPU, in the order of the data set.
    """
    from accelerate.utils import gather_object

    model.eval()
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(
        Subset(dataset, mine), batch_size, num_workers=workers, generator=torch.Generator().manual_seed(0)
    )
    pieces: list[Tensor] = []
    show = None if accelerator.is_main_process else True
    with accelerator.autocast():
        for images, _, _ in tqdm(loader, desc="predicting", unit=" batches", leave=False, disable=show):
            pieces.append(model(images.to(accelerator.device)).float().cpu())
    own = torch.cat(pieces) if pieces else torch.zeros(0, len(dataset.table.classes))
    logits = torch.zeros(len(dataset), len(dataset.table.classes))
    for rows, values in gather_object([(list(mine), own.numpy())]):
        logits[rows] = torch.from_numpy(values)
    return logits
