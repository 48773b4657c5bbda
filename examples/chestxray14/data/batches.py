"""Which images come when, as a function of (seed, stage, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, skip_first_batches
from torch.utils.data import BatchSampler, DataLoader, Subset

from awb import AWBError
from examples.chestxray14.data.dataset import XrayDataset


class EpochBatches(BatchSampler):
    """The rows of an epoch in random order, in micro-batches.

    An optimiser step takes `parts` of them in a row: one for each process and accumulated backward. What does not
    fill a step is left for other epochs. The order does not depend on the parts, so the images of a step are the
    same however many processes share them.

    Args:
        n_images: Of the training set.
        batch_size: Images a step.
        parts: Micro-batches a step.
        key: What the order is a function of.

    Raises:
        AWBError: A step cannot be parted evenly, or there is not one step.
    """

    def __init__(self, n_images: int, batch_size: int, parts: int, key: int) -> None:
        if batch_size % parts:
            raise AWBError(f"a step of {batch_size} images cannot be shared evenly by {parts} processes × accumulation")
        self.n_images, self.n_steps = n_images, count_steps(n_images, batch_size)
        self.batch_size, self.drop_last = batch_size // parts, True  # accelerate reads both
        self._parts, self._key = parts, key

    def __len__(self) -> int:
        return self.n_steps * self._parts

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng(self._key).permutation(self.n_images).tolist()
        for i in range(len(self)):
            yield order[i * self.batch_size : (i + 1) * self.batch_size]


def count_steps(n_images: int, batch_size: int) -> int:
    """Optimiser steps of an epoch.

    Raises:
        AWBError: Not one.
    """
    if n_images < batch_size:
        raise AWBError(f"{n_images} training images do not fill one batch of {batch_size}")
    return n_images // batch_size


def epoch_loader(accelerator: Accelerator, dataset: XrayDataset, sampler: EpochBatches, workers: int, skip: int) -> Any:
    """This process's micro-batches of an epoch, on its device, less the first `skip`."""
    # a Subset, since accelerate would call the dataset's own set_epoch
    loader = DataLoader(
        Subset(dataset, range(len(dataset))),
        batch_sampler=sampler,
        num_workers=workers,
        # making an iterator draws a number; from the global generator it would shift dropout in a resumed run
        generator=torch.Generator().manual_seed(0),
        pin_memory=accelerator.device.type == "cuda",
    )
    return skip_first_batches(accelerator.prepare_data_loader(loader), skip)
