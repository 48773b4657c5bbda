"""The explain command runs on those of NIH's boxed images that are at hand: 81, of three sizes and two formats."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from torch import nn

import awb
from awb.study import LabelTable
from examples.chestxray14.boxes import read_boxes
from examples.chestxray14.build_store import build_store
from examples.chestxray14.explain_command import main
from examples.chestxray14.images import find_images
from examples.chestxray14.labels import FINDINGS, read_data_entry
from tests.chestxray14.real import NIH, needs_nih

pytestmark = [needs_nih, pytest.mark.slow]
SIZE = 64
BOXES, LABELS = NIH / "BBox_List_2017.csv.gz", NIH / "images" / "labels.csv"


def build(placement: str) -> nn.Module:
    """An untrained network: what it says of an X-ray means nothing, and that it says something is what is tested."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=len(FINDINGS), output_stride=8)
    return model if placement == "plain" else awb.attach_awb(model, placement, input_size=SIZE)


@pytest.fixture(scope="module")
def table() -> LabelTable:
    return read_data_entry(LABELS)


def test_the_command_explains_nihs_boxed_images(table: LabelTable, tmp_path: Path) -> None:
    boxed = {box.image for box in read_boxes(BOXES).of(table.images)}
    names = [name for name in table.images.tolist() if name in boxed]
    build_store(find_images(NIH / "images", names), tmp_path / "store", SIZE, workers=1, progress=False)
    models = [f"--model={name}={__name__}:build:{name}" for name in ("plain", "all")]
    files = ["--boxes", str(BOXES), "--labels", str(LABELS), "--overlays", "3", "--replicates", "100"]
    assert main([str(tmp_path / "store"), str(tmp_path / "out"), *models, *files]) == 0

    text = (tmp_path / "out" / "localisation.md").read_text()
    assert text.startswith("96 boxes on 81 images of 81 patients, measured at 64×64 pixels")
    assert "nan" not in text
    with (tmp_path / "out" / "localisation.csv").open() as file:
        rows = list(csv.DictReader(file))
    of = {name: [row for row in rows if row["maps"] == name] for name in dict.fromkeys(row["maps"] for row in rows)}
    assert list(of) == ["plain", "all", "centre prior", "random map", "other patients' boxes"]
    assert {row["image"] for row in of["plain"]} == boxed
    # blocks that begin as the identity leave the last map as it was
    for plain, blocks in zip(of["plain"], of["all"], strict=True):
        assert float(plain["energy"]) == pytest.approx(float(blocks["energy"]), abs=1e-5)
    pictures = sorted((tmp_path / "out").glob("0*.png"))
    assert len(pictures) == 3
    with Image.open(pictures[0]) as picture:
        assert picture.width == 3 * 192  # the image and two maps, 3 times as large as the network sees them
