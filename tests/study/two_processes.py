"""A loss in two processes against the same loss in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def require_gradients_of_one(folder: Path, losses: Sequence[nn.Module], features: Tensor, targets: Tensor) -> None:
    """Losses and gradients of two processes are those of one on the whole batch.

    Args:
        folder: For files of the processes.
        losses: Each with a text of its own.
        features: Batch of 8, (8, 5), half of which each process gets.
        targets: Their targets, (8, 3).
    """
    torch.multiprocessing.spawn(_train_in_parallel, (str(folder), losses, features, targets), nprocs=2)
    ranks = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    for loss in losses:
        model = _model()
        value = loss(model(features), targets)
        value.backward()
        values, grads = zip(*(rank[str(loss)] for rank in ranks), strict=True)
        torch.testing.assert_close(torch.stack(values).mean(), value.detach(), rtol=1e-12, atol=1e-12)
        for each in grads:
            for ours, expected in zip(each, model.parameters(), strict=True):
                torch.testing.assert_close(ours, expected.grad, rtol=1e-12, atol=1e-12)


def _model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3, dtype=torch.float64)


def _train_in_parallel(rank: int, folder: str, losses: Sequence[nn.Module], features: Tensor, targets: Tensor) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    mine = slice(4 * rank, 4 * rank + 4)
    saved = {}
    for loss in losses:
        model = nn.parallel.DistributedDataParallel(_model())
        value = loss(model(features[mine]), targets[mine])
        value.backward()
        saved[str(loss)] = (value.detach(), [p.grad for p in model.parameters()])
    torch.save(saved, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
