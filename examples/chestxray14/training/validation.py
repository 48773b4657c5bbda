"""Validation of a network: the loss of a stage, and the score that is logged beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from awb.study import LabelTable, auroc, macro
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.recipes.stage_settings import Task
from examples.chestxray14.training.predict import predict_logits


def validate(
    accelerator: Accelerator,
    model: nn.Module,
    dataset: XrayDataset,
    loss: Any,
    task: Task,
    batch_size: int,
    workers: int,
) -> tuple[float, float]:
    """Mean loss, and the score: macro AUROC of findings with both labels, or accuracy of classes; NaN if undefined.

    Args:
        accelerator: Provides device, precision and processes.
        model: Model that is not wrapped for distributed training; it is left in eval mode.
        dataset: Validation images without augmentation.
        loss: Loss with `total`.
        task: Kind of the labels.
        batch_size: Images per forward pass and process.
        workers: Number of processes that load images.
    """  # fmt: skip
    if accelerator.num_processes > 1:
        for buffer in model.buffers():  # batch statistics differ by process; a checkpoint has the first's
            torch.distributed.broadcast(buffer, 0)
    logits = predict_logits(accelerator, model, dataset, batch_size, workers).double()
    total, known = loss.total(logits, torch.from_numpy(dataset.table.labels))
    score = accuracy if task == "classes" else _macro_auroc
    return float(total / known), score(dataset.table, logits)


def _macro_auroc(table: LabelTable, logits: Tensor) -> float:
    both = table.supported(1)
    return float(macro(auroc(table.labels[:, both], logits.numpy()[:, both]))) if both.any() else float("nan")


def accuracy(table: LabelTable, logits: Tensor) -> float:
    """Share of the images of known class whose highest logit is that of their class; NaN if there are none."""
    known = ~np.isnan(table.labels).any(axis=1)
    right = logits.numpy()[known].argmax(axis=1) == table.labels[known].argmax(axis=1)
    return float(right.mean()) if known.any() else float("nan")
