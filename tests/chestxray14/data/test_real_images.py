"""2,219 real images of NIH, in three sizes and two formats, pass through reader, store, boxes and dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from awb.study import LabelTable, read_labels, require_disjoint
from examples.chestxray14.data import splits
from examples.chestxray14.data.boxes import read_boxes
from examples.chestxray14.data.build_store import build_store
from examples.chestxray14.data.dataset import XrayDataset
from examples.chestxray14.data.decode import decode
from examples.chestxray14.data.images import find_images
from examples.chestxray14.data.labels import read_table
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.recipes.transforms import Augmentation, Transform
from tests.chestxray14.real import NIH, needs_nih

pytestmark = [needs_nih, pytest.mark.slow]
SIZE = 64


@pytest.fixture(scope="module")
def table() -> LabelTable:
    return read_data_entry(NIH / "images" / "labels.csv")


@pytest.fixture(scope="module")
def listed() -> LabelTable:
    """The same file as a plain table; no label of its own but `original_kept`."""
    return read_labels(NIH / "images" / "labels.csv", image="Image Index", classes=["original_kept"])


@pytest.fixture(scope="module")
def store(table: LabelTable, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    images = find_images(NIH / "images", table.images)
    return build_store(images, tmp_path_factory.mktemp("real") / "store", SIZE, workers=1, progress=False)


def test_nihs_reader_knows_each_image_as_nihs_own_file_does(table: LabelTable, nih: LabelTable) -> None:
    assert len(table) == 2219
    assert len(np.unique(table.groups)) == 1430  # type: ignore[arg-type]
    own = nih.take(nih.find(table.images))
    np.testing.assert_array_equal(table.labels, own.labels)
    np.testing.assert_array_equal(table.groups, own.groups)  # type: ignore[arg-type]
    for name in ("view", "sex"):
        np.testing.assert_array_equal(table.columns[name], own.columns[name])


def test_every_image_is_in_the_store(table: LabelTable, listed: LabelTable, store: ImageStore) -> None:
    store.verify()
    assert store.names == tuple(table.images.tolist())
    # once more by PIL alone: 64 px files, RGB and RGBA, are stored as they are, larger ones reduced
    for name, file in list(zip(listed.images.tolist(), listed.columns["file"].tolist(), strict=True))[::37]:
        with Image.open(NIH / "images" / file) as image:
            grey = image.convert("RGB").convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        difference = np.abs(store[name] - np.asarray(grey, dtype=int))
        assert difference.mean() < (1e-9 if file.startswith("64/") else 1.5), file


def test_boxes_lie_where_nih_put_them(table: LabelTable, listed: LabelTable) -> None:
    boxes = read_boxes(NIH / "BBox_List_2017.csv.gz").of(table.images)
    assert len(boxes) == listed.columns["n_boxes"].astype(int).sum() == 96
    labelled = [table.labels[table.find([box.image])[0], table.classes.index(box.finding)] for box in boxes]
    assert np.mean(labelled) == 1  # each box is of a finding that its image has
    for box, original in zip(boxes.scaled_to(SIZE), boxes, strict=True):
        assert (box.x, box.width) == pytest.approx((original.x / 16, original.width / 16))
        assert max(box.x + box.width, box.y + box.height) <= SIZE


def test_a_split_and_a_dataset_stand_on_them(table: LabelTable, store: ImageStore) -> None:
    sets = splits.nested(table).tables(table)
    require_disjoint({"train": sets["stage2/train"]}, {"test": sets["test"]})
    dataset = XrayDataset(store, sets["stage1/train"], Transform(SIZE, Augmentation()))
    image, targets, _ = dataset[0]
    assert image.shape == (3, SIZE, SIZE)
    assert targets.sum() >= 1  # stage 1 has abnormal images only


def test_an_original_and_its_smaller_copy_are_the_same_picture(store: ImageStore) -> None:
    originals = sorted((NIH / "originals").glob("*.png"))
    assert len(originals) == 19
    for path in originals:
        likeness = np.corrcoef(decode(path, SIZE).ravel(), store[path.name].ravel())[0, 1]
        assert likeness > 0.99, path.name


def test_a_table_of_ones_own_with_paths_names_the_same_images(
    table: LabelTable, listed: LabelTable, store: ImageStore, tmp_path: Path
) -> None:
    rows = range(0, len(table), 111)
    files = listed.columns["file"]
    lines = [f"{files[i]},{table.groups[i]},{int(table.labels[i, 0])}\n" for i in rows]  # type: ignore[index]
    (tmp_path / "mine.csv").write_text("path,patient,Atelectasis\n" + "".join(lines))
    mine = read_table(tmp_path / "mine.csv")
    own = build_store(find_images(NIH / "images", mine.images), tmp_path / "store", SIZE, workers=1, progress=False)
    for i in rows:
        np.testing.assert_array_equal(own[str(files[i])], store[str(table.images[i])])
