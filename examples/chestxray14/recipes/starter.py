"""Text of a small study for a table and a backbone of your own, with comments to start from."""

from __future__ import annotations

import re
from pathlib import Path

from awb import AWBError
from examples.chestxray14.recipes.backbones import SHORT_NAMES
from examples.chestxray14.recipes.preprocessing import own_preprocessing
from examples.chestxray14.recipes.stage_settings import Task

DEFAULT_BACKBONE = "densenet121"
_STARTER = Path(__file__).with_name("starter.yaml")
_BACKBONE = "backbone: densenet121 "
_CELLS = '"densenet121-{blocks}"'
_SIZE = "image_size: 224 "
_BATCH = "batch_size: 32\n"
_LOSS = "loss: {kind: bce, alpha: null}\n"
_LOSS_OF_CLASSES = "loss: {kind: cross_entropy}\n"
_FEWEST_STEPS = 8  # per epoch, if the table has images for as many


def starter_text(backbone: str, task: Task, n_images: int) -> str:
    """Study file with cells without blocks, with two kinds of blocks, and a trial.

    Args:
        backbone: The recipe's name of it.
        task: Kind of labels.
        n_images: Number of images of the table; the fewer, the smaller the batches.

    Raises:
        AWBError: There is no such backbone, or its image size is not known.
    """
    own = own_preprocessing(backbone)
    if own is None:
        raise AWBError(
            f"--backbone {backbone} does not say what images it takes: write the study for another one, and change its "
            "backbone, image_size, mean and std"
        )
    batch = 32
    while batch > 2 and 0.7 * n_images < _FEWEST_STEPS * batch:  # 70 % are for training
        batch //= 2
    changes = {
        _BACKBONE: f"backbone: {backbone} ",
        _CELLS: f'"{_cell_name(backbone)}-{{blocks}}"',
        _SIZE: f"image_size: {own.image_size} ",
        _BATCH: _BATCH.replace("32", str(batch)),
        _LOSS: _LOSS if task == "findings" else _LOSS_OF_CLASSES,
    }
    text = _STARTER.read_text(encoding="utf-8")
    for written, wanted in changes.items():
        assert text.count(written) == 1
        text = text.replace(written, wanted)
    return text


def _cell_name(backbone: str) -> str:
    """Name of a backbone as part of a cell's name: without its library and the tag of its weights."""
    name = backbone if backbone in SHORT_NAMES else backbone.rpartition(":")[2].partition(".")[0]
    return re.sub(r"[^\w+=-]", "-", name)
