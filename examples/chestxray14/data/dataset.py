"""Images and labels as a network gets them, and their order: functions of (seed, stage, epoch, row) alone.

No random state is kept, so none can be lost: a resumed run sees what an unbroken run would have seen, whatever the
number of worker processes, training processes and accumulated batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, skip_first_batches
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Subset

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.transforms import Transform


def random_key(*purpose: object) -> int:
    """Seed below 2⁵⁶ for a purpose, such as (seed, stage, epoch): the same on any machine."""
    text = "/".join(map(str, purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class XrayDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """Images and labels of a table's rows; the augmentation depends on seed, stage, epoch and row only.

    Args:
        store: Image store with the table's images.
        table: Images to use, and their labels.
        transform: Turns an image of the store into a network's input.
        seed: Seed of the augmentation.

    Raises:
        AWBError: The image store lacks images of the table.
    """

    def __init__(self, store: ImageStore, table: LabelTable, transform: Transform, seed: int = 0) -> None:
        store.require(table.images)
        self.store, self.table, self.transform, self.seed = store, table, transform, seed
        self._names = table.images.tolist()
        self._targets = torch.from_numpy(table.labels.astype(np.float32))
        # shared memory: workers that outlive an epoch see the next one's key
        self._key = torch.zeros((), dtype=torch.int64).share_memory_()
        self.set_epoch("", 0)

    def __len__(self) -> int:
        return len(self._names)

    def set_epoch(self, stage: str, epoch: int) -> None:
        """Choose the augmentation of an epoch, before iterating over it.

        Args:
            stage: Name of the stage of training.
            epoch: Number of the epoch within the stage, from 0.
        """
        self._key.fill_(random_key(self.seed, stage, epoch))

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        """Image, float32 (3, size, size); targets, float32 (C,), NaN where unknown; and the row itself."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        rng = None
        if self.transform.random:
            rng = np.random.default_rng([int(self._key), row])
        return self.transform(self.store[self._names[row]], rng), self._targets[row], row


class EpochBatches(BatchSampler):
    """Rows of an epoch in random order, in micro-batches.

    An optimiser step takes `parts` micro-batches in a row: one per process and accumulated backward pass. Images that
    do not fill a step are left for other epochs. The order does not depend on `parts`, so the images of a step are the
    same however many processes share them.

    Args:
        n_images: Number of training images.
        batch_size: Images per optimiser step.
        parts: Micro-batches per optimiser step.
        key: Seed of the order, from `random_key`.

    Raises:
        AWBError: A step cannot be divided evenly, or there are too few images for one step.
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
    """Number of optimiser steps per epoch.

    Raises:
        AWBError: There are too few images for one step.
    """
    if n_images < batch_size:
        raise AWBError(f"{n_images} training images do not fill one batch of {batch_size}")
    return n_images // batch_size


def epoch_loader(accelerator: Accelerator, dataset: XrayDataset, sampler: EpochBatches, workers: int, skip: int) -> Any:
    """Loader of this process's micro-batches of an epoch on its device, without the first `skip`."""
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
