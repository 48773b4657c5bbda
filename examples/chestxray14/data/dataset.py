"""A torch dataset over a store and its labels, whose augmentation is a function of (seed, stage, epoch, row)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from awb.study import LabelTable
from examples.chestxray14.data.random_keys import key
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.transforms import Transform


class XrayDataset(Dataset[tuple[Tensor, Tensor, int]]):
    """Images and labels of a table's rows.

    Nothing is drawn from a worker's or the process's random state: which batch, worker or process an image is in
    does not change it, and a run that is resumed sees what an unbroken one would have seen.

    Args:
        store: Where the images are.
        table: Which images, and their labels.
        transform: What makes a network's input of an image.
        seed: Of the augmentation.

    Raises:
        AWBError: The store lacks images of the table.
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
            epoch: Counted within the stage, from 0.
        """
        self._key.fill_(key(self.seed, stage, epoch))

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        """Image, float32 (3, size, size); targets, float32 (C,), NaN where unknown; and the row itself."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        rng = None
        if self.transform.augmentation is not None:
            rng = np.random.default_rng([int(self._key), row])
        return self.transform(self.store[self._names[row]], rng), self._targets[row], row
