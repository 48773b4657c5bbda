"""An augmented image depends on (seed, stage, epoch, row), and on nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from awb import AWBError
from awb.study import LabelTable
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.transforms import Augmentation, Transform

N = 12
NAMES = [f"{i:02}.png" for i in range(N)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / name)
    return build_store({name: folder / name for name in NAMES}, folder / "store", 32, workers=1, progress=False)


@pytest.fixture
def table() -> LabelTable:
    labels = np.random.default_rng(1).integers(0, 2, (N, 3)).astype(float)
    labels[4, 1] = np.nan
    return LabelTable(np.array(NAMES), ("a", "b", "c"), labels)


@pytest.fixture
def dataset(store: ImageStore, table: LabelTable) -> XrayDataset:
    return XrayDataset(store, table, Transform(32, Augmentation()), seed=5)


def rows_of(loader: DataLoader[object]) -> dict[int, torch.Tensor]:
    return {int(row): image for images, _, rows in loader for image, row in zip(images, rows, strict=True)}  # type: ignore[attr-defined]


def test_an_item_is_an_image_its_targets_and_its_row(
    store: ImageStore, table: LabelTable, dataset: XrayDataset
) -> None:
    image, targets, row = dataset[4]
    assert (image.shape, image.dtype, targets.dtype, row) == ((3, 32, 32), torch.float32, torch.float32, 4)
    np.testing.assert_array_equal(targets.numpy(), table.labels[4].astype(np.float32))
    assert torch.isnan(targets[1])
    assert len(dataset) == N
    plain = XrayDataset(store, table, Transform(32))
    torch.testing.assert_close(plain[4][0], Transform(32)(store["04.png"]))
    with pytest.raises(IndexError):
        dataset[N]


@pytest.mark.slow
def test_workers_batches_and_order_change_nothing(dataset: XrayDataset) -> None:
    dataset.set_epoch("stage1", 2)
    expected = {row: dataset[row][0] for row in range(N)}
    torch.manual_seed(123)
    np.random.seed(7)
    ways = [
        DataLoader(dataset, batch_size=1),
        DataLoader(dataset, batch_size=5, shuffle=True),
        DataLoader(dataset, batch_size=4, num_workers=1),
        DataLoader(dataset, batch_size=3, shuffle=True, num_workers=2, multiprocessing_context="spawn"),
    ]
    for loader in ways:
        found = rows_of(loader)
        assert sorted(found) == list(range(N))
        for row, image in found.items():
            torch.testing.assert_close(image, expected[row], rtol=0, atol=0)


def test_another_seed_stage_epoch_or_row_is_another_augmentation(
    store: ImageStore, table: LabelTable, dataset: XrayDataset
) -> None:
    def epoch(dataset: XrayDataset, stage: str, number: int) -> torch.Tensor:
        dataset.set_epoch(stage, number)
        return torch.stack([dataset[row][0] for row in range(N)])

    first = epoch(dataset, "stage1", 0)
    assert torch.equal(epoch(dataset, "stage1", 0), first)
    others = [
        epoch(dataset, "stage1", 1),
        epoch(dataset, "stage2", 0),
        epoch(XrayDataset(store, table, dataset.transform, seed=6), "stage1", 0),
    ]
    for i, one in enumerate([first, *others]):
        assert not any(torch.equal(one, two) for two in others[i:])


def test_workers_that_outlive_an_epoch_see_the_next(dataset: XrayDataset) -> None:
    loader = DataLoader(dataset, batch_size=6, num_workers=1, persistent_workers=True)
    for epoch in range(3):
        dataset.set_epoch("stage1", epoch)
        expected = {row: dataset[row][0] for row in range(N)}
        for row, image in rows_of(loader).items():
            torch.testing.assert_close(image, expected[row], rtol=0, atol=0)


def test_a_store_without_the_tables_images_is_refused(store: ImageStore, tmp_path: Path) -> None:
    table = LabelTable(np.array(["00.png", "x.png"]), ("a",), np.zeros((2, 1)))
    with pytest.raises(AWBError, match="1 of 2 images are not in the image store"):
        XrayDataset(store, table, Transform(32))
