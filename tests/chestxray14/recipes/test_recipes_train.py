"""Every recipe in the repository trains two steps in each stage, at a tiny size and from random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from awb.study import Split
from examples.chestxray14.data.nih import read_data_entry
from examples.chestxray14.data.store import ImageStore
from examples.chestxray14.data.study import Study
from examples.chestxray14.recipes.schema import Recipe, load_recipe
from examples.chestxray14.runs.folder import RunFolder
from examples.chestxray14.training.trainer import Trainer
from tests.chestxray14.small_runs import RECIPES

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
# two epochs of one step each; the first is frozen where the recipe freezes
TINY = {
    "model.pretrained": False, "data.image_size": 32, "data.batch_size": 2, "stages.*.epochs": 2,
    "stages.*.optimizer.lr": 1e-4, "training.lr_finder": None,
    "stages.*.keep_best": False,  # the best may be those of the frozen epoch
}  # fmt: skip


def small(name: str) -> Recipe:
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    frozen = {f"stages.{i}.frozen.backbone": 1 for i, stage in enumerate(recipe.stages) if stage.frozen}
    return load_recipe(RECIPES / f"{name}.yaml", TINY | frozen)


def small_study(phantoms: Path, split: str) -> Study:
    """Two images for training in either stage, and one patient's for everything else."""
    table = read_data_entry(phantoms / "data" / "Data_Entry_2017_synthetic.csv")
    assert table.groups is not None
    held_out = table.groups == table.groups[np.flatnonzero(table.abnormal)[-1]]
    train = np.flatnonzero(table.abnormal & ~held_out)[:2]
    names = ("stage1/validation", "stage2/validation", "stage2/test" if split == "report" else "test")
    sets = {"stage1/train": train, "stage2/train": train, **dict.fromkeys(names, np.flatnonzero(held_out))}
    return Study(table, ImageStore.open(phantoms / "store"), Split.from_rows(split, table, sets), origin="phantoms")


def test_there_are_the_recipes_that_the_docs_count() -> None:
    assert len(NAMES) == 116


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_two_steps_in_each_stage(name: str, phantoms: Path, tmp_path: Path) -> None:
    recipe = small(name)
    study = small_study(phantoms, recipe.data.split.name)
    trainer = Trainer(recipe, study, RunFolder(tmp_path / "run"))
    before = {key: tensor.clone() for key, tensor in trainer.model.named_parameters()}
    model = trainer.run()
    assert trainer.steps == 2 * len(recipe.stages)
    after = dict(model.named_parameters())
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    # a first convolution learns, and so does each block
    moved = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert next(iter(before)) in moved
    blocks = {key.partition(".awb.")[0] for key in before if ".awb." in key}
    assert blocks == {key.partition(".awb.")[0] for key in moved if ".awb." in key}
    assert bool(blocks) == (recipe.model.placement != "plain")
